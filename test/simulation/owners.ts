import type { HostedActor } from '../../wrappers/actors/types.js'
import { invoke, type Ask } from './acting.js'
import type { Host } from './host.js'
import { isKept, kindOf } from './play.js'
import type { Change } from './truth.js'
import { Watch } from './watching.js'
import type { World } from './world.js'
import { SILENT_MS } from './passed.js'

const MAILBOX = 1000
/** The maximum number of timers and reminders that an actor has set itself. */
const OWN_TURNS = 20
const PROBE_MS = 4000
/** The default deadline, plus the time of its sweep. */
const CALL_MS = 10_200
/** The time after the end of all faults until a reminder that failed before is tried again. */
const REMINDED_MS = 60_000
/** The time from a call that waits on a link to a silent process until an answer from another stage. */
const MOVED_MS = { reset: 3000, silent: 20_000, closed: 2000 }

interface Found {
  readonly host: Host
  readonly actor: HostedActor
}

function found(world: World, address: string): Found[] {
  return world.up.flatMap((host) => host.stage.actors().filter((one) => one.address === address && one.fence).map((actor) => ({ host, actor })))
}

// ── at every moment ───────────────────────────────────────────────────────────────────────────────────────────────

/** The most that the layer may hold: no more than the application has begun. */
export function checkActors(host: Host, held: Readonly<Record<string, number>>): void {
  const { world, open, watches } = host
  const { addresses, mailbox = MAILBOX } = world.play
  if (addresses.length === 0) return
  const over = (what: string, most: number): void => {
    if ((held[what] ?? 0) > most) world.fail(`${host.label} holds ${held[what]} ${what}, and the application has begun ${most}`)
  }
  over('observers', watches.size)
  over('actors', addresses.length)
  for (const { address, queue } of host.stage.actors()) if (queue > mailbox + OWN_TURNS) world.fail(`P12: ${queue} calls wait for ${address} on ${host.label}`)
  host.unwatched = host.unwatched.filter((at) => at > host.clock.now() - CALL_MS)
  over('actorCalls', open.acts + watches.size + host.unwatched.length + addresses.length)
  for (const watch of watches) if (watch.late()) world.fail(`P9: ${host.label} has not begun to watch ${watch.plan.address} in time`)
}

/** The maximum number of calls that the library itself makes: to find an actor, to wake it, to watch it. */
export const ownCalls = (host: Host): number => host.open.acts + host.watches.size + host.unwatched.length + 2 * host.world.play.addresses.length

/** Calls of other stages that are open here: calls that wait or run, and requests for the owner of an actor. */
export function ownServing(host: Host): number {
  const { world } = host
  return host.stage.actors().reduce((sum, { queue, turns }) => sum + queue + turns.length, 0) + world.play.addresses.length * world.hosts.length
}

/** Streams of changes: those of loops here and of other stages, even while their end is under way. */
export const ownStreams = (world: World): number => world.hosts.reduce((sum, host) => {
  // a stage that stands still or is cut off hears of the end late: by the silence of the other end at the latest
  const heard = (at: number): boolean => world.troubles === 0 && world.clock.now() > Math.max(at, world.troubledAt) + SILENT_MS
  host.left = host.left.filter((at) => !heard(at))
  return sum + host.watches.size + host.left.length
}, 0) * 2

// ── once it is quiet ──────────────────────────────────────────────────────────────────────────────────────────────

const PROBES: Record<ReturnType<typeof kindOf>, Pick<Ask, 'method' | 'changes'>> = {
  counters: { method: 'add', changes: 'kept' }, registers: { method: 'set', changes: 'kept' },
  drafts: { method: 'save', changes: 'kept' }, flats: { method: 'bump' },
}

/** Whether a live stage hosts the actors. */
const isHosted = (world: World): boolean => world.play.addresses.length > 0 && world.up.some(({ name }) => world.play.hosts.has(name))

