/** Stages that are ready find each other at once. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { LocalRegistry, MemoryInterface, MemoryNetwork, MemoryRegistry, RedisRegistry, Stage, type Registry } from '../../src/index.js'
import { listed } from '../helpers/listed.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

// Two stages ask for each other as the first thing after both are ready, each time in a namespace of their own.

const ROUNDS = 30
/** So many of them at once. */
const ABREAST = 5

/** How one stage asks for the other, and what it found: names of those who were reached. */
const questions: Record<string, (from: Stage, name: string) => Promise<string[]>> = {
  'callAll by name': async (from, name) => await answers(from, name),
  'callAll by pattern': async (from) => (await answers(from, '*')).filter((one) => one !== from.name),
  'callAll by list': async (from, name) => await answers(from, [name]),
  'each by name': async (from, name) => await each(from, name),
  'each by pattern': async (from) => await each(from, '*'),
  'the callback form by name': async (from, name) => await opened(from, name),
  'the callback form by pattern': async (from) => await opened(from, '*'),
  'a call that has little time': async (from, name) => [await from.to(name, { timeoutMs: 500 }).call('name') as string],
  'a call that only the other one can serve': async (from) => [await from.to('*').call('other') as string],
  'methods()': async (from, name) => await from.to(name, { timeoutMs: 500 }).methods().then(() => [name]),
  'lookup after each': async (from, name) => {
    await from.each(name, () => {})
    return from.lookup('*').map((one) => one.name)
  },
}

async function answers(from: Stage, to: string | string[]): Promise<string[]> {
  const found: string[] = []
  for await (const { error, value } of from.to(to).callAll('name')) found.push(error ? error.message : value as string)
  return found
}

async function each(from: Stage, pattern: string): Promise<string[]> {
  const found: string[] = []
  await from.each(pattern, ({ name }) => found.push(name))
  return found
}

const opened = (from: Stage, to: string): Promise<string[]> => new Promise((resolve) => {
  from.to(to, (error, stream, peer) => {
    stream?.resume().end()
    resolve([error ? error.message : peer.name])
  })
})

/** @param open  one more client of the registry */
async function rounds(open: () => Registry, ask: (a: Stage, b: Stage) => Promise<void>): Promise<void> {
  for (let i = 0; i < ROUNDS; i += ABREAST) await Promise.all(Array.from({ length: ABREAST }, () => round(open, ask)))
}

async function round(open: () => Registry, ask: (a: Stage, b: Stage) => Promise<void>): Promise<void> {
  const network = new MemoryNetwork()
  const namespace = `ready-${process.pid}-${++count}`
  const [a, b] = ['a', 'b'].map((name) => new Stage(name, open(), new MemoryInterface(network), { namespace }))
  try {
    for (const stage of [a, b]) {
      stage.on('stream', (stream) => stream.resume().on('end', () => stream.end()))
      stage.to('*').provide('name', () => stage.name)
    }
    a.to('b').provide('other', () => 'a')
    b.to('a').provide('other', () => 'b')
    await Promise.all([listed(a), listed(b)])
    await ask(a, b)
  } finally {
    await Promise.all([a.close(), b.close()])
  }
}

let count = 0

async function all(t: ExecutionContext, open: () => Registry): Promise<void> {
  for (const [title, find] of Object.entries(questions)) {
    await rounds(open, async (a, b) => {
      t.deepEqual(await Promise.all([find(a, 'b'), find(b, 'a')]), [['b'], ['a']], title)
    })
  }
  for (const pattern of [false, true]) {
    await rounds(open, async (a, b) => {
      const got: string[] = []
      for (const stage of [a, b]) stage.to('*').provide('line', function () { if (this.peer.name !== stage.name) got.push(stage.name) })
      a.to(pattern ? '*' : 'b').cast('line')
      b.to(pattern ? '*' : 'a').cast('line')
      await until(() => got.length === 2).catch(() => t.fail(`of two casts by ${pattern ? 'pattern' : 'name'} those to ${got.join() || 'nobody'} arrived`))
    })
  }
}

test('memory: whoever is ready is found', async (t) => {
  await all(t, () => new MemoryRegistry('right-after-ready'))
})

test('local: whoever is ready is found', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-ready-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await all(t, () => new LocalRegistry(folder))
})

onRedis('redis: whoever is ready is found', async (t, server) => {
  await all(t, () => new RedisRegistry(server.url))
})
