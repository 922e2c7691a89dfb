import { once } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { StageError, type CallContext, type TargetOptions } from '../../src/index.js'
import { isForeign, ran, serve, sleep, through } from './calls.js'
import type { Chance } from './chance.js'
import type { Host } from './host.js'
import { PERIOD, bytes } from './streams.js'
import type { World } from './world.js'

/** The plan for one stream, from the seed. */
interface Plan {
  readonly kind: 'values' | 'objects' | 'bytes' | 'sink'
  /** The number of items, or of bytes. */
  readonly count: number
  /** The position at which the owner aborts it with an error; beyond `count`: never. */
  readonly failsAt: number
  /** The time that the owner takes for each item. */
  readonly paceMs: number
  /** The other end begins after this time; Infinity: never. */
  readonly waitMs: number
  /** The number of items that the other end uses. */
  readonly leavesAt: number
  /** The time that the other end waits after each item. */
  readonly slowMs: number
  /** The handler that got it uses it to its end before it answers, instead of answering at once. */
  readonly inside: boolean
  /** The stream is nested in another value. */
  readonly deep: boolean
}

/** One stream in a call, as seen by its two ends. */
interface Passed extends Plan {
  readonly id: number
  /** The stream is the answer of a call, not an argument. */
  readonly asked: boolean
  /** The process that made the stream. */
  owner?: Host
  /** The process that received it. */
  user?: Host
  /** The connection that carries it, if that is certain. */
  link?: string | undefined
  /** The number of items written, and the number of items read. */
  made: number
  read: number
  /** The sum of both and the end at the last change, and the time of that change by the owner's clock. */
  moved: number
  movedAt: number
  /** The owner's object has ended. */
  over: boolean
  /** The other end no longer uses it. */
  used: boolean
  /** The writer of a sink has ended it. */
  whole: boolean
  /** Its call has failed at its caller. */
  failed: boolean
  /** The time from which nothing more is expected of it, unless there is a fault. */
  endsBy: number
  /** Keeps the received stream from being collected: when that happens does not depend on the seed. */
  kept?: unknown
  /** The time since which both ends are done, as far as their processes live. */
  doneAt: number
  judged: boolean
  /** The sink, if the stream is one. */
  sink?: Writable
}

const UNREAD_MS = 60_000
/** The time until the other side knows of an end. */
const ROUND_MS = 2000
/** The time until a side knows that the other side no longer exists. */
export const SILENT_MS = 17_000
/** The number of items that a source of values may be ahead of its reader. */
const AHEAD = 257
const LARGE = 'x'.repeat(40_000)
const told = (): Error => new Error('as it was told')

const worlds = new WeakMap<World, { readonly all: Passed[]; readonly open: Set<Passed> }>()

function known(world: World): { readonly all: Passed[]; readonly open: Set<Passed> } {
  let one = worlds.get(world)
  if (!one) worlds.set(world, one = { all: [], open: new Set() })
  return one
}

// ── what is passed ────────────────────────────────────────────────────────────────────────────────────────────────

interface Item {
  readonly of: number
  readonly n: number
  readonly pad: string
}

const item = ({ id }: Passed, n: number): Item => ({ of: id, n, pad: n % 7 === 3 && n < 30 ? LARGE.slice(0, (id * 997 + n * 131) % LARGE.length) : '' })
const piece = ({ id, count, failsAt }: Passed, at: number): Buffer => bytes(id, at, Math.min(Math.min(count, failsAt) - at, 1 + (at * 31 + id * 7) % 20_000))

/** A source that can be read once, and records how it ended. */
class Source implements AsyncIterableIterator<Item> {
  constructor(private readonly host: Host, private readonly passed: Passed) {}

  async next(): Promise<IteratorResult<Item>> {
    const { host, passed } = this
    if (passed.over && host.alive) host.world.fail(`${name(passed)} is asked for more behind its end`)
    if (passed.paceMs > 0) await sleep(host, passed.paceMs)
    if (passed.made < Math.min(passed.count, passed.failsAt)) return { done: false, value: item(passed, passed.made++) }
    ended(host, passed)
    if (passed.failsAt <= passed.count) throw told()
    return { done: true, value: undefined }
  }

