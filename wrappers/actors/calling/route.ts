import type { Ending } from '../../../src/bounded.js'
import { StageError } from '../../../src/errors.js'
import { NO_HEADERS } from '../../../src/headers.js'
import { outside } from '../../../src/outside.js'
import type { Link, Mesh, Peer } from '../../../src/types.js'
import { visit } from '../../codec/dispose.js'
import type { Carried } from '../../rpc/context.js'
import { isLost, isRefusal, type Retries } from '../../rpc/calling/retries.js'
import type { Rpc } from '../../rpc/rpc.js'
import type { ActorCall, Way } from './call.js'
import type { Repeatable } from './repeatable.js'
import { moved, movedTo } from '../hosting/turn.js'
import { GET } from '../tasks.js'
import { isInner } from '../words.js'

/** The service that receives calls on the stage that hosts an actor. */
export const CALL = '@call'

const HOPS_MAX = 3
const PAUSE_MS = 50
const PAUSE_MAX_MS = 1000
/** Not retryable while locating an actor. */
const FINAL: ReadonlySet<string> = new Set(['CLOSED', 'BAD_ARGUMENT', 'BAD_NAME', 'OVERLOADED', 'AUTH_FAILED'])
/** Reasons why a stage could not be asked; a call that waits meanwhile fails with TIMEOUT at its deadline. */
export const UNREACHED: ReadonlySet<string> = new Set(['DISCONNECTED', 'NO_SUCH_PEER', 'WRONG_PEER', 'REFUSED', 'CANCELLED', 'SLOW_PEER'])

/** The owner of the claim. If the asked stage itself is the owner: the link to it, and its idempotent methods. */
export interface Located {
  readonly owner: string | undefined
  readonly link?: Link<Rpc>
  readonly repeatable?: Repeatable | undefined
}

/** The view of its stage that a route needs. */
export interface RouteHost {
  readonly mesh: Pick<Mesh<Rpc>, 'id' | 'clock' | 'look'>
  readonly retries: Retries
  /** Whether calls are accepted; while the stage closes, only calls made within calls that it still serves. */
  takes(carried: Carried): boolean
  /** Finds a stage by its id. */
  find(id: string): Peer | undefined
  /** Chooses the stage to ask next. */
  choose(address: string, tried: ReadonlySet<string>): Promise<Peer | undefined>
  ask(peer: Peer, address: string, from: Carried): Promise<Located>
  /** Resolves when the peers have changed, or after `ms`. */
  change(ms: number): Promise<void>
  /** Runs a call on this stage. @param now  as in `Way.add` */
  local(address: string, call: ActorCall, now?: number): void
  /** Registers a call that waits to be sent. */
  note(call: ActorCall): void
  unnote(call: ActorCall): void
  /** The error of a call that could not be sent. */
  why(address: string, method: string): StageError
}

/** The route to one actor: which stage owns it, and the calls that wait for its location, in the order in which they were made. */
export class Route implements Way {
  /** The id of the stage that has the claim; undefined if not known. */
  owner: string | undefined
  #link: Link<Rpc> | undefined
  /** Idempotent methods, as the owner said; kept until the next owner is known, because calls in flight may still fail. */
  #repeatable: Repeatable | undefined
  #queue: ActorCall[] = []
  /** Number of calls in flight to the present owner. */
  #flying = 0
  #seq = 0
  #locating = false
  #flushing = false
  #hint: string | undefined
  /** Whether no stage is known that could be asked. */
  #nobody = false
  /** Why the owner is not known yet. */
  #failure: StageError | undefined

  constructor(readonly address: string, private readonly routes: RouteHost) {}

  now(): number {
    return this.routes.mesh.clock.now()
  }

  get busy(): boolean {
    return this.#queue.length > 0 || this.#flying > 0 || this.#locating
  }

