import { StageError, describe } from '../../src/errors.js'
import { encodeEntry } from '../../src/entry.js'
import type { Granted, Holder, Listed, Published, Renewed, Reply, Seen } from './ledger.js'
import { Sweeper } from './sweeper.js'
import type { Clock, Entry, Lease, Random } from '../../src/types.js'

/** The steps of a registry for one namespace. Each step is atomic, may safely run twice, and rejects with a StageError. */
export interface Steps {
  publish(entry: Listed): Promise<Published>
  renew(entry: Listed, seen: Seen): Promise<Renewed>
  sweep(except: string): Promise<Reply>
  remove(id: string): Promise<unknown>
}

interface Context {
  readonly clock: Clock
  readonly random: Random
  /** Called when the lease was lost or closed, so that nobody needs to hold it. */
  onend(lease: Listing): void
}

/** The leases that one registry instance has granted and that are still held. */
export class Listings {
  readonly #held = new Map<string, Listing>()

  constructor(private readonly clock: Clock, private readonly random: Random) {}

  /** @throws StageError NAME_TAKEN · BAD_ARGUMENT · the error of the step */
  async publish(steps: Steps, entry: Entry, ttlMs: number): Promise<Lease> {
    if (!(ttlMs > 0)) throw new TypeError(`ttlMs must be a positive number of milliseconds, not ${ttlMs}`)
    const answer = await steps.publish(listed(entry, ttlMs))
    if (answer.holder) throw nameTaken(entry, answer.holder)
    const onend = (lease: Listing) => {
      if (this.#held.get(entry.id) === lease) this.#held.delete(entry.id)
    }
    const lease = new Listing(steps, entry, ttlMs, { clock: this.clock, random: this.random, onend }, answer)
    this.#held.get(entry.id)?.abandon() // left by a publish whose answer came too late for its caller
    if (answer.answer === 'ok') this.#held.set(entry.id, lease)
    return lease
  }

  /** Stops all sweeping; the listed entries are left to lapse. */
  close(): void {
    for (const lease of this.#held.values()) lease.abandon()
    this.#held.clear()
  }
}

/** The lease of every built-in registry: remembers its point in history, and sweeps other entries after its heartbeats. */
class Listing implements Lease {
  readonly #sweeper: Sweeper
  #state: 'held' | 'lost' | 'closed' = 'held'
  #seen: Seen
  #renewing: Promise<unknown> | undefined
  #closing: Promise<void> | undefined

  constructor(
    private readonly steps: Steps, private entry: Entry, private readonly ttlMs: number, private readonly context: Context, answer: Granted,
  ) {
    this.#sweeper = new Sweeper(context.clock, context.random, ttlMs, () => steps.sweep(entry.id))
    this.#seen = answer
    if (answer.answer === 'lost') this.#lose()
    else this.#sweeper.renewed(answer.now, answer.earliest)
  }

  get lost(): boolean {
    return this.#state === 'lost'
  }

  async renew(entry: Entry = this.entry): Promise<'ok' | 'late' | 'lost'> {
    const { id, name, namespace, unique } = this.entry
    if (entry.id !== id || entry.name !== name || entry.namespace !== namespace || entry.unique !== unique) {
      throw new TypeError('a lease keeps its id, its name, its namespace and `unique`: publish another entry to change one of them')
    }
    if (this.#state === 'closed') throw new StageError('CLOSED', `the lease of ${describe(name)} was closed`)
    if (this.#state === 'lost') return 'lost'
    const renewing = this.steps.renew(listed(entry, this.ttlMs), this.#seen)
    this.#renewing = renewing
    try {
      return this.#renewed(await renewing, entry)
    } catch (error) {
      this.#sweeper.failed()
      throw error
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close()
  }

  /** Stops sweeping and leaves the entry to lapse: the registry is closing, or another lease now has this id. */
  abandon(): void {
    this.#sweeper.close()
    if (this.#state === 'held') this.#state = 'closed'
  }

  #renewed(answer: Renewed, entry: Entry): 'ok' | 'late' | 'lost' {
    this.#seen = answer
    this.entry = entry
    if (answer.answer === 'lost') this.#lose()
    else if (this.#state === 'held') this.#sweeper.renewed(answer.now, answer.earliest)
    return answer.answer
  }

  #lose(): void {
    if (this.#state === 'held') this.#state = 'lost'
    this.#sweeper.close()
    this.context.onend(this)
  }

  async #close(): Promise<void> {
    const held = this.#state === 'held'
    this.abandon()
    this.context.onend(this)
    if (!held) return
    await this.#renewing?.catch(() => {}) // a renewal in flight could list the entry again
    await this.steps.remove(this.entry.id)
  }
}

const listed = (entry: Entry, ttlMs: number): Listed => (
  { id: entry.id, name: entry.name, unique: entry.unique, ttlMs, text: encodeEntry(entry) }
)

function nameTaken(entry: Entry, holder: Holder): StageError {
  const at = holder.addresses.length > 0 ? ` at ${describe(holder.addresses.join(', '))}` : ''
  const wait = Math.max(0, Math.ceil(holder.freeInMs / 1000))
  const by = `${describe(holder.id)}${at}, and one of the two is unique`
  const taken = `the name ${describe(entry.name)} is taken in namespace ${describe(entry.namespace)} by ${by}`
  return new StageError('NAME_TAKEN', `${taken}; if that stage has crashed, the name is free in ${wait} s`)
}
