/** Headers: text that travels with a call, and on to the calls that are made for it. */
import test, { type ExecutionContext } from 'ava'
import { Stage, TcpInterface, StageError, framing, msgpack, actors, rpc, type CallContext, type Self, type StageOptions } from '../../src/index.js'
import { json } from '../../wrappers/json.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

type Text = Readonly<Record<string, string>>
interface Teller { headers(): Text; ask(): Promise<Text>; askStage(): Promise<Text>; changed(): Promise<Text> }

let places = 0

/** Two stages, the second of which tells what came with a call. Over TCP, or within one process. */
function pair(t: ExecutionContext, options: StageOptions, carrier: 'tcp' | 'memory') {
  const place = `memory:headers-${++places}`
  const [web, api] = ['web', 'api'].map((name) => new Stage(name, place, carrier === 'tcp' ? new TcpInterface() : undefined, options))
  t.teardown(() => Promise.all([web.close(), api.close()]))
  const casts: Text[] = []
  const tell = function (this: CallContext) { return { ...this.headers } }
  for (const stage of [web, api]) {
    stage.to('*').provide('headers', tell)
    stage.to('*').provide('note', function () { casts.push(this.headers) })
  }
  api.to('*').provide('ask', function () { return this.to('web').call('headers') })
  api.to('*').provide('askActor', function () { return this.actor<Teller>('tellers.1').headers() })
  api.to('*').provide('changed', function () { return this.to('web', { headers: { Tenant: 'b', trace: undefined, more: '1' } }).call('headers') })
  api.to('*').provide('cast', function () { this.to('web').cast('note') })
  api.to('*').provide('stream', async function (input: AsyncIterable<number>) { let sum = 0; for await (const one of input) sum += one; return { ...this.headers, sum: String(sum) } })
  api.define({
    pattern: 'tellers.{id}',
    create: (_, self: Self) => ({
      headers: () => ({ ...self.headers }),
      ask: () => self.actor<Teller>('askers.1').headers(),
      askStage: () => self.to('web').call<Text>('headers'),
      changed: () => self.to('web', { headers: { Tenant: 'b', trace: undefined, more: '1' } }).call<Text>('headers'),
      hp: 1,
    }),
  })
  web.define({ pattern: 'askers.{id}', create: (_, self: Self) => ({ headers: () => ({ ...self.headers }) }) })
  return { web, api, casts }
}

const given = { Tenant: 'a', TRACE: 'é😀 1' }
const same = { tenant: 'a', trace: 'é😀 1' }
const other = { tenant: 'b', more: '1' }

for (const [codec, chain] of Object.entries({ msgpack: () => [framing(), rpc({ codec: msgpack() }), actors()], json: () => [framing(), rpc({ codec: json() }), actors()] })) {
  for (const carrier of ['tcp', 'memory'] as const) {
    test(`headers of a call come to its handler, and go on from there: ${codec} over ${carrier}`, async (t) => {
      const { web, api, casts } = pair(t, { chain: chain() }, carrier)
      const to = web.to('api', { headers: given })
      t.deepEqual(await to.call('headers'), same)
      t.deepEqual(await web.to('api').call('headers'), {}, 'and not with the next one')
      t.deepEqual(await to.call('ask'), same)
      t.deepEqual(await to.call('changed'), other)
      t.deepEqual(await to.call('askActor'), same)
      t.deepEqual(await to.call('stream', (async function* () { yield 1 })()), { ...same, sum: '1' })
      for await (const { value } of to.callAll('headers')) t.deepEqual(value, same)
      to.cast('note')
      await until(() => casts.length === 1)
      await to.call('cast')
      await until(() => casts.length === 2)
      t.deepEqual(casts.map((one) => ({ ...one })), [same, same])
      for (const stage of [web, api]) { // from afar, and on the stage that hosts it
        const actor = stage.actor<Teller>('tellers.1', { headers: given })
        t.deepEqual(await actor.headers(), same)
        t.deepEqual(await stage.actor<Teller>('tellers.1').headers(), {})
        t.deepEqual(await actor.ask(), same)
        t.deepEqual(await actor.askStage(), same)
        t.deepEqual(await actor.changed(), other)
      }
    })
  }
}

const bad: [title: string, headers: unknown, message: RegExp][] = [
  ['no object', 'tenant', /headers are "tenant": expected an object with strings as values/],
  ['a list', ['tenant'], /expected an object/],
  ['a number', { tenant: 5 }, /the header tenant is 5: expected well-formed text/],
  ['null', { tenant: null }, /expected well-formed text, or undefined to remove it/],
  ['half of a pair', { tenant: '\ud800' }, /well-formed/],
  ['an empty name', { '': 'a' }, /"" cannot be the name of a header/],
  ['a name with a blank', { 'a b': 'a' }, /cannot be the name/],
  ['a name that begins with an underscore', { __proto: 'a' }, /cannot be the name/],
  ['__proto__', JSON.parse('{"__proto__":"a"}'), /cannot be the name/],
  ['a name too long', { ['x'.repeat(129)]: 'a' }, /cannot be the name/],
  ['one name in two cases', { Tenant: 'a', tenant: 'b' }, /the header tenant is given twice/],
  ['more than 8 KiB', { a: 'x'.repeat(8192) }, /8193 bytes: a call carries at most 8192/],
  ['more than 8 KiB together', { a: 'é'.repeat(2500), b: 'é'.repeat(2500) }, /10002 bytes/],
  ['more than 64', Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, ''])), /65 headers: a call carries at most 64/],
]

for (const [title, headers, message] of bad) {
  test(`headers that cannot be are BAD_ARGUMENT before anything is sent: ${title}`, async (t) => {
    const { web } = pair(t, {}, 'memory')
    const options = { headers: headers as Text }
    for (const make of [() => web.to('api', options), () => web.actor('tellers.1', options), () => web.observe('tellers.1', ['hp'], options)]) {
      const error = t.throws<StageError>(make as () => void, { instanceOf: StageError, code: 'BAD_ARGUMENT' })
      t.is(error.executed, 'no')
      t.regex(error.message, message)
    }
    t.is(web.links().length, 0)
  })
}

test('what is added to inherited headers counts with them', async (t) => {
  const { web, api } = pair(t, {}, 'memory')
  api.to('*').provide('more', function () { return this.to('web', { headers: { b: 'x'.repeat(5000) } }).call('headers') })
  const error = await t.throwsAsync<StageError>(web.to('api', { headers: { a: 'x'.repeat(5000) } }).call('more'), { code: 'REMOTE_ERROR' })
  t.like(error.cause, { code: 'BAD_ARGUMENT' })
})

test('the largest headers pass, and are frozen', async (t) => {
  const { web, api } = pair(t, {}, 'tcp')
  const headers = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`h${String(i).padStart(3, '0')}`, 'x'.repeat(124)]))
  let frozen = false
  api.to('*').provide('frozen', function () { frozen = Object.isFrozen(this.headers); return this.headers })
  t.deepEqual(await web.to('api', { headers }).call('frozen'), headers)
  t.true(frozen)
})
