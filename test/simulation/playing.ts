import type { ActorCallOptions } from '../../src/index.js'
import { invoke, readProperty, type Ask } from './acting.js'
import type { Chance } from './chance.js'
import type { Host } from './host.js'
import { kindOf } from './play.js'
import { Watch } from './watching.js'
import type { World } from './world.js'

const WATCHES_MAX = 12

/** An application on some stage begins one operation with an actor. */
export function playOn(world: World): void {
  const { acting: chance, running, play } = world
  if (running.length === 0 || play.addresses.length === 0) return
  const host = chance.one(running)
  const address = chance.one(play.addresses)
  const what = chance.float()
  if (what < 0.85) for (let n = chance.odds(0.15) ? chance.between(2, 10) : 1; n > 0; n--) ask(host, order(chance, address, play.addresses))
  else if (what < 0.88) readSome(host, address)
  else if (what < 0.95) watch(host, address)
  else leaveSome(world)
}

export function ask(host: Host, { timeoutMs, ...rest }: Ask): void {
  const { world, clock, stage } = host
  const { acting: chance } = world
  const options: ActorCallOptions & { signal?: AbortSignal } = { timeoutMs }
  if (chance.odds(0.1)) {
    const controller = world.signal(host)
    options.signal = controller.signal
    if (chance.odds(0.6)) clock.setTimeout(() => controller.abort(new Error('changed its mind')), chance.between(0, 1500))
  }
  void invoke(host, stage.actor(rest.address, options), { timeoutMs, ...rest }).catch(() => {})
}

type Made = Pick<Ask, 'method'> & Partial<Pick<Ask, 'args' | 'changes'>>

/** The methods with their weights. */
const METHODS: Record<ReturnType<typeof kindOf>, readonly (readonly [number, (chance: Chance, timeoutMs: number, others: readonly string[]) => Made])[]> = {
  counters: [
    [36, () => ({ method: 'add', changes: 'kept' })],
    [14, (chance) => ({ method: 'slowAdd', args: [chance.between(0, 800)], changes: 'kept' })],
    [4, () => ({ method: 'fails', changes: 'kept' })],
    [4, (chance) => ({ method: 'slowFails', args: [chance.between(0, 400)], changes: 'kept' })],
    [12, () => ({ method: 'read' })],
    [6, (chance) => ({ method: 'slowRead', args: [chance.between(0, 600)] })],
    [4, () => ({ method: 'cheat', changes: 'kept' })],
    [8, (chance, timeoutMs, others) => ({ method: 'relay', args: [Array.from({ length: chance.between(1, 4) }, () => chance.one(others)), timeoutMs, []], changes: 'kept' })],
    [4, (chance) => ({ method: 'later', args: [chance.between(0, 3000), chance.between(1, 4)], changes: 'kept' })],
    [5, (chance) => ({ method: 'remind', args: [chance.between(0, 15_000)], changes: 'kept' })],
    [3, () => ({ method: 'rest', changes: 'kept' })],
  ],
  registers: [
    [40, () => ({ method: 'set', changes: 'kept' })],
    [16, (chance) => ({ method: 'slowSet', args: [chance.between(0, 800)], changes: 'kept' })],
    [14, (_, timeoutMs) => ({ method: 'nest', args: [timeoutMs], changes: 'kept' })],
    [6, (_, timeoutMs) => ({ method: 'nestFails', args: [timeoutMs], changes: 'kept' })],
    [14, () => ({ method: 'read' })],
    [10, () => ({ method: 'scribble' })],
  ],
  drafts: [
    [50, () => ({ method: 'put', changes: 'lazy' })],
    [40, () => ({ method: 'save', changes: 'kept' })],
    [10, () => ({ method: 'fails', changes: 'lazy' })],
  ],
  flats: [
    [60, () => ({ method: 'bump' })],
    [20, (chance) => ({ method: 'slowBump', args: [chance.between(0, 800)] })],
    [20, () => ({ method: 'read' })],
  ],
}

function order(chance: Chance, address: string, all: readonly string[]): Ask {
  const timeoutMs = chance.one([chance.between(20, 400), chance.between(500, 4000), chance.between(4000, 20_000)])
  const methods = METHODS[kindOf(address)]
  let at = chance.between(0, methods.reduce((sum, [weight]) => sum + weight, 0))
  const [, make] = methods.find(([weight]) => (at -= weight) < 0) as typeof methods[number]
  return { address, timeoutMs, args: [], ...make(chance, timeoutMs, all.filter((one) => kindOf(one) === 'counters')) }
}

function readSome(host: Host, address: string): void {
  const names = { counters: 'total', registers: 'by', drafts: '', flats: '' }
  const name = names[kindOf(address)]
  if (name !== '') void readProperty(host, address, name, host.world.acting.between(20, 4000))
}

const WATCHED: Record<ReturnType<typeof kindOf>, readonly (readonly string[])[]> = {
  counters: [['total', 'twin'], ['total']],
  registers: [['value', 'by'], ['by', 'value'], ['value', 'draft']],
  drafts: [['size']],
  flats: [['born', 'count']],
}

function watch(host: Host, address: string): void {
  const { world } = host
  const { acting: chance } = world
  if (host.watches.size >= WATCHES_MAX) return
  const plan = {
    address, names: chance.one(WATCHED[kindOf(address)]), mode: chance.one(['every', 'every', 'latest'] as const),
    timeoutMs: chance.odds(0.2) ? chance.between(20, 500) : chance.between(2000, 20_000),
    slowMs: chance.odds(0.7) ? 0 : chance.between(1, 1500), bySignal: chance.odds(0.5),
  }
  const one = new Watch(host, plan)
  if (chance.odds(0.6)) host.clock.setTimeout(() => { if (host.alive) one.leave() }, chance.between(0, 10_000))
}

function leaveSome(world: World): void {
  const { acting: chance, running } = world
  const all = running.flatMap((host) => [...host.watches])
  if (all.length > 0) chance.one(all).leave()
}
