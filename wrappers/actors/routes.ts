import { either, onAbort } from '../../src/abort.js'
import { cancelled } from '../../src/bounded.js'
import { StageError } from '../../src/errors.js'
import { byKey } from '../../src/rendezvous.js'
import type { Link, Mesh, Peer } from '../../src/types.js'
import type { Outgoing, Rpc } from '../rpc/rpc.js'
import type { Asking } from './activation.js'
import { announced } from './address.js'
import { copied, copiedAll, copiedError } from './copy.js'
import { announcedBy, type Hosting } from './hosting.js'
import type { Inherited } from './self.js'
import { prepare } from './tasks.js'
import { Turn, moved, movedTo } from './turn.js'
import type { ActorCallOptions } from './types.js'

export const CALL = '@call'
export const LOCATE = '@locate'

/** The owner says where the time went, and its word takes a while to come. */
export const WORD_MS = 60
const HOPS_MAX = 3
const ROUTES_MAX = 10_000
const LOCATE_MS = 10_000
const PAUSE_MS = 50
const PAUSE_MAX_MS = 1000
const DEPTH_MAX = 32
/** Another try cannot mend these. */
const FINAL: ReadonlySet<string> = new Set(['CLOSED', 'BAD_ARGUMENT', 'BAD_NAME', 'OVERLOADED', 'AUTH_FAILED'])

/** Why a stage could not be asked: of a call that waits for that the deadline passes. */
const UNREACHED: ReadonlySet<string> = new Set(['DISCONNECTED', 'NO_SUCH_PEER', 'WRONG_PEER', 'REFUSED', 'CANCELLED', 'SLOW_PEER'])

const NONE: readonly string[] = []

/** One call of an actor, from its first wait to its one end. */
export class ActorCall implements Outgoing {
  readonly endsAt: number
  readonly depth: number
  readonly chain: readonly string[]
  carried?: readonly object[]
  /** Order in which they were made. */
  seq = 0
  hops = 0
  /** What runs it, where that is this stage. */
  turn: Turn | undefined
  /** Over which it went, under this id, where it is another. */
  link: Link<Rpc> | undefined
  id = 0
  #unlisten: (() => void) | undefined
  #over = false

  constructor(
    readonly route: Route,
    /** Of the actor; `@…` where the library asks for something. */
    readonly name: string,
    readonly own: readonly unknown[],
    /** When it was made; by the clock's `now()`. */
    readonly since: number,
    readonly deadline: number,
    private readonly signal: AbortSignal | undefined,
    inherited: Inherited | undefined,
    private readonly done: (error: StageError | null, value?: unknown) => void,
  ) {
    this.endsAt = deadline + WORD_MS
    this.depth = inherited ? inherited.depth + 1 : 0
    this.chain = inherited?.chain ?? NONE
  }

  /** For messages. */
  get method(): string {
    return `${this.name} of ${this.route.address}`
  }

  /** As they go over a link. */
  get args(): readonly unknown[] {
    return this.chain.length > 0 ? [this.route.address, this.name, this.own, this.chain] : [this.route.address, this.name, this.own]
  }

  get over(): boolean {
    return this.#over
  }

  start(): void {
    const { signal } = this
    if (this.depth > DEPTH_MAX) return this.end(new StageError('REFUSED', `a chain of more than ${DEPTH_MAX} calls: do they call each other in a circle?`))
    if (signal?.aborted) return this.end(cancelled(signal))
    if (signal) this.#unlisten = onAbort(signal, () => this.cancel(new StageError('CANCELLED', `${this.method} was cancelled by its signal`, { cause: signal.reason })))
    this.route.add(this)
  }

  cancel(error: StageError): void {
    if (this.#over) return
    if (this.turn) return this.#leave(this.turn, error)
    const unsent = !this.link || this.route.withdraw(this, this.link, error)
    this.end(new StageError(error.code, error.message, { executed: unsent ? 'no' : 'unknown', cause: error.cause }))
  }

  #leave(turn: Turn, { code, message, cause }: StageError): void {
    const error = new StageError(code, message, { executed: turn.id === 0 ? 'no' : 'unknown', cause })
    turn.cancel(error)
    this.end(error)
  }

  /** It was sent, and has not come back. */
  get under(): boolean {
    return this.turn !== undefined || this.link !== undefined
  }

  /** What came of it where it was sent to. */
  settle(error: StageError | null, value?: unknown): void {
    this.route.settled(this, error, value)
  }

  end(error: StageError | null, value?: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#unlisten?.()
    this.route.forget(this)
    this.done(error, value)
  }
}

