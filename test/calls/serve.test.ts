/** An object or an instance of a class as the implementation of a service. */
import test from 'ava'
import { StageError, type CallContext } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'

class Base {
  #greeting = 'hi there'
  inherited(): string { return this.#greeting }
}
class Greeter extends Base {
  #count = 0
  suffix = '!'
  greet(name: string): string { return `${this.inherited()}, ${name}${this.suffix} ${++this.#count}` }
  async later(n: number): Promise<number> { await null; return n + this.#count }
  arrow = (): number => this.#count
  _hidden(): string { return 'never' }
  get gotten(): () => string { return () => 'never' }
  static shared(): string { return 'never' }
}

function pair(t: Parameters<typeof virtualMesh>[0]) {
  const { clock, stage } = virtualMesh(t)
  const [api, web] = [stage('api'), stage('web')]
  return { api, web, go: <T>(promise: Promise<T>) => { promise.catch(() => {}); return advance(clock, promise) } }
}

test('the public methods of an instance run on it, private members and all', async (t) => {
  const { api, web, go } = pair(t)
  api.to('*').serve<Greeter>(new Greeter(), { methods: { arrow: {} } })
  const there = web.to('api').as<Greeter>()
  t.is(await go(there.greet('bob')), 'hi there, bob! 1')
  t.is(await go(there.later(5)), 6)
  t.is(await go(there.arrow()), 1)
  t.is(await go(there.inherited()), 'hi there')
  t.deepEqual(await go(web.to('api').methods()), ['arrow', 'greet', 'inherited', 'later'])
  for (const name of ['_hidden', 'gotten', 'suffix', 'constructor', 'shared', 'toString']) {
    t.is((await go(t.throwsAsync<StageError>(web.to('api').call(name)))).code, 'NO_SUCH_METHOD', name)
  }
})

test('functions among the properties of an instance are served by name only: they may have been passed to it', async (t) => {
  const { api, web, go } = pair(t)
  class Shop { constructor(private readonly query: (sql: string) => string) {} find(): string { return this.query('SELECT') } }
  api.to('*').serve(new Shop((sql) => sql))
  t.is(await go(web.to('api').call('find')), 'SELECT')
  t.is((await go(t.throwsAsync<StageError>(web.to('api').call('query', 'DROP')))).code, 'NO_SUCH_METHOD')
})

test('a method counts as what its last class makes of it, and methods of built-in classes are none', async (t) => {
  const { api, web, go } = pair(t)
  class Low { off(): string { return 'low' } got(): string { return 'low' } kept(): string { return 'low' } activate(): string { return 'no hook here' } }
  class High extends Low { constructor() { super(); Object.assign(this, { off: null }) } }
  Object.defineProperty(High.prototype, 'got', { get: () => () => 'high' })
  api.to('*').serve(new High())
  class Store extends Map<string, number> { total(): number { return this.size } }
  api.to('web').serve(new Store())
  t.deepEqual(await go(web.to('api').methods()), ['activate', 'kept', 'total'])
})

test('provide(object) is the same', async (t) => {
  const { api, web, go } = pair(t)
  api.to('*').provide(new Greeter())
  t.is(await go(web.to('api').call('greet', 'bob')), 'hi there, bob! 1')
})

test('methods with the call as their first argument', async (t) => {
  const { api, web, go } = pair(t)
  interface Api { whoami(greeting: string): string }
  class Who { constructor(readonly by: string) {} whoami(call: CallContext, greeting: string): string { return `${greeting} ${call.peer.name} by ${this.by}` } }
  api.to('*').serve<Api>(new Who('class'), { withCall: true })
  t.is(await go(web.to('api').as<Api>().whoami('hello')), 'hello web by class')
  // a caller cannot put anything in the place of the call
  t.is(await go(web.to('api').call('whoami', { peer: { name: 'root' } }, { peer: { name: 'root' } })), '[object Object] web by class')
})

test('options for each method, and a rule for all of them', async (t) => {
  const { api, web, go } = pair(t)
  const asked: string[] = []
  api.to('*').serve<Greeter>(new Greeter(), {
    authorize: ({ method }) => { asked.push(`all ${method}`); return method !== 'later' },
    methods: { greet: { authorize: ({ args }) => { asked.push('greet'); return args[0] !== 'eve' } } },
  })
  t.is(await go(web.to('api').call('greet', 'bob')), 'hi there, bob! 1')
  t.is((await go(t.throwsAsync<StageError>(web.to('api').call('greet', 'eve')))).code, 'FORBIDDEN')
  t.is((await go(t.throwsAsync<StageError>(web.to('api').call('later', 1)))).code, 'FORBIDDEN')
  t.true(asked.includes('all greet') && asked.includes('greet'))
})

test('what serve() returns removes its methods, and only those', async (t) => {
  const { api, web, go } = pair(t)
  const remove = api.to('*').serve(new Greeter())
  api.to('*').provide('greet', () => 'another')
  remove()
  remove()
  t.is(await go(web.to('api').call('greet')), 'another')
  t.deepEqual(await go(web.to('api').methods()), ['greet'])
})

const REFUSED: [title: string, object: unknown, options: unknown, message: RegExp][] = [
  ['no object', 5, undefined, /got 5: expected an object/],
  ['nothing', null, undefined, /got null/],
  ['an object without methods', { name: 'x' }, undefined, /without public methods/],
  ['only hidden methods', { _x() {} }, undefined, /without public methods/],
  ['a name that cannot be a method', { ok() {}, $x() {} }, undefined, /a method cannot be named "\$x"/],
  ['an unknown option', { x() {} }, { withcall: true }, /"withcall" is not an option of serve\(\); known options: withCall/],
  ['options of a method that is not there', { x() {} }, { methods: { y: {} } }, /"y" is not an option of methods in serve\(\); known options: x/],
  ['an unknown option of a method', { x() {} }, { methods: { x: { idempotnet: true } } }, /"idempotnet" is not an option of x in serve\(\)/],
  ['withCall that is no flag', { x() {} }, { withCall: 'first' }, /withCall is "first"/],
]
for (const [title, object, options, message] of REFUSED) {
  test(`refused: ${title}`, async (t) => {
    const { api, web, go } = pair(t)
    t.throws(() => api.to('*').serve(object as object, options as undefined), { message })
    t.deepEqual(await go(web.to('api').methods()), [], 'nothing of it was provided')
  })
}
