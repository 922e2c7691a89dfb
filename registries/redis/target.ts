/** The address of a Redis and how to connect to it. The only file that loads ioredis, and only when it makes a connection. */
import type { Cluster, ClusterNode, Redis, RedisOptions } from 'ioredis'

/** A connection of our own, of either kind. */
export type Client = Redis | Cluster

export interface Target {
  /** For messages, without credentials. */
  readonly address: string
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

/** @throws TypeError if the text is not a redis: or rediss: URL; the message omits the URL, which may contain a password */
export function urlTarget(text: string): Target {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new TypeError('the URL of a Redis registry must look like redis://user:password@host:6379/0')
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') {
    throw new TypeError(`the URL of a Redis registry begins with redis: or rediss:, not ${url.protocol}`)
  }
  const db = url.pathname.replace(/^\//, '')
  if (!/^\d*$/.test(db)) {
    throw new TypeError('the path in the URL of a Redis registry is the number of a database, as in redis://host:6379/2')
  }
  const host = url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1'
  const port = Number(url.port || 6379)
  const from: RedisOptions = {
    host, port, db: Number(db || 0),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: /^[\d.]+$|:/.test(host) ? {} : { servername: host } }),
  }
  return {
    address: `${url.protocol}//${host.includes(':') ? `[${host}]` : host}:${port}${Number(db || 0) > 0 ? `/${Number(db)}` : ''}`,
    make: async () => new (await import('ioredis')).Redis({ ...from, ...RULES }),
  }
}

/** The server of a client given by the user, over new connections with the client's options. */
export function clientTarget(client: Client): Target {
  if (isCluster(client)) return clusterTarget(client)
  const { host = 'localhost', port = 6379, path, db = 0, sentinels, name } = client.options
  const at = sentinels ? `sentinel:${name ?? ''}` : path ?? `${host}:${port}`
  return {
    address: `redis://${at}${db > 0 ? `/${db}` : ''}`,
    make: () => Promise.resolve(client.duplicate(RULES)),
  }
}

function clusterTarget(client: Cluster): Target {
  const { startupNodes } = client as unknown as { startupNodes: readonly ClusterNode[] }
  return {
    address: `redis-cluster://${startupNodes.map(place).join(',')}`,
    make: () => Promise.resolve(client.duplicate([], {
      lazyConnect: true,
      clusterRetryStrategy: null,
      enableOfflineQueue: false,
      scaleReads: 'master',
      // the cluster itself decides on options that it has too, such as the ones above
      redisOptions: RULES,
    })),
  }
}

function place(node: ClusterNode): string {
  if (typeof node === 'number') return `127.0.0.1:${node}`
  if (typeof node === 'object') return `${node.host ?? '127.0.0.1'}:${node.port ?? 6379}`
  return URL.canParse(node) ? new URL(node).host : '?' // not the URL, which may contain a password
}
