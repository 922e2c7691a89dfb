/**
 * The registry on a Redis. The data can be inspected with redis-cli (`docs/protocol.md` names the keys), each step is one
 * script, and a watch is a blocking read of a log. An instance has one connection for commands, one for each namespace that
 * it watches, and one for each store.
 */
import { systemClock } from '../../src/clock.js'
import { parseEntry } from '../../src/entry.js'
import { StageError } from '../../src/errors.js'
import { knownOptions } from '../../src/known-options.js'
import type { Listed, Published, Renewed, Reply } from '../shared/ledger.js'
import { Feeds } from '../shared/feeds.js'
import { Listings } from '../shared/listing.js'
import type { Steps } from '../shared/listing.js'
import { newId, systemRandom } from '../../src/random.js'
import { Stores } from '../shared/storing.js'
import type { Clock, Entry, Lease, Random, Registry, Store, View } from '../../src/types.js'
import { Connection } from './connection.js'
import { BLOCK_MS, Feed } from './feed.js'
import { PUBLISH, REMOVE, RENEW, SWEEP, keysOf } from './scripts.js'
import { RedisStore } from './store.js'
import { clientTarget, urlTarget } from './target.js'
import type { Client, Target, TlsOptions } from './target.js'

/** Options of a registry on a Redis. */
export interface RedisRegistryOptions {
  /**
   * `redis:` or `rediss:` with user, password, host, port and database, and perhaps `?prefix=` or `?shards=`; default
   * `redis://127.0.0.1:6379`. With sentinels: `redis+sentinel://user:password@host:26379,host:26379/master/database`.
   * For a cluster, some of its nodes: `redis+cluster://user:password@host:6379,host:6379`.
   */
  url?: string | undefined
  /** Of a `rediss:` URL: the certificate authority, a client certificate, or any other option of `tls.connect`. */
  tls?: TlsOptions | undefined
  /** The beginning of every key; default `stagemesh:`. Without braces, because they mark the slot in a cluster. */
  prefix?: string | undefined
  /**
   * Over how many slots of a cluster the actors of a namespace are spread, 1 to 256; default 1. It must be the same for all
   * stages, and stay the same: with another number, actors begin with an empty state.
   */
  shards?: number | undefined
  /** A Redis or Cluster of ioredis instead of a URL. Only its server and options are used; nothing is sent over it. */
  client?: Client | undefined
  /** Clock for timeouts and waits only, as the registry's time is Redis' own; default this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

/** Values for options that are left out. */
const DEFAULTS = { url: 'redis://127.0.0.1:6379' } as const satisfies RedisRegistryOptions

const COMMAND_MS = 3000
/** Timeout of a blocking read: if even the answer "nothing new" is missing, the connection is dead. */
const BLOCKED_MS = BLOCK_MS + 5000

/** A registry on a Redis 6.2 or later, better 7.0, for any number of machines. */
export class RedisRegistry implements Registry {
  readonly address: string
  readonly #target: Target
  readonly #clock: Clock
  readonly #random: Random
  readonly #commands: Connection
  readonly #listings: Listings
  readonly #feeds = new Feeds<Feed>()
  readonly #stores = new Stores()
  #closed = false

  /**
   * Does not connect yet: the first operation reports a problem with the server.
   * @throws TypeError for an invalid URL, prefix, or combination of options
   */
  constructor(options: RedisRegistryOptions | string = {}) {
    const given: RedisRegistryOptions = typeof options === 'string' ? { url: options } : options
    knownOptions('the Redis registry', given, ['url', 'client', 'tls', 'prefix', 'shards', 'clock', 'random'])
    const { url = DEFAULTS.url, client, tls, prefix, shards, clock = systemClock, random = systemRandom } = given
    if (client && given.url !== undefined) throw new TypeError('a Redis registry needs one of url and client, not both')
    this.#target = client ? clientTarget(client, { tls, prefix, shards }) : urlTarget(url, { tls, prefix, shards })
    this.address = this.#target.address
    this.#clock = clock
    this.#random = random
    this.#commands = new Connection(this.#target, clock, COMMAND_MS)
    this.#listings = new Listings(clock, random)
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    return this.#listings.publish(this.#steps(entry.namespace), entry, ttlMs)
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    if (this.#closed) throw new StageError('CLOSED', `the registry ${this.address} was closed`)
    if (signal.aborted) return
    yield* this.#feeds.watch(namespace, signal, (witness) => new Feed({
      keys: keysOf(namespace, this.#target.prefix), namespace, witness, address: this.address, clock: this.#clock, random: this.#random,
      commands: this.#commands, waiting: new Connection(this.#target, this.#clock, BLOCKED_MS),
    }))
  }

  /** Opens the store on the same Redis, over a separate connection. */
  store(namespace: string): Store {
    return this.#stores.open(this.address, namespace, () => new RedisStore(this.#target, this.#clock, namespace))
  }

  close(): Promise<void> {
    this.#closed = true
    this.#listings.close()
    this.#feeds.stop()
    this.#commands.close()
    return this.#stores.close()
  }

  #steps(namespace: string): Steps {
    const keys = keysOf(namespace, this.#target.prefix)
    const fresh = () => newId(this.#random)
    const row = ({ id, text, name, unique, ttlMs }: Listed) => [fresh(), id, text, name, unique ? '1' : '0', String(Math.ceil(ttlMs))]
    return {
      publish: async (entry) => published(await this.#commands.script(PUBLISH, keys, row(entry)), namespace),
      renew: async (entry, { generation, revision, mark }) =>
        answered(await this.#commands.script(RENEW, keys, [...row(entry), generation, String(revision), mark])) as Renewed,
      sweep: async (except) => answered(await this.#commands.script(SWEEP, keys, [fresh(), except])),
      remove: async (id) => answered(await this.#commands.script(REMOVE, keys, [fresh(), id])),
    }
  }
}

function answered(reply: unknown): Reply & { answer: string } {
  const [answer, generation, revision, mark, now, earliest] = reply as [string, string, string, string, string, string]
  return { answer, generation, revision: Number(revision), mark, now: Number(now), earliest: earliest === '' ? Infinity : Number(earliest) }
}

function published(reply: unknown, namespace: string): Published {
  const [answer, id, text, leftMs] = reply as [string, string, string, string]
  if (answer !== 'taken') return answered(reply) as Published
  return { holder: { id, addresses: parseEntry(text, namespace)?.addresses ?? [], freeInMs: Number(leftMs) } }
}
