/** The URL and the options of a registry on Redis. */
import test from 'ava'
import { Redis } from 'ioredis'
import { RedisRegistry, Stage } from '../../src/index.js'
import { parseUrl } from '../../registries/redis/url.js'

const at = (host: string, port: number) => ({ host, port })

test('a URL is read as what it says', (t) => {
  const plain = { secure: false, master: undefined, cluster: false, db: 0, username: '', password: '', prefix: undefined, shards: undefined }
  const table: Record<string, Partial<ReturnType<typeof parseUrl>>> = {
    'redis:': { address: 'redis://127.0.0.1:6379', servers: [at('127.0.0.1', 6379)] },
    'redis://': { address: 'redis://127.0.0.1:6379', servers: [at('127.0.0.1', 6379)] },
    'redis://host': { address: 'redis://host:6379', servers: [at('host', 6379)] },
    'redis://host:7000/2': { address: 'redis://host:7000/2', servers: [at('host', 7000)], db: 2 },
    'redis://[::1]:7000': { address: 'redis://[::1]:7000', servers: [at('::1', 7000)] },
    'rediss://me:p%40ss%3A@host': { address: 'rediss://host:6379', servers: [at('host', 6379)], secure: true, username: 'me', password: 'p@ss:' },
    'redis://:p@ss@host': { address: 'redis://host:6379', servers: [at('host', 6379)], password: 'p@ss' },
    'redis://host?prefix=my:': { address: 'redis://host:6379', servers: [at('host', 6379)], prefix: 'my:' },
    'redis://host?shards=16': { address: 'redis://host:6379', servers: [at('host', 6379)], shards: 16 },
    'redis+cluster://u:p@a,b:7?shards=4': { address: 'redis+cluster://a:6379,b:7', servers: [at('a', 6379), at('b', 7)], cluster: true, username: 'u', password: 'p', shards: 4 },
    'redis+sentinel://a,b:7,[::1]:8/mymaster': { address: 'redis+sentinel://a:26379,b:7,[::1]:8/mymaster', servers: [at('a', 26379), at('b', 7), at('::1', 8)], master: 'mymaster' },
    'rediss+sentinel://u:p@a/my%20master/3?prefix=x': { address: 'rediss+sentinel://a:26379/my master/3', servers: [at('a', 26379)], master: 'my master', db: 3, secure: true, username: 'u', password: 'p', prefix: 'x' },
  }
  for (const [text, parts] of Object.entries(table)) t.deepEqual(parseUrl(text), { ...plain, ...parts } as ReturnType<typeof parseUrl>, text)
})

test('a URL or an option that is not right is a TypeError without the password', (t) => {
  const urls: Record<string, RegExp> = {
    '': /must look like redis:/, 'host:6379': /not host:/, 'http://:secret@host': /not http:/, 'redis://:secret@ho st': /must look like/,
    'redis://:secret@host/x': /number of a database/, 'redis://:secret@a,b': /sentinels/, 'redis+sentinel://:secret@a': /names the master/,
    'redis+sentinel://:secret@a/master/x': /number of a database/, 'redis+sentinel://:secret@a,b:x/master': /must look like/,
    'redis://:secret@host?prefx=a': /"prefx"/, 'redis://:secret@host?prefix={a}': /prefix .* "\{a\}"/, 'redis://host:99999': /must look like/,
    'redis+cluster://:secret@a,b/2': /one database/, 'redis+cluster://:secret@a,': /a gap/, 'redis+cluster://u:secret@a,u:secret@b': /credentials in its middle/, 'redis://:secret%zz@a': /%25/, 'redis://u:1?secret=@host': /has a parameter; it may have/, 'redis://:secret@host?shards=0': /shards is 0/, 'redis://:secret@host?shards=x': /shards is NaN/, 'redis://:secret@host?shards=257': /from 1 to 256/,
  }
  for (const [url, message] of Object.entries(urls)) {
    const error = t.throws(() => new RedisRegistry(url), { instanceOf: TypeError, message }, url)
    t.false(error?.message.includes('secret'), error?.message)
  }
  const client = new Redis({ lazyConnect: true })
  const options: readonly (readonly [ConstructorParameters<typeof RedisRegistry>[0], RegExp])[] = [
    [{ url: 'redis://host', tls: { ca: 'x' } }, /rediss:/],
    [{ client, tls: {} }, /a client has its own/],
    [{ client, prefix: 'a b' }, /prefix/],
    [{ shards: 1.5 }, /shards is 1\.5/],
    [{ client: {} as never }, /not a client of ioredis/],
    [{ client, url: 'redis://host' }, /not both/],
    [{ prefix: 5 as unknown as string }, /prefix/],
  ]
  for (const [given, message] of options) t.throws(() => new RedisRegistry(given), { instanceOf: TypeError, message })
  client.disconnect()
})

test('a stage takes each kind of URL', async (t) => {
  for (const url of ['redis://127.0.0.1:1', 'rediss://127.0.0.1:1', 'redis+sentinel://127.0.0.1:1/master', 'rediss+sentinel://127.0.0.1:1/master', 'redis+cluster://127.0.0.1:1', 'rediss+cluster://127.0.0.1:1']) {
    const stage = new Stage('s', url, [])
    stage.on('error', () => {})
    const error = await t.throwsAsync(stage.to('x', { timeoutMs: 300 }).call('y'), { code: 'REGISTRY_UNAVAILABLE' }, url)
    t.true(error?.message.includes(url), error?.message)
    await stage.close()
  }
})
