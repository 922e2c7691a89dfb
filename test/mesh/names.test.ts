/** Names that people have: as the name of a stage, in `to()`, in a URI, in a registry and in a handshake. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { LocalRegistry, MemoryInterface, MemoryNetwork, MemoryRegistry, RedisRegistry, Stage, StageError, type Peer, type Registry } from '../../src/index.js'
import { isName, matches } from '../../src/pattern.js'
import { listed } from '../helpers/listed.js'
import { realMesh } from '../helpers/mesh.js'
import { Raw, tcpMesh } from '../helpers/raw-peer.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const good = [
  'api', 'A', '7', '3d-printer', 'my app', 'my app 0 x', 'ünï', 'host.example.com', '4711@host', '3f9a0c1b2d', 'Ärger & Söhne', '日本', 'шлюз', 'עברית', '😀', '👩‍👩‍👧', '!api', '%41', '100%', 'my%20app',
  'a, b', 'x (y)', '"quoted"', "it's", 'a\\b', '{brace}', '[::1]:80', 'user:pass@host', '__proto__', 'constructor', '#1', '-', '.', '..', '~', 'a\u200db', 'a\u202eb', 'a\u00a0b', 'x'.repeat(128), 'é'.repeat(64), '😀'.repeat(32),
]

const bad = [
  '', ' ', ' a', 'a ', 'a\u00a0', '\u3000a', '\ufeffa', 'a\u2003', 'a\tb', 'a\nb', 'a\r', 'a\0', 'a\x1b[31m', 'a\x7f', 'a\x9b31m', 'a\u0085b', 'a\u2028b', 'a\u2029b', 'a/b', '/', 'a\ud83d', '\ude00a', '\ude00\ud83d',
  'e\u0301', 'a\u030a', '\u212b', '\uf900', '\u1100\u1161', 'é'.repeat(129), 'x'.repeat(257), 'x'.repeat(100_000),
]
const decomposed = ['e\u0301', 'a\u030a', '\u212b', '\uf900', '\u1100\u1161']
/** No names, and not refused where a pattern can stand, which may be longer. */
const patternsOnly = ['a*', '?a', 'x'.repeat(129), 'é'.repeat(65), '😀'.repeat(33)]

const code = (fn: () => unknown): string | undefined => {
  try {
    fn()
  } catch (error) {
    return error instanceof StageError ? error.code : String(error)
  }
  return undefined
}

test('which texts are names', (t) => {
  for (const name of good) t.true(isName(name), JSON.stringify(name))
  for (const name of [...bad, ...patternsOnly, undefined, null, 5, {}, ['a'], Symbol('a')]) t.false(isName(name), inspect(name))
})

test('new Stage, to(), lists of it, keep(), lookup() and each() take the same names, and no others', async (t) => {
  const mesh = realMesh(t)
  const web = mesh.stage('web')
  for (const name of good) {
    t.is(mesh.stage(name).name, name)
    for (const use of [() => web.to(name), () => web.to(['web', name]), () => web.to(`${name}*`), () => web.keep(name, false), () => web.lookup(name)]) t.is(code(use), undefined, JSON.stringify(name))
  }
  for (const name of [...bad, ...patternsOnly]) t.is(code(() => new Stage(name, new MemoryRegistry('none'), new MemoryInterface())), 'BAD_NAME', JSON.stringify(name))
  for (const name of bad) {
    for (const use of [() => web.to(name), () => web.to(['web', name]), () => web.keep(name, false), () => web.lookup(name)]) t.is(code(use), 'BAD_NAME', JSON.stringify(name))
    await t.throwsAsync(web.each(name, () => {}), { code: 'BAD_NAME' })
  }
})

test('a name that is not composed says what to do', (t) => {
  for (const name of decomposed) {
    const error = t.throws<StageError>(() => new Stage(name, new MemoryRegistry('none'), new MemoryInterface()), { code: 'BAD_NAME' })
    t.regex(error.message, /\.normalize\(\)/)
    t.true(isName(name.normalize()))
  }
  t.notRegex(t.throws<StageError>(() => new Stage('a/b', new MemoryRegistry('none'), new MemoryInterface())).message, /normalize/)
})

test('namespaces and methods may begin with a digit, and are of the same characters as before', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = ['api', 'web'].map((name) => mesh.stage(name, { namespace: '2026.staging' }))
  api!.to('*').provide('3d', () => 'cube')
  t.is(await web!.to('api').call('3d'), 'cube')
  t.is(await web!.to('api').as<{ '3d'(): string }>()['3d'](), 'cube')
  t.is(await web!.call('2026.staging://api/3d'), 'cube')
  t.deepEqual(await web!.to('api').methods(), ['3d'])
  for (const name of ['my app', 'ünï', '_x', '-x', '.', 'a@b', '']) {
    t.is(code(() => mesh.stage('a', { namespace: name })), 'BAD_NAME', name)
    t.is(code(() => { api!.to('*').provide(name, () => {}) }), 'BAD_NAME', name)
  }
})

// ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────────

const patterns: [pattern: string, name: string, matches: boolean][] = [
  ['?', '😀', true], ['??', '😀', false], ['??', '😀😀', true], ['?', 'ab', false], ['?', 'ü', true],
  ['a?c', 'a😀c', true], ['a??c', 'a😀c', false], ['*?', '😀', true], ['*??', '😀', false], ['?*?', '😀', false], ['?*?', 'a😀', true], ['*??b', '😀b', false], ['*??b', '😀bb', true],
  ['*😀', '😀😀', true], ['😀*', '😀', true], ['*😀?', '😀😀', true], ['*😀?', '😀', false], ['*?😁', '😀😁', true], ['*\u{1f601}', '\u{1f600}', false], ['\u{1f600}', '\u{1f601}', false],
  ['*', 'my app', true], ['my *', 'my app', true], ['*.example.com', 'host.example.com', true], ['????@*', '4711@host', true], ['*?*?*', '😀', false], ['*?*?*', '😀a', true], ['**', 'a', true], ['a**', 'a', true], ['a', 'a*', false],
]

test('in a pattern "?" is one character, which may be an emoji', (t) => {
  for (const [pattern, name, expected] of patterns) t.is(matches(pattern, name), expected, `${pattern} ${name}`)
})

test('a pattern matches what a slow and simple reading of it matches', (t) => {
  const slow = (pattern: string[], name: string[]): boolean => {
    const [first, ...rest] = pattern
    if (first === undefined) return name.length === 0
    if (first === '*') return slow(rest, name) || (name.length > 0 && slow(pattern, name.slice(1)))
    return name.length > 0 && (first === '?' || first === name[0]) && slow(rest, name.slice(1))
  }
  const texts = (alphabet: readonly string[], length: number): string[][] => length === 0 ? [[]] : texts(alphabet, length - 1).flatMap((text) => [text, ...(text.length === length - 1 ? alphabet.map((one) => [...text, one]) : [])])
  const names = texts(['a', '\u{1f600}', '\u{1f601}'], 4)
  for (const pattern of texts(['*', '?', 'a', '\u{1f600}'], 4)) {
    for (const name of names) if (matches(pattern.join(''), name.join('')) !== slow(pattern, name)) t.fail(`${pattern.join('')} ${name.join('')}`)
  }
  t.pass()
})

// ── a mesh of such names ────────────────────────────────────────────────────────────────────────────────────────

/** All of them on one registry: each is found by its name, by a pattern and by a URI, and calls back. */
async function everybody(t: ExecutionContext, open: () => Registry): Promise<void> {
  const network = new MemoryNetwork()
  const make = (name: string): Stage => {
    const stage = new Stage(name, open(), new MemoryInterface(network), { unique: true, timeoutMs: 30_000 })
    t.teardown(() => stage.close())
    return stage
  }
  const web = make('web')
  web.to('*').provide('caller', function () { return this.peer.name })
  const stages = good.map(make)
  for (const stage of stages) stage.to('web').provide('whoami', async function () { return [stage.name, this.peer.name, await stage.to('web').call('caller')] })
  await Promise.all([web, ...stages].map(listed))
  await until(() => web.peers().length === good.length, 15_000)
  t.deepEqual(web.peers().map(({ name }) => name).sort(), [...good].sort())
  await Promise.all(good.map(async (name) => {
    const answer = [name, 'web', name]
    t.deepEqual(await web.to(name).call('whoami'), answer)
    t.deepEqual(await web.call(`default://${encodeURIComponent(name)}/whoami`), answer, name)
    t.deepEqual((await web.to(name, { self: false }).callAll('whoami').next()).value, { peer: web.lookup(name)[0], value: answer })
    t.deepEqual(web.lookup(name).map((peer) => peer.name), [name])
    const [, ...rest] = name
    t.true(web.lookup(['?', ...rest].join('')).some((peer) => peer.name === name), name)
    if (rest.length > 0 && !/^\s/.test(rest.join(''))) t.deepEqual(web.lookup('*', good.filter((one) => one !== name)).map((peer) => peer.name), [name])
  }))
  const second = make('my app')
  await t.throwsAsync(second.ready(), { code: 'NAME_TAKEN' })
}

let rooms = 0

test('on memory: found by name, pattern and URI, in both directions', async (t) => {
  const room = `names-${++rooms}`
  await everybody(t, () => new MemoryRegistry(room))
})

test('on a folder: found by name, pattern and URI, in both directions', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-names-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const registry = new LocalRegistry(folder)
  await everybody(t, () => registry)
})

onRedis('on Redis: found by name, pattern and URI, in both directions', async (t, server) => {
  const registry = new RedisRegistry({ url: server.url })
  await everybody(t, () => registry)
})

