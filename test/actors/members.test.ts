/** Which members of an actor can be reached from outside, and which cannot. */
import { EventEmitter } from 'node:events'
import { inspect } from 'node:util'
import test from 'ava'
import type { StageError } from '../../src/index.js'
import { actorMesh, forge, forging } from '../helpers/actors.js'

class Base {
  inherited() { return 'inherited' }
}

class Vault extends Base {
  open = 'open'
  _secret = 'secret'
  #own = 'own'
  params = {}
  ran: string[] = []
  get computed() { return this.#own }
  set computed(value: string) { this.#own = value }
  static shared() { return 'static' }
  run(what: string) { this.ran.push(what); return this.ran.length }
  _private() { return this._secret }
  #hidden() { return this.#own }
  use() { return this.#hidden() }
  activate() { this.ran.push('activate') }
  deactivate() { this.ran.push('deactivate') }
  override toString() { return 'text' }
  toJSON() { return { secret: this._secret } }
  override valueOf() { return 5 }
}

class Loud extends EventEmitter {
  heard = 0
  constructor() { super() }
  shout() { this.emit('shout'); return this.listenerCount('shout') }
}

const HIDDEN = [
  '_private', '_secret', '#hidden', '#own', 'constructor', '__proto__', 'prototype', 'then', 'catch', 'finally', 'toString', 'toLocaleString', 'toJSON', 'valueOf',
  'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', '__defineGetter__', '__lookupSetter__', 'activate', 'deactivate', 'self', 'shared', '', ' ', '@get', '@watch', '@wake', '@call', '@locate', '@timer',
  'computed', 'open', 'params', 'no such thing', 'x'.repeat(1000), '\0',
]

/** What a peer of ill will can put on the wire: any name, whatever the proxy shows. */
test('P24: what is not public fails with the same error as a name that is not there, whoever asks', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'vaults.{id}', constructor: Vault }).define({ pattern: 'loud.{id}', constructor: Loud }))
  const b = await add('b', undefined, { chain: forging() })
  const ask = (service: string, ...args: unknown[]): Promise<unknown> => forge(b.stage, a.stage.id, service, args)
  t.is(await go(ask('@call', 'vaults.1', 'inherited', [])), 'inherited')
  t.is(await go(ask('@call', 'vaults.1', 'use', [])), 'own')
  t.is(await go(ask('@call', 'loud.1', 'shout', [])), 0)
  const missing = await fails(ask('@call', 'vaults.1', 'missing', []), 'NO_SUCH_METHOD')
  for (const name of HIDDEN) {
    const error = await failure(go(ask('@call', 'vaults.1', name, ['x'])))
    if (name === '@get') t.is(error.code, 'NO_SUCH_PROPERTY', name)
    else if (name === '@watch') t.is(error.code, 'BAD_ARGUMENT', name)
    else if (name === '@wake') t.is(error.code, undefined, name)
    else {
      t.is(error.code, 'NO_SUCH_METHOD', name)
      if (['open', 'params', 'ran'].includes(name)) t.regex(error.message, /it is a property/)
      else if (name.length <= 256) t.is(error.message.replace(JSON.stringify(name.slice(0, 128)), ''), missing.message.replace('"missing"', ''), name)
      t.is(error.executed, missing.executed)
    }
  }
  for (const name of ['on', 'once', 'emit', 'addListener', 'removeAllListeners', 'listenerCount', 'setMaxListeners', 'eventNames', '_events', '_eventsCount']) {
    await fails(ask('@call', 'loud.1', name, ['shout']), 'NO_SUCH_METHOD')
  }
  t.deepEqual(await go(Promise.resolve(a.stage.actor<Vault>('vaults.1').ran)), ['activate'])
  t.is(await go(ask('@call', 'vaults.1', 'run', ['x'])), 2)
})