  return(): Promise<IteratorResult<Item>> {
    ended(this.host, this.passed)
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

function ended(host: Host, passed: Passed): void {
  if (passed.over) return
  passed.over = true
  if (host.alive) host.world.tell(host.label, `${name(passed)} is at its end, ${passed.made} made and ${passed.read} read of ${passed.count}`)
}

function make(host: Host, passed: Passed): object {
  passed.owner = host
  const { kind, count, failsAt, paceMs } = passed
  if (kind === 'values') return new Source(host, passed)
  const destroy = (error: Error | null, done: (error: Error | null) => void): void => { ended(host, passed); done(error) }
  if (kind === 'sink') return sink(host, passed, destroy)
  const source = new Readable({
    objectMode: kind === 'objects',
    destroy,
    read() {
      const go = (): void => {
        if (passed.made < Math.min(count, failsAt)) {
          const next = kind === 'objects' ? item(passed, passed.made) : piece(passed, passed.made)
          passed.made += Buffer.isBuffer(next) ? next.length : 1
          this.push(next)
        } else if (failsAt <= count) this.destroy(told())
        else this.push(null)
      }
      if (paceMs > 0) host.clock.setTimeout(go, paceMs)
      else go()
    },
  })
  return source
}

function sink(host: Host, passed: Passed, destroy: (error: Error | null, done: (error: Error | null) => void) => void): Writable {
  const { world } = host
  const { count, failsAt, paceMs } = passed
  return passed.sink = new Writable({
    destroy,
    write(chunk: Buffer, _, done) {
      if (host.alive) takeBytes(world, passed, chunk)
      const failed = passed.read >= failsAt && failsAt <= count ? told() : null
      if (paceMs > 0) host.clock.setTimeout(() => done(failed), paceMs)
      else done(failed)
    },
    final(done) {
      if (host.alive && (!passed.whole || passed.read !== count)) world.fail(`P13: ${name(passed)} ended cleanly after ${passed.read} of ${count} bytes${passed.whole ? '' : ', and its writer has not ended it'}`)
      done()
    },
  })
}

function takeBytes(world: World, passed: Passed, chunk: Buffer): void {
  for (let at = 0; at < chunk.length; at += PERIOD) {
    const part = chunk.subarray(at, at + PERIOD)
    if (passed.read + part.length > passed.count || !part.equals(bytes(passed.id, passed.read, part.length))) world.fail(`P13: ${name(passed)} is not what was written, from ${passed.read} on`)
    passed.read += part.length
  }
}

// ── the receiver ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Uses the stream that was passed as the plan says. It never rejects, and never settles if its process is gone. */
async function use(host: Host, passed: Passed, stream: unknown): Promise<void> {
  const { world, clock } = host
  const { waitMs, kind } = passed
  passed.user = host
  passed.kept = stream
  passed.endsBy = Math.min(passed.endsBy, clock.now() + UNREAD_MS)
  if (kind === 'sink') (stream as Writable).on('error', () => {})
  if (waitMs === Infinity) passed.used = true
  else {
    if (waitMs > 0) await sleep(host, waitMs)
    passed.endsBy = Infinity
    try {
      if (kind === 'sink') await fill(host, passed, stream as Writable)
      else await read(host, passed, stream as AsyncIterable<Item | Buffer>)
    } catch (error) {
      if (host.alive) judge(host, passed, error)
    }
    if (!host.alive) return new Promise(() => {})
    passed.used = true
    passed.endsBy = clock.now()
    world.tell(host.label, `is done with ${name(passed)}: ${passed.read} of ${passed.count}`)
  }
}

async function read(host: Host, passed: Passed, stream: AsyncIterable<Item | Buffer>): Promise<void> {
  const { world } = host
  const { count, failsAt, leavesAt, slowMs } = passed
  for await (const one of stream) {
    if (!host.alive) return
    if (Buffer.isBuffer(one)) takeBytes(world, passed, one)
    else {
      const right = item(passed, passed.read)
      if (one.of !== right.of || one.n !== right.n || one.pad !== right.pad || passed.read >= count) world.fail(`P13: ${name(passed)} brings ${one.of}:${one.n} where its item ${passed.read} was to come`)
      passed.read++
    }
    if (passed.read >= leavesAt) return
    if (slowMs > 0) await sleep(host, slowMs)
  }
  if (!host.alive) return
  if (passed.read !== count || failsAt <= count) world.fail(`P13: ${name(passed)} ended cleanly after ${passed.read} of ${count}${failsAt <= count ? `, though its source failed at ${failsAt}` : ''}`)
}

async function fill(host: Host, passed: Passed, stream: Writable): Promise<void> {
  const { count, leavesAt, slowMs } = passed
  const close = new Promise<void>((resolve) => stream.once('close', resolve))
  while (passed.made < count && !stream.destroyed) {
    const next = bytes(passed.id, passed.made, Math.min(count - passed.made, 16_384))
    passed.made += next.length
    if (!stream.write(next)) await Promise.race([once(stream, 'drain'), close])
    if (passed.made >= leavesAt) return void stream.destroy()
    if (slowMs > 0) await sleep(host, slowMs)
  }
  passed.whole = true
  if (!stream.destroyed) stream.end()
  if (!stream.closed) await close
  if (stream.errored) throw stream.errored
  if (!stream.writableFinished) throw new Error('it was closed without an error')
}

/** Checks whether the stream may have failed with this error. */
function judge(host: Host, passed: Passed, error: unknown): void {
  const { world } = host
  const { kind, failsAt, count } = passed
  world.tell(host.label, `${name(passed)} fails: ${String((error as Error).message)}`)
  if (!(error instanceof StageError)) return world.fail(`P13: ${name(passed)} failed with ${String(error)}`)
  if (isForeign(world, error.code)) return world.fail(`P13: ${name(passed)} failed with ${error.code} ${error.message}`)
  if (error.code !== 'REMOTE_ERROR') return
  if (failsAt > count) world.fail(`P13: ${name(passed)} failed with ${error.message}, and its source has not`)
  else if (kind === 'values' && passed.read !== failsAt) world.fail(`P13: ${name(passed)} has failed behind ${failsAt} items, and ${passed.read} came`)
}

// ── the calls ─────────────────────────────────────────────────────────────────────────────────────────────────────

export function providePassed(host: Host): void {
  const { stage } = host
  const target = stage.to('*')
  const of = (id: number): Passed => known(host.world).all[id]
  target.provide('takes', function (n: number, id: number, given: unknown) {
    const passed = of(id)
    const inside = async (): Promise<number> => {
      passed.user = host
      locate(passed, host, this)
      const used = use(host, passed, passed.deep ? (given as [unknown])[0] : given)
      if (passed.inside) await used
      return n
    }
    return passed.inside ? serve(host, n, inside) : ran(host, n) && inside()
  })
  target.provide('gives', function (n: number, id: number) {
    const passed = of(id)
    const give = async (): Promise<unknown> => {
      if (passed.inside) await sleep(host, passed.paceMs)
      const made = make(host, passed)
      locate(passed, host, this)
      if (passed.failed) passed.endsBy = host.clock.now()
      return passed.deep ? { n, deep: made } : made
    }
    return passed.inside ? serve(host, n, give) : ran(host, n) && give()
  })
}

/** The connection of a stream is certain while each end has this connection to the other and no second one. */
function locate(passed: Passed, host: Host, { peer }: CallContext): void {
  const other = host.world.hosts.find((one) => one.stage.id === peer.id)
  const there = other?.linkTo(host.stage.id)
  const sole = [host, other].every((one) => one?.stage.stats()['draining'] === 0)
  if (other && other !== host && sole && there === host.linkTo(peer.id)) passed.link = there
}

/** A process passes a stream to another one, or asks for one. */
export function pass(world: World): void {
  const { passing: chance, running, climate } = world
  if (running.length === 0) return
  const host = chance.one(running)
  const to = chance.odds(0.9) ? chance.one(climate.names) : chance.one(['*', 'nobody'])
  const kind = chance.one(['values', 'values', 'objects', 'bytes', 'sink'] as const)
  const large = chance.odds(0.12)
  const each = kind === 'bytes' || kind === 'sink' ? large ? chance.between(100_000, 500_000) : chance.between(1, 20_000) : large ? chance.between(150, 900) : chance.between(0, 12)
  const lively = each < 100 || (each >= 1000 && !large)
  begin(host, to, chance.odds(0.5), {
    kind, count: each,
    failsAt: chance.odds(0.2) ? chance.between(0, each + 1) : Infinity,
    paceMs: chance.odds(0.5) ? 0 : chance.between(1, lively ? 400 : 8),
    waitMs: chance.odds(0.7) ? 0 : chance.odds(0.3) ? Infinity : chance.odds(0.8) ? chance.between(1, 5000) : chance.between(55_000, 65_000),
    leavesAt: chance.odds(0.25) ? chance.between(1, each + 2) : Infinity,
    slowMs: chance.odds(0.6) ? 0 : chance.between(1, lively ? 400 : 8),
    inside: chance.odds(0.5), deep: chance.odds(0.2),
  }, chance)
}

/** Many large streams at once, whose readers begin and then stop: more data than the link may have unread. */
export function glut(world: World): void {
  const { passing: chance, running } = world
  const host = chance.one(running)
  const other = running.find((one) => one !== host && host.linkTo(one.stage.id))
  if (!other) return
  world.tell('*', `${host.label} and ${other.label} read too slowly what they pass to each other`)
  for (let n = 0; n < 24; n++) begin(host, other.name, n % 8 === 0, { kind: 'bytes', count: 400_000, failsAt: Infinity, paceMs: 0, waitMs: 0, leavesAt: Infinity, slowMs: 300, inside: false, deep: false }, chance)
}

function begin(host: Host, to: string, asArgument: boolean, plan: Plan, chance: Chance): void {
  const { world, clock } = host
  const { all, open } = known(world)
  const passed: Passed = { ...plan, id: all.length, asked: !asArgument, made: 0, read: 0, moved: 0, movedAt: -Infinity, over: false, used: false, whole: false, failed: false, endsBy: Infinity, doneAt: Infinity, judged: false }
  all.push(passed)
  open.add(passed)
  const timeoutMs = chance.one([chance.between(20, 400), chance.between(500, 4000), chance.between(4000, 20_000)])
  const options: TargetOptions = { timeoutMs }
  if (chance.odds(0.15)) {
    const controller = world.signal(host)
    options.signal = controller.signal
    if (chance.odds(0.7)) clock.setTimeout(() => controller.abort(new Error('changed its mind')), chance.between(0, 3000))
  }
  world.tell(host.label, `${asArgument ? 'passes' : 'asks for'} ${name(passed)}${plan.deep ? ', deep' : ''}: ${plan.count}${plan.failsAt <= plan.count ? `, failing at ${plan.failsAt}` : ''}${plan.leavesAt <= plan.count ? `, left at ${plan.leavesAt}` : ''}, used after ${plan.waitMs} ms`)
  const target = host.stage.to(to, options)
  if (asArgument) {
    const made = make(host, passed)
    through(host, target, to, timeoutMs, 'takes', [passed.id, plan.deep ? [made] : made], undefined, () => movedAt(passed)).catch(() => { passed.failed = true })
    return
  }
  passed.user = host
  const right = (value: unknown): boolean => typeof (plan.deep ? (value as { deep?: unknown } | null)?.deep : value) === 'object'
  through(host, target, to, timeoutMs, 'gives', [passed.id], right).then(
    (value) => { if (host.alive) void use(host, passed, plan.deep ? (value as { deep: unknown }).deep : value) },
    () => {
      passed.failed = passed.used = true
      passed.endsBy = clock.now()
    },
  )
}

// ── the checks ────────────────────────────────────────────────────────────────────────────────────────────────────

/** The conditions that hold at every moment. */
export function checkPassed(world: World): void {
  const { open } = known(world)
  for (const passed of open) {
    if (passed.doneAt === Infinity && isDone(passed)) passed.doneAt = world.clock.now()
    if (passed.doneAt < Infinity) { if (isGone(world, passed)) open.delete(passed) } else if (!passed.judged) check(world, passed)
  }
}

/**
 * The time of the last progress. It is looked at from time to time: progress may have come at any moment since the last
 * look.
 */
function movedAt(passed: Passed): number {
  const moved = passed.made + passed.read + (passed.over ? 1 : 0) // the end of the stream is sent too, and is its last progress
  if (moved !== passed.moved) {
    passed.moved = moved
    passed.movedAt = passed.owner?.clock.now() ?? -Infinity
  }
  return passed.movedAt
}

const there = (host: Host | undefined): boolean => host?.alive ?? false
const isDone = (passed: Passed): boolean => (passed.over || !there(passed.owner)) && (passed.used || !there(passed.user))

function check(world: World, passed: Passed): void {
  const { owner, user, kind, made, read: taken, endsBy } = passed
  const fail = (what: string): void => { passed.judged = true; world.fail(`P13: ${name(passed)} of ${owner?.label} ${what}`) }
  const now = world.clock.now()
  if (!owner || !there(owner) || owner.clock.paused || owner.due(now) > now) return
  const bound = kind === 'values' ? AHEAD : kind === 'objects' ? AHEAD + 32 : 600_000
  if (user && there(user) && made - taken > bound) fail(`is ${made - taken} ahead of its reader`)
  if (passed.over) return
  const arrived = passed.sink?.writableEnded // all data has come to a sink that may still be busy with it
  const unlinked = passed.link && !owner.closing && !owner.stage.stats()['draining'] && !owner.stage.links().some(({ id }) => id === passed.link)
  if (!arrived && (unlinked || (passed.failed && !passed.asked))) fail(unlinked ? `goes on without the link to ${user?.label}` : 'goes on, though its call has failed')
  if (user && there(user) && world.troubles === 0 && now > Math.max(endsBy, world.troubledAt) + ROUND_MS) fail(`goes on ${(now - endsBy).toFixed(0)} ms after it was of no more use to ${user.label}`)
}

/** The maximum number of streams that a stage may hold for these. */
export function openPassed(host: Host): number {
  const { open } = known(host.world)
  let count = 0
  for (const { owner, user } of open) count += Number(owner === host) + Number(user === host)
  return count
}

/** Both ends are done with the stream, and both know. */
function isGone(world: World, { owner, user, doneAt }: Passed): boolean {
  // a silent other end is detected when it has not answered a ping
  const lag = [owner, user].every((one) => one?.alive ?? true) ? ROUND_MS : SILENT_MS
  return world.troubles === 0 && world.clock.now() > Math.max(doneAt, world.troubledAt) + lag
}

const name = ({ id, kind }: Passed): string => `the stream ${id} of ${kind}`
