import type { AsyncResource } from 'node:async_hooks'
import type { Ending } from '../../src/bounded.js'
import { either } from '../../src/abort.js'
import { StageError, asError } from '../../src/errors.js'
import { outside } from '../../src/outside.js'
import { byKey } from '../../src/rendezvous.js'
import type { Link, Mesh, Peer, SelectOptions } from '../../src/types.js'
import { within } from '../../src/within.js'
import { dispose } from '../codec/dispose.js'
import type { Hand } from '../codec/hand.js'
import { carriedBy, type Carried, type Inherited } from '../rpc/context.js'
import type { Facts, Interception } from '../rpc/interception.js'
import type { InterceptedCall } from '../rpc/interceptor.js'
import { Retries } from '../rpc/retries.js'
import type { Rpc } from '../rpc/rpc.js'
import { STORE_MS } from './activation.js'
import { admit, asked, type Begin } from './admission.js'
import { announced } from './address.js'
import { announcedBy } from './announced.js'
import { ActorCall } from './call.js'
import type { Changes } from './changes.js'
import { copied, copiedAll, copiedError, holdIn, sharedBy, sharedWith, snapshotOf } from './copy.js'
import type { Hosting } from './hosting.js'
import { Repeatables, type Repeatable } from './repeatable.js'
import { Route } from './route.js'
import { prepare } from './tasks.js'
import { Turn } from './turn.js'
import type { ActorCallOptions } from './types.js'

/** The service that says which stage has the claim to an actor. */
export const LOCATE = '@locate'

const ROUTES_MAX = 10_000
const LOCATE_MS = 10_000
const LOOK_MS = 50
const NONE: readonly unknown[] = []
const AS_IT_IS: Hand = { give: (fn) => fn, offer: (stream) => stream }

/** A call that was made, and may not have ended. */
export interface Under {
  readonly over: boolean
  cancel(error: StageError): void
}

/** What it is made of, beside its arguments and what it carries. */
interface Made extends Pick<Inherited, 'hand'>, Pick<ActorCallOptions, 'idempotent'> {
  readonly address: string
  readonly name: string
  readonly now: number
  readonly endsAt: number
  readonly signal: AbortSignal | undefined
  readonly onsend: ActorCall['onsend']
}

/** Who has the claim; where the one that was asked says that it has it itself, the link to it and what may be called again there. */
interface Located {
  readonly owner: string | undefined
  readonly link?: Link<Rpc>
  readonly repeatable?: Repeatable | undefined
}

/** The ways to all actors that this stage calls. */
export class Routes {
  readonly retries: Retries
  readonly #repeatables = new Repeatables()
  readonly #byAddress = new Map<string, Route>()
  /** Those that are not in use are let go of from so many on. */
  #trimAt = ROUTES_MAX
  /** Calls that wait to be sent. */
  readonly #waiting = new Set<ActorCall>()
  readonly #changes = new Set<() => void>()
  readonly #unsweep: () => void
  #leaving = false
  #closed = false

  constructor(readonly mesh: Mesh<Rpc>, private readonly hosting: Hosting, private readonly interception: Interception) {
    this.retries = new Retries(mesh.random)
    this.#unsweep = mesh.deadlines.add((now) => this.#sweep(now))
  }

  /** Whether calls go on; while the stage is closing only those that belong to what it still serves. */
  takes({ depth }: Carried): boolean {
    return !this.#closed && !(this.#leaving && depth === 0)
  }

  /** @returns by which it is cancelled; undefined where it has failed already */
  call(address: string, name: string, args: readonly unknown[], options: ActorCallOptions & Pick<SelectOptions, 'inherited'>, done: (error: StageError | null, value?: unknown) => void, onsend?: ActorCall['onsend']): Under | undefined {
    const { clock, timeoutMs } = this.mesh
    const carried = carriedBy(options)
    if (!this.takes(carried)) {
      dispose(args)
      done(new StageError('CLOSED', 'this stage is closed'))
      return undefined
    }
    const now = clock.now()
    this.retries.budget.count(now)
    const made: Made = { address, name, now, endsAt: now + (options.timeoutMs ?? timeoutMs), signal: options.signal, idempotent: options.idempotent, hand: (options.inherited as Inherited | undefined)?.hand, onsend }
    const what = this.interception.intercepts ? asked(name, args) : undefined
    return what ? this.#intercepted(what, made, args, carried, done) : this.#begin(made, args, carried, done)
  }

