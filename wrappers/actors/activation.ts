import { StageError, asError } from '../../src/errors.js'
import { newId } from '../../src/random.js'
import type { Committed, Fence, Mesh, Store } from '../../src/types.js'
import { within } from '../../src/within.js'
import type { Rpc } from '../rpc/rpc.js'
import type { Definition } from './definition.js'
import { History } from './history.js'
import { NOTHING, capture, decode, decodeKept, encode, encodeKept, restore, type Image } from './image.js'
import { dataNames, hasData, hook, isPublic, methodsOf, ownMethods, type Method } from './members.js'
import { Reminders } from './reminders.js'
import { ActorSelf } from './self.js'
import { Timers } from './timers.js'
import { Turn, scope } from './turn.js'
import type { DeactivateReason } from './types.js'

/** What an activation asks of the stage that hosts it. */
export interface ActivationHost {
  readonly mesh: Mesh<Rpc>
  readonly store: Store
  /** @returns the fence and what was committed, or the id of the stage that has it */
  claim(address: string): Promise<{ fence: Fence; committed: Committed } | { owner: string }>
  /** The turn waits or runs: it is ended at its deadline, and reported when it takes long. */
  note(turn: Turn): void
  /** The lease of the stage is not certain at the moment; `resume()` is called when it is. */
  pause(activation: Activation): void
  /** It is over. @param left  those that were not begun @param again  another activation here may take them */
  ended(activation: Activation, left: readonly Turn[], again: boolean, owner?: string): void
  outgoing: ActorSelf['outgoing']
}

/** The call for which an actor is made: the turns that wait for it, and how deep it is. */
export interface Asking {
  readonly chain: readonly string[]
  readonly depth: number
}

const HOOK_MS = 10_000
const GOODBYE_MS = 5000
/** A store that has not answered by then is away. */
export const STORE_MS = 5000
/** How long a commit is tried again where its outcome is not known. */
const COMMIT_MS = 5000
const RETRY_MS = 100
/** Turns of one actor follow each other for so long, before others get the event loop. */
const SLICE_MS = 10
const LAST = 5
const NO_METHODS: ReadonlyMap<string, Method> = new Map()

/** One actor on this stage, from its claim to its end. */
export class Activation {
  fence: Fence | undefined
  instance: object | undefined
  /** When it was last used; by the clock's `now()`. */
  usedAt: number
  /** When the store last said that it is ours. */
  heardAt = -Infinity
  /** Commits of the actor so far. */
  version = 0
  readonly self: ActorSelf
  history: History | undefined
  reminders: Reminders | undefined
  timers: Timers | undefined
  #phase: 'starting' | 'active' | 'stopping' | 'over' = 'starting'
  #reason: DeactivateReason = 'asked'
  /** To be put away while it was made: behind its first turn, so that whoever waits for it is served. */
  #asked = false
  /** Its deactivate() was called. */
  #goodbye = false
  #queue: Turn[] = []
  #running: Turn | undefined
  #shared: Set<Turn> | undefined
  #inner: Set<Turn> | undefined
  #count = 0
  #going = false
  /** It was made, and its activate() has ended. */
  #started = false
  #methods: ReadonlyMap<string, Method> = NO_METHODS
  #own: Map<string, Method> | undefined
  /** What is kept, as it was committed; or as it was made, before the first commit. */
  #committed: Image = NOTHING
  /** The same as the last turn left it, saved or not; only where the actor says when it is saved. */
  #settled: Image = NOTHING
  /** All data while turns run that may change nothing. */
  #fixed: Image | undefined
  #saving: Promise<void> | undefined
  /** The store's clock when ours was at 0. */
  #storeTime = 0
  #ran = 0
  /** Method, milliseconds and outcome of the last turns, around and around. */
  #last: (string | number)[] | undefined
  #claimed: ((error: StageError | null, owner?: string) => void)[] | undefined = []
  #ended: (() => void)[] | undefined

  /** @param given  an object that exists already */
  constructor(readonly host: ActivationHost, readonly definition: Definition, readonly address: string, private readonly params: Record<string, string>, private readonly given?: object) {
    this.usedAt = host.mesh.clock.now()
    this.self = new ActorSelf(this, host.outgoing)
  }

  // ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param from  the call for which it is made */
  async start({ chain, depth }: Asking): Promise<void> {
    const { host, address, definition } = this
    try {
      const found = await host.claim(address)
      if ('owner' in found) return this.#elsewhere(found.owner)
      this.fence = found.fence
      this.#tellClaimed(null, host.mesh.id)
      if (this.#isOver) return void this.#release()
      this.#make(found.committed)
      const activate = hook(this.instance!, 'activate')
      if (activate) {
        const slow = (): Error => new StageError('TIMEOUT', `activate() of ${address} did not settle within ${HOOK_MS} ms`, { phase: 'running' })
        // as within a turn of that call, so that a circle of calls is seen, and ends
        const turn = this.#running = new Turn('activate', [], host.mesh.clock.now() + HOOK_MS, depth, chain, () => {})
        turn.of = this
        const active = this.#theirs(() => activate.call(this.instance!))
        await within(host.mesh.clock, HOOK_MS, Promise.resolve(active).catch((thrown: unknown) => { throw new Thrown(thrown) }), slow)
        turn.ended = turn.over = true
        this.#own = ownMethods(this.instance!)
        await this.#saving
        if (definition.durable && !definition.explicit && !this.#isOver) await this.#commit(host.mesh.clock.now() + HOOK_MS)
      }
    } catch (error) {
      return this.#failed(error)
    }
    if (this.#isOver) return
    this.#running = undefined
    this.#started = true
    if (this.stopping) return void this.#leave()
    this.#phase = 'active'
    this.reminders?.arm()
    this.#next()
  }

  get #isOver(): boolean {
    return this.#phase === 'over'
  }

  /** The one that runs alone. */
  get turn(): Turn | undefined {
    return this.#running
  }

  /** Those of this actor, made when it first sets one. */
  ownReminders(): Reminders {
    return this.reminders ??= new Reminders(this, this.#storeTime)
  }

  /** Runs a method within the turn that runs. */
  call(name: string, args: readonly unknown[]): unknown {
    return this.#method(name).apply(this.instance!, args as unknown[])
  }

  /** Nothing is going on, and nobody watches. */
  get idle(): boolean {
    return this.#phase === 'active' && this.#running === undefined && this.#queue.length === 0 && !this.#shared?.size && !this.history?.watched && !this.timers?.pending
  }

  get queued(): number {
    return this.#queue.length
  }

  get running(): readonly Turn[] {
    return [...(this.#running ? [this.#running] : []), ...(this.#shared ?? []), ...(this.#inner ?? [])]
  }

  get stopping(): boolean {
    return this.#phase === 'stopping'
  }

  /** The last turns, the newest last. */
  get last(): readonly { method: string; ms: number; error?: string }[] {
    const flat = this.#last ?? []
    const count = flat.length / 3
    return Array.from({ length: count }, (_, i) => {
      const at = 3 * ((this.#ran + i) % count)
      return { method: String(flat[at]), ms: Number(flat[at + 1]), ...(flat[at + 2] ? { error: String(flat[at + 2]) } : {}) }
    })
  }

  /** Calls back with the id of the stage that has the claim. */
  whenClaimed(done: (error: StageError | null, owner?: string) => void): void {
    if (this.#claimed) this.#claimed.push(done)
    else done(null, this.host.mesh.id)
  }

  /** Calls back when it is over. */
  whenOver(done: () => void): void {
    if (this.#phase === 'over') done()
    else (this.#ended ??= []).push(done)
  }

  /** Puts it away when what runs has ended. */
  stop(reason: DeactivateReason): void {
    if (this.#phase === 'over' || (this.#phase === 'stopping' && reason !== 'closing')) return
    const starting = this.#phase === 'starting'
    if (starting && reason === 'asked') {
      this.#asked = true
      return
    }
    if (this.#phase !== 'stopping') this.#phase = 'stopping'
    this.#reason = reason
    if (!starting) this.#next()
  }

  /** It has no claim any more: nothing of what it does counts from here on. */
  drop(reason: 'fenced' | 'lost' | 'store', error: StageError): void {
    if (this.#phase === 'over') return
    this.#over(error)
    for (const turn of this.running) turn.cancel(error)
    this.#running = undefined
    const deactivate = this.instance && hook(this.instance, 'deactivate')
    if (deactivate && !this.#goodbye) void Promise.resolve().then(() => deactivate.call(this.instance!, reason)).catch((thrown: unknown) => this.#report('deactivate()', thrown))
    this.host.ended(this, this.#taken(), false)
  }

  #over(error: StageError): void {
    this.#phase = 'over'
    this.timers?.close()
    this.reminders?.close()
    this.self.abort(error)
    this.history?.end(error)
    this.#tellClaimed(error)
    for (const done of this.#ended ?? []) done()
  }

  #taken(): readonly Turn[] {
    const left = this.#queue.filter((turn) => !turn.over)
    this.#queue = []
    // timers and reminders are of this object, and not of the one that is made next
    for (const turn of left) if (turn.task && !turn.own) turn.answer(new StageError('CANCELLED', `${this.address} was put away before`))
    return left.filter((turn) => !turn.over)
  }

  #tellClaimed(error: StageError | null, owner?: string): void {
    const waiting = this.#claimed
    this.#claimed = undefined
    for (const done of waiting ?? []) done(error, owner)
  }

  #elsewhere(owner: string): void {
    if (this.#isOver) return
    this.#phase = 'over'
    this.#tellClaimed(null, owner)
    this.#over(new StageError('FENCED', `${this.address} is hosted elsewhere`))
    this.host.ended(this, this.#taken(), false, owner)
  }

  /** It could not be made: those that wait for it are told why, and the next call tries again. */
  #failed(thrown: unknown): void {
    if (this.#isOver) return
    const own = thrown instanceof StageError && (thrown.code !== 'FENCED')
    const cause: unknown = thrown instanceof Thrown ? thrown.cause : thrown
    const error = own ? thrown : new StageError('REMOTE_ERROR', `${this.address} could not be activated: ${asError(cause).message}`, { executed: 'no', cause })
    const left = this.#taken()
    const claimed = this.fence !== undefined
    this.#over(error)
    if (claimed) void this.#release()
    for (const turn of left) turn.answer(new StageError(error.code, error.message, { executed: 'no', cause: error.cause, ...(error.phase ? { phase: error.phase } : {}) }))
    this.host.ended(this, [], false)
  }

  #theirs<T>(run: () => T): T {
    try {
      return run()
    } catch (thrown) {
      throw new Thrown(thrown)
    }
  }

  #make(committed: Committed): void {
    const { definition } = this
    const object = this.given ?? this.#theirs(() => definition.make(this.params, this.self))
    if (!Object.isExtensible(object)) throw new TypeError(`the object of ${this.address} cannot be extended, so that it could not be given its self`)
    Object.defineProperty(object, 'self', { value: this.self, enumerable: false, configurable: true, writable: true })
    this.instance = object
    this.#methods = methodsOf(object)
    this.version = committed.version
    this.#storeTime = committed.now - this.host.mesh.clock.now()
    if (committed.data) {
      const kept = decodeKept(committed.data)
      this.reminders = kept.reminders.length > 0 ? new Reminders(this, this.#storeTime, kept.reminders) : undefined
      if (definition.durable) this.#restored(object, kept.version, kept.image)
    }
    this.#own = ownMethods(object)
    if (definition.durable) this.#settled = this.#committed = capture(object, definition.durableNames(object), NOTHING)
  }

  /** Puts what was kept into a new object; what an older type kept and this one does not is left out. */
  #restored(object: object, version: number, image: Image): void {
    const { definition } = this
    const data = (): Record<string, unknown> => Object.fromEntries([...image].map(([name, bytes]) => [name, decode(bytes)]))
    let values: Record<string, unknown>
    try {
      values = version === definition.version ? data() : definition.migrated(version, data)
    } catch (error) {
      if (error instanceof StageError && error.code === 'STATE_CORRUPT') throw error
      throw new StageError('STATE_CORRUPT', `what the store has of ${this.address} cannot be read: ${asError(error).message}`, { cause: error })
    }
    for (const [name, value] of Object.entries(values)) if (name !== '__proto__' && name !== 'self') (object as Record<string, unknown>)[name] = value
  }

  async #leave(): Promise<void> {
    const { clock } = this.host.mesh
    this.timers?.close()
    this.reminders?.close()
    this.#running = new Turn('deactivate', [], Infinity, 0, [], () => {}) // so that nothing else begins
    this.#running.of = this
    try {
      const deactivate = this.instance && hook(this.instance, 'deactivate')
      if (deactivate) {
        this.#goodbye = true
        const slow = (): Error => new Error(`it did not settle within ${GOODBYE_MS} ms`)
        await within(clock, GOODBYE_MS, Promise.resolve(deactivate.call(this.instance!, this.#reason)), slow)
        await this.#saving
        if (this.definition.durable && !this.definition.explicit && !this.#isOver) await this.#commit(clock.now() + GOODBYE_MS)
      }
    } catch (error) {
      this.#report('deactivate()', error)
    }
    if (this.#isOver) return
    await this.#release()
    if (this.#isOver) return
    this.#running = undefined
    this.#over(new StageError('CANCELLED', `${this.address} was put away: ${this.#reason}`))
    this.host.ended(this, this.#taken(), this.#reason !== 'closing')
  }

  async #release(): Promise<void> {
    const { host, fence, address } = this
    if (!fence) return
    const slow = (): Error => new StageError('STORE_UNAVAILABLE', `the store ${host.store.address} did not answer in time`)
    await within(host.mesh.clock, STORE_MS, host.store.release(address, fence), slow).catch((error: unknown) => this.#report('giving it up', error))
  }

  #report(what: string, thrown: unknown): void {
    const error = asError(thrown)
    this.host.mesh.error(new Error(`${what} of the actor ${this.address} failed: ${error.message}`, { cause: error }))
  }

  // ── its turns ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes a call on: it begins now, or when those before it have ended. */
  push(turn: Turn): void {
    const { definition, address } = this
    turn.of = this
    const cycle = turn.chain.length > 0 ? this.#cycle(turn) : undefined
    if (cycle && definition.reentrant && this.#phase !== 'starting') {
      turn.inner = true
      return this.#begin(turn)
    }
    if (cycle) return turn.answer(new StageError('DEADLOCK', `a circle of calls: ${[...turn.chain.slice(turn.chain.indexOf(cycle)), address].map((one) => one.replace(/#\d+$/, '')).join(' → ')} waits for itself; make it reentrant, or do not wait for the answer`, { executed: 'no' }))
    if (this.#queue.length >= definition.mailbox) return turn.answer(new StageError('OVERLOADED', `${this.#queue.length} calls wait for ${address}`, { executed: 'no' }))
    if (turn.since === 0) turn.since = this.host.mesh.clock.now()
    this.usedAt = turn.since
    turn.shared = turn.shared || definition.readonly.has(turn.method)
    this.#queue.push(turn)
    if (this.#phase === 'active' && this.#queue.length === 1) this.#next()
    if (!turn.over) this.host.note(turn)
  }

  /** The lease of the stage is certain again. */
  resume(): void {
    this.#next()
  }

  /** Nobody waits for that one any more. */
  forgotten(turn: Turn): void {
    if (turn.id > 0) return
    const at = this.#queue.indexOf(turn)
    if (at < 0) return
    this.#queue.splice(at, 1)
    this.#next()
  }

  /** Where a call has been waiting, in words. */
  behind(turn: Turn): string {
    const now = this.host.mesh.clock.now()
    const [first] = this.running
    if (this.#phase === 'starting') return `queued for ${ms(now - turn.since)} while ${this.address} was being activated`
    if (first) return `queued for ${ms(now - turn.since)} behind ${first.method}() of ${this.address}, which runs for ${ms(now - first.since)}`
    return `queued for ${ms(now - turn.since)} at ${this.address}, ${this.host.mesh.valid() ? 'behind others' : 'whose stage has not been able to renew its lease'}`
  }

  /** The turn of ours that waits for this one to end. */
  #cycle(turn: Turn): string | undefined {
    for (const one of this.running) if (!one.ended && turn.chain.includes(one.name)) return one.name
    return undefined
  }

  /** Begins what may begin. */
  #next(): void {
    if (this.#going || !this.#started) return
    this.#going = true
    const { clock } = this.host.mesh
    let until = Infinity
    try {
      while (this.#free) {
        if (this.#asked && this.#phase === 'active' && (this.#count > 0 || this.#queue.length === 0)) {
          this.#phase = 'stopping'
          this.#reason = 'asked'
        }
        if (this.#phase === 'stopping') {
          if (!this.#shared?.size) void this.#leave()
          return
        }
        const turn = this.#queue[0]
        if (this.#phase !== 'active' || !turn || (this.#shared?.size && !turn.shared)) return
        const now = clock.now()
        if (!this.host.mesh.valid(now)) return this.host.pause(this)
        if (until === Infinity) until = now + SLICE_MS
        else if (now > until) return void clock.setTimeout(() => this.#next(), 0, true)
        if (this.#queue.length === 1) this.#queue.pop()
        else this.#queue.shift()
        this.#begin(turn, now)
      }
    } finally {
      this.#going = false
    }
  }

  /** No turn runs that must be alone. */
  get #free(): boolean {
    return this.#running === undefined
  }

  #begin(turn: Turn, now = this.host.mesh.clock.now()): void {
    if (turn.endsAt <= now) return turn.answer(new StageError('TIMEOUT', `its deadline passed before it was begun: ${this.behind(turn)}`, { phase: 'queued', executed: 'no' }))
    turn.since = now
    turn.id = ++this.#count
    if (turn.inner) (this.#inner ??= new Set()).add(turn)
    else if (turn.shared) {
      if (!turn.own) this.#fixed ??= this.#image()
      ;(this.#shared ??= new Set()).add(turn)
    } else {
      this.#running = turn
      this.#fixed = undefined
    }
    let result: unknown
    try {
      // where several run at once, only the context of each tells which of them makes a call
      result = !turn.own && (turn.shared || this.definition.reentrant) ? scope.run(turn, () => this.#execute(turn)) : this.#execute(turn)
      if (typeof (result as PromiseLike<unknown> | null | undefined)?.then === 'function') {
        turn.slowAt = now + this.definition.slowTurnMs
        this.host.note(turn)
        void Promise.resolve(result).then((value) => this.#done(turn, null, value), (thrown: unknown) => this.#done(turn, this.#thrown(turn, thrown)))
        return
      }
    } catch (thrown) {
      return this.#done(turn, this.#thrown(turn, thrown))
    }
    this.#done(turn, null, result)
  }

  #execute(turn: Turn): unknown {
    if (turn.task) return turn.task(this)
    return this.#method(turn.method).apply(this.instance!, turn.args as unknown[])
  }

  #method(name: string): Method {
    const method = this.#methods.get(name) ?? this.#own?.get(name)
    if (!method) throw new NoSuchMethod(`${this.address} has no public method ${JSON.stringify(name.slice(0, 128))}`)
    return method
  }

  #thrown(turn: Turn, thrown: unknown): StageError {
    // what a task of ours says stands for itself; what a method throws is its own
    if (thrown instanceof NoSuchMethod && thrown.message.startsWith(`${this.address} `)) return new StageError('NO_SUCH_METHOD', thrown.message)
    if (thrown instanceof StageError && turn.own) return thrown
    return new StageError('REMOTE_ERROR', `${turn.method} of ${this.address} failed: ${asError(thrown).message}`.slice(0, 1024), { executed: 'yes', cause: thrown })
  }

  /** The code of a turn has ended. */
  #done(turn: Turn, error: StageError | null, value?: unknown): void {
    this.usedAt = this.host.mesh.clock.now()
    const took = this.usedAt - turn.since
    turn.ended = true
    this.#remember(turn, took, error)
    if (took > this.definition.slowTurnMs && turn.slowAt > 0) this.slow(turn)
    turn.slowAt = Infinity
    if (turn.over) turn.noted?.delete(turn)
    if (this.#isOver) return // it was answered when the claim was lost
    if (turn.inner) {
      this.#inner?.delete(turn)
      turn.answer(error, value)
      if (this.#inner?.size === 0 && this.#outer) this.#outer()
      return
    }
    if (turn.shared) {
      this.#shared?.delete(turn)
      let changed: readonly string[] = []
      try {
        if (!turn.own) changed = this.#unfixed()
      } catch (failure) {
        return this.#spoilt(turn, new StageError('REMOTE_ERROR', `${turn.method} of ${this.address} is readonly, and has changed what cannot be put back`, { executed: 'yes' }), failure)
      }
      if (changed.length > 0) error = new StageError('REMOTE_ERROR', `${turn.method} of ${this.address} is readonly, and has changed ${changed.join(', ')}: it was put back`, { executed: 'yes' })
      turn.answer(error, value)
      return this.#next()
    }
    if (this.#inner?.size) { // they belong to this turn: it ends with the last of them
      this.#outer = () => { this.#outer = undefined; this.#settle(turn, error, value) }
      return
    }
    this.#settle(turn, error, value)
  }

  #outer: (() => void) | undefined

  #settle(turn: Turn, error: StageError | null, value: unknown): void {
    const { definition } = this
    if (!definition.durable && !this.history && !this.reminders?.changed) return this.#conclude(turn, error, value)
    // a save() that nobody waited for: two commits at once would be of the same version
    if (this.#saving) return void this.#saving.then(() => { if (!this.#isOver) this.#settle(turn, error, value) })
    if (error && !this.#putBack(turn, error)) return
    let commit: Promise<void> | undefined
    try {
      if (!error && definition.explicit && definition.durable) {
        this.#settled = capture(this.instance!, definition.durableNames(this.instance!), this.#settled)
        // a reminder that has run is taken out, or it would be due for ever
        if (turn.method === '@reminder') commit = this.#commit(turn.endsAt, false)
      } else if (!error) commit = this.#commit(turn.endsAt)
    } catch (failure) {
      error = new StageError('BAD_ARGUMENT', (failure as StageError).message, { executed: 'yes', cause: failure })
      if (!this.#putBack(turn, error)) return
    }
    if (!commit) {
      this.#publish()
      return this.#conclude(turn, error, value)
    }
    commit.then(() => {
      if (this.#isOver) return
      this.#publish()
      this.#conclude(turn, null, value)
    }, (failure: unknown) => {
      turn.answer(failure as StageError)
      if (!this.#isOver) this.#conclude(turn, failure as StageError, undefined)
    })
  }

  #conclude(turn: Turn, error: StageError | null, value: unknown): void {
    turn.answer(error, value)
    this.#running = undefined
    this.#next()
  }

  /** Says once that it takes long, while it does: it may never end. */
  slow(turn: Turn): void {
    turn.slowAt = 0
    const { clock, error } = this.host.mesh
    error(new Error(`${turn.method} of the actor ${this.address} ${turn.ended ? 'took' : 'has been running for'} ${ms(clock.now() - turn.since)}${turn.chain.length ? `, called by ${turn.chain.join(' → ')}` : ''}`))
  }

  #remember(turn: Turn, took: number, error: StageError | null): void {
    const last = this.#last ??= []
    const at = 3 * (this.#ran++ % LAST)
    last[at] = turn.method
    last[at + 1] = Math.round(took)
    last[at + 2] = error?.code ?? ''
  }

  // ── what it keeps ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Commits what is durable as it is now. @throws StageError FENCED · STORE_UNAVAILABLE · BAD_ARGUMENT */
  async save(): Promise<void> {
    if (this.#isOver) throw new StageError('FENCED', `${this.address} has lost its claim`)
    if (!this.definition.durable) throw new TypeError(`${this.address} has nothing durable to save`)
    while (this.#saving) await this.#saving
    await this.#commit(this.host.mesh.clock.now() + COMMIT_MS)
    this.#publish()
  }

  /** Undefined if there is nothing to commit. @param all  and not only the reminders @throws StageError BAD_ARGUMENT */
  #commit(until: number, all = true): Promise<void> | undefined {
    const { definition, instance } = this
    const next = !all ? this.#committed : definition.durable ? capture(instance!, definition.durableNames(instance!), this.#committed) : NOTHING
    const { reminders } = this
    if (next === this.#committed && !reminders?.changed) return undefined
    const data = encodeKept({ version: definition.version, image: next, reminders: reminders?.list ?? [] })
    reminders?.taken()
    if (all) this.#settled = next
    const saving = this.#saved(data, until).then(() => { this.#committed = next })
    this.#saving = saving.catch(() => {}).finally(() => { this.#saving = undefined })
    return saving
  }

  async #saved(data: Buffer, until: number): Promise<void> {
    const { host, address } = this
    const { clock, random } = host.mesh
    const last = Math.min(until, clock.now() + COMMIT_MS)
    const commit = { id: newId(random), version: this.version + 1, data, wake: this.reminders?.next }
    let lost = false // the answer to one try, which may have been performed
    for (let wait = RETRY_MS; ; wait *= 2) {
      let answer: 'ok' | 'fenced'
      try {
        const slow = (): Error => new StageError('STORE_UNAVAILABLE', `the store ${host.store.address} did not answer a commit in time`)
        answer = await within(clock, COMMIT_MS, host.store.commit(address, this.fence!, commit), slow)
      } catch (error) {
        lost = true
        // the same commit again is recognised, should the first one have arrived
        if ((asError(error) as StageError).code === 'STORE_UNAVAILABLE' && clock.now() + wait < last && !this.#isOver) {
          await new Promise<void>((resolve) => { clock.setTimeout(resolve, wait, true) })
          continue
        }
        const failure = this.#uncommitted(error)
        this.drop('store', failure)
        throw failure
      }
      if (answer === 'ok') {
        this.heardAt = clock.now()
        this.version++
        return
      }
      const fenced = new StageError('FENCED', `${address} has another owner by now, or its store has another past: what this call changed ${lost ? 'was kept before that, or is lost' : 'is not kept'}`, { executed: lost ? 'unknown' : 'yes' })
      this.drop('fenced', fenced)
      throw fenced
    }
  }

  #uncommitted(error: unknown): StageError {
    const { code, message } = asError(error) as StageError
    return new StageError(code === 'AUTH_FAILED' || code === 'BAD_ARGUMENT' || code === 'CLOSED' ? code : 'STORE_UNAVAILABLE', `what ${this.address} changed could not be kept: ${message}`, { executed: 'unknown', cause: error })
  }

  /** A turn has failed: what is durable is again what was committed. @returns false if its object does not let itself be put back: it is given up */
  #putBack(turn: Turn, error: StageError): boolean {
    const { definition, instance } = this
    try {
      if (definition.durable) restore(instance!, definition.durableNames(instance!), definition.explicit ? this.#settled : this.#committed)
      this.reminders?.putBack()
      return true
    } catch (failure) {
      this.#spoilt(turn, error, failure)
      return false
    }
  }

  #spoilt(turn: Turn, error: StageError, why: unknown): void {
    this.#report('putting back what a turn had changed', why)
    turn.answer(error)
    this.drop('store', error)
  }

  /** All data there is; what cannot be encoded stands for itself. */
  #image(): Map<string, Buffer> {
    const image = new Map<string, Buffer>()
    for (const name of new Set([...dataNames(this.instance!), ...this.definition.durable ? this.definition.durableNames(this.instance!) : []])) {
      try {
        image.set(name, encode((this.instance as Record<string, unknown>)[name]))
      } catch {} // nothing could be said about it
    }
    return image
  }

  /** The names of what a turn has changed that may change nothing; it is put back. */
  #unfixed(): readonly string[] {
    const before = this.#fixed
    if (!before) return []
    const now = this.#image()
    const changed = [...new Set([...before.keys(), ...now.keys()])].filter((name) => !(before.get(name)?.equals(now.get(name) ?? NO_BYTES) ?? false))
    if (changed.length > 0) restore(this.instance!, changed, new Map([...before].filter(([name]) => changed.includes(name))))
    return changed
  }

  // ── who watches ───────────────────────────────────────────────────────────────────────────────────────────────

  /** The value of a public property, as it is now. @throws StageError NO_SUCH_PROPERTY */
  read(name: unknown): unknown {
    if (!this.hasProperty(name)) throw new StageError('NO_SUCH_PROPERTY', `${this.address} has no public property ${JSON.stringify(String(name).slice(0, 128))}`)
    return (this.instance as Record<string, unknown>)[name]
  }

  hasProperty(name: unknown): name is string {
    return isPublic(name) && hasData(this.instance!, name)
  }

  /** What is committed of these properties, or what they are now where they are not kept. */
  shown(names: readonly string[], before: Image): Image {
    const kept = (name: string): boolean => this.definition.durable && this.#committed.has(name)
    const volatile = capture(this.instance!, names.filter((name) => !kept(name)), before)
    return new Map(names.map((name) => [name, (kept(name) ? this.#committed.get(name) : volatile.get(name)) ?? NO_BYTES]))
  }

  isKept(name: string): boolean {
    return this.definition.durable && this.#committed.has(name)
  }

  #publish(): void {
    this.history?.publish(this)
  }
}

/** By the code of the actor while it was made: whatever it is, it is not the word of the library. */
class Thrown extends Error {
  constructor(override readonly cause: unknown) {
    super()
  }
}

/** Of this actor; one of another arrives as what that call threw. */
class NoSuchMethod extends Error {}

const NO_BYTES = Buffer.alloc(0)
const ms = (time: number): string => `${Math.round(time)} ms`

