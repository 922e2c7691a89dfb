import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { MemoryInterface, Stage, type Registry } from '../../src/index.js'
import { until } from './until.js'

const LIMIT_MS = 30_000

/**
 * Three stages call each other while their registry fails over: every call succeeds, ids stay, nobody leaves, and a new stage
 * sees everybody.
 * @param fail  makes it fail, and resolves when it has failed over
 */
export async function failsOver(t: ExecutionContext, registry: () => Registry, fail: () => Promise<unknown>): Promise<void> {
  const make = (name: string): Stage => {
    const stage = new Stage(name, { registry: registry(), interfaces: new MemoryInterface() })
    t.teardown(() => stage.close())
    stage.on('error', () => {})
    stage.to('*').provide('echo', (value: number) => value)
    return stage
  }
  const names = ['a', 'b', 'c']
  const stages = names.map(make)
  await Promise.all(stages.map((stage) => stage.ready()))
  await until(() => stages.every((stage) => stage.peers().length === 2))
  const ids = stages.map(({ id }) => id)
  const parted: string[] = []
  for (const stage of stages) stage.on('part', ({ name }, reason) => parted.push(`${name} ${reason}`))
  let calling = true
  let calls = 0
  const loop = (async () => {
    for (; calling; calls++) {
      t.is(await stages[calls % 3]!.to(names[(calls + 1) % 3]!).call('echo', calls), calls)
      await sleep(20)
    }
  })()
  await fail()
  const late = make('late')
  await until(() => late.ready().then(() => true, () => false), LIMIT_MS)
  await until(() => late.peers().length === 3 && stages.every((stage) => stage.peers().length === 3), LIMIT_MS)
  calling = false
  await loop
  t.true(calls > 0)
  t.deepEqual([stages.map(({ id }) => id), parted], [ids, []])
}
