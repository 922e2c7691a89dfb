/** JSON messages on a bare stream, one at a time, within one time limit for all of them. */
import type { Duplex } from 'node:stream'
import { StageError, type Code } from './errors.js'
import { malformed } from './hello.js'
import { judgeAt } from './judge.js'
import { checkProof, covered, type Seal } from './seal.js'
import type { Clock } from './types.js'

const MAGIC = Buffer.from('STG1')
const MAX_BYTES = 4096
export const HANDSHAKE_MS = 5000

export class Exchange {
  readonly #timer
  /** Payload length of the message whose head was read. */
  #length: number | undefined
  #waiting: { resolve(message: Record<string, unknown>): void; reject(error: Error): void } | undefined
  #error: Error | undefined
  #seal: Seal | undefined
  #last = false
  readonly #onreadable = () => this.#next()
  readonly #onend = () => this.#break(new StageError('DISCONNECTED', 'the connection ended during the handshake'))
  readonly #onerror = (error: Error) => this.#break(broken(error))

  constructor(private readonly stream: Duplex, private readonly clock: Clock) {
    this.#timer = judgeAt(clock, clock.now() + HANDSHAKE_MS, () => this.#break(tooLate()))
    // not `data`: a stream that was paused once waits for a resume(), which the next reader does not know
    stream.on('readable', this.#onreadable)
    stream.on('end', this.#onend)
    stream.on('error', this.#onerror)
    stream.on('close', this.#onend)
  }

  /** The hellos of both ends are known: from here on every message of either end is proven. */
  seal(seal: Seal): void {
    this.#seal = seal
  }

  send(said: object): void {
    const body = Buffer.from(JSON.stringify(this.#seal ? { ...said, proof: this.#seal.ours(covered(said)) } : said))
    const head = Buffer.alloc(8)
    MAGIC.copy(head)
    head.writeUInt32BE(body.length, 4)
    this.stream.write(Buffer.concat([head, body]))
  }

  receive(): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#next()
    })
  }

  /**
   * The next message may be the other end's last. If it is only late, the other end goes on with its chain, and a message
   * of ours would land there.
   */
  last(): void {
    this.#last = true
  }

  /** Tells the other end the reason, and ends the connection. */
  fail(error: unknown): void {
    if (this.stream.destroyed) return
    const broke = this.#error instanceof StageError && this.#error.code === 'DISCONNECTED'
    const said = error instanceof StageError && error.code !== 'DISCONNECTED'
    const late = said && this.#last && error.code === 'TIMEOUT'
    if (!said || late || broke) return void this.stream.destroy()
    this.send({ error: { code: error.code, message: error.message.slice(0, 1024) } })
    // the reason must get through, but must not wait for a peer that reads nothing
    const cut = this.clock.setTimeout(() => this.stream.destroy(), 1000)
    this.stream.once('close', () => cut.cancel())
    this.stream.end(() => this.stream.destroy())
  }

  /** Stops using the stream. */
  release(): void {
    this.#timer.cancel()
    this.stream.off('readable', this.#onreadable)
    this.stream.off('end', this.#onend)
    this.stream.off('error', this.#onerror)
    this.stream.off('close', this.#onend)
  }

  #break(error: Error): void {
    this.#error ??= error
    this.#waiting?.reject(this.#error)
    this.#waiting = undefined
  }

  #next(): void {
    const waiting = this.#waiting
    if (!waiting) return
    if (this.#error) return this.#break(this.#error)
    try {
      const message = this.#parse()
      if (!message) return
      const { proof = '', ...said } = message
      if (this.#seal) checkProof(proof, this.#seal.theirs(covered(said)))
      this.#waiting = undefined
      const error = message['error'] as { code?: unknown; message?: unknown } | undefined
      if (error) waiting.reject(told(error))
      else waiting.resolve(message)
    } catch (error) {
      this.#break(error as Error)
    }
  }

  /** Reads not a byte beyond the message: the bytes behind it belong to the chain. */
  #parse(): Record<string, unknown> | undefined {
    if (this.#length === undefined) {
      const head = this.stream.read(8) as Buffer | null
      if (!head) return undefined
      if (head.compare(MAGIC, 0, 4, 0, Math.min(4, head.length)) !== 0) {
        throw new StageError('PROTOCOL_ERROR', `this port expects the handshake of a stage, found ${foreign(head)}`)
      }
      if (head.length < 8) return undefined // the stream has ended
      const length = head.readUInt32BE(4)
      if (length > MAX_BYTES) {
        throw new StageError('PROTOCOL_ERROR', `a handshake message of ${length} bytes; at most ${MAX_BYTES} are allowed`)
      }
      this.#length = length
    }
    const body = this.#length === 0 ? Buffer.alloc(0) : this.stream.read(this.#length) as Buffer | null
    if (!body || body.length < this.#length) return undefined
    this.#length = undefined
    let message: unknown
    try {
      message = JSON.parse(body.toString())
    } catch {
      throw malformed('the message', 'not JSON')
    }
    if (typeof message !== 'object' || message === null || Array.isArray(message)) throw malformed('the message', message)
    return message as Record<string, unknown>
  }
}

/** The codes that an unproven end may send; with any other code it could end calls that a retry would save. */
const TELLABLE: readonly Code[] = [
  'WRONG_PEER', 'WRONG_NAMESPACE', 'AUTH_FAILED', 'CHAIN_MISMATCH', 'VERSION_MISMATCH', 'PROTOCOL_ERROR', 'TIMEOUT',
]

/** An error that the other end reported: only a code of our list, and a bounded text. */
function told(error: { code?: unknown; message?: unknown }): StageError {
  const code = TELLABLE.find((one) => one === error.code) ?? 'PROTOCOL_ERROR'
  const text = typeof error.message === 'string' ? error.message.slice(0, 1024) : 'no reason given'
  return new StageError(code, `the other end reported: ${text}`)
}

function foreign(bytes: Buffer): string {
  if (bytes[0] === 0x16 && bytes[1] === 0x03) return 'TLS'
  if (/^[A-Z]{3,8} |^HTTP/.test(bytes.toString('latin1', 0, 16))) return 'HTTP'
  return 'an unknown protocol'
}

const tooLate = (): StageError => new StageError('TIMEOUT', `no handshake within ${HANDSHAKE_MS} ms`, { phase: 'connecting' })

const broken = (cause: Error): StageError =>
  new StageError('DISCONNECTED', `the connection broke during the handshake: ${cause.message}`, { cause })
