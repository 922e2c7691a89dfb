import type { Stage } from '../../src/index.js'
import type { Assertions } from '../suites/test.js'
import { realMesh } from './mesh.js'
import { tcpMesh } from './raw-peer.js'

/** Two stages with a link between them: the first one calls, the second one serves. */
export type Pair = readonly [caller: Stage, callee: Stage]
type Test = Pick<Assertions, 'teardown'>

async function linked(stages: readonly [Stage, Stage], dialler: 0 | 1): Promise<Pair> {
  for (const one of stages) one.to('*').provide('hello', () => one.name)
  await stages[dialler].to(stages[1 - dialler].name).call('hello')
  return stages
}

const memory = (t: Test): [Stage, Stage] => {
  const { stage } = realMesh(t)
  return [stage('near'), stage('far')]
}
const tcp = async (t: Test): Promise<[Stage, Stage]> => {
  const mesh = tcpMesh(t)
  return [await mesh.stage('near'), await mesh.stage('far')]
}

/** The carriers and directions of calls. */
export const ways: readonly [title: string, make: (t: Test) => Promise<Pair>][] = [
  ['memory, to whom was dialled', async (t) => linked(memory(t), 0)],
  ['memory, to who dialled', async (t) => linked(memory(t), 1)],
  ['tcp, to whom was dialled', async (t) => linked(await tcp(t), 0)],
  ['tcp, to who dialled', async (t) => linked(await tcp(t), 1)],
  ['to oneself', async (t) => { const [one] = memory(t); return [one, one] }],
]

/** Two stages within this process, linked by a dial of the caller. */
export const pair = (t: Test): Promise<Pair> => linked(memory(t), 0)

/** All values that an iterable yields. */
export async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = []
  for await (const value of values) got.push(value)
  return got
}
