import { StageError } from '../../../src/errors.js'
import type { Link, Mesh, Peer, SelectOptions } from '../../../src/types.js'
import { dispose } from '../../codec/dispose.js'
import { carriedBy, withHeaders, type Carried } from '../../rpc/context.js'
import { failedInterceptor, type Facts, type Interception } from '../../rpc/interception.js'
import type { InterceptedCall } from '../../rpc/interceptor.js'
import { Retries } from '../../rpc/calling/retries.js'
import type { Rpc } from '../../rpc/rpc.js'
import { asked, type Interceptable } from '../hosting/admission.js'
import { ActorCall, Made } from './call.js'
import type { Hosting } from '../hosting/hosting.js'
import { Repeatables } from './repeatable.js'
import { LocalCalls } from './local-calls.js'
import { place } from './placement.js'
import { Route, type Located, type RouteHost } from './route.js'
import type { ActorCallOptions } from '../types.js'

/** The service that tells which stage has the claim to an actor. */
export const LOCATE = '@locate'

const ROUTES_MAX = 10_000
const LOCATE_MS = 10_000
const LOOK_MS = 50

/** A call that may still be under way. */
export interface Under {
  readonly over: boolean
  cancel(error: StageError): void
}

type CallOptions = ActorCallOptions & Pick<SelectOptions, 'inherited'>
type Done = (error: StageError | null, value?: unknown) => void

/** The routes to all actors that this stage calls. */
export class Routes implements RouteHost {
  readonly retries: Retries
  readonly #local: LocalCalls
  readonly #repeatables = new Repeatables()
  readonly #byAddress = new Map<string, Route>()
  /** Number of routes at which idle routes are dropped. */
  #trimAt = ROUTES_MAX
  /** Calls that wait to be sent. */
  readonly #waiting = new Set<ActorCall>()
  readonly #changes = new Set<() => void>()
  readonly #unsweep: () => void
  #leaving = false
  #closed = false

  constructor(readonly mesh: Mesh<Rpc>, private readonly hosting: Hosting, private readonly interception: Interception) {
    this.retries = new Retries(mesh.random)
    this.#local = new LocalCalls(mesh, hosting, interception)
    this.#unsweep = mesh.deadlines.add((now) => this.#sweep(now))
  }

  takes({ depth }: Carried): boolean {
    return !this.#closed && !(this.#leaving && depth === 0)
  }

  /** Calls an actor. @returns a handle that cancels the call; undefined if it has failed already */
  call(address: string, name: string, args: readonly unknown[], options: CallOptions, done: Done, onsend?: Made['onsend']): Under | undefined {
    const { clock, timeoutMs } = this.mesh
    const carried = carriedBy(options)
    if (!this.takes(carried)) {
      dispose(args)
      done(new StageError('CLOSED', 'this stage is closed'))
      return undefined
    }
    const now = clock.now()
    this.retries.budget.count(now)
    const made = new Made(address, name, now, now + (options.timeoutMs ?? timeoutMs), options, onsend)
    const what = this.interception.intercepts ? asked(name, args) : undefined
    return what ? this.#intercepted(what, made, args, carried, done) : this.#begin(made, args, carried, done, now)
  }

