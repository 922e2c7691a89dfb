import { actors, framing, IpcInterface, LocalRegistry, rpc, Stage, TcpInterface, type Interface, type StageOptions } from 'stagemesh'
import { json } from 'stagemesh/wrappers/json'
import { count, RECEIVERS, type Adapter } from '../adapter.js'
import { Echo } from './echo.js'
import { raw } from './raw.js'

/** A stage with default options, except that it has only the interface that is measured. */
export function adapter(make: () => Interface, options: () => StageOptions = () => ({})): Adapter {
  const empty = options().chain?.length === 0
  const stage = (name: string, folder: string): Stage => new Stage(name, new LocalRegistry(folder), make(), options())
  return {
    async serve({ folder }) {
      let received = 0
      const echo = stage('echo', folder)
      if (!empty) {
        echo.to('*').provide('echo', (value) => value)
        echo.to('*').provide('received', () => received)
      }
      echo.on('stream', (stream) => { stream.allowHalfOpen = true; count(stream) })
      const receivers = Array.from({ length: empty ? 0 : RECEIVERS }, (_, i) => stage(`log-${i}`, folder))
      for (const one of receivers) one.to('*').provide('line', () => { received++ })
      await Promise.all([echo, ...receivers].map((one) => one.ready()))
      return folder
    },
    async connect(folder) {
      const caller = stage('caller', folder)
      await caller.ready()
      if (empty) return { stream: () => caller.to('echo') }
      const echo = caller.to('echo')
      const logs = caller.to('log-*')
      return {
        call: (value) => echo.call('echo', value),
        stream: () => caller.to('echo'),
        cast: (value) => { logs.cast('line', value) },
        received: () => echo.call<number>('received'),
      }
    },
  }
}

export const stagemesh = adapter(() => new TcpInterface())
export const stagemeshIpc = adapter(() => new IpcInterface())
export const stagemeshJson = adapter(() => new TcpInterface(), () => ({ chain: [framing(), rpc({ codec: json() }), actors()] }))
/** One interceptor on each side that only calls `next`. */
export const stagemeshIntercepted = adapter(() => new TcpInterface(), () => ({ interceptors: [(call, next) => next(call)] }))
export const stagemeshEmpty = adapter(() => new TcpInterface(), () => ({ chain: [] }))

/** Bare sockets in processes that also run an idle stage. */
export const rawBeside: Adapter = {
  async serve(place) {
    await new Stage('beside-server', new LocalRegistry(place.folder), new TcpInterface()).ready()
    return JSON.stringify({ where: await raw.serve(place), folder: place.folder })
  },
  async connect(found) {
    const { where, folder } = JSON.parse(found) as { where: string; folder: string }
    await new Stage('beside-client', new LocalRegistry(folder), new TcpInterface()).ready()
    return raw.connect(where)
  },
}

/** The same call, made to an actor that the other process hosts. */
const actorOf = (durable: boolean): Adapter => ({
  async serve({ folder }) {
    const stage = new Stage('host', new LocalRegistry(folder), new TcpInterface())
    stage.define({ pattern: 'echo', constructor: Echo, durable })
    await stage.ready()
    return folder
  },
  async connect(folder) {
    const stage = new Stage('caller', new LocalRegistry(folder), new TcpInterface())
    await stage.ready()
    const echo = stage.actor<Echo>('echo')
    return { call: (value) => echo.echo(value) }
  },
})

export const actor = actorOf(false)
export const actorDurable = actorOf(true)
