/** The memory of an idle link, a pending call and an idle actor. */
import { LocalRegistry, Stage, TcpInterface } from 'stagemesh'
import type { Adapter } from '../adapter.js'
import { used } from '../gc.js'

const LINKS = 200
const CALLS = 5000
const ACTORS = 100_000
const until = async (done: () => boolean): Promise<void> => { while (!done()) await new Promise((resolve) => { setTimeout(resolve, 20) }) }

export const links: Adapter = {
  async serve({ folder }) {
    const stages = Array.from({ length: LINKS }, (_, i) => new Stage(`peer-${i}`, new LocalRegistry(folder), new TcpInterface()))
    for (const stage of stages) {
      stage.to('*').provide('idle', () => {})
      stage.to('*').provide('hold', () => new Promise(() => {}))
    }
    await Promise.all(stages.map((stage) => stage.ready()))
    return folder
  },
  async connect(folder) {
    const hub = new Stage('hub', new LocalRegistry(folder), new TcpInterface())
    await hub.ready()
    await until(() => hub.peers().length === LINKS)
    return {
      async figures() {
        await hub.to('peer-0').call('idle') // objects that are made once for all links
        const before = used()
        await Promise.all(Array.from({ length: LINKS - 1 }, (_, i) => hub.to(`peer-${i + 1}`).call('idle')))
        await new Promise((resolve) => { setTimeout(resolve, 500) })
        const idle = used()
        const target = hub.to('peer-0')
        const calls = Array.from({ length: CALLS }, (_, i) => target.call('hold', i))
        await new Promise((resolve) => { setTimeout(resolve, 500) })
        const pending = used()
        for (const call of calls) call.catch(() => {}) // they fail when this ends; code that awaits a call is not counted as its memory
        return { 'an idle link, bytes': (idle - before) / (LINKS - 1), 'a pending call, bytes': (pending - idle) / CALLS }
      },
    }
  },
}

class Counter {
  n = 0
  add(by: number): number { return this.n += by }
}

export const actors: Adapter = {
  serve: () => Promise.resolve(''),
  async connect() {
    const stage = new Stage('one', 'memory:')
    stage.define({ pattern: 'counters.{id}', constructor: Counter, idleMs: 10_000 })
    await stage.ready()
    return {
      async figures() {
        const before = used()
        const started = performance.now()
        for (let at = 0; at < ACTORS; at += 500) await Promise.all(Array.from({ length: 500 }, (_, i) => stage.actor<Counter>(`counters.${at + i}`).add(1)))
        const took = performance.now() - started
        const fields = new Array<Counter | undefined>(ACTORS).fill(undefined)
        const after = used()
        for (let i = 0; i < ACTORS; i++) fields[i] = new Counter()
        const own = (used() - after) / fields.length
        const idleAt = performance.now()
        await until(() => stage.actors().length === 0)
        return { 'an idle actor beside its own fields, with its row in the store and the way to it, bytes': (after - before) / ACTORS - own, 'an activation, µs': 1000 * took / ACTORS, 'until all were collected, at idleMs 10 000, ms': performance.now() - idleAt }
      },
    }
  },
}
