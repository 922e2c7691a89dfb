import type { Duplex } from 'node:stream'
import type { ChainLink } from './chain.js'
import { StageError, asError } from './errors.js'
import { Joined } from './joined.js'
import { judgeAt } from './judge.js'
import type { Clock, Link, Peer, Timer, Top } from './types.js'

export interface LinkOptions {
  id: string
  peer: Peer
  dialled: boolean
  loopback?: boolean
  stream: Duplex
  chain: readonly ChainLink[]
  clock: Clock
  idleMs: number
  /** Asked before an idle link is closed. */
  kept(): boolean
  /** The peer, or idleness, asks that nothing new is sent over it. */
  onretire(link: LiveLink, leaving: boolean): void
  onclose(link: LiveLink, error: StageError | undefined): void
  onstream(stream: Duplex, peer: Peer): boolean
}

const PING_MS = 10_000
const PONG_MS = 5000
export const DRAIN_MS = 9000
const LINGER_MS = 1000

const ignore = () => {}

/** The promise of a method that is somebody else's, and may throw or return none. */
const given = (method: () => unknown): Promise<unknown> => new Promise((resolve) => resolve(method()))

/** A link with the output of one layer as its top. */
class LinkView implements Link {
  constructor(private readonly link: LiveLink, readonly top: Top) {}

  get id(): string { return this.link.id }
  get peer(): Peer { return this.link.peer }
  get dialled(): boolean { return this.link.dialled }
  get loopback(): boolean { return this.link.loopback }
  get open(): boolean { return this.link.open }
  get load(): number { return this.link.load }
  set load(load: number) { this.link.load = load }
}

/** One established connection: the chain on its stream, its pulse, and its one end. */
export class LiveLink implements Link {
  readonly id: string
  readonly dialled: boolean
  readonly loopback: boolean
  /** What each layer holds of it. A plain object, as `peer` is read for every call. */
  readonly #end: { peer: Peer; readonly dialled: boolean }
  readonly top: Top
  /** What each wrapper returned, in the order of the chain. */
  readonly outputs: readonly Top[]
  load = 0
  open = true
  /** Both ends have built their chains: it is the link of the pair, or was. */
  stands = false
  /** Why it ended, unless with a goodbye. */
  error: StageError | undefined
  readonly since: number
  /** The other end of its carrier, where that has an address: for the log. */
  readonly remote: string | undefined
  readonly #joined: Joined
  readonly #pinger: Top | undefined
  readonly #keeper: Top
  readonly #seen = new Map<Top, Link>()
  closed = false
  /** Saying goodbye: its end is no longer a failure. */
  #parting = false
  #pulse: Timer | undefined
  /** A ping was sent, and not answered. */
  #pinging = false
  #idle: Timer | undefined
  /** Those that wait for its end. */
  readonly #waiting = new Set<() => void>()

