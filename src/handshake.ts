/**
 * What two stages settle on a bare stream before the first byte of anybody else (P6):
 *
 *     dialler → HELLO  who I am, whom I expect, my chain, a nonce, what became of our last link
 *     listener → HELLO the same
 *     dialler → PROOF  HMAC over both hellos, if there is a secret; and whether the other's id was reported gone
 *     listener → PROOF
 *     arbiter → READY | DUPLICATE
 *     both    → BUILT | what failed, if either has wrappers of its own
 *
 * Every message behind the hellos carries an HMAC over both hellos and over all that the message says.
 * The arbiter is the end with the greater id; it alone decides whether this connection becomes the link of the pair,
 * so two that dial each other at once cannot disagree. Every message is `STG1`, a 4-byte length and JSON; whatever
 * the other end did not like comes as `{ error: { code, message } }` and ends the connection.
 */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { isAddress } from './entry.js'
import { StageError, describe, type Code } from './errors.js'
import { isName } from './pattern.js'
import type { Clock, Random } from './types.js'

const PROTOCOL = 1
const MAGIC = Buffer.from('STG1')
const MAX_BYTES = 4096
export const HANDSHAKE_MS = 5000
export const SECRET_MIN_BYTES = 16

export interface Identity {
  id: string
  name: string
  addresses: readonly string[]
}

/** What one end knows of its last link to the other: the arbiter takes `of` for a live one until told otherwise. */
export interface LastLink {
  of: string
  state: 'closed' | 'draining'
}

export type Verdict = { ready: number } | { duplicate: string }

export interface HandshakeOptions {
  stream: Duplex
  dialled: boolean
  clock: Clock
  random: Random
  namespace: string
  self: Identity
  chain: readonly string[]
  /** The chain has wrappers that are not the library's: they may fail, so neither link stands before both chains do. */
  own?: boolean | undefined
  secret?: string | undefined
  /** Dialler only: the id that the registry says lives there. */
  expect?: string | undefined
  /** Dialler only. */
  last?: LastLink | undefined
  /** Reported gone: an id does not come back (P1), and one that still uses it is told so. */
  isGone(id: string): boolean
  /** The other end, proven where there is a secret, says that it has seen our id reported gone. */
  ongone(): void
  /** The other end has said a HELLO that is well formed: who it claims to be. */
  onhello?(peer: Identity): void
  /**
   * Both ends are proven now, but nothing is decided yet: the connection is under way under this id.
   * @throws StageError why this peer is refused, which it is told
   */
  onproven(peer: Identity, link: string): void
  /** We are the arbiter: asked once, and at once acted on. */
  decide(peer: Identity, link: string, last: LastLink | undefined): Verdict
  /**
   * Builds the chain while the other end builds its own; not called where neither end has wrappers of its own.
   * @throws StageError BAD_ARGUMENT why it cannot be built, which the other end is told; another one, and it is told nothing
   */
  build?(greeting: Greeting): void
}

export interface Greeting {
  peer: Identity
  /** The id of this connection, the same on both ends. */
  link: string
  verdict: Verdict
  /** Why there is no link in spite of the verdict: `build` failed here (its error), or there (CHAIN_MISMATCH). */
  failure?: StageError | undefined
}

interface Hello {
  protocol: [number, number]
  namespace: string
  from: Identity
  expect?: string
  nonce: string
  chain: string[]
  /** Not of those versions that cannot wait for the other chain. */
  own?: boolean
  secret: boolean
  last?: LastLink
}

/**
 * Runs the handshake; not a byte behind it was read.
 * @throws StageError WRONG_PEER · WRONG_NAMESPACE · AUTH_FAILED · CHAIN_MISMATCH · VERSION_MISMATCH · PROTOCOL_ERROR ·
 *   DISCONNECTED · TIMEOUT; the stream is destroyed then
 */
export async function handshake(options: HandshakeOptions): Promise<Greeting> {
  const exchange = new Exchange(options.stream, options.clock)
  try {
    const [greeting, theirs] = await (options.dialled ? dial(exchange, options) : answer(exchange, options))
    const waits = options.build && theirs.own !== undefined && (options.own === true || theirs.own)
    return waits && 'ready' in greeting.verdict ? { ...greeting, failure: await confirm(exchange, options, greeting) } : greeting
  } catch (error) {
    exchange.fail(error)
    throw error
  } finally {
    exchange.release()
  }
}