  add(call: ActorCall, now?: number): void {
    call.seq = ++this.#seq
    if (this.#queue.length === 0 && this.owner !== undefined && !this.#locating) return this.#send(call, now)
    this.#queue.push(call)
    this.#seek()
    if (this.#nobody) void this.routes.mesh.look()
    if (!call.over) {
      call.hold()
      this.routes.note(call)
    }
  }

  /** Called when a call has ended, with or without an error. */
  forget(call: ActorCall): void {
    const at = this.#queue.indexOf(call)
    if (at >= 0) this.#queue.splice(at, 1)
    this.routes.unnote(call)
  }

  /** Cancels a sent call. @returns whether the call has not left this stage yet */
  withdraw(call: ActorCall, link: Link<Rpc>, reason: StageError): boolean {
    call.link = undefined
    const unsent = link.top.cancel(call.id, reason)
    this.#flying--
    this.#seek()
    return unsent
  }

  /** Ends a call whose deadline passed before it could be sent. */
  expire(call: ActorCall): void {
    if (call.retried?.failure) return call.end(call.retried.failure)
    const failure = this.#failure
    if (!failure) return call.end(this.routes.why(this.address, call.method))
    const { code, message } = failure
    call.end(new StageError(UNREACHED.has(code) ? 'TIMEOUT' : code, `${call.method} was not sent in time: ${message}`, {
      phase: 'connecting', executed: 'no', cause: failure,
    }))
  }

  settled(call: ActorCall, error: StageError | null, value: unknown, streams?: readonly Ending[]): void {
    const { link } = call
    this.#flying--
    call.link = call.turn = undefined
    const to = error && this.#elsewhere(error)
    if (to !== undefined && to !== null && !call.over) {
      // later calls wait until all calls in flight have come back, so that none overtakes another
      this.owner = undefined
      this.#hint = to
      const at = this.#queue.findIndex((one) => one.seq > call.seq)
      if (at < 0) this.#queue.push(call)
      else this.#queue.splice(at, 0, call)
      call.hold()
      this.routes.note(call)
      if (++call.hops > HOPS_MAX) this.#fail(call, new StageError('REFUSED', `${this.address} moved ${HOPS_MAX} times during the call`))
    } else {
      if (error?.code === 'DISCONNECTED') this.#lose()
      if (error) this.#fail(call, error, link)
      else call.end(null, value, streams)
    }
    this.#seek()
  }

  #fail(call: ActorCall, error: StageError, link?: Link<Rpc>): void {
    if (call.over || !this.#later(call, error, link)) call.end(error)
  }

  /** Retries an idempotent call after a pause, behind all queued calls. @returns false if the call is not retryable */
  #later(call: ActorCall, error: StageError, link: Link<Rpc> | undefined): boolean {
    const { routes } = this
    const { clock } = routes.mesh
    const lost = link !== undefined && isLost(error, link.top)
    const repeatable = call.made.idempotent ?? (this.#says(call.made.name) || (lost && call.made.name === GET)) // a read changes nothing
    if (!(lost || isRefusal(error)) || !repeatable || !routes.takes(call.carried)) return false
    if (link ? call.streams?.length : hasStreams(call.own)) return false // the streams were consumed
    call.retried ??= { made: 0, lost: 0, refused: false }
    const ms = routes.retries.pause(error, call.retried, clock.now(), call.made.deadline)
    if (ms === undefined) return false
    if (lost) this.#lose() // with any error code
    this.forget(call)
    call.retried.failure = error
    call.streams = undefined
    call.hops = 0
    call.hold()
    routes.note(call)
    call.retried.pause = clock.setTimeout(() => this.add(call), ms, true)
    return true
  }

  /** Whether the owner declared the method idempotent, which applies only to calls sent to that owner. */
  #says(name: string): boolean {
    return !isInner(name) && (this.#repeatable?.has(name) ?? false)
  }

  /** The stage to which a call that certainly did not run goes next; '' if not known; undefined if the error is final. */
  #elsewhere(error: StageError): string | undefined {
    const to = movedTo(error)
    if (to !== undefined) return to
    if (error.executed !== 'no') return undefined
    return error.code === 'REFUSED' || error.code === 'DISCONNECTED' || error.code === 'FENCED' ? '' : undefined
  }

  #lose(): void {
    this.owner = undefined
    this.#link = undefined
  }

  /** Called when this stage gets a new id. */
  reset(): void {
    this.#lose()
    this.#hint = undefined
  }

  #send(call: ActorCall, now?: number): void {
    const { routes } = this
    this.#flying++
    call.unhold()
    if (this.owner === routes.mesh.id) return routes.local(this.address, call, now)
    const link = this.#link
    if (!link?.open) return this.settled(call, moved(this.address, this.owner), undefined)
    try {
      call.made.onsend?.(link.top)
      call.id = link.top.send(call, CALL)
      call.link = link
    } catch (thrown) {
      const { code, message, executed } = thrown as StageError
      // number the argument as the caller counts: `[2]` is the list of arguments in the request
      const error = code === 'BAD_ARGUMENT' ? new StageError(code, message.replace('[2][', '['), { executed }) : thrown as StageError
      this.settled(call, error, undefined)
    }
  }

  /** Locates the actor, if calls wait and none is in flight to the former owner. */
  #seek(): void {
    if (this.#locating || this.#queue.length === 0) return
    if (this.owner !== undefined) return this.#flush()
    if (this.#flying > 0) return
    this.#locating = true
    outside(() => void this.#locate().then(() => {
      this.#locating = false
      if (this.owner === undefined) return this.#seek()
      this.#flush()
    }))
  }

  /** Sends the queued calls. A call that fails synchronously re-enters, and is left to the outer loop. */
  #flush(): void {
    if (this.#flushing) return
    this.#flushing = true
    try {
      for (let call; this.owner !== undefined && !this.#locating && (call = this.#queue.shift());) this.#send(call)
    } finally {
      this.#flushing = false
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
      const nobody = !candidate && tried.size === 0
      if (nobody && !this.#nobody) void routes.mesh.look()
      this.#nobody = nobody
      if (!candidate) {
        if (nobody) this.#failure = undefined // no stage is left whose failure would count
        await routes.change(pause)
        pause = Math.min(PAUSE_MAX_MS, pause * 2)
        tried.clear()
        hops = 0
        continue
      }
      const [first] = this.#queue
      if (!first) return // no call waits any more
      try {
        const { owner, link, repeatable } = await routes.ask(candidate, this.address, { ...first.carried, headers: NO_HEADERS })
        if (owner === candidate.id) {
          this.owner = owner
          this.#link = link
          this.#repeatable = repeatable
          this.#failure = undefined
          return
        }
        tried.add(candidate.id)
        if (owner && !tried.has(owner) && hops++ < HOPS_MAX) hint = owner
      } catch (error) {
        const failure = error as StageError
        tried.add(candidate.id)
        this.#failure = failure
        const { code, message, cause } = failure
        if (!FINAL.has(code)) continue
        for (const call of [...this.#queue]) this.#fail(call, new StageError(code, message, { executed: 'no', cause }))
      }
    }
  }
}

function hasStreams(args: readonly unknown[]): boolean {
  let found = false
  visit(args, () => { found = true })
  return found
}
