/**
 * A chat room. The room is an actor, so all messages have one order, and every watcher sees that order, wherever the
 * speakers and watchers are.
 */
import { MemoryRegistry, Stage } from 'stagemesh'

interface Line { from: string; text: string }

class Room {
  members: string[] = []
  last: Line = { from: 'room', text: 'nobody has said anything' }
  _log: Line[] = []

  constructor(readonly params: { name: string }) {}

  join(name: string): void {
    if (this.members.includes(name)) throw new Error(`${name} is in ${this.params.name} already`)
    this.members.push(name)
    this.#add('room', `${name} joins`)
  }

  say(from: string, text: string): void {
    if (!this.members.includes(from)) throw new Error(`${from} is not in ${this.params.name}`)
    this.#add(from, text)
  }

  /** The latest lines, for members who join later. Changes nothing, so any number of calls can run at the same time. */
  log(newest: number): Line[] {
    return this._log.slice(-newest)
  }

  #add(from: string, text: string): void {
    this.last = { from, text }
    this._log.push(this.last)
  }
}

const registry = new MemoryRegistry()
const servers = ['server-1', 'server-2'].map((name) =>
  new Stage(name, { registry }).define({ pattern: 'rooms.{name}', constructor: Room, readonly: ['log'] }))

/** A member on a separate stage, who reads along until somebody says goodbye. */
async function enter(name: string): Promise<{ stage: Stage; say(text: string): Promise<void>; transcript: Promise<string[]> }> {
  const stage = new Stage(name, { registry })
  const room = stage.actor<Room>('rooms.lobby')
  const updates = stage.observe(room, ['last'], { mode: 'every' })
  await updates.next() // the present value
  const read = async (): Promise<string[]> => {
    const lines: string[] = []
    for await (const { last } of updates) {
      lines.push(`${last.from}: ${last.text}`)
      if (last.text === 'goodbye') break
    }
    return lines
  }
  const transcript = read()
  await room.join(name)
  return { stage, say: (text) => room.say(name, text), transcript }
}

const alice = await enter('alice')
const bob = await enter('bob')
await Promise.all([alice.say('is anybody here?'), bob.say('I am')])
await alice.say('goodbye')

const [hers, his] = await Promise.all([alice.transcript, bob.transcript])
for (const line of hers) console.log(line)
console.log(`bob, who came later, saw the same: ${hers.join().endsWith(his.join())}`)
console.log(`${(await bob.stage.actor<Room>('rooms.lobby').log(3)).length} lines for whoever comes next`)
const refused: unknown = await bob.stage.actor<Room>('rooms.lobby').say('eve', 'hello').catch((error: unknown) => (error as Error).cause)
console.log(`eve: ${refused instanceof Error ? refused.message : String(refused)}`)

await Promise.all([alice.stage, bob.stage, ...servers].map((stage) => stage.close()))