  #begin(made: Made, args: readonly unknown[], carried: Carried, done: Done, now?: number): ActorCall {
    const call = new ActorCall(this.route(made.address), made, args, carried, done)
    call.start(now)
    return call
  }

  #intercepted(what: Interceptable, made: Made, args: readonly unknown[], carried: Carried, done: Done): Under {
    const { address } = made
    const passage = this.interception.passage(made.name, made.deadline, made.signal)
    let sent = false
    const send = (call: InterceptedCall): Promise<unknown> => new Promise((resolve, reject) => {
      sent = true
      const own = what.kind === 'call' ? call.args : args
      passage.carries(this.#begin(made, own, withHeaders(carried, call.headers), (error, value) => {
        if (error) reject(error)
        else resolve(value)
      }))
    })
    const actor = { address, pattern: this.hosting.definitionOf(address)?.pattern.text }
    const { headers } = carried
    const { kind, method } = what
    const facts: Facts = { side: 'caller', kind, target: address, peer: undefined, method, actor, args: what.args, headers, options: undefined }
    const end = (error: unknown, value?: unknown): void => {
      const unsent = what.kind === 'observe' && !sent && !error
      if (unsent) done(new StageError('BAD_ARGUMENT', `an interceptor answered in place of ${address}, but only the actor itself can be watched: call next()`))
      else done(error as StageError | null, value)
    }
    this.interception.out(facts, passage, send).then(
      (value) => end(null, value),
      (error: unknown) => end(what.kind === 'observe' ? failedInterceptor(error) : error),
    )
    return passage
  }

  route(address: string): Route {
    let route = this.#byAddress.get(address)
    if (route) return route
    if (this.#byAddress.size >= this.#trimAt) this.#trim()
    route = new Route(address, this)
    this.#byAddress.set(address, route)
    return route
  }

  get stats(): Record<string, number> {
    const { budget } = this.retries
    return { actorCalls: this.#waiting.size, actorRetries: budget.retries, actorRetriesRefused: budget.refused }
  }

  note(call: ActorCall): void {
    this.#waiting.add(call)
    this.mesh.deadlines.note(call.made.deadline)
  }

  /** Forgets an ended call, instead of holding it until its deadline. */
  unnote(call: ActorCall): void {
    this.#waiting.delete(call)
  }

  local(address: string, call: ActorCall, now?: number): void {
    this.#local.take(address, call, now)
  }

  find(id: string): Peer | undefined {
    return this.mesh.find(id)
  }

  choose(address: string, tried: ReadonlySet<string>): Promise<Peer | undefined> {
    return place(this.mesh, this.hosting, address, tried)
  }

  /** Asks a stage which stage has the claim. @param from  context of the call that waits for the answer */
  async ask(peer: Peer, address: string, from: Carried): Promise<Located> {
    const { mesh } = this
    // a crashed stage stays listed for a while, and no call should wait for a link to it
    if (peer.id !== mesh.id && !await mesh.alive(peer.id)) throw new StageError('DISCONNECTED', `${peer.name} (${peer.id}) is gone`, { executed: 'no', peer })
    return new Promise((resolve, reject) => {
      if (peer.id === mesh.id) {
        return this.hosting.locate(address, (error, owner) => {
          const definition = owner === mesh.id ? this.hosting.definitionOf(address) : undefined
          if (error) reject(error)
          else resolve({ owner, repeatable: definition?.repeatable })
        }, from)
      }
      const { clock } = mesh
      const endsAt = clock.now() + LOCATE_MS
      let giveUp = (): void => {}
      const end = (): void => { timer.cancel(); this.#changes.delete(look) }
      const leave = (error: StageError): void => { end(); giveUp(); reject(error) }
      // a peer that most likely crashed leaves peers() at once but is dialled until its lease expires: no call waits here for that
      const look = (): void => { if (!this.find(peer.id)) leave(new StageError('DISCONNECTED', `${peer.name} cannot be reached`, { executed: 'no', peer })) }
      const timer = clock.setTimeout(() => leave(new StageError('TIMEOUT', `no link to ${peer.name} within ${LOCATE_MS} ms`, { phase: 'connecting', peer })), LOCATE_MS)
      this.#changes.add(look)
      const settle = (error: StageError | null, link?: Link<Rpc>): void => {
        end()
        if (!link) return reject(error!)
        link.top.request(LOCATE, [address], { endsAt, carried: from }, `finding ${address}`)
          .then((answer) => {
            const [owner, names] = Array.isArray(answer) ? answer as readonly unknown[] : [answer]
            resolve({ owner: typeof owner === 'string' && owner !== '' ? owner : undefined, link, repeatable: this.#repeatables.of(link.top, names) })
          }, reject)
      }
      giveUp = mesh.select(peer).reach(peer, settle)
    })
  }

  /** Waits until the peers change, at most `ms`. */
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

  /** Whether another stage announces a type for the address. */
  #hosted(address: string): boolean {
    return this.hosting.announcements.hosted(address)
  }

  why(address: string, method: string): StageError {
    if (this.hosting.hosts(address) || this.#hosted(address)) {
      return new StageError('TIMEOUT', `${method} was not sent in time: no stage that hosts it could be reached`, { phase: 'connecting' })
    }
    const types = [...this.hosting.announcements.types]
    const there = types.length > 0 ? `hosted types: ${types.slice(0, 8).join(', ')}` : 'hosted types: none, call define() on some stage'
    return new StageError('NO_SUCH_ACTOR', `no stage hosts ${address}; ${there}`)
  }

  /** Accepts no more calls, except from within calls that are still served. */
  leave(): void {
    this.#leaving = true
  }

  /** Resolves when calls that waited for actors which moved off this stage have been sent to the new owners. */
  async sent(): Promise<void> {
    const waits = (call: ActorCall): boolean => call.hops > 0 && !call.over && !call.under && this.#hosted(call.made.address)
    while (!this.#closed && [...this.#waiting].some(waits)) await this.change(LOOK_MS)
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
      else if (call.made.deadline <= now) {
        this.#waiting.delete(call)
        call.way.expire(call)
      } else if (call.made.deadline < next) next = call.made.deadline
    }
    return next
  }

  #trim(): void {
    for (const [address, route] of this.#byAddress) {
      if (!route.busy) this.#byAddress.delete(address)
      if (this.#byAddress.size < ROUTES_MAX * 0.9) break
    }
    this.#trimAt = Math.max(ROUTES_MAX, this.#byAddress.size * 1.1) // avoids a scan per new route when most are in use
  }
}
