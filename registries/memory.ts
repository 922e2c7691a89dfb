/**
 * The registry inside one process: stages that use the same name meet. It is the contract in its shortest form, and
 * what tests and simulations run on; `fail` and `empty` make it misbehave like one over a network.
 */
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { EntryReader } from '../src/entry.js'
import { StageError } from '../src/errors.js'
import { Ledger, same, snapshot } from '../src/ledger.js'
import type { Kind, Seen, Table } from '../src/ledger.js'
import { Listings } from '../src/listing.js'
import type { Steps } from '../src/listing.js'
import { newId, systemRandom } from '../src/random.js'
import type { Clock, Entry, Lease, Random, Registry, View } from '../src/types.js'
import { Views } from '../src/views.js'

export interface MemoryRegistryOptions {
  /** Its wall time is the registry's time. */
  clock?: Clock | undefined
  random?: Random | undefined
}

const rooms = new Map<string, Room>()

export class MemoryRegistry implements Registry {
  readonly address: string
  readonly #room: Room
  readonly #clock: Clock
  readonly #random: Random
  readonly #listings: Listings
  readonly #watches = new Set<AbortController>()
  #closed = false

  /** @param name  instances of one process with the same name are clients of the same registry; default `default` */
  constructor(name = 'default', { clock = systemClock, random = systemRandom }: MemoryRegistryOptions = {}) {
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
    const ending = new AbortController() // of the caller or of this instance, whichever is first
    const release = onAbort(signal, () => ending.abort())
    this.#watches.add(ending)
    try {
      yield* views.watch(ending.signal)
    } finally {
      release()
      this.#watches.delete(ending)
    }
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#listings.close()
      for (const ending of this.#watches) ending.abort()
      this.#room.leave()
    }
    return Promise.resolve()
  }

  /** From now on every operation of every client rejects and watches throw, as if it could not be reached; or no longer. */
  fail(failing = true): void {
    this.#room.fail(failing)
  }

  /** Forgets everything, as a server that was restarted without its data. */
  empty(): void {
    this.#room.empty()
  }

  /** Puts a record there as a person would by hand; it is held for a minute. */
  edit(namespace: string, id: string, text: string): void {
    const space = this.#space(namespace)
    space.table.put('peer', id, text)
    space.table.put('lease', id, String(this.#clock.wall() + 60_000))
    space.show()
  }

  #steps(namespace: string): Steps {
    // what a step throws becomes a rejection
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

/** What the instances of one name share. */
class Room {
  readonly spaces = new Map<string, Space>()
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

  /** @throws StageError REGISTRY_UNAVAILABLE */
  check(): void {
    if (this.#failing) throw this.#away()
  }

  fail(failing: boolean): void {
    this.#failing = failing
    if (failing) for (const space of this.spaces.values()) space.end(this.#away())
  }

  empty(): void {
    for (const space of this.spaces.values()) space.table.clear()
  }

  #away(): StageError {
    return new StageError('REGISTRY_UNAVAILABLE', `the registry memory:${this.name} was told to fail; it works again after fail(false)`)
  }
}

/** One namespace of a room. */
class Space {
  readonly table = new MapTable()
  views = new Views()
  #shown: Seen | undefined
  readonly #reader: EntryReader

  constructor(namespace: string, address: string) {
    this.#reader = new EntryReader(namespace, address)
  }

  /** Shows the present view, if it is not the one that watchers have. */
  changed(): void {
    const now = snapshot(this.table)
    if (now && !same(now, this.#shown)) this.show(now)
  }

  show(now = snapshot(this.table)): void {
    if (!now) return
    this.#shown = now
    this.views.push({ generation: now.generation, entries: this.#reader.read(now.records), lapsed: now.lapsed })
  }

  /** Every watch throws; the next ones begin anew. */
  end(error: StageError): void {
    this.views.end(error)
    this.views = new Views()
    this.show()
  }
}

class MapTable implements Table {
  readonly #rows: Record<Kind, Map<string, string>> = { state: new Map(), peer: new Map(), lease: new Map(), lapsed: new Map(), missed: new Map() }

  get(kind: Kind, id: string): string | undefined {
    return this.#rows[kind].get(id)
  }

  put(kind: Kind, id: string, text: string): void {
    this.#rows[kind].set(id, text)
  }

  remove(kind: Kind, id: string): void {
    this.#rows[kind].delete(id)
  }

  list(kind: Kind): Iterable<readonly [string, string]> {
    return this.#rows[kind]
  }

  clear(): void {
    for (const rows of Object.values(this.#rows)) rows.clear()
  }
}