/** Each actor has at most one owner, every stage reaches it, and its watchers see all changes. */
export async function checkOwners(world: World): Promise<void> {
  const { clock, up, play, acting: chance } = world
  if (!isHosted(world)) { // loops that had a value wait for a stage that hosts the actors
    for (const host of up) for (const watch of [...host.watches]) watch.leave()
    return
  }
  for (const address of play.addresses) checkOne(world, address)
  const fresh = play.addresses.map((address) => new Watch(chance.one(up), {
    address, names: { counters: ['twin', 'total'], registers: ['by', 'value'], drafts: ['size'], flats: ['count', 'born'] }[kindOf(address)],
    mode: chance.one(['every', 'latest'] as const), timeoutMs: PROBE_MS, slowMs: 200, bySignal: false,
  }))
  const versions = new Map(play.addresses.map((address) => [address, world.truth.newest(address).version]))
  await clock.run(PROBE_MS)
  for (const watch of fresh) {
    watch.undisturbed = true
    // a reminder may have been due as soon as the actor was active
    const changes = world.truth.newest(watch.plan.address).version - versions.get(watch.plan.address)!
    if ((watch.count < 1 || watch.count > 1 + changes) && play.maxActors === undefined) world.fail(`P21: once it was quiet ${watch.host.label} got ${watch.count} values of ${watch.plan.address} at first`)
  }
  const probes = play.addresses.flatMap((address) => up.map((host) => probe(host, { address, ...PROBES[kindOf(address)], args: [], timeoutMs: PROBE_MS })))
  const circle = play.addresses.filter((one) => kindOf(one) === 'counters')
  const round = probe(chance.one(up), { address: circle[0], method: 'relay', args: [[circle[circle.length - 1], circle[0]], 60_000, []], timeoutMs: PROBE_MS, changes: 'kept' })
  const nests = play.addresses.filter((one) => kindOf(one) === 'registers').map((address) => probe(chance.one(up), { address, method: 'nest', args: [PROBE_MS], timeoutMs: PROBE_MS, changes: 'kept' }))
  await clock.run(PROBE_MS + 1000)
  // if a stage may have fewer active actors than are called, some calls are refused
  const tight = (address: string): boolean => play.maxActors !== undefined && kindOf(address) === 'counters'
  for (const one of probes) if (!one.ok && !tight(one.ask.address)) world.fail(`once it was quiet ${one.ask.method} of ${one.ask.address} by ${one.host.label} failed: ${one.why}`)
  if (!round.ok && !tight(circle[0])) world.fail(`P17: once it was quiet a circle of calls did not fail at once: ${round.why}`)
  for (const { ask, n, why } of nests) if (![...world.truth.changes.values()].some(({ outer, commits }) => outer === n && commits === 1)) world.fail(`P17: once it was quiet nothing came back to ${n} of ${ask.address}: ${why}`)
  for (const watch of fresh) if (!tight(watch.plan.address)) checkSeen(world, watch, up.length)
  for (const host of up) for (const watch of host.watches) watch.checkNewest()
  for (const address of play.addresses) checkOne(world, address)
  for (const host of up) for (const watch of [...host.watches]) watch.leave()
  // P20: calls that wait behind a turn that deactivates its actor are not lost
  const waiting = ['rest', 'add', 'add', 'read'].map((method) => probe(up[0], { address: circle[0], method, args: [], timeoutMs: PROBE_MS, changes: method === 'read' ? undefined : 'kept' }))
  await clock.run(PROBE_MS)
  for (const one of waiting) if (!one.ok && !tight(circle[0])) world.fail(`P20: ${one.ask.method} of ${circle[0]}, which was put away meanwhile, failed: ${one.why}`)
}

interface Probe {
  readonly host: Host
  readonly n: number
  readonly ask: Ask
  ok: boolean
  over: boolean
  why: string
}

function probe(host: Host, ask: Ask): Probe {
  const one: Probe = { host, n: host.world.calls.size + 1, ask, ok: false, over: false, why: 'it has not settled' }
  invoke(host, host.stage.actor(ask.address, { timeoutMs: ask.timeoutMs }), ask).then(() => { one.ok = one.over = true }, (error: unknown) => { one.over = true; one.why = String(error) })
  return one
}

/** Waits for a call as long as it may take. */
async function settled(world: World, one: Probe): Promise<Probe> {
  for (let waited = 0; waited <= one.ask.timeoutMs && !one.over; waited += 50) await world.clock.run(50)
  return one
}

function checkSeen(world: World, { plan, count, last, host }: Watch, calls: number): void {
  if (plan.mode === 'every' && count < 1 + calls) world.fail(`P21: once it was quiet ${host.label} saw ${count - 1} of ${calls} changes of ${plan.address}`)
  if (!last) world.fail(`P21: once it was quiet ${host.label} saw nothing of ${plan.address}`)
}

