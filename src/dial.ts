import type { Duplex } from 'node:stream'
import { StageError, asError } from './errors.js'
import { judgeAt } from './judge.js'
import { jitter } from './random.js'
import { within } from './within.js'
import type { Clock, Interface, Peer, Random, Timer } from './types.js'

const BACKOFF_MS = 100
const BACKOFF_FACTOR = 1.6
const BACKOFF_MAX_MS = 10_000
const CONNECT_MS = 5000
/** The limit for the handshake if there are other addresses, so that the last is tried within the default deadline. */
const HURRY_MS = 2000
/** How long an address has before the next one is tried beside it. */
const HEAD_START_MS = 250
/** The cost of an interface that does not state any. */
const COST = 2

/** Milliseconds before the next dial, after `failures` failed dials in a row. */
export function backoffMs(random: Random, failures: number): number {
  if (failures === 0) return 0
  return jitter(random, Math.min(BACKOFF_MS * BACKOFF_FACTOR ** (failures - 1), BACKOFF_MAX_MS), 0.2)
}

/** Nobody listens there. No other failure says that the process is gone, rather than the way to it. */
export const refuses = (error: StageError): boolean => codeOf(error.cause) === 'ECONNREFUSED' && !isNoPlace(error)

/**
 * The place does not exist, as when a cleaner deleted a socket's file, or it lies within another process. Such a failure
 * tells nothing about the process that listened there.
 */
const isNoPlace = ({ cause }: StageError): boolean => codeOf(cause) === 'ENOENT' || codeOf((cause as Error | undefined)?.cause) === 'ENOENT'

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code

/** An address of a peer, and the interface for it. */
interface Way {
  readonly address: string
  readonly through: Interface
}

/** How a dial treats connections, and its reports. */
export interface DialOptions {
  clock: Clock
  interfaces: readonly Interface[]
  signal: AbortSignal
  /**
   * Runs the handshake and acts on it; rejects if the address is no good, and resolves with an error if no other address would
   * be better.
   */
  greet(stream: Duplex, through: Interface, address: string): Promise<StageError | undefined>
  /** The address did not lead to the peer. Not called for places within another process. */
  onunreachable?(address: string, error: StageError): void
}

/**
 * Tries every address of a peer once, the cheapest first, until one is connected and greeted. An address is only a note
 * that somebody made: it may belong to this process, to this machine, or to another machine behind the same name. So an
 * address that is silent gets a head start, and then the next one is tried beside it (RFC 8305).
 * @returns  the error of `greet`, or why none of the addresses is good, each named; undefined once an address was greeted, or if
 *           `signal` fired
 */
export async function dial(peer: Peer, options: DialOptions): Promise<StageError | undefined> {
  const ways = cheapest(peer.addresses, options.interfaces)
  if (ways.length > 0) return new Race(peer, ways, options).run()
  const [listed, schemes] = [peer.addresses.join(', ') || 'none', options.interfaces.flatMap(schemesOf).join(', ')]
  const why = `has no address that this stage can dial: it lists ${listed}, this stage has interfaces for ${schemes}`
  return new StageError('DISCONNECTED', `${peer.name} (${peer.id}) ${why}`, { peer })
}

const ignore = (): void => {}
const FASTER = new Error('another address of the peer was faster')

/** The ways of one dial. Several may be connecting; connections are greeted one at a time, in the order in which they came. */
class Race {
  readonly #failures: StageError[] = []
  readonly #ending = new AbortController()
  /** Connections that wait to be greeted. */
  readonly #ready: { stream: Duplex; index: number }[] = []
  /** Ways that were begun and have not failed. */
  #open = 0
  #begun = 0
  #greeting = false
  #head: Timer | undefined
  #resolve!: (result: StageError | undefined) => void
  #over = false

  constructor(private readonly peer: Peer, private readonly ways: readonly Way[], private readonly options: DialOptions) {}

  run(): Promise<StageError | undefined> {
    const { signal } = this.options
    const give = (): void => {
      this.#head?.cancel()
      this.#ending.abort(signal.reason)
    }
    signal.addEventListener('abort', give, { once: true })
    return new Promise<StageError | undefined>((resolve) => {
      this.#resolve = resolve
      this.#begin()
    }).finally(() => signal.removeEventListener('abort', give))
  }