test('properties that are not public, or are no data, cannot be read or watched', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'vaults.{id}', constructor: Vault }).define({ pattern: 'loud.{id}', constructor: Loud }))
  const b = await add('b', undefined, { chain: forging() })
  t.is(await go(forge(b.stage, a.stage.id, '@call', ['vaults.1', '@get', ['open']])), 'open')
  const missing = await fails(forge(b.stage, a.stage.id, '@call', ['vaults.1', '@get', ['missing']]), 'NO_SUCH_PROPERTY')
  for (const name of ['_secret', '#own', 'computed', 'self', '__proto__', 'constructor', 'run', 'inherited', 'toString', 'then', '', 5, null, undefined, true, ['open'], 'activate']) {
    const error = await fails(forge(b.stage, a.stage.id, '@call', ['vaults.1', '@get', [name]]), 'NO_SUCH_PROPERTY')
    if (name === 'run' || name === 'inherited') t.regex(error.message, /it is a method/)
    else t.is(error.message.replace(JSON.stringify(String(name)), ''), missing.message.replace('"missing"', ''))
    await fails(forge(b.stage, a.stage.id, '@call', ['vaults.1', '@watch', [[name], 'every', undefined]]), 'NO_SUCH_PROPERTY')
  }
  for (const args of [[], ['open'], [['open']], [['open'], 'some'], [[], 'every'], [{ length: 1 }, 'every'], [Array(101).fill('open'), 'every']]) {
    await fails(forge(b.stage, a.stage.id, '@call', ['vaults.1', '@watch', args]), 'BAD_ARGUMENT')
  }
  for (const seen of [5, 'x', { activation: 5, seq: 1 }, { activation: 'x', seq: 'y' }, { activation: 'x', seq: 1e300 }, { activation: 'x', seq: -5 }, null]) {
    const stream = await go(forge(b.stage, a.stage.id, '@changes', [])) as AsyncIterableIterator<[Buffer[], unknown[][]]>
    await go(forge(b.stage, a.stage.id, '@call', ['vaults.1', '@watch', [['open'], 'every', seen, 1]]))
    const [, [notice]] = (await go(stream.next())).value as [Buffer[], unknown[][]]
    t.deepEqual([notice.length, notice[0]], [5, 1], `all of it: ${JSON.stringify(seen)}`)
    await go(stream.return!())
  }
  await fails(forge(b.stage, a.stage.id, '@call', ['loud.1', '@get', ['_events']]), 'NO_SUCH_PROPERTY')
})

test('what is no call of an actor is BAD_ARGUMENT and harms nothing', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'vaults.{id}', constructor: Vault }))
  const b = await add('b', undefined, { chain: forging() })
  for (const args of [[], [5], ['vaults.1'], ['vaults.1', 5, []], ['vaults.1', 'run', 'x'], ['vaults.1', 'run', { length: 1 }], [null, 'run', []], [['vaults.1'], 'run', []]]) {
    await fails(forge(b.stage, a.stage.id, '@call', args), 'BAD_ARGUMENT', 'no')
  }
  for (const service of ['@locate', '@explain']) for (const args of [[], [5], [{}], [{ toString: 1 }]]) await fails(forge(b.stage, a.stage.id, service, args), 'BAD_ARGUMENT')
  for (const address of ['', '..', 'vaults.{id}', 'x'.repeat(600), 'vaults.\0', `vaults.${'é'.repeat(300)}`]) {
    for (const service of ['@call', '@locate']) {
      const error = await failure(go(forge(b.stage, a.stage.id, service, [address, 'run', []])))
      t.true(error.code === undefined || ['REFUSED', 'BAD_NAME', 'BAD_ARGUMENT'].includes(error.code), `${service} ${address}: ${error.code}`)
      if (service === '@call') t.is(error.executed, 'no')
    }
  }
  for (const chain of [['x'.repeat(1000)], Array<string>(33).fill('x'), ['__proto__#1'], ['vaults.1#1']]) {
    const outcome = await failure(go(forge(b.stage, a.stage.id, '@call', ['vaults.1', 'run', ['x']], chain)))
    t.true(outcome.code === undefined, `${JSON.stringify(chain)}: ${outcome.code} ${outcome.message}`)
  }
  t.deepEqual(a.stage.actors().map((one) => one.address), ['vaults.1'])
  await fails(forge(b.stage, a.stage.id, '@nothing', []), 'NO_SUCH_METHOD')
})

test('a proxy shows nothing that promises, inspection or iteration would take for something', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({ pattern: 'vaults.{id}', constructor: Vault }))
  const actor = stage.actor<Vault>('vaults.1') as unknown as Record<string | symbol, unknown>
  for (const name of ['then', 'catch', 'finally', 'toString', 'toJSON', 'constructor', '__proto__', '_secret', 'self', 'activate', 'inspect', Symbol.iterator, Symbol.asyncIterator, Symbol.toStringTag]) t.is(actor[name], undefined, String(name))
  t.deepEqual([`${actor as unknown as string}`, inspect(actor)], ['vaults.1', 'actor vaults.1'])
  t.is(await go((async () => actor)()), actor as never)
  t.throws(() => { actor['open'] = 1 }, undefined, 'it is not written from afar')
  t.is(await go(stage.actor<Vault>('vaults.1').use()), 'own')
})

async function failure(promise: Promise<unknown>): Promise<{ code?: string; message: string; executed?: string }> {
  try {
    await promise
    return { message: 'it resolved' }
  } catch (error) {
    return error as StageError
  }
}
