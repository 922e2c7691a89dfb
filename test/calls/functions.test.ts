/** Functions that are passed in calls, and when they are released. */
import { execFile } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { StageError } from '../../src/index.js'
import type { Callable } from '../../wrappers/codec.js'
import { REFS_MAX } from '../../wrappers/rpc/wire/messages.js'
import { Functions } from '../../wrappers/rpc/wire/functions.js'
import { realMesh } from '../helpers/mesh.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')

/** Two stages in a process of their own, where nothing but the script holds on to what it touches. */
async function alone(script: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--input-type=module', '-e', `
    import { Stage } from 'stagemesh'
    const [a, b] = [new Stage('a', 'memory:x'), new Stage('b', 'memory:x')]
    const held = () => a.stats().functions + b.stats().functions
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5))
    const collect = async (until) => { for (let i = 0; i < 1000 && !until(); i++) { gc(); await turn() } }
    ${script}
    process.exit()
  `], { cwd: root })
  return stdout.trim().split('\n')
}

test('a function that was passed is released when the peer does not use it any more', async (t) => {
  t.deepEqual(await alone(`
    b.to('*').provide('once', async (fn) => fn())
    console.log(await a.to('b').call('once', () => 7), held())
    await collect(() => held() === 0)
    console.log(held())
  `), ['7 2', '0'])
})

test('one that is still used is kept, through collections and a second passing', async (t) => {
  t.deepEqual(await alone(`
    const kept = []
    b.to('*').provide('keep', (fn) => { kept.push(fn) })
    const mine = () => 'called'
    await a.to('b').call('keep', mine)
    await a.to('b').call('keep', mine)
    console.log(kept[0] === kept[1])
    for (let i = 0; i < 5; i++) { gc(); await turn() }
    await (async () => console.log(await kept[0](), held()))()
    kept.length = 0
    await collect(() => held() === 0)
    console.log(held())
  `), ['true', 'called 2', '0'])
})

test('one whose peer is gone rejects, and nobody need listen', async (t) => {
  const { stage, network } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  const unhandled: unknown[] = []
  const hear = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', hear)
  t.teardown(() => { process.off('unhandledRejection', hear) })
  let fn!: () => Promise<unknown>
  b.to('*').provide('take', (given: typeof fn) => { fn = given })
  await a.to('b').call('take', () => new Promise(() => {}))
  const pending = fn()
  const heard = t.throwsAsync(pending, { instanceOf: StageError })
  void fn() // nobody listens to this one
  network.cut()
  t.is((await heard).code, 'DISCONNECTED')
  const late = await t.throwsAsync(fn(), { instanceOf: StageError })
  t.is(late.code, 'DISCONNECTED')
  t.is(late.executed, 'no')
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(unhandled, [])
})

test('a function that throws rejects at the caller, with what it threw', async (t) => {
  const { stage } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('try', (fn: () => Promise<unknown>) => fn().catch((error: StageError) => `${error.code}: ${(error.cause as Error).message}`))
  t.is(await a.to('b').call('try', () => { throw new Error('not so') }), 'REMOTE_ERROR: not so')
})

test('functions whose encoding failed are not held', async (t) => {
  const { stage } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('f', () => 1)
  await a.to('b').call('f')
  await t.throwsAsync(a.to('b').call('f', () => 1, Symbol('no')), { instanceOf: StageError })
  t.is(a.stats()['functions'], 0)
})

test('a call that is cancelled before it was begun takes no stream of a later one with it', async (t) => {
  const { stage } = realMesh(t)
  const [api, web] = [stage('api'), stage('web')]
  api.to('*').provide('burn', () => { for (const end = performance.now() + 50; performance.now() < end;); })
  api.to('*').provide('sum', async (values: AsyncIterable<number>) => { let sum = 0; for await (const one of values) sum += one; return sum })
  await web.to('api').call('burn')
  const stop = new AbortController()
  const busy = web.to('api').call('burn')
  const cancelled = web.to('api', { signal: stop.signal }).call('burn')
  const sum = web.to('api').call('sum', (async function* () { yield 1; yield 2 })())
  stop.abort()
  await t.throwsAsync(cancelled, { code: 'CANCELLED' })
  await busy
  t.is(await sum, 3)
})

test('ten thousand functions are with a peer, and one more is refused before anything is sent', async (t) => {
  const { stage } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  const kept: unknown[] = []
  b.to('*').provide('keep', (...given: unknown[]) => { kept.push(...given) })
  const mine = Array.from({ length: REFS_MAX }, (_, i) => () => i)
  await a.to('b').call('keep', ...mine)
  const [{ id }] = a.links()
  const more = await t.throwsAsync(a.to('b').call('keep', () => 0), { instanceOf: StageError })
  t.is(`${more.code} ${more.executed}`, 'OVERLOADED no')
  t.regex(more.message, /the peer holds 10000 functions/)
  t.is(kept.length, REFS_MAX)
  await a.to('b').call('keep', mine[7]) // no new one
  t.is(kept.length, REFS_MAX + 1)
  t.is(await (kept[7] as () => Promise<number>)(), 7)
  t.is(a.links()[0]?.id, id)
})

test('with ten thousand functions of a peer, one that comes again just when its stub was collected is no new one', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const released: number[] = []
  const kept: Callable[] = []
  const refs = new Functions((id) => () => Promise.resolve(id), (id) => { released.push(id) })
  for (let id = 1; id < REFS_MAX; id++) kept.push(refs.take(id) as Callable)
  refs.take(REFS_MAX) // which nobody keeps
  await new Promise((resolve) => setImmediate(resolve))
  gc() // its finalizer would come a moment later
  kept.push(refs.take(REFS_MAX) as Callable)
  t.is(await kept.at(-1)?.(), REFS_MAX)
  t.throws(() => refs.take(REFS_MAX + 1), { code: 'PROTOCOL_ERROR' })
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(released, [])
  t.is(refs.size, REFS_MAX)
})
