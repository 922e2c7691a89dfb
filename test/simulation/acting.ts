import { StageError, type Actor, type UntypedActor } from '../../src/index.js'
import { begin, settle, type Call } from './calls.js'
import type { Host } from './host.js'

/** One call of an actor, before it is made. */
export interface Ask {
  readonly address: string
  readonly method: string
  /** The arguments after the number of the call. */
  readonly args: readonly unknown[]
  readonly timeoutMs: number
  /**
   * `kept`: its changes are committed before it is answered; `lazy`: later, or not at all; `inner`: with the turn that
   * makes the call.
   */
  readonly changes?: 'kept' | 'lazy' | 'inner' | undefined
  /** The turn that the call comes back to. */
  readonly outer?: number | undefined
  /** The call comes back to an actor that waits for it. */
  readonly circle?: boolean
}

/** Methods that fail on purpose. */
const FAILING: ReadonlySet<string> = new Set(['fails', 'slowFails', 'cheat', 'nestFails'])

/**
 * Makes a call of an actor, and judges it from its begin to its end.
 * @param actor  from the stage, or from a turn whose chain the call belongs to
 */
export async function invoke(host: Host, actor: Actor<UntypedActor>, ask: Ask): Promise<unknown> {
  const { world } = host
  const { address, method, args, timeoutMs, changes, outer } = ask
  const call = begin(host, timeoutMs, [])
  const { n } = call
  if (changes) world.truth.expect(n, address, outer)
  world.tell(host.label, `asks ${n} ${method} of ${address} within ${timeoutMs.toFixed(0)} ms`)
  host.open.acts++
  try {
    const value: unknown = await actor[method](n, ...args)
    settle(call, 'value')
    if (host.alive) answered(call, ask, value)
    return value
  } catch (error) {
    settle(call, error as StageError)
    if (host.alive) failed(call, ask, error as StageError)
    throw error
  } finally {
    host.open.acts--
  }
}

function answered({ n, host }: Call, { address, method, changes }: Ask, value: unknown): void {
  const { world } = host
  const change = world.truth.changes.get(n)
  if (changes === 'kept' && change?.commits !== 1) world.fail(`P16: ${n} ${method} of ${address} is answered, and was committed ${change?.commits} times`)
  if (changes === 'kept' && change?.in && value !== change.in.ids.length) world.fail(`P16: ${n} ${method} of ${address} is answered with ${String(value)}, and committed as ${change.in.ids.length}`)
  if (FAILING.has(method)) world.fail(`P16: ${n} ${method} of ${address} is answered, and was to fail`)
  if (Array.isArray(value) && !world.truth.wasCommitted(address, value as number[])) world.fail(`P16: ${n} ${method} of ${address} finds ${String(value.slice(-5))}, which was never committed`)
}

function failed({ n, host }: Call, { address, method, circle }: Ask, { code, executed, message }: StageError): void {
  const { world } = host
  const says = (what: string): void => world.truth.never(n, `was said ${what}`)
  if (executed === 'no') says('not to have run')
  switch (code) {
    case 'REMOTE_ERROR':
      if (executed === 'yes') says('to have thrown')
      if (executed === 'yes' ? !FAILING.has(method) : !message.includes('could not be activated')) world.fail(`${n} ${method} of ${address} failed: ${message}`)
      break
    case 'FENCED':
      if (message.includes('the changes of this call are not kept')) says('to be lost')
      break
    case 'DEADLOCK':
      if (!circle) world.fail(`P17: ${n} ${method} of ${address} is no circle of calls: ${message}`)
      break
    case 'CLOSED':
      if (!host.closing) world.fail(`${n} ${method} of ${address} failed, though ${host.label} is not closed: ${message}`)
      break
    case 'STATE_CORRUPT': case 'NO_SUCH_PROPERTY': case 'NO_SUCH_PEER':
      world.fail(`${n} ${method} of ${address} failed: ${code} ${message}`)
  }
}

/** Reads a property: its value must have been committed, or be the value before the first commit. */
export async function readProperty(host: Host, address: string, name: string, timeoutMs: number): Promise<void> {
  const { world } = host
  const call = begin(host, timeoutMs, [], true)
  world.tell(host.label, `reads ${call.n} ${name} of ${address}`)
  host.open.acts++
  try {
    const value = await (host.stage.actor(address, { timeoutMs }) as unknown as Record<string, PromiseLike<unknown>>)[name]
    settle(call, 'value')
    const known = value === 0 || world.truth.chain(address).pasts.some((past) => past.some(({ values }) => values.get(name) === value))
    if (host.alive && !known) world.fail(`P16: ${name} of ${address} is read as ${String(value)}, which was never committed`)
  } catch (error) {
    settle(call, error as StageError)
    if (host.alive) failed(call, { address, method: name, args: [], timeoutMs }, error as StageError)
  } finally {
    host.open.acts--
  }
}

/** P11: calls of one caller begin in their order, as long as nothing happens to the owner or to the connection with it. */
export function order(address: string, call: Call): void {
  const { host: caller, n, madeAt } = call
  const { world, started } = caller
  const last = started.get(address) ?? 0
  started.set(address, Math.max(n, last))
  if (n > last || Math.max(world.truth.chain(address).disturbedAt, caller.unlinkedAt) >= madeAt) return
  world.fail(`P11: call ${n} of ${caller.label} begins at ${address} behind ${last}`)
}
