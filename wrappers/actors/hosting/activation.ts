import { StageError, asError, printable } from '../../../src/errors.js'
import type { Committed, Fence, Mesh, Store } from '../../../src/types.js'
import { NO_HEADERS } from '../../../src/headers.js'
import { newId } from '../../../src/random.js'
import { within } from '../../../src/within.js'
import { NOTHING, type Carried } from '../../rpc/context.js'
import type { Rpc } from '../../rpc/rpc.js'
import type { Definition } from '../definition.js'
import { HandedOut } from './handed-out.js'
import type { Changes } from '../watching/changes.js'
import { History, type Watch } from '../watching/history.js'
import { restoreKept } from '../state/restoration.js'
import { decodeKept } from '../state/snapshot.js'
import { Persistence } from '../state/persistence.js'
import { NoSuchMethod, dataNames, hasData, hook, isPublic, listed, methodsOf, ownMethods, type Method } from '../members.js'
import { Reminders } from './reminders.js'
import { ActorSelf, type Proxies } from './self.js'
import { Thrown, settled, theirs } from './thrown.js'
import type { Timers } from './timers.js'
import { Turn, type Phase } from './turn.js'
import { Mailbox } from './mailbox.js'
import type { DeactivateReason } from '../types.js'

/** The view of the hosting stage that an activation needs. */
export interface ActivationHost {
  readonly mesh: Mesh<Rpc>
  readonly store: Store
  /** @returns the fence and the committed state, or the id of the stage that has the claim */
  claim(address: string, isOver: () => boolean): Promise<{ fence: Fence; committed: Committed } | { owner: string }>
  /** Registers a turn that waits or runs: the turn is ended at its deadline, and reported when it is slow. */
  note(turn: Turn): void
  /** Pauses a mailbox while the stage's lease is uncertain; its turns continue once the lease is renewed. */
  pause(mailbox: Mailbox): void
  /** Called when an activation is over. @param left  turns that never began @param again  another activation here may take them */
  ended(activation: Activation, left: readonly Turn[], again: boolean, owner?: string): void
  /** The store's time when our clock was at 0, as last measured. */
  readonly storeTime: number
  /** Proxies through which hosted actors reach other actors and stages. */
  readonly outgoing: Proxies
}

/** A store that has not answered within this time counts as unavailable. */
export const STORE_MS = 5000
const HOOK_MS = 10_000
const GOODBYE_MS = 5000
/** For objects of `host()` whose activation was dropped: settles when no code of that activation runs any more. */
const leftovers = new WeakMap<object, Promise<unknown>>()
const NO_METHODS: ReadonlyMap<string, Method> = new Map()

/** One activation of an actor on this stage, from its claim to its end. */
export class Activation {
  fence: Fence | undefined
  instance: object | undefined
  /** When the actor was last used, by the clock's `now()`. */
  usedAt: number
  phase: Phase = 'starting'
  /** Whether the object exists and its activate() has ended. */
  started = false
  /** Whether the actor asked for its own deactivation while it was starting. */
  asked = false
  readonly self: ActorSelf
  readonly mailbox: Mailbox = new Mailbox(this)
  readonly persistence = new Persistence(this)
  history: History | undefined
  reminders: Reminders | undefined
  timers: Timers | undefined
  #handed: HandedOut | undefined
  #reason: DeactivateReason = 'asked'
  #token: string | undefined
  /** Return value of the last hook called. */
  #hooked: unknown
  /** Whether deactivate() was called, or will be as soon as open iterables have ended. */
  #goodbye = false
  #methods: ReadonlyMap<string, Method> = NO_METHODS
  #own: Map<string, Method> | undefined
  #claimed: ((error: StageError | null, owner?: string) => void)[] | undefined = []
  #ended: (() => void)[] | undefined

  /** @param given  the existing object, for `host()` */
  constructor(readonly host: ActivationHost, readonly definition: Definition, readonly address: string, private readonly given?: object) {
    this.usedAt = host.mesh.clock.now()
    this.self = new ActorSelf(this)
  }