  #begin(): void {
    const index = this.#begun++
    const { address, through } = this.ways[index]
    const { clock } = this.options
    this.#open++
    this.#head?.cancel()
    this.#head = this.#begun < this.ways.length ? clock.setTimeout(() => this.#begin(), HEAD_START_MS) : undefined
    connect(through, address, clock, this.#ending.signal).then((stream) => {
      stream.on('error', ignore) // not a closure, which would keep the race as long as the link
      if (this.#over) return void stream.destroy()
      this.#ready.push({ stream, index })
      this.#greet()
    }, (thrown: unknown) => this.#fail(index, thrown))
  }

  #greet(): void {
    const next = this.#greeting ? undefined : this.#ready.shift()
    if (!next) return
    this.#greeting = true
    const { clock, greet } = this.options
    const { stream, index } = next
    const hurry = this.#open > 1 || this.#begun < this.ways.length
    const late = hurry ? judgeAt(clock, clock.now() + HURRY_MS, () => stream.destroy(tooLate(HURRY_MS))) : undefined
    const { address, through } = this.ways[index]
    greet(stream, through, address).finally(() => late?.cancel()).then((result) => this.#end(result), (thrown: unknown) => {
      this.#greeting = false
      this.#fail(index, thrown)
      this.#greet()
    })
  }

  #fail(index: number, thrown: unknown): void {
    const { signal, onunreachable } = this.options
    if (this.#over) return
    if (signal.aborted) return this.#end(undefined)
    this.#open--
    const { address } = this.ways[index]
    const cause = asError(thrown)
    const error = new StageError(cause instanceof StageError ? cause.code : 'DISCONNECTED', `${address}: ${cause.message}`, { cause, peer: this.peer })
    this.#failures[index] = error
    if (!isNoPlace(error)) onunreachable?.(address, error)
    if (this.#begun < this.ways.length) this.#begin()
    else if (this.#open === 0) this.#end(verdict(this.#failures.filter(Boolean), this.peer))
  }

  #end(result: StageError | undefined): void {
    this.#over = true
    this.#head?.cancel()
    for (const { stream } of this.#ready) stream.destroy()
    // the winner and the losers count alike: with one alone, there is nothing to abort
    if (this.#open > 1) this.#ending.abort(FASTER)
    this.#resolve(result)
  }
}

/** Why none of the addresses is good: that they refuse only if every one says so, apart from missing places. */
function verdict(failures: readonly StageError[], peer: Peer): StageError {
  const others = failures.filter((one) => !refuses(one) && !isNoPlace(one))
  const told = others.length > 0 ? others : failures
  const first = told.find(refuses) ?? told[0]
  if (told.length === 1) return first
  return new StageError(first.code, told.map((one) => one.message).join('; '), { cause: first.cause, peer })
}

export const schemesOf = (one: Interface): readonly string[] => one.dials ?? [one.scheme]

/** The interface that dials such an address, if there is any. */
export const interfaceFor = (address: string, interfaces: readonly Interface[]): Interface | undefined =>
  interfaces.find((one) => schemesOf(one).some((scheme) => address.startsWith(`${scheme}://`)))

/** The addresses with a matching interface, the cheapest first; equal costs keep the order in which the peer lists them. */
function cheapest(addresses: readonly string[], interfaces: readonly Interface[]): Way[] {
  const ways = addresses.flatMap((address) => {
    const through = interfaceFor(address, interfaces)
    return through ? [{ address, through }] : []
  })
  return ways.sort((a, b) => (a.through.cost ?? COST) - (b.through.cost ?? COST))
}

const tooLate = (ms: number): StageError => new StageError('TIMEOUT', `no answer within ${ms} ms`, { phase: 'connecting' })

async function connect(through: Interface, address: string, clock: Clock, signal: AbortSignal): Promise<Duplex> {
  const attempt = new AbortController()
  const give = (): void => attempt.abort(signal.reason)
  signal.addEventListener('abort', give, { once: true })
  try {
    const connecting = through.connect(address, attempt.signal)
    // an interface may not heed the signal
    connecting.then((stream) => { if (attempt.signal.aborted) stream.destroy() }, () => {})
    return await within(clock, CONNECT_MS, connecting, () => {
      const late = tooLate(CONNECT_MS)
      attempt.abort(late)
      return late
    })
  } finally {
    signal.removeEventListener('abort', give)
  }
}
