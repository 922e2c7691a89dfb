/** Where a Redis is and how a connection to it is made; the only file that loads ioredis, and only when one is made. */
import type { Cluster, ClusterNode, Redis, RedisOptions } from 'ioredis'

/** A connection of our own, of either kind. */
export type Client = Redis | Cluster

export interface Target {
  /** For messages, without credentials. */
  readonly address: string
  /** Made, but not connected yet. */
  make(): Promise<Client>
}

export const isCluster = (client: Client): client is Cluster => client.isCluster

/**
 * One who connects, one who retries: nothing is sent again, queued or reconnected behind the back of the stage, which
 * has one back-off for all registries. A command that was sent twice is a command that runs twice.
 */
const RULES: RedisOptions = {
  lazyConnect: true,
  disconnectTimeout: 100, // its timer outlives a stream that is dead already, and holds the process as long
  retryStrategy: null,
  reconnectOnError: null,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  enableAutoPipelining: false,
  enableReadyCheck: false, // it would wait for a server that loads; `check` of the connection says so instead
  autoResubscribe: false,
  monitor: false,
  readOnly: false,
  replyMapping: 'legacy',
  stringNumbers: false,
  connectionName: 'stagemesh',
  disableClientInfo: true,
  himportFieldsets: undefined,
  // the connection keeps these times itself: after a stall of this process their timers would run before answers that already wait
  connectTimeout: 0,
  commandTimeout: undefined,
  socketTimeout: undefined, // would end a blocking read too, in which nothing comes while nothing changes
}

/** @throws TypeError if it is not a redis: or rediss: URL; the message does not repeat it, for there may be a password in it */
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

/** The server of somebody's client, over connections of our own with the client's options. */
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
      // the cluster has its own say in the rules it knows by itself
      redisOptions: RULES,
    })),
  }
}

function place(node: ClusterNode): string {
  if (typeof node === 'number') return `127.0.0.1:${node}`
  if (typeof node === 'object') return `${node.host ?? '127.0.0.1'}:${node.port ?? 6379}`
  return URL.canParse(node) ? new URL(node).host : '?' // there may be a password in it
}
