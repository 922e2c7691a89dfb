/**
 * The registry of one machine, in a folder: an embedded database that every process opens, so no server is needed.
 * The registry's time is this machine's wall clock.
 */
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { systemClock } from '../../src/clock.js'
import { StageError } from '../../src/errors.js'
import { Feeds } from '../shared/feeds.js'
import { Listings } from '../shared/listing.js'
import type { Steps } from '../shared/listing.js'
import type { Ledger, Listed, Published, Seen } from '../shared/ledger.js'
import { knownOptions } from '../../src/known-options.js'
import { log } from '../../src/log.js'
import { outside } from '../../src/outside.js'
import { ownFolder } from '../../src/own-folder.js'
import { systemRandom } from '../../src/random.js'
import { Stores } from '../shared/storing.js'
import type { Clock, Entry, Lease, Random, Registry, Store, Timer, View } from '../../src/types.js'
import { Views, type Witness } from '../shared/views.js'
import { within } from '../../src/within.js'
import { Environment } from './environment.js'
import { makeFolder } from './folder.js'
import { Leaving } from './gone.js'
import { LocalStore } from './store.js'

/** Options of a registry in a folder. */
export interface LocalRegistryOptions {
  /** Clock whose wall time is the registry's time; default this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

/**
 * How long a change may stay unseen, in milliseconds: 5 for each entry, in these bounds. One poll costs some ten
 * microseconds, and all processes of the machine poll.
 */
const POLL_MIN_MS = 100
const POLL_MAX_MS = 400
const POLL_EACH_MS = 5
/** Every how many polls a watch checks that other processes still use the same files. */
const REFRESH_POLLS = 10
const LIMIT_MS = 3000
const LIMIT_MIN_MS = 1000

/** A registry in a folder of this machine, which every process opens by itself: no server is needed. */
export class LocalRegistry implements Registry {
  readonly address: string
  readonly #path: string
  readonly #own: boolean
  readonly #clock: Clock
  readonly #random: Random
  readonly #listings: Listings
  readonly #stores = new Stores()
  readonly #polls = new Feeds<Poll>()
  readonly #leaving = new Leaving()
  #environment: Promise<Environment> | undefined
  #closing: Promise<void> | undefined

  /**
   * Opens nothing yet: the first operation reports a problem with the path.
   * @param path  a folder, made if missing; default: `$STAGE_FOLDER`, else one for each user, see `ownFolder`
   */
  constructor(path?: string, options: LocalRegistryOptions = {}) {
    knownOptions('the local registry', options, ['clock', 'random'])
    const { clock = systemClock, random = systemRandom } = options
    this.#own = !path
    this.#path = path ? resolve(path) : ownFolder()
    this.address = `local:${this.#path}`
    this.#clock = clock
    this.#random = random
    this.#listings = new Listings(clock, random)
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    return this.#listings.publish(this.#steps(entry.namespace, Math.min(Math.max(ttlMs / 5, LIMIT_MIN_MS), LIMIT_MS)), entry, ttlMs)
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    const environment = await this.#open()
    if (signal.aborted) return
    this.#check()
    const begin = () => this.#step(namespace, LIMIT_MS, () => {})
    yield* this.#polls.watch(namespace, signal, (witness) => new Poll(environment, namespace, this.address, this.#clock, witness, begin))
  }

  /** Opens the store in the same folder; its data lasts as long as the folder, across a crash of the machine too. */
  store(namespace: string): Store {
    return this.#stores.open(this.address, namespace, () => new LocalStore(() => this.#open(), namespace, this.#clock))
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close()
  }

  async #close(): Promise<void> {
    this.#listings.close()
    this.#leaving.clear()
    await this.#stores.close()
    this.#polls.stop()
    const environment = await this.#environment?.catch(() => undefined)
    if (!environment) return
    // lmdb waits for pending writes, possibly for as long as another process stays stopped
    await within(this.#clock, LIMIT_MS, environment.leave(), () => new Error('a write is still pending')).catch((error: Error) => log(this.address, error.message))
  }

