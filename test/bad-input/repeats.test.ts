/** The same again, a hundred thousand times: nothing piles up. */
import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import type { StageError } from '../../src/index.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { pair } from '../helpers/ways.js'
import type { Assertions } from '../suites/test.js'

nothingUnhandled(test)

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const heap = (): number => { gc(); return process.memoryUsage().heapUsed }
const MIB = 1024 * 1024
/** Eventually: what is let go of takes more than one collection. */
async function within(t: Assertions, before: number, most: number): Promise<void> {
  await until(() => heap() - before < most * MIB).catch(() => {})
  t.true(heap() - before < most * MIB)
}

/** A thousand at a time. @returns what each thousand took, in milliseconds */
async function repeat(one: (n: number) => Promise<unknown>): Promise<number[]> {
  const took: number[] = []
  for (let n = 0; n < 100_000; n += 1000) {
    const from = performance.now()
    await Promise.all(Array.from({ length: 1000 }, (_, i) => one(n + i)))
    took.push(performance.now() - from)
  }
  return took
}
const median = (of: number[]): number => of.sort((a, b) => a - b)[of.length >> 1]

test.serial('a hundred thousand calls with one signal leave no listener, and the last ones cost what the first ones did', async (t) => {
  const [a] = await pair(t)
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 1000 }, () => a.to('far', { signal }).call('hello')))
  const before = heap()
  const took = await repeat(() => a.to('far', { signal }).call('hello'))
  const [first, last] = [median(took.slice(0, 10)), median(took.slice(-10))]
  t.true(last < 5 * first, `a thousand took ${first} ms, and ${last} ms in the end`)
  t.is(getEventListeners(signal, 'abort').length, 0)
  await within(t, before, 8)
})

test.serial('a hundred thousand names of methods that are not there', async (t) => {
  const [a, b] = await pair(t)
  const code = (name: string): Promise<string> => a.to('far').call(name).then(() => 'none', (error: StageError) => error.code)
  for (let n = 0; n < 2000; n++) await code(`warm${n}`)
  const long = 'missing'.padEnd(110, '-') // what remembers one shows
  const before = heap()
  await repeat(async (n) => { if (await code(`${long}${n}`) !== 'NO_SUCH_METHOD') t.fail() })
  await within(t, before, 8)
  t.like(b.stats(), { serving: 0, functions: 0, streams: 0 })
})

test.serial('a hundred thousand names of stages that are not there', async (t) => {
  const [a] = await pair(t)
  const signal = AbortSignal.abort()
  const before = heap()
  for (let n = 0; n < 100_000; n++) {
    const target = a.to(`nobody${n}`, { signal })
    await target.call('hello').catch(() => {})
    target.cast('hello')
  }
  const controller = new AbortController()
  for (let round = 0; round < 20; round++) {
    const waiting = Array.from({ length: 500 }, (_, n) => a.to(`nobody${round * 500 + n}`, { signal: controller.signal }).call('hello').catch(() => {}))
    if (round === 19) { controller.abort(); await Promise.all(waiting) }
  }
  await within(t, before, 12)
  t.like(a.stats(), { calls: 0, waiting: 0 })
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
})

test.serial('forty thousand streams in arguments and results that nobody reads to their end', async (t) => {
  const [a, b] = await pair(t)
  b.to('*').provide('make', (values: AsyncIterator<number>) => { void values.return?.(); return count() })
  async function* count(): AsyncGenerator<number> { yield 1; yield 2 }
  const one = async (): Promise<void> => {
    const values = await a.to('far').call<AsyncIterator<number>>('make', count())
    await values.next()
    await values.return?.()
  }
  for (let n = 0; n < 20; n++) await Promise.all(Array.from({ length: 100 }, one))
  const before = heap()
  for (let n = 0; n < 200; n++) await Promise.all(Array.from({ length: 100 }, one))
  await within(t, before, 16)
  await until(() => a.stats()['streams'] === 0 && b.stats()['streams'] === 0)
})
