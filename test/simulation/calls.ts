import { StageError, type CallContext, type Code, type Target, type TargetOptions, type To } from '../../src/index.js'
import { collect } from './garbage.js'
import type { Host } from './host.js'
import type { World } from './world.js'

/** One call, seen from both of its ends. */
export interface Call {
  readonly n: number
  readonly host: Host
  readonly madeAt: number
  /** The deadline by the caller's clock; Infinity for a call without a deadline. */
  readonly endsAt: number
  /** How often its handler ran, by process; the handler of a `callAll` or a cast may run once in each. */
  readonly ran: Map<string, number>
  readonly many: boolean
  /** The connection that it went over, if that is certain, */
  link?: string
  /** and the id of the stage at the other end: a call that was refused there may run elsewhere, in another order. */
  bound?: string
  /** When a stream in its arguments last made progress, by the caller's clock: the deadline counts from then. */
  movedAt?: () => number
  settled?: 'value' | StageError
  judged?: boolean
}

/** Codes that no stage of a correct mesh ever gets. */
const FOREIGN: ReadonlySet<Code> = new Set(['PROTOCOL_ERROR', 'BAD_ARGUMENT', 'BAD_NAME', 'WRONG_NAMESPACE', 'AUTH_FAILED', 'CHAIN_MISMATCH', 'VERSION_MISMATCH', 'NO_SUCH_METHOD', 'NAME_TAKEN'])
/** A stage that sends a call twice gets PROTOCOL_ERROR. */
export const isForeign = (world: World, code: Code): boolean => FOREIGN.has(code) && !(code === 'PROTOCOL_ERROR' && world.stuttered)
const LATE_MS = 100
/** Written data counts as progress until it has arrived. */
const MOVES_MS = 1000
const lastStarted = new WeakMap<World, Map<string, number>>()

export function begin(host: Host, timeoutMs: number, to: To, many = false): Call {
  const { world } = host
  const n = world.calls.size + 1
  const call: Call = { n, host, madeAt: host.clock.now(), endsAt: host.clock.now() + timeoutMs, ran: new Map(), many }
  world.calls.set(n, call)
  if (many) return call
  // the order of a call can be judged only if it is certain which connection it takes
  const peers = typeof to === 'string' && to !== host.name ? host.stage.lookup(to) : []
  if (peers.length !== 1 || peers[0].name !== to) return call
  call.bound = peers[0].id
  const link = host.linkTo(peers[0].id)
  if (link) call.link = `${link} ${host.label}`
  else host.waiting.set(peers[0].id, [...host.waiting.get(peers[0].id) ?? [], call])
  return call
}

export function settle(call: Call, outcome: 'value' | StageError): void {
  const { world } = call.host
  if (call.settled) return world.fail(`P9: call ${call.n} settled twice`)
  call.settled = outcome
  if (!call.host.alive) return
  const ran = [...call.ran.values()].reduce((sum, one) => sum + one, 0)
  world.tell(call.host.label, `${call.n} ${outcome === 'value' ? 'answered' : `${outcome.code} ${outcome.executed} ${outcome.message}`}`)
  late(call)
  if (outcome === 'value') {
    if (ran !== 1 && !call.many) world.fail(`P10: call ${call.n} was answered and ran ${ran} times`)
    return
  }
  if (!(outcome instanceof StageError)) return world.fail(`call ${call.n} failed with ${String(outcome)}`)
  if (isForeign(world, outcome.code)) world.fail(`call ${call.n}: ${outcome.code} ${outcome.message}`)
  if (outcome.executed === 'no' && ran > 0) world.fail(`P10: call ${call.n} ran, and ${outcome.code} says that it did not`)
  if (outcome.executed === 'yes' && ran === 0) world.fail(`P10: call ${call.n} did not run, and ${outcome.code} says that it did`)
}

/** P9: also checked for calls that have not settled yet. */
export function late(call: Call): void {
  const { host } = call
  const moved = (call.movedAt?.() ?? -Infinity) + call.endsAt - call.madeAt + MOVES_MS
  if (call.judged || !host.alive || host.clock.paused || host.clock.now() <= host.due(Math.max(call.endsAt, moved)) + LATE_MS) return
  call.judged = true
  host.world.fail(`P9: call ${call.n} of ${host.label} is ${(host.clock.now() - call.endsAt).toFixed(0)} ms behind its deadline`)
}

/** The first line of a handler. */
export function ran(host: Host, n: number): Call | undefined {
  const { world } = host
  const call = world.calls.get(n)
  if (!call || !host.alive) return undefined
  world.tell(host.label, `runs ${n}`)
  const times = (call.ran.get(host.label) ?? 0) + 1
  call.ran.set(host.label, times)
  if (times > 1 || (!call.many && call.ran.size > 1)) world.fail(`P10: call ${n} ran ${call.many ? times : [...call.ran.values()].reduce((a, b) => a + b)} times`)
  if (call.settled instanceof StageError && call.settled.executed === 'no') world.fail(`P10: call ${n} ran on ${host.label} after ${call.settled.code} said that it never would`)
  if (call.link && call.bound === host.stage.id) {
    let last = lastStarted.get(world)
    if (!last) lastStarted.set(world, last = new Map())
    if (n < (last.get(call.link) ?? 0)) world.fail(`P11: call ${n} started on ${host.label} behind ${last.get(call.link)}`)
    last.set(call.link, n)
  }
  return call
}