/** @returns why there is no link; it throws where the other end does not say whether its chain stands */
async function confirm(exchange: Exchange, o: HandshakeOptions, greeting: Greeting): Promise<StageError | undefined> {
  try {
    o.build?.(greeting)
  } catch (thrown) {
    const error = thrown as StageError
    exchange.fail(error.code === 'BAD_ARGUMENT' ? new StageError('CHAIN_MISMATCH', error.message) : error)
    o.stream.resume() // a close over bytes that were not read would be a reset, which may overtake the reason
    return error
  }
  exchange.send({ built: true })
  exchange.last()
  try {
    const { built } = await exchange.receive()
    if (built !== true) throw malformed('built', built)
  } catch (error) {
    if ((error as StageError).code !== 'CHAIN_MISMATCH') throw error
    o.stream.destroy()
    return error as StageError
  }
  return undefined
}

async function dial(exchange: Exchange, o: HandshakeOptions): Promise<[Greeting, Hello]> {
  const mine = hello(o)
  exchange.send(mine)
  const theirs = checkHello(await exchange.receive(), o)
  o.onhello?.(theirs.from)
  if (o.expect !== undefined && theirs.from.id !== o.expect) {
    throw new StageError('WRONG_PEER', `expected the stage ${o.expect} there, found ${theirs.from.name} (${theirs.from.id})`)
  }
  exchange.seal(seal(o, mine, theirs))
  const gone = o.isGone(theirs.from.id)
  exchange.send(gone ? { gone } : {})
  if (o.self.id < theirs.from.id) exchange.last()
  const reply = await exchange.receive()
  if (reply['proof'] === undefined) throw unproven()
  checkGone(o, theirs.from, gone, reply['gone'])
  checkChain(o.self, o.chain, theirs.from, theirs.chain)
  const link = mine.nonce
  o.onproven(theirs.from, link)
  if (o.self.id < theirs.from.id) return [{ peer: theirs.from, link, verdict: checkVerdict(reply['verdict'] === undefined ? (await exchange.receive())['verdict'] : reply['verdict']) }, theirs]
  const verdict = o.decide(theirs.from, link, undefined)
  exchange.send({ verdict })
  return [{ peer: theirs.from, link, verdict }, theirs]
}

async function answer(exchange: Exchange, o: HandshakeOptions): Promise<[Greeting, Hello]> {
  const theirs = checkHello(await exchange.receive(), o)
  o.onhello?.(theirs.from)
  if (theirs.expect !== undefined && theirs.expect !== o.self.id) {
    throw new StageError('WRONG_PEER', `expected the stage ${theirs.expect} here, found ${o.self.name} (${o.self.id})`)
  }
  const mine = hello(o)
  exchange.send(mine)
  exchange.seal(seal(o, theirs, mine))
  const proof = await exchange.receive()
  if (proof['proof'] === undefined) throw unproven()
  const gone = o.isGone(theirs.from.id)
  if (gone) exchange.send({ gone })
  checkGone(o, theirs.from, gone, proof['gone'])
  checkChain(o.self, o.chain, theirs.from, theirs.chain)
  const link = theirs.nonce
  o.onproven(theirs.from, link)
  if (o.self.id > theirs.from.id) {
    const verdict = o.decide(theirs.from, link, theirs.last)
    exchange.send({ verdict })
    return [{ peer: theirs.from, link, verdict }, theirs]
  }
  exchange.send({})
  exchange.last()
  return [{ peer: theirs.from, link, verdict: checkVerdict((await exchange.receive())['verdict']) }, theirs]
}

function hello(o: HandshakeOptions): Hello {
  return {
    protocol: [PROTOCOL, PROTOCOL],
    namespace: o.namespace,
    from: { id: o.self.id, name: o.self.name, addresses: o.self.addresses },
    nonce: o.random.bytes(32).toString('base64url'),
    chain: [...o.chain],
    ...(o.build ? { own: o.own ?? false } : {}),
    secret: o.secret !== undefined,
    ...(o.expect === undefined ? {} : { expect: o.expect }),
    ...(o.last === undefined ? {} : { last: o.last }),
  }
}

