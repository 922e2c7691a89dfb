import { StageError, describe, printable } from '../../../src/errors.js'
import { knownOptions } from '../../../src/known-options.js'
import { outside } from '../../../src/outside.js'
import type { Committed, Fence, Mesh, PeerChanges, Store } from '../../../src/types.js'
import { NOTHING, type Carried } from '../../rpc/context.js'
import type { Rpc } from '../../rpc/rpc.js'
import { Activation, type ActivationHost } from './activation.js'
import { checkAddress } from '../address.js'
import { LAYER, type Announced } from '../announced.js'
import { Announcements } from '../announcements.js'
import { Claims } from './claims.js'
import { Definition } from '../definition.js'
import { late, slow } from './delays.js'
import { described, explained } from './description.js'
import type { Mailbox } from './mailbox.js'
import { page } from './page.js'
import { Rivals } from './rivals.js'
import { Room } from './room.js'
import type { Proxies } from './self.js'
import { StoreWarning } from './store-warning.js'
import { moved, type Turn } from './turn.js'
import { Upkeep } from './upkeep.js'
import type { ActorOptions, ActorsOptions, Explained, HostOptions, HostedActor } from '../types.js'

/** Limit of addresses for which `#told` remembers redirected callers. */
const TOLD_MAX = 10_000

/** The actors that this stage hosts: types, objects and activations. */
export class Hosting implements ActivationHost {
  readonly #types: Definition[] = []
  #announced: Announced = { types: [], objects: false }
  /** The types that other stages host. */
  readonly announcements = new Announcements()
  /** Objects of `host()`, by address; `standing` once `host()` has resolved. */
  readonly #objects = new Map<string, { definition: Definition; object: object; standing: boolean }>()
  readonly #activations = new Map<string, Activation>()
  readonly #counts = new Map<Definition, number>()
  readonly #room: Room
  /** Turns that wait or run and have a deadline or may become slow. */
  readonly #noted = new Set<Turn>()
  readonly #paused = new Set<Mailbox>()
  /** Redirected stages, by address of the actor: calls sent before a stage learned of it must not overtake the redirected ones. */
  readonly #told = new Map<string, Set<string>>()
  readonly claims: Claims
  readonly #unsweep: () => void
  readonly #upkeep: Upkeep
  readonly #rivals: Rivals
  readonly #warning: StoreWarning
  #closing = false

