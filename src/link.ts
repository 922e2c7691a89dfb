import type { Duplex } from 'node:stream'
import type { ChainLink } from './chain.js'
import { StageError, asError } from './errors.js'
import { Joined } from './joined.js'
import { judgeAt } from './judge.js'
import type { Clock, Link, Peer, Timer, Top } from './types.js'

export interface LinkOptions {
  id: string
  peer: Peer
  /** By what the peer has proven who it is. */
  proven?: string | undefined
  dialled: boolean
  loopback?: boolean
  stream: Duplex
  chain: readonly ChainLink[]
  clock: Clock
  idleMs: number
  /** Asked before an idle link is closed. */
  kept(): boolean
  /** The peer, or idleness, asks that nothing new is sent over the link. */
  onretire(link: LiveLink, leaving: boolean): void
  onclose(link: LiveLink, error: StageError | undefined): void
  onstream(stream: Duplex, peer: Peer): boolean
}

const PING_MS = 10_000
const PONG_MS = 5000
export const DRAIN_MS = 9000
const LINGER_MS = 1000

const ignore = () => {}

const withProof = (peer: Peer, proven: string | undefined): Peer => proven === undefined ? peer : { ...peer, proven }

/** The promise of a foreign method, which may throw or return no promise. */
const given = (method: () => unknown): Promise<unknown> => new Promise((resolve) => resolve(method()))

/** A view of a link with the output of one layer as its top. */
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

/** One established connection: the chain on its stream, its pings, and its single end. */
export class LiveLink implements Link {
  readonly id: string
  readonly dialled: boolean
  readonly loopback: boolean
  /** The end that each layer holds. A plain object, as `peer` is read for every call. */
  readonly #end: { peer: Peer; readonly dialled: boolean }
  readonly top: Top
  /** The stream of each wrapper, in the order of the chain. */
  readonly outputs: readonly Top[]
  load = 0
  open = true
  /** True once both ends have built their chains: the link is, or was, the link of the pair. */
  stands = false
  /** Why the link ended; undefined after a goodbye. */
  error: StageError | undefined
  readonly since: number
  /** The address of the carrier's other end, if it has any, for the log. */
  readonly remote: string | undefined
  readonly #joined: Joined
  readonly #pinger: Top | undefined
  readonly #keeper: Top
  readonly #seen = new Map<Top, Link>()
  closed = false
  /** A goodbye is under way: the end of the link is no longer a failure. */
  #parting = false
  #pulse: Timer | undefined
  /** A ping was sent, and is not answered yet. */
  #pinging = false
  #idle: Timer | undefined
  /** Callbacks for the end of the link. */
  readonly #waiting = new Set<() => void>()

  /** @throws StageError BAD_ARGUMENT which wrapper failed; the carrier stays as it was */
  constructor(private readonly options: LinkOptions) {
    const { id, peer, dialled, stream, chain, clock } = options
    this.id = id
    this.dialled = dialled
    this.loopback = options.loopback ?? false
    this.since = clock.now()
    const { remoteAddress, remotePort } = stream as Partial<Record<'remoteAddress' | 'remotePort', unknown>>
    const port = typeof remotePort === 'number' ? ` ${remotePort}` : ''
    this.remote = typeof remoteAddress === 'string' ? `${remoteAddress}${port}` : undefined
    this.#end = { peer: withProof(peer, options.proven), dialled }
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
    // a foreign stream may be frozen
    Reflect.set(top, 'onstream', (opened: Duplex) => options.onstream(opened, this.peer))
    Reflect.set(this.#keeper, 'ondrain', (leaving: boolean) => { this.#parting = true; options.onretire(this, leaving) })
  }

  start(): void {
    this.stands = true
    this.#beat()
    this.#watchIdle()
  }

  /** A wrapper's stream failed, rather than the carrier. */
  get byWrapper(): boolean {
    return this.#joined.byWrapper
  }

  get peer(): Peer {
    return this.#end.peer
  }

  /** The peer's description has changed: all layers see the new one from now on. */
  describe(peer: Peer): void {
    this.#end.peer = withProof(peer, this.options.proven)
  }

  /** The same link, as the layer at `index` of the chain sees it. */
  seenBy(index: number): Link {
    const output = this.outputs[index]
    if (output === this.top) return this
    let seen = this.#seen.get(output)
    if (!seen) this.#seen.set(output, seen = new LinkView(this, output))
    return seen
  }

  /** Pings now, because the peer is likely gone. */
  probe(): void {
    if (this.closed || this.loopback || this.#pinging) return // the awaited answer is due sooner
    this.#pulse?.cancel()
    this.#beat(0)
  }

  /**
   * Ends the link at once; calls in flight fail with DISCONNECTED.
   * @param reason  the cause of the end; without it the end is a goodbye, if both directions were ended
   * @param why     what happened, for the message if there is no `reason`
   */
  close(reason?: unknown, why = 'it ended without a goodbye'): void {
    if (this.closed) return
    this.closed = true
    this.open = false
    this.#pulse?.cancel()
    this.#idle?.cancel()
    for (const done of [...this.#waiting]) done()
    // without a goodbye in the chain, the end of both directions counts as a goodbye; after a goodbye there is nothing to lose
    const { readableEnded, writableFinished } = this.top
    const clean = reason === undefined ? this.#parting || this.#joined.parted : this.#parting && readableEnded && writableFinished
    const error = this.error = clean ? undefined : this.#lost(reason, why)
    this.#joined.destroy(error)
    this.options.onclose(this, error)
  }

  /** Ends the link when work in progress has ended, or after `drainMs` if one of the two stages leaves. Never rejects. */
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

  /** Resolves when the link has closed. */
  async ended(): Promise<void> {
    if (!this.closed) await this.#atMost(Infinity, new Promise(ignore))
  }

  /** Resolves with `promise`, at the end of the link, or after `ms`. Several callers may wait, as both ends can begin to part. */
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

  /** Pings find a dead peer within 15 s (P8). TCP notices a dead peer after minutes, and a half-open connection never. */
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
   * Judges the peer when its answer is late, regardless of other traffic. Bytes that the carrier still takes are no sign of
   * life, as a kernel takes megabytes for a peer that is gone; nor do bytes from the peer show that it hears us.
   */
  #await(): void {
    const { clock } = this.options
    const due = clock.now() + PONG_MS
    const judge = (): void => {
      const { peer } = this
      const full = this.#pinger?.full ?? false
      const why = `${peer.name} (${peer.id}) did not answer a ping within ${PONG_MS} ms`
      this.close(full
        ? new StageError('SLOW_PEER', `${why}, and reads none of the data sent to it`, { executed: 'unknown', peer })
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
