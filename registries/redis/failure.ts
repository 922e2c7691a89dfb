import { StageError, asError, printable } from '../../src/errors.js'
import { isError } from '../../src/realm.js'
import { PREFIX, type Target } from './target.js'

/** The commands that the library needs. */
const COMMANDS = [
  '+hello +auth +select +info +client|setname', // sent by ioredis when it connects
  '+eval +evalsha +time',
  '+hmget +hset +hget +hdel',
  '+zadd +zscore +zrange +zrangebyscore +zrangebylex +zrem +zremrangebyscore',
  '+xadd +xread +xrange +del',
].join(' ')

/** The ACL command that allows `COMMANDS`, printed when one of them is denied. */
export function ACL_LINE(user: string, namespace = '<namespace>', { prefix = PREFIX, shards = 1, address = '' }: Partial<Failing> = {}): string {
  const tags = shards === 1 ? [namespace] : [namespace, `${namespace}/*`]
  const more = /^rediss?\+cluster:/.test(address) ? ' +cluster|slots' : ''
  return `ACL SETUSER ${user} on >password ${tags.map((tag) => `~${prefix}{${tag}}:*`).join(' ')} ${COMMANDS}${more}`
}

/** The parts of a target that errors name. */
type Failing = Pick<Target, 'address' | 'prefix' | 'shards'>

/** Pairs of [error text of Redis or the connection, advice]; the first match counts. */
const advice: readonly (readonly [RegExp, string])[] = [
  [/Cluster redirections/, 'a node of its cluster cannot be reached, or its slots are moving; it is tried again'],
  [/slots cache/, 'none of its nodes tells which node has which slot; check that they run as a cluster, and the certificate with rediss+cluster:'],
  [/ECONNREFUSED/, "no Redis answers there; start one, set $STAGE_REGISTRY or pass a URL, or use 'local:' which needs no server"],
  [/ENOTFOUND|EAI_AGAIN/, 'no such host; check the URL'],
  [/ECONNRESET|EPIPE|Connection is closed|Stream isn't writeable|Command aborted/, 'the connection was closed; reconnecting'],
  [/no node of the cluster|Cluster isn't ready/, 'check that its nodes are running and announce addresses that can be reached from here (cluster-announce-ip)'],
  [/ETIMEDOUT|timed out/, 'it did not answer in time; check that it is running and reachable'],
  [/EHOSTUNREACH|ENETUNREACH/, 'there is no route to it; check the network'],
  [/SSL|TLS|certificate|CERT_/i, "TLS failed; use redis: for a server without it, and a certificate that this machine trusts for rediss:"],
  [/LOADING/, 'it is still loading its data; try again in a moment'],
  [/READONLY|is a replica/, 'this one is a replica and takes no writes; use the address of the master, or a client with sentinels'],
  [/[Ss]entinel/, 'its sentinels do not name a master that answers; check their addresses and the name of the master'],
  [/MASTERDOWN/, 'it is a replica that has lost its master; use the address of the master'],
  [/OOM/, 'it has reached its maxmemory; raise it or free memory (listed stages stay listed, and actors can be released)'],
  [/cluster support disabled/, 'it is a single server, of which the URL begins with redis:'],
  [/CLUSTERDOWN|TRYAGAIN|MOVED|ASK |ClusterAllFailed|startup nodes/i, 'slots of its cluster are missing or moving at the moment; the URL of a cluster begins with redis+cluster:'],
  [/BUSY/, 'a script of another client has been running for too long; SCRIPT KILL ends it'],
  [/WRONGTYPE/, 'a key with our prefix holds data of another type; delete it, or use another prefix or database'],
  [/DB index|SELECT is not allowed/i, 'the database in the URL does not exist there; use a lower number'],
  [/unknown command|NOPROTO|older than/i, 'it is too old; Redis 6.2 or later is needed'],
]

/**
 * Converts an error of ioredis or Redis into a StageError.
 * @param what     the part of the library that is unavailable because of it
 * @returns StageError AUTH_FAILED if the credentials are insufficient, else REGISTRY_UNAVAILABLE or STORE_UNAVAILABLE
 */
export function failure(target: Failing, thrown: unknown, what: 'registry' | 'store'): StageError {
  if (thrown instanceof StageError) return thrown
  const { address } = target
  const error = asError(thrown)
  const said = words(error)
  // a copy, not the error itself: ioredis attaches the command to its errors, and the AUTH command contains the password
  const cause = Object.assign(new Error(said), { name: error.name })
  if (/NOPERM|no permissions|ACL failure/i.test(said)) {
    const refused = `Redis at ${address} denies this user commands that the library needs (${said})`
    return new StageError('AUTH_FAILED', `${refused}; allow it with: ${ACL_LINE('<user>', undefined, target)}`, { cause })
  }
  if (/NOAUTH|WRONGPASS|invalid password|invalid username|without any password/i.test(said)) {
    const refused = `Redis at ${address} rejected the credentials (${said})`
    return new StageError('AUTH_FAILED', `${refused}; put them in the URL: redis://user:password@host:6379`, { cause })
  }
  const hint = advice.find(([pattern]) => pattern.test(said))?.[1] ?? 'try again, and look at its log'
  const code = what === 'store' ? 'STORE_UNAVAILABLE' : 'REGISTRY_UNAVAILABLE'
  return new StageError(code, `the ${what} ${address} is not available (${said}): ${hint}`, { cause })
}

/** An error's message in one line; a host with several addresses yields an AggregateError without a message of its own. */
function words(error: Error): string {
  const { code, lastNodeError, errors } = error as Error & { code?: unknown, lastNodeError?: unknown, errors?: readonly unknown[] }
  const inner = lastNodeError ?? errors?.[0]
  const own = error.message || (typeof code === 'string' ? code : error.name)
  const text = isError(inner) && inner !== error ? `${own}: ${inner.message}` : own
  return printable(text.replace(/\s+/g, ' ').slice(0, 300))
}