  /** @param wake  activates an actor on any stage */
  constructor(readonly mesh: Mesh<Rpc>, readonly outgoing: Proxies, wake: (address: string) => Promise<StageError | null>) {
    this.#unsweep = mesh.deadlines.add((now) => this.#sweep(now))
    this.claims = new Claims(mesh, () => this.store, (address) => this.#activations.get(address))
    this.#upkeep = new Upkeep(this, wake)
    this.#rivals = new Rivals(mesh, this.#types)
    this.#room = new Room(mesh.clock, this.#activations)
    this.#warning = new StoreWarning(mesh.clock)
  }

  // ── types and objects ─────────────────────────────────────────────────────────────────────────────────────────

  /** @throws TypeError */
  define(options: ActorOptions): void {
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    const definition = new Definition(options)
    this.#checkAlone(definition)
    const { store } = this
    if (definition.durable) this.#warning.ask(store)
    this.#types.push(definition)
    this.#rivals.compare(this.mesh.peers())
    this.#announce()
    this.#upkeep.begin()
  }

  /** @throws TypeError an address would have two types */
  #checkAlone({ pattern }: Definition): void {
    const rival = this.#types.find((one) => one.pattern.overlaps(pattern))
    if (rival) {
      const overlapped = `${rival.pattern.text}, which is already defined`
      throw new TypeError(`the pattern ${pattern.text} overlaps ${overlapped}: an address must be of one type`)
    }
    const given = [...this.#objects.keys()].find((address) => pattern.match(address))
    if (given !== undefined) {
      const matched = `${printable(given)}, the address of an object that this stage hosts`
      throw new TypeError(`the pattern ${pattern.text} matches ${matched}: an address must be of one type`)
    }
  }

  /** Takes over what other stages announce, and reports types that overlap a type of this stage. */
  change(changes: PeerChanges): void {
    this.announcements.change(changes)
    this.#rivals.compare(changes.listed)
  }

  /** Hosts an existing object. @throws StageError NAME_TAKEN another stage hosts that address · TypeError */
  async host(address: string, object: object, options: HostOptions = {}): Promise<() => Promise<void>> {
    knownOptions('host()', options, ['authorize', 'methods'])
    const { authorize, methods } = options
    const type = this.typeOf(address)
    if (type) throw new TypeError(`${printable(address)} is an address of the type ${type.pattern.text}, whose actors are created by the stage: pass another address`)
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    if (this.#objects.has(address)) throw new TypeError(`this stage already hosts ${printable(address)}`)
    checkObject(address, object)
    const elsewhere = [...this.#objects].find(([, one]) => one.object === object)
    if (elsewhere) {
      const what = `the object for ${printable(address)} is already hosted as ${printable(elsewhere[0])}`
      throw new TypeError(`${what}: an object has one address, and one turn at a time`)
    }
    const definition = new Definition({ pattern: address, create: () => object, authorize, methods })
    definition.check(object)
    const hosted = { definition, object, standing: false }
    this.#objects.set(address, hosted)
    this.#announce()
    this.#upkeep.begin()
    try {
      const leaving = this.#activations.get(address)
      await new Promise<void>((resolve) => { if (leaving) leaving.whenOver(resolve); else resolve() })
      await new Promise<void>((resolve, reject) => {
        this.locate(address, (error, owner) => {
          if (error) reject(error)
          else if (owner === this.mesh.id) resolve()
          else reject(new StageError('NAME_TAKEN', `${address} is hosted by another stage (${owner ?? 'unknown'})`))
        })
      })
    } catch (error) {
      this.#objects.delete(address)
      this.#announce()
      throw error
    }
    hosted.standing = true
    return async () => {
      if (this.#objects.get(address) !== hosted) return // removed already, or replaced by another object
      this.#objects.delete(address)
      this.#announce()
      const activation = this.#activations.get(address)
      if (!activation) return
      activation.stop('closing')
      await new Promise<void>((resolve) => { activation.whenOver(resolve) })
    }
  }

  get types(): readonly Definition[] {
    return this.#types
  }

  get activations(): Iterable<Activation> {
    return this.#activations.values()
  }

  /** Whether the address belongs to an object of `host()`. */
  isGiven(address: string): boolean {
    return this.#objects.has(address)
  }

  typeOf(address: string): Definition | undefined {
    return this.#types.find((one) => one.pattern.match(address))
  }

  /** The type of an actor that this stage may serve, including objects of `host()`. */
  definitionOf(address: string): Definition | undefined {
    return this.#objects.get(address)?.definition ?? this.typeOf(address)
  }

  /** Whether this stage may serve calls to that address. */
  hosts(address: string): boolean {
    return !this.#closing && (this.#objects.has(address) || this.typeOf(address) !== undefined)
  }

  active(address: string): Activation | undefined {
    return this.#activations.get(address)
  }

  actors(options: ActorsOptions = {}): readonly HostedActor[] {
    const now = this.mesh.clock.now()
    return page(this.#activations.keys(), options).map((address) => described(this.#activations.get(address)!, now))
  }

  /** Details for `explain()`; undefined if the actor is not active here. */
  described(address: string): Partial<Explained> | undefined {
    const one = this.#activations.get(address)
    return one && explained(one, this.mesh)
  }

  get storeTime(): number {
    return this.claims.storeTime
  }

  get store(): Store {
    const store = this.mesh.store()
    if (!store) throw new TypeError('actors need a store, but neither the registry nor the option `store` of this stage provides one')
    return store
  }

  stats(): Record<string, number> {
    return { actors: this.#activations.size, turns: this.#noted.size, stuckReminders: this.#upkeep.stuck }
  }

  // ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Accepts a call, or answers that the actor is hosted elsewhere. */
  receive(address: string, turn: Turn, now?: number): void {
    if (turn.from !== undefined && this.#told.get(address)?.has(turn.from)) return turn.move()
    const activation = this.#activations.get(address) ?? this.#activate(address, turn.carried)
    if (activation instanceof StageError) return turn.answer(activation)
    activation.mailbox.push(turn, now)
  }

  /**
   * Finds out which stage has the claim, and takes the claim if it is free.
   * @param from  context of the call that needs the location
   * @param done  without an owner: not this stage, and the owner is not known here
   */
  locate(address: string, done: (error: StageError | null, owner?: string) => void, from: Carried = NOTHING): void {
    const present = this.#activations.get(address)
    if (present?.stopping && this.#closing) return present.whenOver(() => done(null))
    const activation = present ?? this.#activate(address, from)
    if (!(activation instanceof StageError)) activation.whenClaimed(done)
    else if (activation.code === 'REFUSED') done(null)
    else done(activation)
  }

  /** Answer to `@locate` if this stage has the claim: its id, with the idempotent methods if there are any. */
  located(address: string): string | [id: string, repeatable: string[]] {
    const names = this.definitionOf(address)?.repeatable
    return names ? [this.mesh.id, [...names]] : this.mesh.id
  }

  #activate(address: string, from: Carried): Activation | StageError {
    if (this.#closing) return moved(address)
    try {
      checkAddress(address) // a peer may send an unchecked address
    } catch (error) {
      return error as StageError
    }
    const given = this.#objects.get(address)
    const definition = given?.definition ?? this.typeOf(address)
    if (!definition) return moved(address)
    const full = (this.#counts.get(definition) ?? 0) >= definition.maxActors
    const leaving = full ? this.#room.make(definition) : undefined
    if (full && !leaving) {
      const { maxActors, pattern } = definition
      return new StageError('OVERLOADED', `${maxActors} actors of ${pattern.text} are active, and none of them is idle`, { executed: 'no' })
    }
    const activation = new Activation(this, definition, address, given?.object)
    this.#activations.set(address, activation)
    this.#counts.set(definition, (this.#counts.get(definition) ?? 0) + 1)
    const start = (): void => void outside(() => activation.start(from))
    if (leaving) leaving.whenOver(start)
    else start()
    return activation
  }

  // ── host of its activations ───────────────────────────────────────────────────────────────────────────────────

  claim(address: string, isOver: () => boolean): Promise<{ fence: Fence; committed: Committed } | { owner: string }> {
    return this.claims.take(address, isOver)
  }

  note(turn: Turn): void {
    const at = Math.min(turn.endsAt, turn.slowAt)
    if (at === Infinity) return
    turn.noted = this.#noted
    this.#noted.add(turn)
    this.mesh.deadlines.note(at)
  }

  pause(mailbox: Mailbox): void {
    this.#paused.add(mailbox)
  }

  ended(activation: Activation, left: readonly Turn[], again: boolean, owner?: string): void {
    const { address, definition } = activation
    if (this.#activations.get(address) === activation) {
      this.#activations.delete(address)
      const count = (this.#counts.get(definition) ?? 1) - 1
      if (count > 0) this.#counts.set(definition, count)
      else this.#counts.delete(definition)
    }
    this.#paused.delete(activation.mailbox)
    for (const turn of left) {
      if (again && !this.#closing) this.receive(address, turn)
      else this.#sendOn(address, turn, owner)
    }
  }

  #sendOn(address: string, turn: Turn, owner: string | undefined): void {
    if (turn.from !== undefined) {
      const told = this.#told.get(address)
      if (told) told.add(turn.from)
      else this.#told.set(address, new Set([turn.from]))
      for (const [oldest] of this.#told) if (this.#told.size > TOLD_MAX) this.#told.delete(oldest)
    }
    turn.move(owner)
  }

  /** A stage asks again where an actor is, so the redirect has reached that stage. */
  asked(address: string, stage: string): void {
    const told = this.#told.get(address)
    if (told?.delete(stage) && told.size === 0) this.#told.delete(address)
  }

  // ── life cycle ────────────────────────────────────────────────────────────────────────────────────────────────

  renewed(): void {
    this.claims.renewed()
    for (const mailbox of [...this.#paused]) {
      this.#paused.delete(mailbox)
      mailbox.next()
    }
  }

  /** The registry's history was reset, and perhaps the store's: verifies all claims, because a lost one is free for others. */
  forgot(): void {
    void this.claims.verify([...this.#activations.values()])
  }

  /** The stage lost its lease: peers consider it dead, so all its activations are dropped. */
  lost(): void {
    const error = new StageError('FENCED', 'the stage that hosted the actor lost its lease', { executed: 'unknown' })
    for (const activation of [...this.#activations.values()]) activation.drop('lost', error)
    this.reclaim()
  }

  /** Activates objects of `host()` that are not active, because no other stage can claim them. */
  reclaim(): void {
    for (const [address, { standing }] of this.#objects) if (standing && !this.#activations.has(address)) this.locate(address, () => {})
  }

  /** Moves all actors off this stage: running turns end, waiting calls go to the next host of the actor. */
  async drain(): Promise<void> {
    this.#closing = true
    this.#upkeep.close()
    this.#announce()
    this.claims.renewed()
    await Promise.all([...this.#activations.values()].map((one) => new Promise<void>((resolve) => {
      one.whenOver(resolve)
      one.stop('closing')
    })))
  }

  close(): void {
    this.#closing = true
    this.#unsweep()
    this.#upkeep.close()
    const error = new StageError('CLOSED', 'the stage that hosted the actor is closed', { executed: 'unknown' })
    for (const activation of [...this.#activations.values()]) activation.drop('lost', error)
    this.#noted.clear()
    this.#told.clear()
    this.#room.clear()
    this.#warning.close()
    this.claims.close()
  }

  #announce(): void {
    const types = this.#closing ? [] : this.#types.map((one) => one.pattern.text)
    const objects = !this.#closing && this.#objects.size > 0
    // each announcement costs every stage a read
    if (objects === this.#announced.objects && types.join() === this.#announced.types.join()) return
    this.#announced = { types, objects }
    this.mesh.announce(LAYER, this.#announced)
  }

  #sweep(now: number): number {
    let next = Infinity
    for (const turn of [...this.#noted]) {
      if (turn.watched && turn.slowAt <= now) slow(turn)
      if (turn.until && turn.endsAt <= now) turn.endsAt = turn.until()
      if (!turn.over && turn.endsAt <= now) turn.cancel(late(turn, now))
      const at = Math.min(turn.over ? Infinity : turn.endsAt, turn.slowAt || Infinity)
      if (at === Infinity) this.#noted.delete(turn)
      else if (at < next) next = at
    }
    return next
  }
}

/** @throws TypeError the object cannot become an actor */
function checkObject(address: string, object: unknown): void {
  if (typeof object !== 'object' || object === null || !Object.isExtensible(object)) {
    throw new TypeError(`host() got ${describe(object)} for ${printable(address)}: expected an extensible object, which can be given its self`)
  }
  if (Object.getOwnPropertyDescriptor(object, 'self')?.configurable === false) {
    throw new TypeError(`the object for ${printable(address)} has a property self that cannot be replaced, but an actor is given one`)
  }
}
