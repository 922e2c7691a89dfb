import type { Self } from '../../src/index.js'
import { invoke, order } from './acting.js'
import { ran, sleep } from './calls.js'
import type { Host } from './host.js'
import { kindOf } from './play.js'
import { OWN } from './truth.js'

/** The members that each actor has here. */
interface Role {
  readonly self: Self
  /** The changes in its state, if the state is kept with each turn. */
  readonly ids?: readonly number[]
}

/** The turns that run in one activation. */
interface Going {
  alone: number
  shared: number
}

const going = new WeakMap<object, Going>()
const none = (): number => 0

/** A turn from its first line to its last, alone among the turns of its actor. On a process that is gone it never ends. */
export function alone<T>(host: Host, role: Role, n: number, body: () => T): T {
  const now = begun(host, role, n)
  if (!now) return stuck()
  if (now.alone || now.shared > 0) host.world.fail(`P17: ${n} of ${role.self.address} begins while ${now.alone || `${now.shared} others`} run`)
  now.alone = n
  return ended(body, () => { now.alone = 0 })
}

/** A turn that changes nothing. */
export function shared<T>(host: Host, role: Role, n: number, body: () => T): T {
  const now = begun(host, role, n)
  if (!now) return stuck()
  if (now.alone) host.world.fail(`P17: ${n} of ${role.self.address} begins while ${now.alone} runs`)
  now.shared++
  return ended(body, () => { now.shared-- })
}

/**
 * A turn that comes back to a turn that waits for it. If that turn has ended meanwhile, or lost the claim, it is an
 * ordinary turn.
 */
export function inner<T>(host: Host, role: Role, n: number, outer: number, body: () => T): T {
  if (going.get(role)?.alone !== outer) {
    host.world.truth.parted(n)
    return alone(host, role, n, body)
  }
  return host.alive && ran(host, n) ? body() : stuck()
}

function begun(host: Host, role: Role, n: number): Going | undefined {
  const { world, clock, client } = host
  const { address, fence } = role.self
  if (n < OWN) {
    const call = ran(host, n)
    if (!call) return undefined
    order(address, call)
  } else if (host.alive) world.tell(host.label, `runs ${n} of ${address}`)
  else return undefined
  const silence = clock.now() - client.renewedAt
  if (silence >= 0.8 * world.climate.ttlMs) world.fail(`P18: ${n} of ${address} begins on ${host.label}, whose lease was renewed ${silence.toFixed(0)} ms ago`)
  if (host.way.committing.has(fence.activation)) world.fail(`P17: ${n} of ${address} begins before the change before it is committed`)
  if (role.ids && kindOf(address) !== 'drafts') world.truth.begins(address, fence.activation, role.ids)
  let now = going.get(role)
  if (!now) going.set(role, now = { alone: 0, shared: 0 })
  return now
}

function ended<T>(body: () => T, end: () => void): T {
  let result: T
  try {
    result = body()
  } catch (error) {
    end()
    throw error
  }
  if (result instanceof Promise) return result.finally(end) as T
  end()
  return result
}

const stuck = <T>(): T => new Promise(() => {}) as T
const told = (): Error => new Error('as it was told')

/** The activation is over; the reason shows whether calls may have lost their order. */
function left({ world, alive }: Host, { self }: Role, reason: string): void {
  if (!alive) return
  world.tell('actor', `${self.address} is put away: ${reason}`)
  if (reason === 'fenced' || reason === 'lost' || reason === 'store') world.truth.disturbed(self.address)
}

// ── the types ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** An actor that keeps all of its state. Each change is in three properties. */
function counters(host: Host) {
  const { world } = host
  return class Counter {
    declare readonly self: Self
    total = 0
    twin = 0
    ids: number[] = []

    add(n: number): number {
      return alone(host, this, n, () => this._put(n))
    }

    slowAdd(n: number, ms: number): Promise<number> {
      return alone(host, this, n, async () => {
        this.total++
        await sleep(host, ms)
        this.total--
        return this._put(n)
      })
    }

    fails(n: number): void {
      alone(host, this, n, () => { this._put(n); throw told() })
    }

    slowFails(n: number, ms: number): Promise<void> {
      return alone(host, this, n, async () => {
        this._put(n)
        await sleep(host, ms)
        throw told()
      })
    }

    read(n: number): number[] {
      return shared(host, this, n, () => this.ids)
    }

    slowRead(n: number, ms: number): Promise<number> {
      return shared(host, this, n, async () => {
        const before = String([this.total, this.twin, this.ids])
        await sleep(host, ms)
        if (String([this.total, this.twin, this.ids]) !== before) world.fail(`P17: ${this.self.address} changes while ${n} reads it`)
        return this.total
      })
    }

    cheat(n: number): number {
      return shared(host, this, n, () => this._put(n))
    }

    /** Calls the first actor of the list, which calls the rest. */
    relay(n: number, way: string[], timeoutMs: number, chain: string[]): Promise<number> {
      return alone(host, this, n, async () => {
        this._put(n)
        const [address, ...rest] = way
        const actor = this.self.actor(address, { timeoutMs })
        const method = rest.length > 0 ? 'relay' : 'add'
        const circle = [...chain, this.self.address].includes(address)
        await invoke(host, actor, { address, method, args: [rest, timeoutMs, [...chain, this.self.address]], timeoutMs, changes: 'kept', circle }).catch(none)
        return this.total
      })
    }

    later(n: number, ms: number, times: number): number {
      return alone(host, this, n, () => {
        let count = 0
        const { address } = this.self
        if (times === 1) this.self.after(ms, () => this._ring(world.truth.own(address)))
        else {
          const timer = this.self.every(ms, () => {
            if (++count === times) timer.cancel()
            return this._ring(world.truth.own(address))
          })
        }
        return this._put(n)
      })
    }

    remind(n: number, ms: number): number {
      return alone(host, this, n, () => {
        const own = world.truth.own(this.self.address, n)
        this.self.remind(`of ${n}`, 'reminded', { afterMs: ms, args: [own] })
        return this._put(n)
      })
    }

    reminded(n: number): void {
      alone(host, this, n, () => this._put(n))
    }

    rest(n: number): number {
      return alone(host, this, n, () => {
        this.self.deactivate()
        return this._put(n)
      })
    }

    deactivate(reason: string): void {
      left(host, this, reason)
    }

    _ring(n: number): void {
      alone(host, this, n, () => this._put(n))
    }

    _put(n: number): number {
      this.ids.push(n)
      this.total++
      return ++this.twin
    }
  }
}