  /** @throws StageError BAD_ARGUMENT which wrapper failed; the carrier is as it was then */
  constructor(private readonly options: LinkOptions) {
    const { id, peer, dialled, stream, chain, clock } = options
    this.id = id
    this.dialled = dialled
    this.loopback = options.loopback ?? false
    this.since = clock.now()
    const { remoteAddress, remotePort } = stream as Partial<Record<'remoteAddress' | 'remotePort', unknown>>
    const port = typeof remotePort === 'number' ? ` ${remotePort}` : ''
    this.remote = typeof remoteAddress === 'string' ? `${remoteAddress}${port}` : undefined
    this.#end = { peer, dialled }
    this.#joined = new Joined({
      carrier: stream, chain, clock,
      end: this.#end,
      onover: () => options.onretire(this, false),
      onend: (reason, why) => this.close(reason, why),
    })
    const { top, outputs } = this.#joined
    this.top = top
    this.outputs = outputs
    this.#pinger = outputs.find((output) => typeof output.ping === 'function')
    this.#keeper = outputs.findLast((output) => typeof output.drain === 'function') ?? top
    // a stream of somebody else's may be frozen
    Reflect.set(top, 'onstream', (opened: Duplex) => options.onstream(opened, this.peer))
    Reflect.set(this.#keeper, 'ondrain', (leaving: boolean) => { this.#parting = true; options.onretire(this, leaving) })
  }

  start(): void {
    this.stands = true
    this.#beat()
    this.#watchIdle()
  }

  /** A wrapper's stream failed, and not the carrier. */
  get byWrapper(): boolean {
    return this.#joined.byWrapper
  }

  get peer(): Peer {
    return this.#end.peer
  }

  /** What is known of its peer has changed: all layers see that from now on. */
  describe(peer: Peer): void {
    this.#end.peer = peer
  }

  /** The same link as the layer at `index` of the chain knows it. */
  seenBy(index: number): Link {
    const output = this.outputs[index]
    if (output === this.top) return this
    let seen = this.#seen.get(output)
    if (!seen) this.#seen.set(output, seen = new LinkView(this, output))
    return seen
  }

  /** Pings now: something was learned that makes its end likely. */
  probe(): void {
    if (this.closed || this.loopback || this.#pinging) return // the answer that is awaited is due sooner
    this.#pulse?.cancel()
    this.#beat(0)
  }

  /**
   * Ends it at once; what was under way on it fails with DISCONNECTED.
   * @param reason  what ends it; without one it is a goodbye if both directions were ended
   * @param why     what happened, for the message where it is none
   */
  close(reason?: unknown, why = 'it ended without a goodbye'): void {
    if (this.closed) return
    this.closed = true
    this.open = false
    this.#pulse?.cancel()
    this.#idle?.cancel()
    for (const done of [...this.#waiting]) done()
    // in a chain without a goodbye of its own, the end of both directions is one; behind a goodbye there is nothing to lose
    const { readableEnded, writableFinished } = this.top
    const clean = reason === undefined ? this.#parting || this.#joined.parted : this.#parting && readableEnded && writableFinished
    const error = this.error = clean ? undefined : this.#lost(reason, why)
    this.#joined.destroy(error)
    this.options.onclose(this, error)
  }

  /** Ends it when what was begun has ended, or, where one of us leaves, `drainMs` have passed. Never rejects. */
  async retire(leaving: boolean, drainMs = leaving ? DRAIN_MS : Infinity): Promise<void> {
    if (this.closed) return
    this.open = false
    this.#parting = true
    this.#idle?.cancel()
    const drain = typeof this.#keeper.drain === 'function' ? this.#keeper.drain : undefined
    await this.#atMost(drainMs, given(() => drain?.call(this.#keeper, leaving)).catch((error: unknown) => this.close(error)))
    if (this.closed) return
    this.#joined.end(drain !== undefined)
    await this.#atMost(LINGER_MS, new Promise(ignore))
    this.close()
  }

  /** Resolves with `promise`, when the link is over, or after so long. Several may wait, as both ends can begin to part. */
  #atMost(ms: number, promise: Promise<unknown> = Promise.resolve()): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer?.cancel()
        this.#waiting.delete(done)
        resolve()
      }
      const timer = ms === Infinity ? undefined : this.options.clock.setTimeout(done, ms)
      this.#waiting.add(done)
      void promise.then(done)
    })
  }

  #lost(reason: unknown, why: string): StageError {
    const { peer } = this
    if (reason instanceof StageError) return reason
    const said = reason === undefined ? why : asError(reason).message
    return new StageError('DISCONNECTED', `the link to ${peer.name} (${peer.id}) is gone: ${said}`, { executed: 'unknown', cause: reason, peer })
  }

  /** TCP notices a dead peer after minutes, and a half-open one never: this does, within 15 s (P8). */
  #beat(afterMs = PING_MS): void {
    const { clock } = this.options
    const pinger = this.#pinger
    if (!pinger?.ping) return
    this.#pulse = clock.setTimeout(() => {
      this.#await()
      this.#pinging = true
      given(() => pinger.ping?.()).then(() => {
        this.#pinging = false
        this.#pulse?.cancel()
        if (!this.closed) this.#beat()
      }, ignore)
    }, afterMs)
  }

  /**
   * Judges the peer when its answer is late, whatever else goes on. What the carrier still takes is no sign of life, as a
   * kernel takes megabytes for a peer that is gone; nor is what comes of the peer a sign that it hears us.
   */
  #await(): void {
    const { clock } = this.options
    const due = clock.now() + PONG_MS
    const judge = (): void => {
      const { peer } = this
      const full = this.#pinger?.full ?? false
      const why = `${peer.name} (${peer.id}) did not answer a ping within ${PONG_MS} ms`
      this.close(full
        ? new StageError('SLOW_PEER', `${why}, and takes nothing of what is sent to it`, { executed: 'unknown', peer })
        : new StageError('DISCONNECTED', why, { executed: 'unknown', peer }))
    }
    this.#pulse = judgeAt(clock, due, judge)
  }

  #watchIdle(): void {
    const { clock, idleMs, kept } = this.options
    const keeper = this.#keeper
    if (keeper.idle === undefined) return
    const { uses } = keeper
    this.#idle = clock.setTimeout(() => {
      if (keeper.idle && keeper.uses === uses && !kept()) this.options.onretire(this, false)
      else this.#watchIdle()
    }, idleMs)
  }
}