/** P15: no stage but the owner that the store names has the actor. */
function checkOne(world: World, address: string): void {
  const all = found(world, address)
  const chain = world.truth.chain(address)
  if (all.length > 1) world.fail(`P15: ${address} is active ${all.length} times: ${all.map(({ host, actor }) => `${host.label} in epoch ${actor.fence?.epoch}`).join(', ')}`)
  for (const { host, actor } of all) {
    if (!chain.held || actor.fence?.activation !== chain.activation) world.fail(`P15: ${address} is active on ${host.label} in epoch ${actor.fence?.epoch}, and the store has it in ${chain.held ? chain.epoch : 'none'}`)
  }
}

/** The reminders that must follow from committed state. */
function owed({ truth }: World): Change[] {
  return [...truth.changes.values()].filter(({ address, owedBy }) => {
    const asked = owedBy === undefined ? undefined : truth.changes.get(owedBy)
    return asked?.in && asked.past === truth.chain(address).pasts.length - 1
  })
}

/** While nobody calls, reminders wake actors that were deactivated. */
export async function checkReminded(world: World): Promise<void> {
  if (!isHosted(world) || world.play.maxActors !== undefined) return
  const late = (): Change[] => owed(world).filter(({ commits }) => commits === 0)
  for (let waited = 0; waited < REMINDED_MS && late().length > 0; waited += 1000) await world.clock.run(1000)
  for (const { n, address } of late()) world.fail(`the reminder ${n} of ${address} has not woken it`)
}

/** Each reminder was committed once. */
export function checkOwed(world: World): void {
  if (!isHosted(world)) return
  for (const { n, address, commits } of owed(world)) if (commits !== 1) world.fail(`the reminder ${n} of ${address} was committed ${commits} times`)
}

// ── an owner that goes ────────────────────────────────────────────────────────────────────────────────────────────

/** P19: with no other fault, an owner crashes, falls silent or closes: how soon are its actors on another stage? */
export async function checkMoves(world: World): Promise<void> {
  const { acting: chance, play, clock } = world
  const hosting = world.up.filter(({ name }) => play.hosts.has(name))
  const kept = play.addresses.filter(isKept)
  if (kept.length === 0 || hosting.length < 2 || world.up.length < 3) return
  const address = chance.one(kept)
  const first = await settled(world, probe(chance.one(world.up), { address, ...PROBES[kindOf(address)], args: [], timeoutMs: PROBE_MS }))
  const [owner] = found(world, address)
  if (!owner) return world.fail(`P19: ${address} is nowhere after a call: ${first.why}`)
  const caller = chance.one(world.up.filter((host) => host !== owner.host))
  const near = await settled(world, probe(caller, first.ask))
  if (!near.ok) return world.fail(`P19: ${address} could not be called: ${near.why}`)
  const how = chance.one(['reset', 'silent', 'closed'] as const)
  world.tell('*', `${owner.host.label} has ${address}, and goes (${how})`)
  const method = { counters: 'slowAdd', registers: 'slowSet', drafts: 'save', flats: '' }[kindOf(address)]
  const queued = how === 'closed' ? [1, 2, 3, 4].map(() => probe(caller, { address, method, args: [300], timeoutMs: 10_000, changes: 'kept' })) : []
  await clock.run(100)
  if (how === 'closed') void owner.host.close()
  else owner.host.crash(how === 'reset')
  const since = clock.now()
  const before = world.truth.newest(address).ids.length
  const moved = how === 'closed' ? MOVED_MS.closed + 1500 : MOVED_MS[how] // one turn ends on the closing stage, the other turns run elsewhere
  const waitMs = how === 'silent' ? 1000 : MOVED_MS[how]
  let last: Probe
  do {
    last = await settled(world, probe(caller, { ...first.ask, timeoutMs: waitMs }))
  } while (!last.ok && clock.now() - since < moved)
  if (!last.ok || clock.now() - since > moved + 100) world.fail(`P19: ${address} was not elsewhere in ${(clock.now() - since).toFixed(0)} ms after ${owner.host.label} went (${how}): ${last.why}`)
  if (queued.length > 0) await clock.run(10_000)
  for (const { ok, why } of queued) if (!ok) world.fail(`P20: a call of ${address} that waited when ${owner.host.label} closed failed: ${why}`)
  if (world.truth.newest(address).ids.length <= before) world.fail(`P19: ${address} has lost what it was`)
}