function checkHello(message: Record<string, unknown>, o: HandshakeOptions): Hello {
  const { protocol, namespace, from, nonce, chain, own, secret, expect, last } = message as Partial<Hello>
  if (!Array.isArray(protocol) || !protocol.every(Number.isInteger) || protocol.length !== 2) throw malformed('protocol', protocol)
  if (protocol[0] > PROTOCOL || protocol[1] < PROTOCOL) {
    throw new StageError('VERSION_MISMATCH', `this stage speaks protocol ${PROTOCOL}, the other ${protocol[0]} to ${protocol[1]}: run versions of stagemesh that overlap`)
  }
  if (namespace !== o.namespace) throw new StageError('WRONG_NAMESPACE', `${o.self.name} is in the namespace ${describe(o.namespace)}, and the stage that it met in ${describe(namespace)}`)
  if (typeof from !== 'object' || from === null || !isId(from.id) || !isName(from.name) || !isStrings(from.addresses) || !from.addresses.every(isAddress)) throw malformed('from', from)
  if (typeof nonce !== 'string' || nonce.length !== 43) throw malformed('nonce', nonce)
  if (!isStrings(chain)) throw malformed('chain', chain)
  if (own !== undefined && typeof own !== 'boolean') throw malformed('own', own)
  if (expect !== undefined && !isId(expect)) throw malformed('expect', expect)
  if (last !== undefined && (typeof (last as LastLink | null)?.of !== 'string' || (last.state !== 'closed' && last.state !== 'draining'))) throw malformed('last', last)
  if (from.id === o.self.id) throw new StageError('WRONG_PEER', `the stage ${from.name} (${from.id}) has reached itself: that address is its own`)
  return { protocol, namespace, from: { id: from.id, name: from.name, addresses: from.addresses }, nonce, chain, ...(own === undefined ? {} : { own }), secret: secret === true, ...(expect === undefined ? {} : { expect }), ...(last === undefined ? {} : { last: { of: last.of, state: last.state } }) }
}

const isId = (value: unknown): value is string => typeof value === 'string' && /^[\w-]{8,64}$/.test(value)
const isStrings = (value: unknown): value is string[] => Array.isArray(value) && value.length <= 32 && value.every((s) => typeof s === 'string' && s.length <= 256)

function checkChain(self: Identity, mine: readonly string[], other: Identity, theirs: readonly string[]): void {
  if (mine.length === theirs.length && mine.every((name, i) => name === theirs[i])) return
  const show = (chain: readonly string[]) => chain.length ? chain.join(' → ') : 'the bare stream'
  throw new StageError('CHAIN_MISMATCH', `both ends need the same chain: ${self.name} has ${show(mine)}, ${other.name} has ${show(theirs)}`)
}

/** What proves a message, given the JSON of what it says. */
interface Seal {
  ours(said: string): string
  theirs(said: string): string
}

/** Role labels and both nonces are in it: no proof can be replayed or reflected. The chain and names are covered as well. */
function seal(o: HandshakeOptions, dialler: Hello, listener: Hello): Seal {
  if ((o.secret !== undefined) !== (o.dialled ? listener : dialler).secret) {
    throw new StageError('AUTH_FAILED', 'one of the two stages has a secret and the other has none: give both the same `secret`')
  }
  if (o.secret === undefined) return { ours: () => '', theirs: () => '' }
  const key = Buffer.from(hkdfSync('sha256', o.secret, '', `stage1|${o.namespace}`, 32))
  const transcript = createHash('sha256').update(JSON.stringify(canonical(dialler))).update('\n').update(JSON.stringify(canonical(listener))).digest()
  const by = (role: string) => (said: string): string => createHmac('sha256', key).update(`stage1 ${role}\n`).update(transcript).update(said).digest('base64url')
  return o.dialled ? { ours: by('dialler'), theirs: by('listener') } : { ours: by('listener'), theirs: by('dialler') }
}

/** What of a message its proof covers: all that it says; a message that says nothing else is proven by the hellos alone. */
const covered = (said: object): string => Object.keys(said).length > 0 ? JSON.stringify(said) : ''

/** In one order of keys, whoever built it. */
const canonical = (h: Hello): unknown[] => [h.protocol, h.namespace, h.from.id, h.from.name, h.from.addresses, h.expect ?? null, h.nonce, h.chain, h.own ?? null, h.secret, h.last?.of ?? null, h.last?.state ?? null]

function checkProof(found: unknown, expected: string): void {
  const a = Buffer.from(typeof found === 'string' ? found : '?')
  const b = Buffer.from(expected)
  if (a.length !== b.length || !timingSafeEqual(a, b)) throw unproven()
}

const unproven = (): StageError => new StageError('AUTH_FAILED', 'the two stages have different secrets, or somebody between them changes what they say')

/** An id that one end has seen reported gone is no identity any more. It is the registry that says whether that is so. */
function checkGone(o: HandshakeOptions, other: Identity, gone: boolean, told: unknown): void {
  if (told === true) {
    o.ongone()
    throw new StageError('WRONG_PEER', `${other.name} (${other.id}) has seen this stage's id ${o.self.id} reported gone: the registry is asked whether it is`)
  }
  if (gone) throw new StageError('WRONG_PEER', `the stage ${other.name} (${other.id}) was reported gone; it has to come back with a new id`)
}

