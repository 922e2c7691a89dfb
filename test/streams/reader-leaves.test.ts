/** Whoever leaves what is read ends its source at once, also one that waits: in results and in arguments. */
import { EventEmitter, getEventListeners, on, once } from 'node:events'
import { ReadableStream } from 'node:stream/web'
import test from 'ava'
import { StageError, type Stage } from '../../src/index.js'
import type { CallContext } from '../../wrappers/rpc/types.js'
import { actorMesh } from '../helpers/actors.js'
import { advance, realMesh, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { passed } from '../helpers/virtual-clock.js'
import { all, pair, ways } from '../helpers/ways.js'

nothingUnhandled(test)

/** What waits for events, with the signal of its call; it says how it ended. */
function source() {
  const bus = new EventEmitter().setMaxListeners(0)
  const ended: string[] = []
  const ticks = async function* (this: CallContext, times = Infinity) {
    const { signal } = this
    signal.addEventListener('abort', () => ended.push('signal'))
    try {
      for (let i = 0; i < times; i++) {
        yield 'tick'
        if (i + 1 < times) await once(bus, 'tick', { signal })
      }
    } finally { ended.push('finally') }
  }
  return { bus, ended, ticks, waiting: () => bus.listenerCount('tick') }
}

type Reader = AsyncIterableIterator<string>

const leaving: Record<string, (reader: Reader, controller: AbortController) => Promise<unknown>> = {
  'by break': async (reader) => { for await (const one of reader) if (one) break },
  'by return(), while it waits for the next one': async (reader) => {
    await reader.next()
    const next = reader.next().then(() => 'left', () => 'left')
    await new Promise((resolve) => setTimeout(resolve, 20))
    await reader.return?.()
    return next
  },
  'by the signal of its call': async (reader, controller) => {
    await reader.next()
    const next = reader.next().catch((error: StageError) => error.code)
    controller.abort()
    return next
  },
}

for (const [way, make] of ways) {
  for (const [how, leave] of Object.entries(leaving)) {
    test(`P13: a reader that leaves ends a generator that waits for something else: ${how}, ${way}`, async (t) => {
      const [a, b] = await make(t)
      const { ended, ticks, waiting } = source()
      b.to('*').provide('ticks', ticks)
      const controller = new AbortController()
      await leave(await a.to(b.name, { signal: controller.signal }).call<Reader>('ticks'), controller)
      await until(() => ended.length === 2)
      t.deepEqual(ended, ['signal', 'finally'])
      t.is(waiting(), 0)
      t.is(getEventListeners(controller.signal, 'abort').length, 0)
      await until(() => a.stats()['streams'] === 0 && b.stats()['streams'] === 0)
    })
  }
}

test('P13: a link that is cut ends what waits for its reader', async (t) => {
  const { stage, network } = realMesh(t)
  const [a, b] = [stage('a'), stage('b')]
  const { ended, ticks, waiting } = source()
  b.to('*').provide('ticks', ticks)
  const reader = await a.to('b').call<Reader>('ticks')
  await reader.next()
  void reader.next().catch(() => {})
  await until(() => waiting() === 1)
  network.cut()
  await until(() => ended.length === 2)
  t.is(waiting(), 0)
})

test('P13: no listener is left when 1 000 subscribers came and went', async (t) => {
  const [a, b] = await pair(t)
  const { bus, ended, ticks, waiting } = source()
  b.to('*').provide('ticks', ticks)
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 10 }, async (_, i) => {
    for (let k = 0; k < 100; k++) {
      const reader = await a.to('far', { signal }).call<Reader>('ticks')
      await reader.next()
      if ((i + k) % 2) void reader.next().catch(() => {})
      if (k % 10 === 0) bus.emit('tick')
      await reader.return?.()
    }
  }))
  await until(() => ended.length === 2000)
  t.is(waiting(), 0)
  t.is(getEventListeners(signal, 'abort').length, 0)
  await until(() => a.stats()['streams'] === 0 && b.stats()['streams'] === 0)
})

test('P9: the signal of a call lives as long as what it returned, and does not fire when that was read to its end', async (t) => {
  const [a, b] = await pair(t)
  const { bus, ended, ticks, waiting } = source()
  b.to('*').provide('ticks', function (this: CallContext) { return { deep: [ticks.call(this, 2), ticks.call(this)] } })
  const take = async (): Promise<[Reader, Reader]> => (await a.to('far').call<{ deep: [Reader, Reader] }>('ticks')).deep
  const [short, long] = await take()
  await Promise.all([short.next(), long.next()])
  const rest = [all(short), long.next()] as const
  await until(() => waiting() === 2)
  bus.emit('tick')
  t.deepEqual(await Promise.all(rest), [['tick'], { done: false, value: 'tick' }])
  t.deepEqual(ended, ['finally'], 'the other one goes on')
  await long.return?.()
  await until(() => ended.length === 4)
  const whole = source()
  b.to('*').provide('few', whole.ticks)
  const reading = all(await a.to('far').call<Reader>('few', 2))
  await until(() => whole.waiting() === 1)
  whole.bus.emit('tick')
  t.deepEqual(await reading, ['tick', 'tick'])
  await until(() => b.stats()['streams'] === 0)
  t.deepEqual(whole.ended, ['finally'])
})

