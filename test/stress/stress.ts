import { setTimeout as sleep } from 'node:timers/promises'
import { judge } from './judge.js'
import { addresses, clock } from './things.js'
import { World, type Kind, type T } from './world.js'

export interface Stress {
  store: Kind
  /** The run continues until that many operations were acknowledged, */
  operations: number
  actors: number
  hosts: number
  ttlMs: number
  /** The maximum of calls a second, so that the run is long enough for faults. */
  rate: number
  /** Milliseconds between two faults, on average. */
  faultMs: number
  /** and until there were that many faults. */
  faults: number
  /** The time limit of the run. */
  seconds: number
  say(line: string): void
}

export interface Result {
  acknowledged: number
  failed: Record<string, number>
  samples: Record<string, string>
  faults: Record<string, number>
  /** Updates that the watchers got. */
  updates: number
  resets: number
  seconds: number
  wrong: readonly string[]
}

/** How long a mesh may take to recover when there are no more faults. */
const QUIET_MS = 20_000
const SAY_MS = 10_000
const WATCHED_EACH = 15

export async function stress(t: T, options: Stress): Promise<Result> {
  const { store, operations, actors, hosts, ttlMs, rate, faultMs, seconds, say } = options
  const since = clock()
  const world = await World.make(t, store, ttlMs)
  await Promise.all(Array.from({ length: hosts }, () => world.addHost()))
  await world.addCallers({ actors, lanes: 128, rate, timeoutMs: 2 * ttlMs, slow: { part: 0.1, ms: 30 } })
  const { callers } = world
  await Promise.all(callers.map((one, i) => one.ask('watch', WATCHED_EACH, actors, i * 100)))
  await Promise.all(callers.map((one) => one.ask('start')))

  let going = true
  const faults = (async () => {
    while (going) {
      await sleep(faultMs * (0.5 + Math.random()))
      if (going) await world.fault()
    }
  })()
  faults.catch(() => {}) // awaited below
  let { acknowledged } = await world.counts()
  for (let said = clock(); acknowledged < operations || world.happened < options.faults; acknowledged = (await world.counts()).acknowledged) {
    if (clock() - since > seconds * 1000) throw new Error(`only ${acknowledged} of ${operations} operations after ${seconds} s`)
    await Promise.race([sleep(200), faults])
    if (clock() - said < SAY_MS) continue
    said = clock()
    say(`${Math.round((said - since) / 1000)} s: ${acknowledged} acknowledged, ${JSON.stringify(world.faults)}`)
  }
  going = false
  await Promise.all([faults, ...callers.map((one) => one.ask('stop'))])

  const all = addresses(actors)
  await callers[0]!.ask('last', all)
  const sightings = await watchedToTheEnd(world)
  await Promise.all(callers.map((one) => one.ask('unwatch')))
  // the state in the store counts, not the state in the memory of the hosts
  const old = world.hosts.splice(0)
  await Promise.all(old.map((one) => one.ask('close')))
  await world.addHost()
  const last = await callers[0]!.ask('last', all)
  const noted = await Promise.all(callers.map((one) => one.ask('noted')))
  const counts = await world.counts()
  say(`${Math.round((clock() - since) / 1000)} s: quiet; now what was seen is held against each other`)
  const wrong = [...noted.flatMap(({ torn }) => torn).map((one) => `half done: ${one}`), ...judge(noted.flatMap((one) => one.operations), sightings, last)]
  const seen = sightings.flatMap((one) => one.seen)
  return { ...counts, faults: world.faults, updates: seen.length, resets: seen.filter(([, , reset]) => reset).length, seconds: Math.round((clock() - since) / 1000), wrong }
}

/** The observations of the watchers, once no more updates come. */
async function watchedToTheEnd(world: World) {
  for (const end = clock() + QUIET_MS; ;) {
    const sightings = (await Promise.all(world.callers.map((one) => one.ask('sightings')))).flat()
    if (allSame(sightings) || clock() > end) return sightings
    await sleep(500)
  }
}

/** Whether all watchers of the same actor are at the same version. */
function allSame(sightings: readonly { address: string; seen: readonly [number, ...unknown[]][] }[]): boolean {
  const at = new Map<string, number | undefined>()
  for (const { address, seen } of sightings) {
    const version = seen.at(-1)?.[0]
    if (version === undefined || (at.has(address) && at.get(address) !== version)) return false
    at.set(address, version)
  }
  return true
}
