/** A misspelt option is refused wherever options are taken, with the names that there are. */
import test from 'ava'
import {
  IpcInterface, LocalRegistry, MemoryInterface, MemoryNetwork, MemoryRegistry, RedisRegistry, Stage, TcpInterface, framing, latency, msgpack, rpc,
  type Self,
} from '../../src/index.js'
import { SqlRegistry } from '../../registries/sql/registry.js'
import { json } from '../../wrappers/json.js'
import { actorMesh } from '../helpers/actors.js'
import { virtualMesh } from '../helpers/mesh.js'

const typo = { timout: 5 } as object

const PARTS: [name: string, make: () => unknown, known: RegExp][] = [
  ['a stage', () => new Stage('a', 'memory:', undefined, typo), /registry, interfaces/],
  ['a stage, options second', () => new Stage('a', typo), /registry, interfaces/],
  ['the TCP interface', () => new TcpInterface(typo), /port, bind, host/],
  ['the ipc interface', () => new IpcInterface(typo), /path/],
  ['the memory interface', () => new MemoryInterface(undefined, typo), /clock/],
  ['a memory network', () => new MemoryNetwork(typo), /latencyMs/],
  ['the memory registry', () => new MemoryRegistry('x', typo), /clock, random/],
  ['the local registry', () => new LocalRegistry('/nowhere', typo), /clock, random/],
  ['the Redis registry', () => new RedisRegistry(typo), /url, client/],
  ['the SQL registry', () => new SqlRegistry(typo), /url, pool/],
  ['framing()', () => framing(typo), /maxFrameBytes/],
  ['rpc()', () => rpc(typo), /codec, provide/],
  ['msgpack()', () => msgpack(typo), /maxBytes, maxNodes, maxDepth/],
  ['json()', () => json(typo), /maxBytes, maxNodes, maxDepth/],
  ['latency()', () => latency(1, typo), /clock/],
]
for (const [name, make, known] of PARTS) {
  test(`${name}`, (t) => {
    const { message } = t.throws(make, { instanceOf: TypeError })
    t.regex(message, /^"timout" is not an option of .*; known options: /)
    t.regex(message, known)
  })
}

const VERBS: [name: string, use: (stage: Stage) => unknown, known: RegExp][] = [
  ['to()', (stage) => stage.to('b', typo), /timeoutMs, waitMs, signal, key/],
  ['to() with a callback', (stage) => stage.to('b', typo, () => {}), /persist/],
  ['actor()', (stage) => stage.actor('x.1', typo), /timeoutMs, signal/],
  ['observe()', (stage) => stage.observe('x.1', ['n'], typo), /mode/],
  ['define()', (stage) => stage.define({ pattern: 'x.{id}', create: () => ({}), ...typo }), /pattern, constructor/],
  ['addStreamWrapper()', (stage) => stage.addStreamWrapper((stream) => stream, typo), /name/],
  ['provide()', (stage) => stage.to('*').provide('x', typo, () => {}), /authorize, input/],
  ['serve()', (stage) => stage.to('*').serve({ x() {} }, typo), /withCall/],
]
for (const [name, use, known] of VERBS) {
  test(`${name}`, (t) => {
    const { message } = t.throws(() => use(virtualMesh(t).stage('a')), { instanceOf: TypeError })
    t.regex(message, /"timout" is not an option of .*; known options: /)
    t.regex(message, known)
  })
}

test('host()', async (t) => {
  await t.throwsAsync(virtualMesh(t).stage('a').host('x.1', {}, typo), { instanceOf: TypeError, message: /"timout" is not an option of host\(\)/ })
})

const WRONG: [title: string, options: object, message: RegExp][] = [
  ['interceptors', { interceptors: 5 }, /interceptors must be a list/],
  ['authorize', { authorize: 5 }, /authorize must be a function/],
  ['provide', { provide: 5 }, /provide is 5: expected an object of methods/],
  ['a method that is no function', { provide: { greet: 5 } }, /provide\("greet"\) needs a function, not 5/],
  ['a method without a handler', { provide: { greet: { idempotent: true } } }, /provide\("greet"\) needs a function/],
  ['an option of a method', { provide: { greet: { handler: () => 1, autorize: () => true } } }, /"autorize" is not an option of greet/],
  ['the name of a method', { provide: { $: () => 1 } }, /a method cannot be named "\$"/],
]
for (const [title, options, message] of WRONG) {
  test(`the constructor of a stage refuses at once: ${title}`, (t) => {
    t.throws(() => new Stage('a', { registry: 'memory:', ...options }), { message })
  })
}

test('options that are no object', (t) => {
  for (const wrong of [5, 'x', []]) t.throws(() => virtualMesh(t).stage('a').to('b', wrong as object), { instanceOf: TypeError, message: /the options of to\(\) are .*: expected an object with timeoutMs/ })
})

test('flags that are no flags', (t) => {
  for (const name of ['self', 'persist', 'idempotent']) t.throws(() => virtualMesh(t).stage('a').to('b', { [name]: 'no' }), { code: 'BAD_ARGUMENT', message: /is "no": expected true or false/ })
})

test('options of a reminder', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage } = await add('a')
  stage.define({ pattern: 'x.{id}', create: (_, self: Self) => ({ set() { self.remind('soon', 'set', { afterMs: 1, ...typo }) } }) })
  await go(t.throwsAsync(stage.actor('x.1').set(), { message: /"timout" is not an option of a reminder; known options: afterMs, everyMs/ }))
})

const NAMES: [title: string, type: object, message: RegExp][] = [
  ['durable', { durable: ['n', 'nope'] }, /lists "nope" in durable, but its activated object has no such property: .*it has n/],
  ['readonly', { readonly: ['nope'] }, /lists "nope" in readonly, but its object has no public method/],
  ['methods', { methods: { nope: { idempotent: true } } }, /has options for "nope" in methods/],
]
for (const [title, type, message] of NAMES) {
  test(`a name in ${title} that the object does not have`, async (t) => {
    const { add, go } = actorMesh(t)
    const { stage } = await add('a')
    stage.define({ pattern: 'x.{id}', create: () => ({ n: 0, add() { return ++this.n } }), ...type })
    await go(t.throwsAsync(stage.actor('x.1').add(), { code: 'REMOTE_ERROR', message }))
  })
}

test('a durable property may be set by activate(), or be undefined at first', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage } = await add('a')
  stage.define({ pattern: 'x.{id}', durable: ['n', 'later'], create: () => ({ later: undefined, activate() { Object.assign(this, { n: 5 }) }, get() { return (this as unknown as { n: number }).n } }) })
  t.is(await go(stage.actor('x.1').get()), 5)
})

for (const address of ['p.*', 'p.?', '*', 'a*.b', 'p.{id}']) {
  test(`no address: ${address}`, (t) => {
    const stage = virtualMesh(t).stage('a')
    for (const use of [() => stage.actor(address), () => stage.observe(address, ['n']), () => stage.explain(address)]) {
      t.throws(use as () => unknown, { code: 'BAD_NAME', message: /is not the address of an actor/ })
    }
    if (!address.includes('{')) t.throws(() => stage.define({ pattern: address, create: () => ({}) }), { instanceOf: TypeError, message: /neither a word nor a parameter/ })
  })
}
