import { makeCall, makeCallAll, makeCallBack, makeCast, type Order } from './calls.js'
import type { Host } from './host.js'
import { openFlow } from './streams.js'
import type { World } from './world.js'

const large = Buffer.alloc(400_000, 'large ')

/** An application on some stage begins one operation. */
export function act(world: World): void {
  const { chance, running, climate } = world
  if (running.length === 0) return
  const host = chance.one(running)
  const to = chance.odds(0.85) ? chance.one(climate.names) : chance.one(['*', '?', 'nobody'])
  const timeoutMs = chance.one([chance.between(20, 400), chance.between(500, 4000), chance.between(4000, 20_000)])
  const what = chance.float()
  if (what < 0.72) makeCall(host, order(host, to, timeoutMs))
  else if (what < 0.77) makeCallBack(host, to, chance.between(1, 4), timeoutMs)
  else if (what < 0.82) void makeCallAll(host, to, timeoutMs, chance.odds(0.3) ? 1 : Infinity)
  else if (what < 0.87) makeCast(host, to)
  else if (what < 0.97) {
    void openFlow(host, to, {
      up: size(world), down: size(world),
      slowMs: chance.odds(0.3) ? chance.between(1, 80) : 0,
      cutMs: chance.odds(0.3) ? chance.between(0, 1500) : undefined,
    }, timeoutMs)
  } else keep(host, to)
}

function size(world: World): number {
  const { chance } = world
  return chance.odds(0.2) ? 0 : chance.odds(0.85) ? chance.between(1, 20_000) : chance.between(100_000, 600_000)
}

function order(host: Host, to: string, timeoutMs: number): Order {
  const { world } = host
  const { chance } = world
  const options: Order['options'] = { timeoutMs }
  if (chance.odds(0.12)) {
    const controller = world.signal(host)
    options.signal = controller.signal
    if (chance.odds(0.6)) host.clock.setTimeout(() => controller.abort(new Error('changed its mind')), chance.between(0, 1500))
  }
  if (chance.odds(0.05)) options.key = `key ${chance.between(0, 3)}`
  const kind = chance.float()
  if (kind < 0.4) return { to, method: 'quick', args: [], options }
  if (kind < 0.65) return { to, method: 'slow', args: [chance.between(0, 2500)], options }
  if (kind < 0.72) return { to, method: 'fails', args: [], options }
  if (kind < 0.78) return { to, method: 'never', args: [], options: { ...options, timeoutMs: chance.odds(0.5) ? 40_000 : timeoutMs } }
  if (kind < 0.92) return { to, method: 'nested', args: [chance.one(world.climate.names), chance.odds(0.5) ? 0 : chance.between(1, 2000)], options }
  return { to, method: 'big', args: [large.subarray(0, chance.odds(0.2) ? chance.between(60_000, 400_000) : chance.between(0, 5000))], options }
}

function keep(host: Host, pattern: string): void {
  const hold = !host.keeps.has(pattern)
  host.world.tell(host.label, `${hold ? 'keeps' : 'lets go of'} ${pattern}`)
  host.stage.keep(pattern, hold)
  if (hold) host.keeps.add(pattern)
  else host.keeps.delete(pattern)
}

/**
 * Sends more than may be held for one peer to a peer that reads nothing; rare, since it costs as much as a hundred worlds.
 */
export function flood(world: World): void {
  const { chance, running, network } = world
  const host = chance.one(running)
  const other = running.find((one) => one !== host && host.linkTo(one.stage.id))
  if (!other) return
  const silent = (from: string, to: string): boolean => from === host.address && to === other.address
  network.hold(silent)
  world.troubles++
  world.heldUntil = Math.max(world.heldUntil, world.clock.now() + 6000)
  world.tell('*', `${host.label} floods ${other.label}, which hears nothing`)
  for (let i = 0; i < 60; i++) makeCall(host, { to: other.name, method: 'sink', args: [large], options: { timeoutMs: 5000 } })
  world.clock.setTimeout(() => { network.release(silent); world.troubles--; world.troubledAt = world.clock.now() }, 6000)
}

/** Some process sends its next call twice. */
export function stutter(world: World): void {
  const { passing, running } = world
  if (running.length === 0) return
  const host = passing.one(running)
  world.tell('*', `${host.label} stutters`)
  host.port.stutters = 1
}
