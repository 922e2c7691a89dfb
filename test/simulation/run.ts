import { makeCall, type Call } from './calls.js'
import { checkClosed, checkEmpty, checkLinks, checkQuiet, checkStep, checkViews } from './checks.js'
import { collectRest, withoutGarbage } from './garbage.js'
import type { Host } from './host.js'
import { checkMoves, checkOwed, checkOwners, checkReminded } from './owners.js'
import { checkPassed, glut, pass } from './passed.js'
import { playOn } from './playing.js'
import { openFlow } from './streams.js'
import { act, flood, stutter } from './traffic.js'
import { Trouble } from './trouble.js'
import { World } from './world.js'

export interface Outcome {
  readonly seed: number
  /** The failures; empty if there are none. */
  readonly broken: readonly string[]
  /** A hash of all events. */
  readonly hash: string
  readonly events: number
}

const GRACE_MS = 2000
const RECONCILE_MS = 30_000
const CLOSE_MS = 15_000

/** Simulates one world from its first moment to its last. @param print gets each event as a line */
export function simulate(seed: number, print?: (line: string) => void): Promise<Outcome> {
  return withoutGarbage(async () => {
    const world = new World(seed, print)
    const { chance, climate, clock } = world
    for (const name of climate.names) world.start(name)
    await clock.run(chance.between(0, 500))
    await storm(world)
    await quiet(world)
    if (world.acting.odds(0.4)) await checkMoves(world)
    await end(world)
    return { seed, broken: world.broken, ...world.trace() }
  })
}

/** Traffic and faults. */
async function storm(world: World): Promise<void> {
  const { chance, clock, passing, acting } = world
  const trouble = new Trouble(world)
  const until = clock.now() + chance.between(5000, 30_000)
  const gapMs = chance.between(20, 400)
  const troubled = chance.one([0.02, 0.05, 0.1, 0.2])
  const floods = chance.odds(0.02)
  const passes = passing.one([0.05, 0.2, 0.5])
  const gluts = passing.odds(0.03)
  const stutters = passing.odds(0.1)
  const plays = acting.one([0.1, 0.4, 0.8])
  while (clock.now() < until) {
    if (floods && chance.odds(0.01)) flood(world)
    if (chance.odds(troubled)) trouble.strike()
    else for (let n = chance.odds(0.15) ? chance.between(2, 8) : 1; n > 0; n--) act(world)
    if (passing.odds(passes)) pass(world)
    if (acting.odds(plays)) playOn(world)
    if (stutters && passing.odds(0.02)) stutter(world)
    if (gluts && passing.odds(0.01)) glut(world)
    await clock.run(chance.between(0, gapMs * 2))
    checkStep(world)
  }
  trouble.end()
  for (const host of world.hosts) host.port.stutters = 0
  world.calm()
  world.troubledAt = clock.now()
  world.quiet = true
  world.tell('*', 'it is quiet')
}

/** There are no more faults: every stage sees and reaches all others, and all work that was begun ends. */
async function quiet(world: World): Promise<void> {
  const { clock, climate } = world
  for (let waited = 0; waited < climate.ttlMs + GRACE_MS + RECONCILE_MS; waited += 1000) {
    await clock.run(1000)
    checkStep(world)
  }
  checkViews(world)
  const probes: Call[] = []
  for (const host of world.up) {
    for (const other of world.up) {
      if (other === host) continue
      makeCall(host, { to: other.name, method: 'quick', args: [], options: { timeoutMs: 4000 } })
      probes.push(world.calls.get(world.calls.size) as Call)
    }
  }
  await clock.run(5000)
  for (const probe of probes) if (probe.settled !== 'value') world.fail(`once it was quiet call ${probe.n} of ${probe.host.label} failed: ${String(probe.settled)}`)
  await checkReminded(world)
  await checkOwners(world)
  const odd = checkLinks(world)
  await streams(world)
  await clock.run(2000)
  checkLinks(world, odd)
  collectRest()
  for (const host of world.up) for (const pattern of host.keeps) host.stage.keep(pattern, false)
  for (let waited = 0; waited < 75_000; waited += 1000) { // no link stays idle for that long
    await clock.run(1000)
    checkPassed(world)
  }
  if (world.up.some((host) => host.stage.stats()['draining'])) await clock.run(12_000) // a link has just begun to drain
  checkStep(world)
  checkQuiet(world)
  checkOwed(world)
}

/** A stream beyond any window, in both directions: without faults, and with readers that read, it ends soon. */
async function streams(world: World): Promise<void> {
  const { chance, clock, up } = world
  const [from, to] = [chance.one(up), chance.one(up)]
  if (from.name === to.name) return
  let whole: boolean | undefined
  void openFlow(from, to.name, { up: 700_000, down: 300_000, slowMs: 0 }, 5000).then((all) => { whole = all })
  await clock.run(20_000)
  if (whole !== true) world.fail(`P13: a stream of ${from.label} to ${to.label} ${whole === undefined ? 'has not ended' : 'broke'} where nothing is broken`)
}

/** All stages close. */
async function end(world: World): Promise<void> {
  const { clock, chance, network } = world
  const apart = chance.odds(0.3)
  for (const host of world.up) {
    if (apart) await clock.run(chance.between(0, 2000))
    void host.close()
  }
  const closed = new Map<Host, Promise<void>>()
  let left = 0
  for (const host of world.hosts) {
    if (!host.alive || !host.closing) continue
    left++
    closed.set(host, host.closing.then(() => { left-- }))
  }
  await clock.run(CLOSE_MS)
  if (left > 0) world.fail(`P23: ${left} stages have not closed within ${CLOSE_MS} ms`)
  for (const host of closed.keys()) checkClosed(world, host)
  // data in the network for crashed processes is dropped with them
  for (const host of world.hosts) if (!host.alive) network.cut(host.address)
  network.release()
  await clock.run(60_000)
  checkEmpty(world)
}
