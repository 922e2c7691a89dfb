/** How many bytes a change takes on the way to many watchers of one actor. */
import { actors, framing, LocalRegistry, rpc, Stage, tap, TcpInterface } from 'stagemesh'
import type { Adapter } from '../adapter.js'

const LINKS = 10
const LOOPS = 100
const CHANGES = 100
const BYTES = 1024

class Board {
  text = ''
  write(text: string): void { this.text = text }
}

let sent = 0
const stage = (name: string, folder: string): Stage => new Stage(name, new LocalRegistry(folder), new TcpInterface(), {
  chain: [tap((chunk, direction) => { if (direction === 'out') sent += chunk.length }), framing(), rpc(), actors()],
})

export const observers: Adapter = {
  async serve({ folder }) {
    const host = stage('host', folder)
    host.define({ pattern: 'board', constructor: Board })
    host.to('*').provide('sent', () => sent)
    await host.ready()
    return folder
  },
  async connect(folder) {
    const stages = Array.from({ length: LINKS }, (_, i) => stage(`watcher-${i}`, folder))
    await Promise.all(stages.map((one) => one.ready()))
    const first = stages[0] as Stage
    const board = first.actor<Board>('board')
    await board.write('begun')
    const seen = new Uint32Array(LINKS * LOOPS)
    const watch = async (one: Stage, at: number): Promise<void> => { for await (const { text } of one.observe<Board, 'text'>('board', ['text'])) if (text) seen[at]!++ }
    for (const [at, one] of stages.entries()) for (let i = 0; i < LOOPS; i++) void watch(one, at * LOOPS + i)
    const until = async (count: number): Promise<void> => { while (seen.some((found) => found < count)) await new Promise((resolve) => { setTimeout(resolve, 1) }) }
    await until(1)
    return {
      async figures() {
        const before = await first.to('host').call<number>('sent')
        const started = performance.now()
        for (let i = 1; i <= CHANGES; i++) {
          await board.write(String(i).padEnd(BYTES))
          await until(i + 1)
        }
        const took = performance.now() - started
        const bytes = await first.to('host').call<number>('sent') - before
        return { 'bytes on each link for one change': bytes / CHANGES / LINKS, 'from the change until all loops have it, ms': took / CHANGES }
      },
    }
  },
}