/** The way to one actor: which stage has it, and the calls that wait to know that, in the order in which they were made. */
export class Route {
  /** The id of the stage that has the claim, as far as is known. */
  owner: string | undefined
  #link: Link<Rpc> | undefined
  #queue: ActorCall[] = []
  /** Sent to the present owner and not answered. */
  #flying = 0
  #seq = 0
  #locating = false
  #hint: string | undefined
  /** Why it is not known yet. */
  #failure: StageError | undefined

  constructor(readonly address: string, private readonly routes: Routes) {}

  get busy(): boolean {
    return this.#queue.length > 0 || this.#flying > 0 || this.#locating
  }

  add(call: ActorCall): void {
    call.seq = ++this.#seq
    if (this.#queue.length === 0 && this.owner !== undefined && !this.#locating) return this.#send(call)
    this.#queue.push(call)
    this.#seek()
    if (!call.over) this.routes.note(call)
  }

  /** It has ended, however. */
  forget(call: ActorCall): void {
    const at = this.#queue.indexOf(call)
    if (at >= 0) this.#queue.splice(at, 1)
    this.routes.unnote(call)
  }

  /** Nobody waits for one that was sent. @returns whether it has not left */
  withdraw(call: ActorCall, link: Link<Rpc>, reason: StageError): boolean {
    call.link = undefined
    const unsent = link.top.cancel(call.id, reason)
    this.#flying--
    this.#seek()
    return unsent
  }

  /** Its deadline has passed before it could be sent. */
  expire(call: ActorCall): void {
    const failure = this.#failure
    if (!failure) return call.end(this.routes.why(this.address, call.method))
    const { code, message } = failure
    call.end(new StageError(UNREACHED.has(code) ? 'TIMEOUT' : code, `${call.method} was not sent in time: ${message}`, { phase: 'connecting', executed: 'no', cause: failure }))
  }

  settled(call: ActorCall, error: StageError | null, value: unknown): void {
    this.#flying--
    call.link = call.turn = undefined
    const to = error && this.#elsewhere(error)
    if (to !== undefined && to !== null && !call.over) {
      // those behind it wait until all that were sent have come back, so that none overtakes another
      this.owner = undefined
      this.#hint = to
      const at = this.#queue.findIndex((one) => one.seq > call.seq)
      if (at < 0) this.#queue.push(call)
      else this.#queue.splice(at, 0, call)
      this.routes.note(call)
      if (++call.hops > HOPS_MAX) call.end(new StageError('REFUSED', `${this.address} moved ${HOPS_MAX} times while it was called`))
    } else {
      if (error?.code === 'DISCONNECTED') this.#lose()
      call.end(error, value)
    }
    this.#seek()
  }

  /** Where to go with a call that certainly did not run; '' if that is not known. */
  #elsewhere(error: StageError): string | undefined {
    const to = movedTo(error)
    if (to !== undefined) return to
    return error.executed === 'no' && (error.code === 'REFUSED' || error.code === 'DISCONNECTED' || error.code === 'FENCED') && !/chain of more/.test(error.message) ? '' : undefined
  }

