/** The address of a Redis and how to connect to it. The only file that loads ioredis, and only when it makes a connection. */
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { describe } from '../../src/errors.js'
import { parseUrl } from './url.js'

/** The beginning of every key, unless the user chooses another. */
export const PREFIX = 'stagemesh:'

/** A connection of our own, of either kind. */
export type Client = Redis | Cluster

/** Options of `tls.connect` in Node. */
export type TlsOptions = NonNullable<RedisOptions['tls']>

export interface Target {
  /** For messages, without credentials. */
  readonly address: string
  /** The beginning of every key. */
  readonly prefix: string
  /** Over how many hash tags the actors of a namespace are spread. */
  readonly shards: number
  /** Makes a client that is not connected yet. */
  make(): Promise<Client>
}

export const isCluster = (client: Client): client is Cluster => client.isCluster

/**
 * Disables all of ioredis' retries: it must not resend, queue or reconnect by itself, because the stage alone retries, with
 * one back-off for all registries. A command that was sent twice runs twice.
 */
const RULES: RedisOptions = {
  lazyConnect: true,
  disconnectTimeout: 100, // its timer outlives a dead stream and keeps the process alive until it fires
  retryStrategy: null,
  sentinelRetryStrategy: () => null,
  reconnectOnError: null,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  enableAutoPipelining: false,
  enableReadyCheck: false, // it would wait for a server that is loading; `Connection.#check` reports that instead
  autoResubscribe: false,
  monitor: false,
  readOnly: false,
  replyMapping: 'legacy',
  stringNumbers: false,
  connectionName: 'stagemesh',
  disableClientInfo: true,
  himportFieldsets: undefined,
  // `Connection` has its own timeouts: after a stall of this process, ioredis' timers would fire before it reads waiting replies
  connectTimeout: 0,
  commandTimeout: undefined,
  socketTimeout: undefined, // would also end a blocking read, which is silent while nothing changes
}

/** The same for a cluster, which itself decides on options that it has too. */
const CLUSTER_RULES: ClusterOptions = {
  lazyConnect: true, clusterRetryStrategy: null, enableOfflineQueue: false, enableReadyCheck: false, scaleReads: 'master',
}

/** Options beside a URL or a client. */
interface Given {
  readonly tls?: TlsOptions | undefined
  readonly prefix?: string | undefined
  readonly shards?: number | undefined
}

/** The server of a URL, the master that its sentinels name, or the cluster that its nodes belong to. @throws TypeError the URL or an option is not right */
export function urlTarget(text: string, { tls, prefix, shards }: Given = {}): Target {
  const { address, secure, servers, master, cluster, db, username, password, ...inUrl } = parseUrl(text)
  if (tls && !secure) throw new TypeError('the option tls belongs to a URL that begins with rediss:')
  const [{ host, port }] = servers
  const login: RedisOptions = { db, ...(username && { username }), ...(password && { password }) }
  // a server is checked against the name by which it was dialled; an address is no name
  const named = /^[\d.]+$|:/.test(host) ? {} : { servername: host }
  const one: RedisOptions = { host, port, ...(secure && { tls: { ...named, ...tls } }) }
  const several: RedisOptions = {
    sentinels: [...servers], name: master,
    ...(secure && { tls: { ...tls }, sentinelTLS: { ...tls }, enableTLSForSentinelMode: true }),
  }
  const from = { ...login, ...(master === undefined ? one : several) }
  const nodes = { ...login, ...(secure && { tls: { ...tls } }) }
  return {
    address,
    prefix: checkPrefix(prefix ?? inUrl.prefix ?? PREFIX),
    shards: checkShards(shards ?? inUrl.shards ?? 1),
    make: async () => {
      const { Cluster, Redis } = await import('ioredis')
      if (!cluster) return new Redis({ ...from, ...RULES })
      // names are not resolved beforehand: one that is unknown would fail all, and with TLS a node is checked against its name
      const lookup: ClusterOptions = { dnsLookup: (name, done) => done(null, name) }
      return new Cluster([...servers], { ...lookup, ...CLUSTER_RULES, redisOptions: { ...nodes, ...RULES } })
    },
  }
}

function checkPrefix(prefix: string): string {
  if (typeof prefix === 'string' && /^[\w:.-]{0,100}$/.test(prefix)) return prefix
  throw new TypeError(`the prefix of the keys in Redis is ${describe(prefix)}: expected at most 100 letters, digits and ":", ".", "_", "-"`)
}

/** The most hash tags, each of which is asked for the actors that are to be woken. */
const SHARDS_MAX = 256

function checkShards(shards: number): number {
  if (Number.isInteger(shards) && shards >= 1 && shards <= SHARDS_MAX) return shards
  throw new TypeError(`shards is ${describe(shards)}: expected a whole number from 1 to ${SHARDS_MAX}`)
}

/** The server of a client given by the user, over new connections with the client's options. */
export function clientTarget(client: Client, { tls, prefix, shards }: Given = {}): Target {
  if (tls) throw new TypeError('the option tls belongs to a URL; a client has its own')
  if (typeof (client as Partial<Client>).duplicate !== 'function') throw new TypeError(`${describe(client)} is not a client of ioredis`)
  const own = { prefix: checkPrefix(prefix ?? PREFIX), shards: checkShards(shards ?? 1) }
  if (isCluster(client)) return { ...own, ...clusterTarget(client) }
  const { host = 'localhost', port = 6379, path, db = 0, sentinels, name } = client.options
  const at = sentinels ? `sentinel:${name ?? ''}` : path ?? `${host}:${port}`
  return {
    address: `redis://${at}${db > 0 ? `/${db}` : ''}`,
    ...own,
    make: () => Promise.resolve(client.duplicate(RULES)),
  }
}

function clusterTarget(client: Cluster): Pick<Target, 'address' | 'make'> {
  const { startupNodes } = client as unknown as { startupNodes: readonly ClusterNode[] }
  return {
    address: `redis+cluster://${startupNodes.map(place).join(',')}`,
    make: () => Promise.resolve(client.duplicate([], { ...CLUSTER_RULES, redisOptions: RULES })),
  }
}

function place(node: ClusterNode): string {
  if (typeof node === 'number') return `127.0.0.1:${node}`
  if (typeof node === 'object') return `${node.host ?? '127.0.0.1'}:${node.port ?? 6379}`
  return URL.canParse(node) ? new URL(node).host : '?' // not the URL, which may contain a password
}