/** An actor that keeps some of its state. Calls may come back to it, and each activation is a commit. */
function registers(host: Host) {
  return class Register {
    declare readonly self: Self
    value = 0
    by = ''
    ids: number[] = []
    lives = 0
    draft = 0

    async activate(): Promise<void> {
      this.lives++
      await sleep(host, 3)
    }

    deactivate(reason: string): Promise<void> {
      left(host, this, reason)
      return sleep(host, 3)
    }

    set(n: number): number {
      return alone(host, this, n, () => this._put(n))
    }

    slowSet(n: number, ms: number): Promise<number> {
      return alone(host, this, n, async () => {
        this.value = -n
        await sleep(host, ms)
        return this._put(n)
      })
    }

    /** The call that comes back belongs to the outer turn. */
    nest(n: number, timeoutMs: number): Promise<number> {
      return alone(host, this, n, async () => {
        this._put(n)
        await this._back(n, timeoutMs).catch(none)
        return this.ids.length
      })
    }

    nestFails(n: number, timeoutMs: number): Promise<void> {
      return alone(host, this, n, async () => {
        await Promise.allSettled([this._back(n, timeoutMs), this._back(n, timeoutMs)])
        this._put(n)
        throw told()
      })
    }

    inner(n: number, outer: number): number {
      return inner(host, this, n, outer, () => this._put(n))
    }

    read(n: number): number[] {
      return shared(host, this, n, () => this.ids)
    }

    scribble(n: number): number {
      return alone(host, this, n, () => this.draft = n)
    }

    _put(n: number): number {
      this.value = n
      this.by = host.label
      return this.ids.push(n)
    }

    _back(n: number, timeoutMs: number): Promise<unknown> {
      const { address } = this.self
      return invoke(host, this.self.actor(address, { timeoutMs }), { address, method: 'inner', args: [n], timeoutMs, changes: 'inner', outer: n })
    }
  }
}

/** An actor that commits explicitly. */
function draft(host: Host, self: Self) {
  return {
    self,
    ids: [] as number[],
    size: 0,
    put(n: number): number { return alone(host, this, n, () => { this.size = this.ids.push(n); return -1 }) },
    fails(n: number): void { alone(host, this, n, () => { this.size = this.ids.push(n); throw told() }) },
    save(n: number): Promise<number> {
      return alone(host, this, n, async () => {
        const size = this.size = this.ids.push(n)
        await self.save()
        return size
      })
    },
    deactivate(reason: string): void { left(host, this, reason) },
  }
}

/** An actor that keeps nothing. */
function flat(host: Host, self: Self) {
  return {
    self,
    count: 0,
    born: self.fence.activation,
    bump(n: number): number { return alone(host, this, n, () => ++this.count) },
    slowBump(n: number, ms: number): Promise<number> { return alone(host, this, n, async () => { await sleep(host, ms); return ++this.count }) },
    read(n: number): number { return shared(host, this, n, () => this.count) },
    deactivate(reason: string): void { left(host, this, reason) },
  }
}

/** Makes a process host actors. */
export function hostRoles(host: Host): void {
  const { stage } = host
  const { hosts, addresses, idleMs, maxActors, mailbox, placement } = host.world.play
  if (!hosts.has(host.name) || addresses.length === 0) return
  const rules = { idleMs, maxActors, mailbox, slowTurnMs: 60_000 }
  stage.define({ ...rules, pattern: 'counters.{id}', constructor: counters(host), durable: true, readonly: ['read', 'slowRead', 'cheat'] })
  stage.define({ ...rules, pattern: 'registers.{id}', constructor: registers(host), durable: ['value', 'by', 'ids', 'lives'], readonly: ['read'], reentrant: true })
  stage.define({ ...rules, pattern: 'drafts.{id}', create: (_, self) => draft(host, self), durable: true, commit: 'explicit' })
  stage.define({ ...rules, pattern: 'flats.{id}', create: (_, self) => flat(host, self), readonly: ['read'], placement })
}