function checkVerdict(value: unknown): Verdict {
  const verdict = value as { ready?: unknown; duplicate?: unknown } | undefined
  if (typeof verdict?.ready === 'number') return { ready: verdict.ready }
  if (typeof verdict?.duplicate === 'string') return { duplicate: verdict.duplicate }
  throw malformed('verdict', value)
}

const malformed = (what: string, found: unknown): StageError => new StageError('PROTOCOL_ERROR', `malformed handshake: ${what} is ${describe(found)}`)

/** JSON messages on a bare stream, one at a time, within one span of time for all of them. */
class Exchange {
  readonly #timer
  /** Of the message whose head was read. */
  #length: number | undefined
  #waiting: { resolve(message: Record<string, unknown>): void; reject(error: Error): void } | undefined
  #error: Error | undefined
  #seal: Seal | undefined
  #last = false
  readonly #onreadable = () => this.#next()
  readonly #onend = () => this.#break(new StageError('DISCONNECTED', 'the connection ended during the handshake'))
  readonly #onerror = (error: Error) => this.#break(new StageError('DISCONNECTED', `the connection broke during the handshake: ${error.message}`, { cause: error }))

  constructor(private readonly stream: Duplex, private readonly clock: Clock) {
    this.#timer = clock.setTimeout(() => this.#break(new StageError('TIMEOUT', `no handshake within ${HANDSHAKE_MS} ms`, { phase: 'connecting' })), HANDSHAKE_MS)
    // not `data`: a stream that was paused once waits for a resume() that the next reader does not know of
    stream.on('readable', this.#onreadable)
    stream.on('end', this.#onend)
    stream.on('error', this.#onerror)
    stream.on('close', this.#onend)
  }

  /** Both hellos are known: from here on every message of either end is proven. */
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

  /** What comes next may be the other end's last word: if it is only late, that end goes on with the chain, and no message fits in there. */
  last(): void {
    this.#last = true
  }

  /** Tells the other end why, and ends the connection. */
  fail(error: unknown): void {
    if (this.stream.destroyed) return
    const told = error instanceof StageError && error.code !== 'DISCONNECTED' ? { code: error.code, message: error.message.slice(0, 1024) } : undefined
    const late = this.#last && told?.code === 'TIMEOUT'
    if (!told || late || this.#error instanceof StageError && this.#error.code === 'DISCONNECTED') return void this.stream.destroy()
    this.send({ error: told })
    // the reason must get through, but not wait for a peer that reads nothing
    const cut = this.clock.setTimeout(() => this.stream.destroy(), 1000)
    this.stream.once('close', () => cut.cancel())
    this.stream.end(() => this.stream.destroy())
  }

  /** Lets go of the stream. */
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

  /** Reads no byte more than a message has: what is behind it belongs to the chain, and must not end here. */
  #parse(): Record<string, unknown> | undefined {
    if (this.#length === undefined) {
      const head = this.stream.read(8) as Buffer | null
      if (!head) return undefined
      if (head.compare(MAGIC, 0, 4, 0, Math.min(4, head.length)) !== 0) throw new StageError('PROTOCOL_ERROR', `this is the port of a stage, and what came is ${foreign(head)}`)
      if (head.length < 8) return undefined // it ended
      const length = head.readUInt32BE(4)
      if (length > MAX_BYTES) throw new StageError('PROTOCOL_ERROR', `a handshake message of ${length} bytes; at most ${MAX_BYTES} are allowed`)
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

/** What an end that is not proven may say; with anything else it could end calls that another try would save. */
const TELLABLE: readonly Code[] = ['WRONG_PEER', 'WRONG_NAMESPACE', 'AUTH_FAILED', 'CHAIN_MISMATCH', 'VERSION_MISMATCH', 'PROTOCOL_ERROR', 'TIMEOUT']

/** An error as the other end tells it: only a code of our list, and a bounded text. */
function told(error: { code?: unknown; message?: unknown }): StageError {
  const code = TELLABLE.find((one) => one === error.code) ?? 'PROTOCOL_ERROR'
  const text = typeof error.message === 'string' ? error.message.slice(0, 1024) : 'no reason given'
  return new StageError(code, `as the other end puts it, ${text}`)
}

function foreign(bytes: Buffer): string {
  if (bytes[0] === 0x16 && bytes[1] === 0x03) return 'TLS'
  if (/^[A-Z]{3,8} |^HTTP/.test(bytes.toString('latin1', 0, 16))) return 'HTTP'
  return 'neither a stage nor anything known'
}