  #steps(namespace: string, limitMs: number): Steps {
    const step = <T>(run: (ledger: Ledger, gone: ReadonlySet<string>) => T) => this.#step(namespace, limitMs, run)
    return {
      publish: (entry) => this.#publish(entry, step),
      renew: async (entry, seen) => {
        const { alive } = await this.#open()
        await alive.show(entry.id, this.#clock.wall() + entry.ttlMs)
        const answer = await step((ledger) => ledger.renew(entry, seen))
        if (answer.answer === 'lost') {
          this.#leaving.delete(entry.id)
          await alive.remove(entry.id)
        }
        return answer
      },
      sweep: (except) => step((ledger) => ledger.sweep(except)),
      remove: async (id) => {
        await step((ledger) => ledger.remove(id))
        this.#leaving.delete(id)
        await (await this.#open()).alive.remove(id)
      },
    }
  }

  async #publish(entry: Listed, step: <T>(run: (ledger: Ledger, gone: ReadonlySet<string>) => T) => Promise<T>): Promise<Published> {
    const environment = await this.#open()
    this.#leaving.add(entry.id, environment.gone) // beforehand: after the process ended, its pending write may still list the entry
    let listed = false
    try {
      const answer = await step((ledger, gone): Published => gone.has(entry.id) ? { ...ledger.remove(entry.id), answer: 'lost' } : ledger.publish(entry))
      listed = !answer.holder && answer.answer === 'ok'
      return answer
    } finally {
      if (!listed) this.#leaving.delete(entry.id)
    }
  }

  async #step<T>(namespace: string, limitMs: number, run: (ledger: Ledger, gone: ReadonlySet<string>) => T): Promise<T> {
    const environment = await this.#open()
    this.#check()
    return environment.step(namespace, this.#clock, this.#random, limitMs, run)
  }

  async #open(): Promise<Environment> {
    this.#check()
    return this.#environment ??= outside(() => this.#enter().catch((error: unknown) => {
      this.#environment = undefined
      throw error
    }))
  }

  async #enter(): Promise<Environment> {
    await makeFolder(this.#path, this.#own)
    const environment = Environment.enter(await realpath(this.#path), this.#clock) // two spellings of one folder share one environment
    try {
      await environment.open()
      return environment
    } catch (error) {
      await environment.leave()
      throw error
    }
  }

  #check(): void {
    if (this.#closing) throw new StageError('CLOSED', `the registry ${this.address} was closed`)
  }
}

/** Polls one namespace while anybody watches it. */
class Poll {
  readonly views: Views
  #timer: Timer | undefined
  #count = 0

  #seen: Seen | undefined
  #gone: ReadonlySet<string> | undefined

  /** @param begin  makes the first contact if the registry is empty */
  constructor(
    private readonly environment: Environment,
    private readonly namespace: string,
    address: string,
    private readonly clock: Clock,
    private readonly witness: Witness,
    private readonly begin: () => Promise<unknown>,
  ) {
    this.views = new Views(namespace, address, () => this.#read())
    void this.#look()
  }

  stop(): void {
    this.views.end()
    this.#timer?.cancel()
  }

  async #look(): Promise<void> {
    try {
      if (this.#count++ % REFRESH_POLLS === 0) {
        await this.environment.refresh()
        await this.environment.tidy(this.clock.wall())
      }
      await this.views.look()
    } catch (error) {
      this.views.end(error)
    }
    const pauseMs = Math.min(Math.max(this.views.size * POLL_EACH_MS, POLL_MIN_MS), POLL_MAX_MS)
    if (!this.views.ended) this.#timer = this.clock.setTimeout(() => void this.#look(), pauseMs)
  }

  async #read(): Promise<void> {
    const gone = this.environment.gone.look()
    const now = await this.environment.read(this.namespace, gone === this.#gone ? this.#seen : undefined)
    if (now === 'same') return
    if (now === undefined) return void await this.begin() // the next poll sees the state that `begin` writes
    this.#seen = now
    this.#gone = gone
    const generation = this.witness.see(now)
    if ('records' in now) this.views.replace(generation, now.records.filter(([id]) => !gone.has(id)), now.lapsed)
    else this.views.change(now.changed.map(([id, text]) => [id, gone.has(id) ? undefined : text]), now.lapsed)
  }
}
