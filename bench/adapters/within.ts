/** Calls within one process: the client is the server too. */
import type * as nact from 'nact'
import { Stage, type StageOptions } from 'stagemesh'
import type { Adapter, Client } from '../adapter.js'
import { Echo } from './echo.js'

const within = (start: () => Promise<NonNullable<Client['call']>>): Adapter => ({
  serve: () => Promise.resolve(''),
  connect: async () => ({ call: await start() }),
})

async function stageWith(durable: boolean, options: StageOptions = {}): Promise<Stage> {
  const stage = new Stage('one', 'memory:', undefined, options)
  stage.define({ pattern: 'echo', constructor: Echo, durable })
  stage.to('*').provide('echo', (value) => value)
  await stage.ready()
  return stage
}

/** The floor: a method of a plain object, and one promise for each call. */
export const promise = within(() => {
  const object = new Echo()
  return Promise.resolve((value) => Promise.resolve(object.echo(value)))
})

const actorOf = (durable: boolean, options?: StageOptions): Adapter => within(async () => {
  const echo = (await stageWith(durable, options)).actor<Echo>('echo')
  return (value) => echo.echo(value)
})
export const actor = actorOf(false)
export const actorDurable = actorOf(true)
export const actorIntercepted = actorOf(false, { interceptors: [(call, next) => next(call)] })

export const rpc = within(async () => {
  const self = (await stageWith(false)).to('one')
  return (value) => self.call('echo', value)
})

/** Two stages over the memory interface. */
export const memory = within(async () => {
  await stageWith(false)
  const caller = new Stage('two', 'memory:')
  await caller.ready()
  const target = caller.to('one')
  return (value) => target.call('echo', value)
})

interface Query { value: unknown; sender: nact.Ref<unknown> }
export const nactQuery = within(async () => {
  const { dispatch, query, spawnStateless, start } = (await import('nact')).default
  const echo = spawnStateless(start(), ({ value, sender }: Query) => dispatch(sender, value))
  return (value) => query(echo, (sender) => ({ value, sender: sender as nact.Ref<unknown> }), 10_000)
})

const quiet = Object.fromEntries(['debug', 'info', 'warn', 'error', 'isDebug', 'setLevel'].map((name) => [name, () => false]))
const comedyOf = (mode: string): Adapter => within(async () => {
  const { default: comedy } = await import('comedy')
  const system = comedy.createSystem({ log: quiet })
  const root = await system.rootActor()
  const echo = await root.createChild({ echo: (value: unknown) => value }, { mode })
  return (value) => echo.sendAndReceive('echo', value)
})
export const comedyMemory = comedyOf('in-memory')
export const comedyForked = comedyOf('forked')

export const moleculerLocal = within(async () => {
  const { ServiceBroker } = await import('moleculer')
  const broker = new ServiceBroker({ nodeID: 'one', logger: false })
  broker.createService({ name: 'echo', actions: { echo: (context: { params: { value: unknown } }) => context.params.value } })
  await broker.start()
  return (value) => broker.call('echo.echo', { value })
})