  // ── activation ────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param from  context of the call that activates the actor, because a call cycle can pass through activate() */
  async start(from: Carried): Promise<void> {
    const { host, address } = this
    if (this.#isOver) return
    try {
      const found = await host.claim(address, () => this.#isOver)
      if ('owner' in found) return this.#elsewhere(found.owner)
      this.fence = found.fence
      this.#tellClaimed(null, host.mesh.id)
      await this.#alone()
      if (this.#isOver) return void this.#release()
      const absent = this.#make(found.committed)
      await this.#activate(from, absent)
    } catch (error) {
      return this.#failed(error)
    }
    if (this.#isOver) return
    this.mailbox.leave()
    this.started = true
    if (this.stopping) return this.leave()
    this.phase = 'active'
    this.reminders?.arm()
    this.mailbox.next()
  }

  /** Waits until code of the object's previous activation has ended, because it must not interleave with new turns. */
  async #alone(): Promise<void> {
    const left = this.given && leftovers.get(this.given)
    if (!left) return
    const why = `a turn of ${this.address} from before its claim was lost is still running on the same object`
    await within(this.host.mesh.clock, HOOK_MS, left, () => new StageError('TIMEOUT', why, { phase: 'queued' }))
  }

  /** @returns durable properties that the new object does not have */
  #make(committed: Committed): readonly string[] {
    const { definition } = this
    const object = this.given ?? theirs(() => definition.make(definition.pattern.match(this.address) ?? {}, this.self))
    if (!Object.isExtensible(object)) {
      throw new TypeError(`the object of ${printable(this.address)} is not extensible, so it cannot be given its self`)
    }
    Object.defineProperty(object, 'self', { value: this.self, enumerable: false, configurable: true, writable: true })
    this.instance = object
    this.#methods = methodsOf(object)
    if (definition.durable) this.persistence.made = definition.made(object)
    const absent = definition.absent(object)
    if (committed.data) {
      const kept = decodeKept(committed.data, this.host.outgoing.data)
      this.reminders = kept.reminders.length > 0 ? new Reminders(this, this.host.storeTime, kept.reminders) : undefined
      if (definition.durable) restoreKept(object, kept, this)
    }
    this.#own = ownMethods(object)
    this.persistence.begin(committed.version)
    return absent
  }

  async #activate(from: Carried, absent: readonly string[]): Promise<void> {
    const { address } = this
    const { clock } = this.host.mesh
    const activate = hook(this.instance!, 'activate')
    if (!activate) return this.definition.checkNamed(this.instance!, absent)
    const slow = (): Error =>
      new StageError('TIMEOUT', `activate() of ${address} did not settle within ${HOOK_MS} ms`, { phase: 'running' })
    // activate() runs as a turn within that call's chain, so that a call cycle is detected
    const turn = new Turn('activate', [], clock.now() + HOOK_MS, { ...from, headers: NO_HEADERS }, () => {})
    this.mailbox.enter(turn)
    const active = this.#hooked = theirs(() => activate.call(this.instance!))
    await within(clock, HOOK_MS, settled(active), slow)
    turn.ended = turn.over = true
    this.#own = ownMethods(this.instance!)
    this.definition.checkNamed(this.instance!, absent) // before anything of it is committed
    await this.persistence.afterHook(HOOK_MS)
  }

  #tellClaimed(error: StageError | null, owner?: string): void {
    const waiting = this.#claimed
    this.#claimed = undefined
    for (const done of waiting ?? []) done(error, owner)
  }

  #elsewhere(owner: string): void {
    if (this.#isOver) return
    this.phase = 'over'
    this.#tellClaimed(null, owner)
    this.#over(new StageError('FENCED', `${this.address} is hosted by another stage`))
    this.host.ended(this, this.mailbox.handOver(), false, owner)
  }

  /** Activation failed: rejects the waiting calls with the reason; the next call tries again. */
  #failed(thrown: unknown): void {
    if (this.#isOver) return
    const error = this.#whyNotMade(thrown)
    const left = this.mailbox.handOver()
    const claimed = this.fence !== undefined
    this.#over(error)
    if (claimed) void this.#release()
    const { code, message, cause, phase } = error
    for (const turn of left) turn.answer(new StageError(code, message, { executed: 'no', cause, phase }))
    this.host.ended(this, [], false)
  }

