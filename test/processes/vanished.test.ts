/** Sockets whose files vanish while their stages live. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { IpcInterface, Stage } from '../../src/index.js'
import type { Clock } from '../../src/types.js'
import { Process, tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

class Thing {
  static made = 0
  readonly which = ++Thing.made
  n = 0
  add() { return `${this.which}: ${++this.n}` }
}

const make = async (t: ExecutionContext, name: string, registry: string, path: string, clock?: Clock): Promise<Stage> => {
  const stage = new Stage(name, registry, new IpcInterface({ path, clock }), { timeoutMs: 5000 })
  t.teardown(() => stage.close())
  await stage.ready()
  return stage
}

const left = (stage: Stage): string[] => {
  const told: string[] = []
  stage.on('part', ({ name }) => told.push(`part ${name}`))
  stage.on('unlink', ({ name }) => told.push(`unlink ${name}`))
  return told
}

test('the folder of a socket was deleted: calls continue over the link, a new peer connects, and no stage is declared dead', async (t) => {
  t.timeout(120_000)
  const folder = await tempFolder(t)
  const registry = `local:${join(folder, 'registry')}`
  const sockets = join(folder, 'sockets')
  const far = Process.start(t, { env: { ...process.env, STAGE_FOLDER: sockets } })
  await far.ask('open', 'it', { name: 'far', registry })
  const caller = await make(t, 'caller', registry, join(folder, 'caller.sock'))
  t.like(await caller.to('far').call('who'), { pid: far.pid })
  const address = caller.lookup('far')[0]!.addresses
  const told = left(caller)
  rmSync(sockets, { recursive: true })
  t.like(await caller.to('far').call('who'), { pid: far.pid })
  const late = await make(t, 'late', registry, join(folder, 'late.sock'))
  const since = performance.now()
  t.like(await late.to('far').call('who'), { pid: far.pid })
  t.true(performance.now() - since < 5000)
  t.like(await caller.to('far').call('who'), { pid: far.pid })
  t.deepEqual(told, [])
  t.deepEqual(late.lookup('far')[0]!.addresses, address)
})

test('an owner whose socket is missing keeps its actors, and callers that cannot reach it wait', async (t) => {
  t.timeout(120_000)
  const folder = await tempFolder(t)
  const registry = `local:${join(folder, 'registry')}`
  const clock = new VirtualClock() // the clock of the socket alone: the socket is made again when the test says so
  const path = join(folder, 'owner.sock')
  const owner = await make(t, 'owner', registry, path, clock)
  const type = { pattern: 'things.{id}', constructor: Thing, durable: true } as const
  owner.define(type)
  const late = await make(t, 'late', registry, join(folder, 'late.sock'))
  t.is(await late.actor<Thing>('things.1').add(), '1: 1')
  late.define(type)
  await until(() => owner.peers().length === 1)
  const told = left(late)
  rmSync(path)
  const third = await make(t, 'third', registry, join(folder, 'third.sock'))
  third.define(type)
  const waiting = third.actor<Thing>('things.1', { timeoutMs: 20_000 }).add()
  await new Promise((resolve) => setTimeout(resolve, 3000)) // three dials take less time
  t.is(Thing.made, 1, 'it was not taken over')
  await clock.advance(2000)
  t.is(await waiting, '1: 2')
  t.is(await late.actor<Thing>('things.1').add(), '1: 3')
  t.deepEqual(told, [])
})