  #lose(): void {
    this.owner = undefined
    this.#link = undefined
  }

  /** The stage goes on with another id. */
  reset(): void {
    this.#lose()
    this.#hint = undefined
  }

  #send(call: ActorCall): void {
    const { routes } = this
    this.#flying++
    if (this.owner === routes.mesh.id) return routes.local(this.address, call)
    const link = this.#link
    if (!link?.open) return this.settled(call, moved(this.address, this.owner), undefined)
    try {
      call.id = link.top.send(call, CALL)
      call.link = link
    } catch (error) {
      this.settled(call, error as StageError, undefined)
    }
  }

  /** Finds out where it is, if anybody waits for that and nothing is under way to where it was. */
  #seek(): void {
    if (this.#locating || this.#queue.length === 0) return
    if (this.owner !== undefined) return this.#flush()
    if (this.#flying > 0) return
    this.#locating = true
    void this.#locate().then(() => {
      this.#locating = false
      if (this.owner === undefined) return this.#seek()
      this.#flush()
    })
  }

  #flush(): void {
    while (this.owner !== undefined && !this.#locating) {
      const call = this.#queue.shift()
      if (!call) return
      this.#send(call)
    }
  }

  async #locate(): Promise<void> {
    const { routes } = this
    const tried = new Set<string>()
    let hint = this.#hint
    let hops = 0
    let pause = PAUSE_MS
    this.#hint = undefined
    this.#link = undefined
    while (this.#queue.length > 0) {
      const candidate = (hint ? routes.find(hint) : undefined) ?? await routes.choose(this.address, tried)
      hint = undefined
      if (!candidate) {
        await routes.change(pause)
        pause = Math.min(PAUSE_MAX_MS, pause * 2)
        tried.clear()
        hops = 0
        continue
      }
      try {
        const { owner, link } = await routes.ask(candidate, this.address, this.#queue[0])
        if (owner === candidate.id) {
          this.owner = owner
          this.#link = link
          this.#failure = undefined
          return
        }
        tried.add(candidate.id)
        if (owner && !tried.has(owner) && hops++ < HOPS_MAX) hint = owner
      } catch (error) {
        const failure = error as StageError
        tried.add(candidate.id)
        this.#failure = failure
        if (FINAL.has(failure.code)) for (const call of [...this.#queue]) call.end(new StageError(failure.code, failure.message, { executed: 'no', cause: failure.cause }))
      }
    }
  }
}

/** The ways to all actors that this stage calls. */
export class Routes {
  readonly #byAddress = new Map<string, Route>()
  /** Calls that wait to be sent. */
  readonly #waiting = new Set<ActorCall>()
  readonly #changes = new Set<() => void>()
  readonly #unsweep: () => void
  #leaving = false
  #closed = false

  constructor(readonly mesh: Mesh<Rpc>, private readonly hosting: Hosting) {
    this.#unsweep = mesh.deadlines.add((now) => this.#sweep(now))
  }

  call(address: string, name: string, args: readonly unknown[], options: ActorCallOptions, inherited: Inherited | undefined, done: (error: StageError | null, value?: unknown) => void): void {
    const { clock, timeoutMs } = this.mesh
    if (this.#closed || (this.#leaving && !inherited)) return done(new StageError('CLOSED', 'this stage is closed'))
    const now = clock.now()
    const endsAt = Math.min(now + (options.timeoutMs ?? timeoutMs), inherited?.endsAt ?? Infinity)
    const signal = options.signal && inherited?.signal ? either(inherited.signal, options.signal) : options.signal ?? inherited?.signal
    new ActorCall(this.route(address), name, args, now, endsAt, signal, inherited, done).start()
  }

  route(address: string): Route {
    let route = this.#byAddress.get(address)
    if (route) return route
    if (this.#byAddress.size >= ROUTES_MAX) this.#trim()
    route = new Route(address, this)
    this.#byAddress.set(address, route)
    return route
  }

  get stats(): Record<string, number> {
    return { actorCalls: this.#waiting.size }
  }

  note(call: ActorCall): void {
    this.#waiting.add(call)
    this.mesh.deadlines.note(call.deadline)
  }

  /** It has ended: nothing holds it until its deadline. */
  unnote(call: ActorCall): void {
    this.#waiting.delete(call)
  }

  /** Runs a call here: without a link, and as if there were one. */
  local(address: string, call: ActorCall): void {
    const share = this.hosting.active(address)?.definition.share ?? this.hosting.typeOf(address)?.share ?? false
    let args = call.own
    try {
      if (!share) args = copiedAll(args)
    } catch (error) {
      return call.settle(error as StageError)
    }
    const turn = new Turn(call.name, args, call.deadline, call.depth, call.chain, (error, value) => {
      try {
        if (share) call.settle(error, value)
        else if (error) call.settle(copiedError(error))
        else call.settle(null, copied(value))
      } catch (failure) {
        call.settle(new StageError('BAD_ARGUMENT', `what ${call.method} returned cannot be sent: ${(failure as Error).message}`, { executed: 'yes' }))
      }
    })
    prepare(turn)
    turn.since = call.since
    call.turn = turn
    this.hosting.receive(address, turn)
  }

  /** A stage by its id. */
  find(id: string): Peer | undefined {
    const { self } = this.mesh
    return id === self.id ? self : this.mesh.peers().find((peer) => peer.id === id)
  }

  /** Whom to ask first: by the address alone, so that all ask the same one. */
  async choose(address: string, tried: ReadonlySet<string>): Promise<Peer | undefined> {
    const { mesh, hosting } = this
    if (hosting.hosts(address) && hosting.typeOf(address)?.local && !tried.has(mesh.id)) return mesh.self
    const hosts: Peer[] = mesh.peers().filter((peer) => announcedBy(peer.announces)?.types.some((type) => announced(type)?.match(address)))
    if (hosting.hosts(address)) hosts.push(mesh.self)
    const found = byKey(hosts, address, tried)
    if (found || hosts.length > 0) return found
    // no type tells: somebody may host a single object there, and only the store knows who
    if (!mesh.peers().some((peer) => announcedBy(peer.announces)?.objects)) return undefined
    const known = await mesh.store()?.look(address).catch(() => undefined)
    return known?.owner && !tried.has(known.owner.stage) ? this.find(known.owner.stage) : undefined
  }

  /** Asks a stage which one has the claim. @param from  the call that waits for that */
  async ask(peer: Peer, address: string, from: Asking): Promise<{ owner: string | undefined; link?: Link<Rpc> }> {
    const { mesh } = this
    // one that has crashed stays listed for a while, and nobody need wait for a link to it
    if (peer.id !== mesh.id && !await mesh.alive(peer.id)) throw new StageError('DISCONNECTED', `${peer.name} (${peer.id}) is gone`, { executed: 'no', peer })
    return new Promise((resolve, reject) => {
      if (peer.id === mesh.id) {
        return this.hosting.locate(address, (error, owner) => { if (error) reject(error); else resolve({ owner }) }, from)
      }
      const { clock } = mesh
      const endsAt = clock.now() + LOCATE_MS
      let giveUp = (): void => {}
      const end = (): void => { timer.cancel(); this.#changes.delete(look) }
      const leave = (error: StageError): void => { end(); giveUp(); reject(error) }
      // one that has most likely crashed is dialled on until its lease lapses: nobody waits here for that
      const look = (): void => { if (!this.find(peer.id)) leave(new StageError('DISCONNECTED', `${peer.name} cannot be reached`, { executed: 'no', peer })) }
      const timer = clock.setTimeout(() => leave(new StageError('TIMEOUT', `no link to ${peer.name} within ${LOCATE_MS} ms`, { phase: 'connecting', peer })), LOCATE_MS)
      this.#changes.add(look)
      const settle = (error: StageError | null, link?: Link<Rpc>): void => {
        end()
        if (!link) return reject(error!)
        const asked: Outgoing = {
          method: LOCATE, args: [address, from.chain], endsAt, depth: from.depth,
          settle: (failure, owner) => { if (failure) reject(failure); else resolve({ owner: typeof owner === 'string' && owner !== '' ? owner : undefined, link }) },
        }
        try {
          link.top.send(asked, LOCATE)
        } catch (thrown) {
          reject(thrown)
        }
      }
      giveUp = mesh.select(peer).reach(peer, settle)
    })
  }

  /** Waits until the peers change, or so long. */
  change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        this.#changes.delete(done)
        resolve()
      }
      const timer = this.mesh.clock.setTimeout(done, ms)
      this.#changes.add(done)
      if (this.#closed) done()
    })
  }

  changed(): void {
    for (const go of [...this.#changes]) go()
  }

  lost(): void {
    for (const route of this.#byAddress.values()) route.reset()
  }

  /** Another stage may serve it. */
  #hosted(address: string): boolean {
    return this.mesh.peers().some((peer) => announcedBy(peer.announces)?.types.some((type) => announced(type)?.match(address)))
  }

  why(address: string, method: string): StageError {
    if (this.hosting.hosts(address) || this.#hosted(address)) return new StageError('TIMEOUT', `${method} was not sent in time: no stage that hosts it could be reached`, { phase: 'connecting' })
    const types = new Set(this.mesh.peers().flatMap((peer) => announcedBy(peer.announces)?.types ?? []))
    return new StageError('NO_SUCH_ACTOR', `no stage hosts ${address}: ${types.size > 0 ? `there are ${[...types].slice(0, 8).join(', ')}` : 'nobody hosts any type; call define() on some stage'}`)
  }

  /** Takes no more calls but those of turns. */
  leave(): void {
    this.#leaving = true
  }

  /** Resolves when what waited for an actor of ours that has moved off is on its way to where it is now. */
  async sent(): Promise<void> {
    const waits = (call: ActorCall): boolean => call.hops > 0 && !call.over && !call.under && this.#hosted(call.route.address)
    while (!this.#closed && [...this.#waiting].some(waits)) await this.change(PAUSE_MS)
  }

  close(): void {
    this.#closed = true
    this.#unsweep()
    for (const call of [...this.#waiting]) call.cancel(new StageError('CLOSED', 'this stage was closed'))
    this.#waiting.clear()
    this.#byAddress.clear()
    this.changed()
  }

  #sweep(now: number): number {
    let next = Infinity
    for (const call of [...this.#waiting]) {
      if (call.over || call.under) this.#waiting.delete(call)
      else if (call.deadline <= now) {
        this.#waiting.delete(call)
        call.route.expire(call)
      } else if (call.deadline < next) next = call.deadline
    }
    return next
  }

  #trim(): void {
    for (const [address, route] of this.#byAddress) {
      if (!route.busy) this.#byAddress.delete(address)
      if (this.#byAddress.size < ROUTES_MAX * 0.9) return
    }
  }
}