  #whyNotMade(thrown: unknown): StageError {
    const raised = asError(thrown)
    if (raised instanceof StageError && raised.code !== 'FENCED') return raised
    const cause: unknown = raised instanceof Thrown ? raised.cause : thrown
    this.host.mesh.failed(cause, { what: `the activation of ${this.address}` })
    return new StageError('REMOTE_ERROR', `${this.address} could not be activated: ${asError(cause).message}`, { executed: 'no', cause })
  }

  // ── state and access ──────────────────────────────────────────────────────────────────────────────────────────

  /** Whether nothing runs, waits or is to be retried, and nobody watches. */
  get idle(): boolean {
    const rests = this.phase === 'active' && this.mailbox.idle && !this.history?.watched
    return rests && !this.timers?.pending && !this.reminders?.failing && !this.#handed?.pending
  }

  get stopping(): boolean {
    return this.phase === 'stopping'
  }

  /** Calls back with the id of the stage that has the claim. */
  whenClaimed(done: (error: StageError | null, owner?: string) => void): void {
    if (this.#claimed) this.#claimed.push(done)
    else done(null, this.host.mesh.id)
  }

  /** Calls back when the activation is over. */
  whenOver(done: () => void): void {
    if (this.#isOver) done()
    else (this.#ended ??= []).push(done)
  }

  /** Calls a method within the running turn. */
  call(name: string, args: readonly unknown[]): unknown {
    const method = this.#methods.get(name) ?? this.#own?.get(name)
    if (!method) throw this.#noSuchMethod(name)
    return method.apply(this.instance!, args as unknown[])
  }

  #noSuchMethod(name: string): NoSuchMethod {
    if (this.hasProperty(name)) return new NoSuchMethod(this.address, name, ': it is a property, read it with await')
    return new NoSuchMethod(this.address, name, listed([...this.#methods.keys(), ...this.#own?.keys() ?? []]))
  }

  /** Returns the current value of a public property. @throws StageError NO_SUCH_PROPERTY */
  read(name: unknown): unknown {
    if (!this.hasProperty(name)) throw this.#noSuchProperty(String(name))
    return (this.instance as Record<string, unknown>)[name]
  }

  #noSuchProperty(name: string): StageError {
    const hint = this.hasMethod(name) ? ': it is a method, call it' : listed(dataNames(this.instance!))
    return new StageError('NO_SUCH_PROPERTY', `${this.address} has no public property ${JSON.stringify(name.slice(0, 128))}${hint}`)
  }

  /** Adds a watch. Called within a turn, so that no change is missed between the first value and the next one. */
  watch(watch: Watch, changes: Changes | undefined): void {
    (this.history ??= new History(this)).watch(watch, changes)
  }

  hasProperty(name: unknown): name is string {
    return isPublic(name) && hasData(this.instance!, name)
  }

  /** Whether the object has a public method of that name. */
  hasMethod(name: string): boolean {
    return this.#methods.has(name) || (ownMethods(this.instance!)?.has(name) ?? false)
  }

  /** Secret part of the names of its turns, known only to their callees: a call that carries a turn's name counts as a call back to it. */
  get token(): string {
    return this.#token ??= newId(this.host.mesh.random)
  }

  /** Functions and iterables that the actor has handed out to others. */
  get handedOut(): HandedOut {
    return this.#handed ??= new HandedOut(this)
  }

  /** The reminders of the actor, created on first use. */
  ownReminders(): Reminders {
    return this.reminders ??= new Reminders(this, this.host.storeTime)
  }

  // ── deactivation ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Deactivates the actor once its running turns have ended. */
  stop(reason: DeactivateReason): void {
    if (this.#isOver || (this.stopping && reason !== 'closing')) return
    const starting = this.phase === 'starting'
    if (starting && reason === 'asked') {
      this.asked = true // takes effect after the first turn, so that the waiting call is served
      return
    }
    this.phase = 'stopping'
    this.#reason = reason
    if (!starting) this.mailbox.next()
  }

  /** Ends the activation at once because its claim is gone or its state cannot be trusted. Nothing that it still does is committed. */
  drop(reason: 'fenced' | 'lost' | 'store', error: StageError): void {
    if (this.#isOver) return
    this.#over(error)
    this.mailbox.cancel(error)
    const farewell = this.#goodbye ? undefined : this.#farewell(reason)
    if (this.given && this.instance) leftovers.set(this.given, Promise.allSettled([this.mailbox.quiet(), farewell, this.#hooked]))
    this.host.ended(this, this.mailbox.handOver(), false)
  }

  /** Calls deactivate() for information only: its outcome changes nothing. */
  async #farewell(reason: DeactivateReason): Promise<void> {
    await Promise.resolve() // run after the code that dropped the activation
    try {
      const { instance } = this
      if (instance) await settled(theirs(() => hook(instance, 'deactivate')?.call(instance, reason)))
    } catch (thrown) {
      this.#report('deactivate()', thrown)
    }
  }

  /** Called when no turn runs and none will: calls deactivate(), commits its changes, and releases the claim. */
  leave(): void {
    this.timers?.close()
    this.reminders?.close()
    this.mailbox.enter(new Turn('deactivate', [], Infinity, NOTHING, () => {})) // keeps other turns from beginning
    void this.#deactivate().then(async () => {
      if (!this.#isOver) await this.#release()
      if (this.#isOver) return
      this.mailbox.leave()
      this.#over(this.#away())
      this.host.ended(this, this.mailbox.handOver(), this.#reason !== 'closing')
    })
  }

  async #deactivate(): Promise<void> {
    try {
      const deactivate = this.instance && hook(this.instance, 'deactivate')
      const left = this.#handed?.leaving(this.#away())
      if (!deactivate && !left) return
      this.#goodbye = true
      const slow = (): Error => new Error(`it did not settle within ${GOODBYE_MS} ms`)
      const goodbye = (): unknown => deactivate && theirs(() => deactivate.call(this.instance!, this.#reason))
      this.#hooked = left ? left.then(goodbye) : goodbye()
      await within(this.host.mesh.clock, GOODBYE_MS, settled(this.#hooked), slow)
      await this.persistence.afterHook(GOODBYE_MS)
    } catch (error) {
      this.#report('deactivate()', error)
    }
  }

  /** Rolls back the changes of a failed turn. @returns false if the rollback failed and the object was dropped */
  putBack(turn: Turn, error: StageError): boolean {
    try {
      this.persistence.putBack()
      return true
    } catch (failure) {
      this.spoilt(turn, error, failure)
      return false
    }
  }

  /** Drops an object that could not be rolled back; the next call gets a new one. */
  spoilt(turn: Turn, error: StageError, why: unknown): void {
    this.#report('rolling back a turn', why)
    turn.answer(error)
    this.drop('store', error)
  }

  #away(): StageError {
    return new StageError('CANCELLED', `${this.address} was deactivated: ${this.#reason}`)
  }

  get #isOver(): boolean {
    return this.phase === 'over'
  }

  #over(error: StageError): void {
    this.phase = 'over'
    this.timers?.close()
    this.reminders?.close()
    this.self.abort(error)
    this.history?.end(error)
    this.#handed?.end(error)
    this.#tellClaimed(error)
    for (const done of this.#ended ?? []) done()
  }

  async #release(): Promise<void> {
    const { host, fence, address } = this
    if (!fence) return
    const slow = (): Error => new StageError('STORE_UNAVAILABLE', `the store ${host.store.address} did not answer in time`)
    const released = within(host.mesh.clock, STORE_MS, (async () => host.store.release(address, fence))(), slow)
    await released.catch((error: unknown) => this.#report('releasing the claim', error))
  }

  #report(what: string, thrown: unknown): void {
    if (thrown instanceof Thrown) return this.host.mesh.failed(thrown.cause, { what: `${what} of ${this.address}`, unheard: true })
    const error = asError(thrown)
    this.host.mesh.error(new Error(`${what} of the actor ${printable(this.address)} failed: ${error.message}`, { cause: error }))
  }
}