/** Runs the body of a handler, and counts it. */
export async function serve(host: Host, n: number, body: () => unknown): Promise<unknown> {
  if (!ran(host, n)) return new Promise(() => {})
  host.open.serving++
  try {
    return await body()
  } finally {
    host.open.serving--
  }
}

export const sleep = (host: Host, ms: number): Promise<void> => new Promise((resolve) => { host.clock.setTimeout(resolve, ms) })

export function provide(host: Host): void {
  const { stage, world } = host
  const all = stage.to('*')
  all.provide('quick', (n: number) => { ran(host, n); return n })
  all.provide('note', (n: number) => { ran(host, n) })
  all.provide('fails', (n: number) => { ran(host, n); throw new Error('as it was told') })
  all.provide('sink', (n: number) => { ran(host, n); return n })
  all.provide('big', (n: number, bytes: Buffer) => { ran(host, n); return bytes })
  all.provide('slow', (n: number, ms: number) => serve(host, n, async () => { await sleep(host, ms); return n }))
  all.provide('never', function (n: number) {
    return serve(host, n, () => new Promise((_, reject) => {
      this.signal.addEventListener('abort', () => void sleep(host, 50).then(() => reject(new Error('nobody waits'))), { once: true })
    }))
  })
  all.provide('nested', function (n: number, to: string, ms: number) {
    return serve(host, n, async () => { await nested(host, this, to, ms); return n })
  })
  all.provide('back', (n: number, times: number, fn: (n: number) => Promise<number>) => serve(host, n, async () => {
    try {
      for (let i = 0; i < times; i++) await callBack(host, fn)
      return n
    } finally {
      const told = collect(fn)
      host.clock.setTimeout(told, world.chance.between(0, 500))
    }
  }))
}

async function nested(host: Host, context: CallContext, to: string, ms: number): Promise<void> {
  const left = context.deadline - host.clock.wall()
  await through(host, context.to(to), to, Math.max(1, left), ms > 0 ? 'slow' : 'quick', [ms]).catch(() => {})
}

/** Calls a function that was passed, with the default deadline. */
async function callBack(host: Host, fn: (n: number) => Promise<number>): Promise<void> {
  const call = begin(host, 10_000, [])
  host.open.calls++
  try {
    await fn(call.n)
    settle(call, 'value')
  } catch (error) {
    settle(call, error as StageError)
    throw error
  } finally {
    host.open.calls--
  }
}

/** A call to be made: its target and its method. */
export interface Order {
  to: string
  method: 'quick' | 'slow' | 'fails' | 'never' | 'nested' | 'big' | 'sink' | 'back'
  args: unknown[]
  options: TargetOptions & { timeoutMs: number }
}

export function makeCall(host: Host, { to, method, args, options }: Order): void {
  void through(host, host.stage.to(to, options), to, options.timeoutMs, method, args).catch(() => {})
}

/** Makes a call with a function: the function stays callable until the other end has released it. */
export function makeCallBack(host: Host, to: string, times: number, timeoutMs: number): void {
  const fn = (n: number): number => { ran(host, n); return n }
  void through(host, host.stage.to(to, { timeoutMs }), to, timeoutMs, 'back', [times, fn]).catch(() => {})
}

/**
 * Makes a call, and judges it from its begin to its end.
 * @param right  whether an answer is correct; default: it is the number of the call
 */
export async function through(host: Host, target: Target, to: string, timeoutMs: number, method: string, args: readonly unknown[], right?: (value: unknown) => boolean, movedAt?: () => number): Promise<unknown> {
  const call = begin(host, timeoutMs, to)
  if (movedAt) call.movedAt = movedAt
  const { world } = host
  world.tell(host.label, `calls ${call.n} ${method} on ${to} within ${timeoutMs.toFixed(0)} ms`)
  host.open.calls++
  try {
    const value: unknown = await target.call(method, call.n, ...args)
    right ??= (one) => method === 'big' ? Buffer.isBuffer(one) && one.equals(args[0] as Buffer) : one === call.n
    if (!right(value) && host.alive) world.fail(`call ${call.n} of ${method} was answered ${String(value).slice(0, 100)}`)
    settle(call, 'value')
    return value
  } catch (error) {
    settle(call, error as StageError)
    throw error
  } finally {
    host.open.calls--
  }
}

export async function makeCallAll(host: Host, to: string, timeoutMs: number, leaveAfter: number): Promise<void> {
  const call = begin(host, timeoutMs, to, true)
  const { world } = host
  world.tell(host.label, `calls ${call.n} on all of ${to}`)
  const most = world.hosts.length + 5 // a call may wait for its first view while other stages join
  host.open.calls += most
  let answers = 0
  try {
    for await (const { value, error } of host.stage.to(to, { timeoutMs }).callAll('quick', call.n)) {
      if (host.alive && !error && value !== call.n) world.fail(`call ${call.n} was answered ${value}`)
      if (host.alive && error && isForeign(world, error.code)) world.fail(`call ${call.n}: ${error.code} ${error.message}`)
      if (++answers > leaveAfter) break
    }
  } catch (error) {
    if (isForeign(world, (error as StageError).code)) world.fail(`call ${call.n}: ${(error as StageError).message}`)
  }
  host.open.calls -= most
  if (!host.alive) return
  world.tell(host.label, `${call.n} got ${answers} answers`)
  late(call)
  call.settled = 'value'
}

export function makeCast(host: Host, to: string): void {
  const call = begin(host, Infinity, to, true)
  host.world.tell(host.label, `casts ${call.n} to ${to}`)
  call.settled = 'value'
  host.stage.to(to).cast('note', call.n)
}