  #begin({ address, name, now, endsAt, signal, hand, idempotent, onsend }: Made, args: readonly unknown[], carried: Carried, done: (error: StageError | null, value?: unknown) => void): ActorCall {
    const call = new ActorCall(this.route(address), name, args, now, endsAt, signal, { carried, hand, idempotent }, done, onsend)
    call.start()
    return call
  }

  #intercepted(what: Pick<InterceptedCall, 'kind' | 'method' | 'args'>, made: Made, args: readonly unknown[], carried: Carried, done: (error: StageError | null, value?: unknown) => void): Under {
    const { address } = made
    const passage = new AbortController()
    const signal = made.signal ? either(made.signal, passage.signal) : passage.signal
    const under = { over: false, cancel: (error: StageError) => passage.abort(error) }
    let sent = false
    const send = (call: InterceptedCall): Promise<unknown> => new Promise((resolve, reject) => {
      sent = true
      this.#begin({ ...made, signal }, what.kind === 'call' ? call.args : args, call.headers === carried.headers ? carried : { ...carried, headers: call.headers }, (error, value) => {
        if (error) reject(error)
        else resolve(value)
      })
    })
    const facts: Facts = { ...what, side: 'caller', target: address, peer: undefined, actor: { address, pattern: this.hosting.definitionOf(address)?.pattern.text }, headers: carried.headers, options: undefined }
    const end = (error: unknown, value?: unknown): void => {
      under.over = true
      const unsent = what.kind === 'observe' && !sent && !error
      if (unsent) done(new StageError('BAD_ARGUMENT', `an interceptor answered in place of ${address}, and only the actor can be watched: call next()`))
      else done(error as StageError | null, value)
    }
    this.interception.out(facts, { endsAt: made.endsAt, signal, over: false }, send).then((value) => end(null, value), (error: unknown) => end(what.kind !== 'observe' || error instanceof StageError ? error : new StageError('REMOTE_ERROR', `an interceptor failed: ${asError(error).message}`, { cause: error })))
    return under
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
    this.mesh.deadlines.note(call.deadline)
  }

  /** It has ended: nothing holds it until its deadline. */
  unnote(call: ActorCall): void {
    this.#waiting.delete(call)
  }

  /** Runs a call here: without a link, and as if there were one. */
  local(address: string, call: ActorCall): void {
    const definition = this.hosting.active(address)?.definition ?? this.hosting.definitionOf(address)
    const share = definition?.share ?? false
    const { references } = this.hosting.outgoing
    let args = call.own
    let changes: Changes | undefined
    try {
      changes = call.onsend?.(undefined)
      const { hand } = call
      if (!share) args = copiedAll(args, references, call)
      else {
        for (const arg of args) holdIn(arg, true)
        args = args.map((one) => sharedWith(one, hand))
      }
    } catch (error) {
      return call.settle(error as StageError)
    }
    call.streams = share ? NONE : args
    if (!definition || !(this.interception.guards || definition.guarded)) return this.#run(address, call, args, call.carried, changes, share)
    const begin: Begin = (own, carried, done, within) => {
      if (call.over) return done(new StageError('CANCELLED', `nobody waits for ${call.method} any more`, { executed: 'no' }))
      this.#run(address, call, own, carried, changes, share, done, within)
    }
    outside(() => admit(this.interception, definition, { address, name: call.name, args, carried: call.carried, peer: this.mesh.self, of: call, snapshot: (value) => share ? value : snapshotOf(value, references) }, begin, (error, value) => {
      this.#answer(call, share, error, value)
    }))
  }

  /** @param done  told what became of the turn, in place of the caller */
  #run(address: string, call: ActorCall, args: readonly unknown[], carried: Carried, changes: Changes | undefined, share: boolean, done?: Parameters<Begin>[2], within?: AsyncResource): void {
    const turn = new Turn(call.name, args, call.deadline, carried, (error, value) => {
      if (error && error.executed !== 'no') call.streams = NONE // its code has got them, and may still read
      if (done) done(error, value)
      else this.#answer(call, share, error, value)
    })
    turn.within = within
    if (call.movedAt !== undefined) turn.until = () => Math.max(call.deadline, (call.movedAt ?? 0) + call.deadline - call.since)
    prepare(turn, changes)
    turn.arrivedAt = call.since
    call.turn = turn
    this.hosting.receive(address, turn)
  }

  /** As over a link: the caller gets copies. */
  #answer(call: ActorCall, share: boolean, error: StageError | null, value: unknown): void {
    const turn: Hand = call.turn ?? AS_IT_IS // there is no turn where an interceptor has answered
    const { references } = this.hosting.outgoing
    const endings: Ending[] | undefined = call.signal && []
    if (share) holdIn(error ? error.cause : value, true)
    if (error) {
      if (!share) error = copiedError(error, references, turn)
    } else try {
      value = share ? sharedBy(value, turn) : copied(value, references, undefined, turn, endings)
    } catch (failure) {
      dispose(value)
      error = new StageError('BAD_ARGUMENT', `what ${call.method} returned cannot be sent: ${(failure as Error).message}`, { executed: 'yes' })
    }
    call.settle(error, value, endings)
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
    const store = mesh.store()
    const known = store && await within(mesh.clock, STORE_MS, (async () => store.look(address))(), () => new Error('no answer')).catch(() => undefined)
    return known?.owner && !tried.has(known.owner.stage) ? this.find(known.owner.stage) : undefined
  }

  /** Asks a stage which one has the claim. @param from  what the call carries that waits for that */
  async ask(peer: Peer, address: string, from: Carried): Promise<Located> {
    const { mesh } = this
    // one that has crashed stays listed for a while, and nobody need wait for a link to it
    if (peer.id !== mesh.id && !await mesh.alive(peer.id)) throw new StageError('DISCONNECTED', `${peer.name} (${peer.id}) is gone`, { executed: 'no', peer })
    return new Promise((resolve, reject) => {
      if (peer.id === mesh.id) {
        return this.hosting.locate(address, (error, owner) => { if (error) reject(error); else resolve({ owner, repeatable: owner === mesh.id ? this.hosting.definitionOf(address)?.repeatable : undefined }) }, from)
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
        link.top.request(LOCATE, [address], { endsAt, carried: from }, `finding ${address}`)
          .then((answer) => {
            const [owner, names] = Array.isArray(answer) ? answer as readonly unknown[] : [answer]
            resolve({ owner: typeof owner === 'string' && owner !== '' ? owner : undefined, link, repeatable: this.#repeatables.of(link.top, names) })
          }, reject)
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
      if (this.#byAddress.size < ROUTES_MAX * 0.9) break
    }
    this.#trimAt = Math.max(ROUTES_MAX, this.#byAddress.size * 1.1) // not each time where most are in use
  }
}