test('what goes on behind the deadline of its call makes calls of its own', async (t) => {
  const mesh = virtualMesh(t)
  const [a, b] = [mesh.stage('a'), mesh.stage('b')]
  b.to('*').provide('one', async () => { await passed(mesh.clock, 100); return 1 })
  b.to('*').provide('ones', async function* (this: CallContext) {
    for (let i = 0; i < 3; i++) {
      await passed(mesh.clock, 9000)
      yield await this.to('b').call<number>('one')
    }
  })
  const got = advance(mesh.clock, (async () => all(await a.to('b').call<AsyncIterable<number>>('ones')))())
  t.deepEqual(await got, [1, 1, 1])
})

/** Sources that can be ended at once, though somebody waits for what comes next. */
const endable: Record<string, () => { value: AsyncIterable<unknown>; over(): boolean }> = {
  'events.on()': () => {
    const bus = new EventEmitter()
    const value = on(bus, 'tick') as AsyncIterable<unknown>
    bus.emit('tick', 'x')
    return { value, over: () => bus.listenerCount('tick') === 0 }
  },
  'a ReadableStream': () => {
    let over = false
    return { value: new ReadableStream({ start: (control) => { control.enqueue('x') }, cancel() { over = true } }) as AsyncIterable<unknown>, over: () => over }
  },
}

/** Reads the first item, waits for the next one, and leaves. */
const peek = async (values: AsyncIterable<unknown>): Promise<string> => {
  const iterator = values[Symbol.asyncIterator]()
  await iterator.next()
  const next = iterator.next().then(({ done }) => done ? 'left' : 'more', () => 'left')
  await new Promise((resolve) => setImmediate(resolve))
  void iterator.return?.()
  return next
}

for (const [what, make] of Object.entries(endable)) {
  test(`P13: an argument is ended at once by a reader that leaves while it waits: ${what}`, async (t) => {
    const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
    const { stage: b } = await add('far', (stage) => {
      stage.to('*').provide('peek', peek)
      stage.define({ pattern: 'peeks.{id}', create: () => ({ peek }) })
    })
    const { stage: a } = await add('near')
    const callers: ((value: unknown) => Promise<unknown>)[] = [
      (value) => a.to('far').call('peek', value),
      (value) => b.to('far').call('peek', value),
      (value) => a.actor('peeks.1')['peek'](value),
      (value) => b.actor('peeks.1')['peek'](value),
    ]
    for (const [i, call] of callers.entries()) {
      const { value, over } = make()
      t.is(await go(call(value)), 'left', `${i}`)
      await clock.advance(10)
      t.true(over(), `${i}`)
    }
  })
}

test('P9: the signal of a call ends all that came with the answer, and what of its arguments is still read: local and remote', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const ends: (() => boolean)[] = []
  const api = {
    give() {
      return Object.values(endable).map((make) => { const { value, over } = make(); ends.push(over); return value })
    },
    read(values: AsyncIterable<unknown>) { void all(values).catch(() => {}); return true },
  }
  const { stage: b } = await add('b', (stage) => {
    stage.define({ pattern: 'gives.{id}', create: () => api })
    for (const [name, fn] of Object.entries(api)) stage.to('*').provide(name, fn)
  })
  const { stage: a } = await add('a')
  const actor = (stage: Stage, signal: AbortSignal) => stage.actor('gives.1', { signal }) as unknown as typeof api
  const called = (signal: AbortSignal) => a.to('b', { signal }).as<typeof api>()
  for (const [how, to] of [['a call', called], ['an actor elsewhere', (signal: AbortSignal) => actor(a, signal)], ['an actor here', (signal: AbortSignal) => actor(b, signal)]] as const) {
    const controller = new AbortController()
    const given = await go(Promise.resolve(to(controller.signal).give()))
    const nexts = given.map(async (one) => {
      const iterator = one[Symbol.asyncIterator]()
      await iterator.next()
      return iterator.next().then(() => 'more', (error: StageError) => error.code)
    })
    const { value, over } = endable['events.on()']()
    ends.push(over)
    await go(Promise.resolve(to(controller.signal).read(value)))
    await clock.advance(50)
    controller.abort()
    t.deepEqual(await go(Promise.all(nexts)), ['CANCELLED', 'CANCELLED'], how)
    await clock.advance(100)
    if (how !== 'an actor here') t.true(ends.every((end) => end()), how) // there an argument is its own
    t.true(ends.slice(0, 2).every((end) => end()), how)
    t.is(getEventListeners(controller.signal, 'abort').length, 0, how)
    ends.length = 0
  }
})
