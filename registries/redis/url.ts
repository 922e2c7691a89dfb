/** The URL of a Redis registry: of one server, of sentinels that name it, or of nodes of a cluster. */
import { describe } from '../../src/errors.js'

/** One server, sentinel or node. */
export interface Place {
  readonly host: string
  readonly port: number
}

/** The parts of the URL. */
export interface RedisUrl {
  /** The URL without credentials, for messages. */
  readonly address: string
  readonly secure: boolean
  readonly servers: readonly [Place, ...Place[]]
  /** The name of the master that the servers, which are sentinels, tell; undefined if there is one server, the master. */
  readonly master: string | undefined
  /** Whether the servers are nodes of a cluster. */
  readonly cluster: boolean
  readonly db: number
  readonly username: string
  readonly password: string
  readonly prefix: string | undefined
  readonly shards: number | undefined
}

const FORM = 'redis://user:password@host:6379/0, redis+sentinel://host:26379,host:26379/master or redis+cluster://host:6379,host:6379'
const PORT = 6379
const SENTINEL_PORT = 26_379

/** @throws TypeError if the text is no such URL; the message omits the URL, which may contain a password */
export function parseUrl(text: string): RedisUrl {
  const [, scheme, who = '', hosts = '', rest = ''] = /^(rediss?(?:\+(?:sentinel|cluster))?):(?:\/\/(?:([^/?#]*)@)?([^/?#@]*))?(.*)$/s.exec(text) ?? []
  if (scheme === undefined) throw unfit(text)
  const [sentinel, cluster] = [scheme.endsWith('+sentinel'), scheme.endsWith('+cluster')]
  const [first = '', ...more] = hosts.split(',')
  if (more.length > 0 && !sentinel && !cluster) {
    throw new TypeError(`the URL of a Redis registry has one host; several are sentinels, or nodes of a cluster, as in ${FORM}`)
  }
  if (who.includes(',') || (more.length > 0 && [first, ...more].some((host) => host === ''))) {
    throw new TypeError(`the list of hosts in the URL of a Redis registry has a gap, or credentials in its middle: expected ${FORM}`)
  }
  // URL knows no list of hosts, and no port of a scheme with a plus: each host is read by itself
  const url = parsed(`redis://${who && `${who}@`}${first}${rest}`)
  const port = sentinel ? SENTINEL_PORT : PORT
  const servers = [placeOf(url, port), ...more.map((one) => placeOf(parsed(`redis://${one}`), port))] as const
  const [master, number] = sentinel ? namedBy(url.pathname) : [undefined, url.pathname.slice(1)]
  if (!/^\d*$/.test(number)) {
    throw new TypeError('the path in the URL of a Redis registry is the number of a database, as in redis://host:6379/2')
  }
  for (const name of url.searchParams.keys()) {
    if (name === 'prefix' || name === 'shards') continue
    const shown = rest.includes('@') ? '' : ` ${describe(name)}` // it may be a part of a password
    throw new TypeError(`the URL of a Redis registry has a parameter${shown}; it may have prefix and shards`)
  }
  const db = Number(number)
  if (cluster && db > 0) throw new TypeError('a cluster has one database, with the number 0: remove the path from the URL')
  const path = [master, ...(db > 0 ? [db] : [])].filter((part) => part !== undefined)
  return {
    address: [`${scheme}://${servers.map(textOf).join(',')}`, ...path].join('/'),
    secure: scheme.startsWith('rediss'),
    servers, master, cluster, db,
    username: decoded(url.username),
    password: decoded(url.password),
    prefix: url.searchParams.get('prefix') ?? undefined,
    shards: url.searchParams.has('shards') ? Number(url.searchParams.get('shards')) : undefined,
  }
}

function unfit(text: string): TypeError {
  const protocol = /^[a-z][a-z0-9+.-]*:/i.exec(text)?.[0]
  if (protocol) return new TypeError(`the URL of a Redis registry begins with redis: or rediss:, not ${protocol}`)
  return new TypeError(`the URL of a Redis registry must look like ${FORM}`)
}

function parsed(text: string): URL {
  if (!URL.canParse(text)) throw new TypeError(`the URL of a Redis registry must look like ${FORM}`)
  return new URL(text)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TypeError('the URL of a Redis registry has a % that begins no escape: write %25 for it')
  }
}

/** `/master`, or `/master/database`. */
function namedBy(path: string): [master: string, number: string] {
  const [, master = '', number = ''] = path.split('/')
  if (master === '') throw new TypeError(`the URL of sentinels names the master, as in ${FORM}`)
  return [decoded(master), number]
}

const placeOf = (url: URL, port: number): Place => ({ host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(url.port || port) })

const textOf = ({ host, port }: Place): string => `${host.includes(':') ? `[${host}]` : host}:${port}`
