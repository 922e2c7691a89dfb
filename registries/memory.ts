/**
 * The registry inside one process: stages that use the same registry name see each other. The shortest implementation of
 * the contract, used by tests and simulations; `fail` and `empty` simulate the failures of a registry over a network.
 */
import { onAbort } from '../src/abort.js'
import * as ownership from './shared/ownership.js'
import type { ActorRecord, Outcome } from './shared/ownership.js'
import { systemClock } from '../src/clock.js'
import { StageError } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import { Ledger } from './shared/ledger.js'
import { Listings } from './shared/listing.js'
import type { Steps } from './shared/listing.js'
import { Space } from './shared/map-table.js'
import { newId, systemRandom } from '../src/random.js'
import { Stores } from './shared/storing.js'
import type { StoreSteps } from './shared/storing.js'
import type { Claim, Claimed, Clock, Commit, Committed, Entry, Fence, Lease, Random, Registry, Store, View, Wake } from '../src/types.js'

/** Options of a registry within this process. */
export interface MemoryRegistryOptions {
  /** Clock whose wall time is the registry's time; default this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

/** Values for options that are left out. */
const DEFAULTS = { name: 'default' } as const

const rooms = new Map<string, Room>()

/** A registry within this process. Instances with the same name are clients of the same registry. */
export class MemoryRegistry implements Registry {
  readonly address: string
  readonly #room: Room
  readonly #clock: Clock
  readonly #random: Random
  readonly #listings: Listings
  readonly #stores = new Stores()
  readonly #watches = new Set<AbortController>()
  #closed = false

  /** @param name  instances of one process with the same name are clients of the same registry; default `default` */
  constructor(name: string = DEFAULTS.name, options: MemoryRegistryOptions = {}) {
    knownOptions('the memory registry', options, ['clock', 'random'])
    const { clock = systemClock, random = systemRandom } = options
    this.address = `memory:${name}`
    this.#clock = clock
    this.#random = random
    this.#listings = new Listings(clock, random)
    this.#room = Room.enter(name)
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    return this.#listings.publish(this.#steps(entry.namespace), entry, ttlMs)
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    if (signal.aborted) return
    const { views } = this.#space(namespace)
    const ending = new AbortController() // by the caller or by this instance, whichever is first
    const release = onAbort(signal, () => ending.abort())
    this.#watches.add(ending)
    try {
      yield* views.watch(ending.signal)
    } finally {
      release()
      this.#watches.delete(ending)
    }
  }

  store(namespace: string): Store {
    return this.#stores.open(this.address, namespace, () => new MemoryStore(this.#room, namespace, this.#clock))
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#listings.close()
      for (const ending of this.#watches) ending.abort()
      void this.#stores.close()
      this.#room.leave()
    }
    return Promise.resolve()
  }

  /** Makes every operation of every client reject and every watch throw, as if the registry were unreachable; `fail(false)` ends that. */
  fail(failing = true): void {
    this.#room.fail(failing)
  }

  /** Deletes everything, including claims and states of actors, like a server that restarted without its data. */
  empty(): void {
    this.#room.empty()
  }

  /** Deletes the record of one actor, as a person would by hand. */
  forget(namespace: string, actor: string): void {
    this.#room.actors(namespace).delete(actor)
  }

