import { late } from './calls.js'
import type { Host } from './host.js'
import { checkActors, ownCalls, ownServing, ownStreams } from './owners.js'
import { checkPassed, openPassed } from './passed.js'
import type { World } from './world.js'

/** Unsent bytes for one peer, including the one message that may exceed the limit. */
const HELD_MAX_BYTES = 20 * 1024 * 1024

/** Above this, no call is begun for that peer, and that many of its calls may wait. */
const HELD_SERVING_BYTES = 11 * 1024 * 1024
const OPEN_CALLS_MAX = 10_000
/** Bytes that all streams of a link may have unread, and the bytes beyond them that each stream may have. */
const UNREAD_MAX_BYTES = 4 * 1024 * 1024
const UNREAD_RESERVE_BYTES = 4 * 1024

/** The conditions that hold at every moment. */
export function checkStep(world: World): void {
  for (const call of world.calls.values()) if (!call.settled && !call.judged) late(call)
  for (const host of world.hosts) {
    if (!host.alive || host.clock.paused) continue
    host.checkId()
    const held = host.stage.stats()
    const { open } = host
    const over = (what: string, most: number): void => {
      if ((held[what] ?? 0) > most) world.fail(`${host.label} holds ${held[what]} ${what}; the application knows of ${most}`)
    }
    over('calls', open.calls + ownCalls(host))
    // a peer that does not read is not served, and its calls wait meanwhile
    over('serving', open.serving + ownServing(host) + ((held['heldBytes'] ?? 0) > HELD_SERVING_BYTES ? OPEN_CALLS_MAX : 0))
    over('streams', host.streams.size + openPassed(host) + ownStreams(world))
    checkActors(host, held)
    const links = (held['links'] ?? 0) + (held['draining'] ?? 0)
    over('heldBytes', HELD_MAX_BYTES * Math.max(1, links))
    const ways = links + 2 // and the link to oneself, with both of its ends
    over('unreadBytes', UNREAD_MAX_BYTES * ways + UNREAD_RESERVE_BYTES * ((held['streams'] ?? 0) + ways))
  }
  checkPassed(world)
}

/** Every live stage sees all others, and so does the registry. */
export function checkViews(world: World): void {
  const there = world.up.map((host) => host.stage.id).sort()
  if (String(world.server.ids) !== String(there)) world.fail(`P4: the registry lists ${world.server.ids.length} stages, and ${there.length} are there`)
  for (const host of world.up) {
    const seen = host.stage.peers().map((peer) => peer.id).sort()
    const others = there.filter((id) => id !== host.stage.id)
    if (String(seen) !== String(others)) world.fail(`P4: ${host.label} sees ${seen.join()} where there are ${others.join()}`)
  }
}

/**
 * There is at most one link for each pair, and both ends have the same one.
 * @param before  the result of the last check: a link that is being closed is listed on one end only, but not for long
 * @returns the deviations that were not there before
 */
export function checkLinks(world: World, before?: ReadonlySet<string>): Set<string> {
  const odd = new Set<string>()
  for (const host of world.up) {
    for (const link of host.stage.links()) {
      const other = world.up.find((one) => one.stage.id === link.peer.id)
      const back = other?.stage.links().filter((one) => one.peer.id === host.stage.id) ?? []
      if (back.length !== 1 || back[0].id !== link.id) odd.add(`${host.label} has a link to ${link.peer.name} that the other end does not have: ${link.id}`)
      if (link.load !== 0) world.fail(`${host.label} counts ${link.load} calls in flight to ${link.peer.name}, where there are none`)
    }
  }
  for (const one of odd) if (before?.has(one)) world.fail(`P7: ${one}`)
  return odd
}

/** If nothing was begun for a long time, nothing is held. */
export function checkQuiet(world: World): void {
  for (const host of world.up) {
    const { peers, links, slots, streams, ...rest } = host.stage.stats() as Record<'peers' | 'links' | 'slots' | 'streams', number>
    for (const [what, count] of Object.entries(rest)) if (count !== 0 && !TOTALS.has(what)) world.fail(`${host.label} holds ${count} ${what}, where nothing goes on`)
    if (links > peers) world.fail(`P7: ${host.label} has ${links} links to ${peers} peers`)
    if (slots > peers) world.fail(`${host.label} remembers ${slots} peers of whom ${peers} are there`)
    const { open } = host
    if (streams > 0) world.fail(`${host.label} holds ${streams} streams, where nothing goes on`)
    if (host.streams.size > 0) world.fail(`${host.label}: ${host.streams.size} streams have not ended`)
    if (open.calls > 0 || open.serving > 0) world.fail(`${host.label}: ${open.calls} calls have not ended, nor ${open.serving} handlers`)
    const left = openPassed(host)
    if (left > 0) world.fail(`P13: ${host.label}: ${left} streams in calls have not ended`)
  }
}

/** Counters that only grow. */
const TOTALS: ReadonlySet<string> = new Set(['retries', 'retriesRefused', 'actorRetries', 'actorRetriesRefused'])

/** A stage that was closed leaves nothing behind. */
export function checkClosed(world: World, host: Host): void {
  for (const [what, count] of Object.entries(host.stage.stats())) if (count !== 0 && !TOTALS.has(what)) world.fail(`P23: ${host.label} is closed and holds ${count} ${what}`)
  const left = openPassed(host)
  if (left > 0) world.fail(`P23: ${host.label} is closed, and ${left} streams in calls have not ended`)
}

/** No stage leaves anything behind. */
export function checkEmpty(world: World): void {
  if (world.clock.pending > 0) world.fail(`P23: ${world.clock.pending} timers wait behind everything's end`)
  if (world.network.streams.size > 0) world.fail(`P23: ${world.network.streams.size} streams are left in the network`)
  if (world.listeners() > 0) world.fail(`P23: ${world.listeners()} listeners are left on signals`)
  for (const call of world.calls.values()) {
    if (!call.settled && call.host.alive) world.fail(`P9: call ${call.n} of ${call.host.label} has never settled`)
  }
}