test('a unique name that somebody wrote into the registry in escapes is taken', async (t) => {
  const room = `names-${++rooms}`
  const registry = new MemoryRegistry(room)
  t.teardown(() => registry.close())
  const entry = { id: 'by-hand', name: 'ünï', namespace: 'default', addresses: [], unique: true, draining: false, ttlMs: 60_000, announces: {} }
  registry.edit('default', entry.id, JSON.stringify(entry).replace('ünï', '\\u00fcn\\u00ef'))
  const stage = new Stage('ünï', new MemoryRegistry(room), new MemoryInterface())
  t.teardown(() => stage.close())
  await t.throwsAsync(stage.ready(), { code: 'NAME_TAKEN' })
})

test('a peer that comes in under such a name is known by it', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  const linked: string[] = []
  api.on('link', (peer: Peer) => linked.push(peer.name))
  for (const [i, name] of good.entries()) await Raw.join(t, api.address, { id: `mallory-${i}`, name })
  await until(() => linked.length === good.length)
  t.deepEqual(linked, good)
})

// ── where a name is a key ───────────────────────────────────────────────────────────────────────────────────────

test('whose turn it is among those of one name has nothing to do with those of another', async (t) => {
  const mesh = realMesh(t)
  const [web, ...stages] = ['web', 'api', 'api', '!api', '!api'].map((name) => mesh.stage(name)) as [Stage, ...Stage[]]
  for (const stage of stages) stage.to('*').provide('id', () => stage.id)
  await Promise.all([web, ...stages].map((stage) => stage.ready()))
  await until(() => web.peers().length === 4)
  for (const { id } of stages) await web.to(web.lookup('*').find((peer) => peer.id === id)!).call('id') // all are linked, so that none is preferred
  const seen = new Set<string>()
  for (let i = 0; i < 4; i++) {
    seen.add(await web.to('!api').call('id'))
    seen.add(await web.to('api', { self: false }).call('id'))
  }
  t.is(seen.size, 4)
})

test('what is provided to a list is not taken for what is provided to one whose name looks like it', async (t) => {
  const mesh = realMesh(t)
  const [api, a, both, peered] = ['api', 'a', 'a, b', 'a (x)'].map((name) => mesh.stage(name)) as [Stage, Stage, Stage, Stage]
  api.to('a, b').provide('who', () => 'one')
  api.to(['a', 'b']).provide('who', () => 'list')
  api.to('a (x)').provide('who', () => 'named')
  api.to({ id: 'x', name: 'a', namespace: 'default', addresses: [], meta: {} }).provide('who', () => 'peer')
  t.deepEqual(await Promise.all([a, both, peered].map((stage) => stage.to('api').call('who'))), ['list', 'one', 'named'])
  api.to(['a', 'b']).unprovide('who')
  t.is(await both.to('api').call('who'), 'one')
})

// ── URIs ────────────────────────────────────────────────────────────────────────────────────────────────────────

const uris: [uri: string, outcome: unknown][] = [
  ['default://my%20app/who', 'my app'], ['default://my app/who', 'my app'], ['default://my%20*/who', 'my app'], ['default://my%20ap%3F/who', 'my app'], ['default://100%25/who', '100%'], ['default://%C3%BCn%C3%AF/who', 'ünï'], ['default://ünï/%77ho', 'ünï'],
  ['%64efault://%6dy%20app/who', 'my app'], ['default://%25/who', 'NO_SUCH_PEER'], ['default://100%/who', 'BAD_NAME'], ['default://%zz/who', 'BAD_NAME'], ['default://%ff/who', 'BAD_NAME'], ['default://%c3/who', 'BAD_NAME'], ['default://%ED%A0%80/who', 'BAD_NAME'],
  ['default://my%20app/%', 'BAD_NAME'], ['%://my%20app/who', 'BAD_NAME'], ['default://a%2Fb/who', 'BAD_NAME'], ['default://my%20app%20/who', 'BAD_NAME'], ['default://a%00/who', 'BAD_NAME'], ['default://a%1b[31m/who', 'BAD_NAME'], ['default://e%CC%81/who', 'BAD_NAME'],
  ['default://my%20app/wh%20o', 'NO_SUCH_METHOD'], ['default://my%20app/%63onstructor', 'NO_SUCH_METHOD'], ['other%20one://my%20app/who', 'WRONG_NAMESPACE'], ['default://my%20app', 'BAD_ARGUMENT'], ['default://my/app/who', 'BAD_ARGUMENT'],
]

test('URIs are percent-encoded', async (t) => {
  const mesh = realMesh(t)
  const web = mesh.stage('web', { timeoutMs: 500 })
  const stages = ['my app', '100%', 'ünï'].map((name) => mesh.stage(name))
  for (const stage of stages) stage.to('*').provide('who', () => stage.name)
  await Promise.all([web, ...stages].map((stage) => stage.ready()))
  for (const [uri, outcome] of uris) {
    const error = await web.call(uri).then((value: unknown) => { t.is(value, outcome, uri) }, (thrown: StageError) => thrown)
    if (error) t.is(error.code as unknown, outcome, `${uri}: ${error.message}`)
  }
})
