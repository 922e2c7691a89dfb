import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { StageError } from '../src/index.js'
import { realMesh } from './helpers/mesh.js'
import { until } from './helpers/until.js'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Collects until `condition` holds: a collection may take a turn or two to be told. */
const collected = (condition: () => boolean): Promise<void> => until(() => { gc(); return condition() })

// apart from the tests, whose suspended frames would hold what they touched
const same = (list: unknown[]): boolean => list[0] === list[1]
const first = async (list: (() => Promise<number>)[]): Promise<number> => list[0]()

test('a function that was passed is released when the peer does not use it any more', async (t) => {
  const { stage } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('once', async (fn: () => Promise<number>) => fn())
  t.is(await a.to('b').call('once', () => 7), 7)
  t.is(a.stats()['functions'], 1)
  await collected(() => a.stats()['functions'] === 0 && b.stats()['functions'] === 0)
  t.pass()
})

test('one that is still used is kept, through collections and a second passing', async (t) => {
  const { stage } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  const kept: (() => Promise<number>)[] = []
  b.to('*').provide('keep', (fn: () => Promise<number>) => { kept.push(fn) })
  let calls = 0
  const mine = (): number => ++calls
  await a.to('b').call('keep', mine)
  await a.to('b').call('keep', mine)
  t.true(same(kept), 'the same function is the same at the other end')
  for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setImmediate(resolve)) }
  t.is(await first(kept), 1)
  kept.length = 0
  await collected(() => a.stats()['functions'] === 0)
  t.pass()
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