  /** Writes a record as a person would by hand, with a lease of one minute. */
  edit(namespace: string, id: string, text: string): void {
    const space = this.#space(namespace)
    space.table.put('peer', id, text)
    space.table.put('lease', id, String(this.#clock.wall() + 60_000))
    space.show()
  }

  #steps(namespace: string): Steps {
    // an error thrown by a step becomes a rejection
    const step = <T>(run: (ledger: Ledger) => T) => new Promise<T>((resolve) => { resolve(this.#step(namespace, run)) })
    return {
      publish: (entry) => step((ledger) => ledger.publish(entry)),
      renew: (entry, seen) => step((ledger) => ledger.renew(entry, seen)),
      sweep: (except) => step((ledger) => ledger.sweep(except)),
      remove: (id) => step((ledger) => ledger.remove(id)),
    }
  }

  #step<T>(namespace: string, run: (ledger: Ledger) => T): T {
    const space = this.#space(namespace)
    const answer = run(new Ledger(space.table, namespace, this.#clock.wall(), newId(this.#random)))
    space.changed()
    return answer
  }

  /** @throws StageError CLOSED · REGISTRY_UNAVAILABLE */
  #space(namespace: string): Space {
    if (this.#closed) throw new StageError('CLOSED', `the registry ${this.address} was closed`)
    this.#room.check()
    let space = this.#room.spaces.get(namespace)
    if (space) return space
    space = new Space(namespace, this.address)
    this.#room.spaces.set(namespace, space)
    new Ledger(space.table, namespace, this.#clock.wall(), newId(this.#random)) // the first contact: a generation begins
    space.changed()
    return space
  }
}

/** State that all instances of one name share. */
class Room {
  readonly spaces = new Map<string, Space>()
  readonly #actors = new Map<string, Map<string, ActorRecord>>()
  #users = 0
  #failing = false

  private constructor(private readonly name: string) {}

  static enter(name: string): Room {
    const room = rooms.get(name) ?? new Room(name)
    rooms.set(name, room)
    room.#users++
    return room
  }

  leave(): void {
    if (--this.#users === 0) rooms.delete(this.name)
  }

  /** The stored records of the actors of a namespace. */
  actors(namespace: string): Map<string, ActorRecord> {
    const actors = this.#actors.get(namespace) ?? new Map<string, ActorRecord>()
    this.#actors.set(namespace, actors)
    return actors
  }

  /** @throws StageError with that code while the registry is told to fail */
  check(code: 'REGISTRY_UNAVAILABLE' | 'STORE_UNAVAILABLE' = 'REGISTRY_UNAVAILABLE'): void {
    if (this.#failing) throw this.#away(code)
  }

  fail(failing: boolean): void {
    this.#failing = failing
    if (failing) for (const space of this.spaces.values()) space.end(this.#away('REGISTRY_UNAVAILABLE'))
  }

  empty(): void {
    for (const space of this.spaces.values()) space.table.clear()
    for (const actors of this.#actors.values()) actors.clear()
  }

  #away(code: 'REGISTRY_UNAVAILABLE' | 'STORE_UNAVAILABLE'): StageError {
    return new StageError(code, `the registry memory:${this.name} was set to fail; it works again after fail(false)`)
  }
}

/** Committed state and owners of the actors of one namespace. Callers get copies of a state, as from every other store. */
class MemoryStore implements StoreSteps {
  constructor(private readonly room: Room, private readonly namespace: string, private readonly clock: Clock) {}

  async claim(actor: string, claim: Claim): Promise<Claimed> {
    const answer = this.#step(actor, (record) => ownership.claim(record, claim, this.clock.wall()))
    return answer.owner ? answer : copied(answer)
  }

  async commit(actor: string, fence: Fence, commit: Commit): Promise<'ok' | 'fenced'> {
    return this.#step(actor, (record) => ownership.commit(record, fence, commit))
  }

  async release(actor: string, fence: Fence): Promise<void> {
    return this.#step(actor, (record) => ownership.release(record, fence))
  }

  async look(actor: string): ReturnType<Store['look']> {
    const known = ownership.look(this.#actors().get(actor), this.clock.wall())
    return known && copied(known)
  }

  async due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    const now = this.clock.wall()
    const due: Wake[] = []
    for (const [actor, { wake: at }] of this.#actors()) if (at !== undefined && at <= now && (!after || order({ actor, at }, after) > 0)) due.push({ actor, at })
    return due.sort(order).slice(0, limit)
  }

  #step<T>(actor: string, run: (record: ActorRecord | undefined) => Outcome<T>): T {
    const actors = this.#actors()
    const { answer, record } = run(actors.get(actor))
    if (record) actors.set(actor, record)
    return answer
  }

  #actors(): Map<string, ActorRecord> {
    this.room.check('STORE_UNAVAILABLE')
    return this.room.actors(this.namespace)
  }
}

const order = (a: Wake, b: Wake): number => a.at - b.at || (a.actor < b.actor ? -1 : a.actor > b.actor ? 1 : 0)

const copied = <T extends Committed>(answer: T): T => ({ ...answer, data: answer.data && Buffer.from(answer.data) })
