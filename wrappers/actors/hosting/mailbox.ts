import { StageError, asError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import { isThenable } from '../../../src/thenable.js'
import { holdIn } from '../calling/copy.js'
import type { Definition } from '../definition.js'
import { behind, slow } from './delays.js'
import { pastOf, remember, type LastTurns, type Past } from './last-turns.js'
import { NoSuchMethod } from '../members.js'
import type { Persistence } from '../state/persistence.js'
import { dataOf, putBackData, type DataOwner } from '../state/readonly.js'
import type { Snapshot } from '../state/snapshot.js'
import { namesOf, scope, type Inspected, type Turn, type TurnOwner } from './turn.js'

/** How long one actor may run queued turns back to back before it yields the event loop. */
const SLICE_MS = 10
const NOBODY: readonly Turn[] = []

/** The view of the activation that its mailbox needs. */
interface MailboxOwner extends TurnOwner, Inspected, DataOwner {
  readonly definition: Pick<Definition, 'share' | 'readonly' | 'reentrant' | 'mailbox' | 'slowTurnMs' | 'durable' | 'durableNames'>
  readonly host: TurnOwner['host'] & DataOwner['host'] & {
    note(turn: Turn): void
    pause(mailbox: Mailbox): void
  }
  readonly started: boolean
  readonly asked: boolean
  usedAt: number
  readonly persistence: Pick<Persistence, 'saving' | 'afterTurn'>
  readonly history: { publish(): void } | undefined
  readonly reminders: { readonly changed: boolean } | undefined
  call(name: string, args: readonly unknown[]): unknown
  stop(reason: 'asked'): void
  leave(): void
  putBack(turn: Turn, error: StageError): boolean
  spoilt(turn: Turn, error: StageError, why: unknown): void
}

/** The turns of one activation: one at a time, in order of arrival, except for readonly and reentrant turns. */
export class Mailbox {
  /** Waiting turns; undefined while empty, because there are many idle actors. */
  #queue: Turn[] | undefined
  /** The exclusive turn that runs. */
  #alone: Turn | undefined
  /** Readonly turns that run concurrently. */
  #shared: Set<Turn> | undefined
  /** Reentrant turns: calls that came back to the exclusive turn through its own call chain. */
  #inner: Set<Turn> | undefined
  /** Reentrant calls, parked until the lease is renewed. */
  #held: Turn[] | undefined
  /** Settles the exclusive turn, once its reentrant turns have ended. */
  #outer: (() => void) | undefined
  /** Snapshot of all data from before the readonly turns that run. */
  #fixed: Snapshot | undefined
  /** Properties that running turns, or turns beside them, modified although they are `readonly`. */
  #written: Map<Turn, readonly string[]> | undefined
  /** Cancelled turns whose code still runs, and the callback that waits for their ends. */
  #left: { readonly turns: Set<Turn>; quieted?: () => void } | undefined
  #count = 0
  #going = false
  #ran = 0
  #last: LastTurns | undefined

  constructor(private readonly activation: MailboxOwner) {}

  get alone(): Turn | undefined {
    return this.#alone
  }

  get running(): readonly Turn[] {
    return [...(this.#alone ? [this.#alone] : []), ...(this.#shared ?? []), ...(this.#inner ?? [])]
  }

  get queued(): number {
    return this.#queue?.length ?? 0
  }

  /** Whether no turn waits or runs. */
  get idle(): boolean {
    return this.#alone === undefined && this.queued === 0 && !this.#shared?.size
  }

  /** Whether the code of the turn with this id still runs. */
  runs(id: number): boolean {
    return this.running.some((one) => one.id === id && !one.ended)
  }

  /** The last turns that ended, newest last. */
  get last(): readonly Past[] {
    return this.#last ? pastOf(this.#last, this.#ran) : []
  }

  /**
   * Accepts a call, which begins now or after the turns before it.
   * @param now  the time, if it was read just before and no code of the user has run since: reading it costs a tenth of a short turn
   */
  push(turn: Turn, now?: number): void {
    const { activation } = this
    const { definition, address, host } = activation
    turn.of = activation
    turn.inner = false // a parked turn is pushed again, and the turn that it came back to may have ended
    const cycle = turn.carried.chain.length > 0 ? this.#cycle(turn) : undefined
    turn.shared = turn.shared || definition.readonly.has(turn.method)
    // handed-out code that comes back to a readonly turn must not change anything either
    if (cycle?.shared && turn.back) turn.shared = true
    if (cycle && (turn.back || (definition.reentrant && activation.phase !== 'starting')) && (!cycle.shared || turn.shared)) {
      turn.inner = cycle.inner || !cycle.shared
      const at = now ?? host.mesh.clock.now()
      if (turn.arrivedAt === 0) turn.arrivedAt = at
      if (cycle.shared && this.#fixed && !this.#mended(this.#shared ?? NOBODY)) return turn.move()
      if (host.mesh.valid(at)) return this.#begin(turn, at)
      ;(this.#held ??= []).push(turn)
      host.note(turn)
      return host.pause(this)
    }
    if (cycle) {
      const { chain } = turn.carried
      const circle = [...chain.slice(chain.indexOf(cycle.name)), address].map((one) => one.replace(/#[^#]*$/, '')).join(' → ')
      const why = `a cycle of calls: ${circle} waits for itself; make the type reentrant, or do not wait for the answer`
      return turn.answer(new StageError('DEADLOCK', why, { executed: 'no' }))
    }
    // timers and reminders skip the limit: the actor set them itself, and they are few
    if (this.queued >= definition.mailbox && (!turn.task || turn.own)) {
      return turn.answer(new StageError('OVERLOADED', `${this.queued} calls are waiting for ${address}`, { executed: 'no' }))
    }
    if (turn.arrivedAt === 0) turn.arrivedAt = host.mesh.clock.now()
    activation.usedAt = turn.arrivedAt
    if (this.#queue) this.#queue.push(turn)
    else this.#queue = [turn]
    if (activation.phase === 'active' && this.#queue.length === 1) this.next(now)
    if (!turn.over) host.note(turn)
  }

  /** Removes a cancelled turn that has not begun. */
  forgotten(turn: Turn): void {
    if (turn.id > 0) return
    for (const list of [this.#queue, this.#held]) {
      const at = list?.indexOf(turn) ?? -1
      if (at >= 0) list?.splice(at, 1)
    }
    this.next()
  }

  /** Reserves the actor for a hook: no other turn begins until `leave()`. */
  enter(turn: Turn): void {
    turn.of = this.activation
    turn.arrivedAt = turn.startedAt = this.activation.host.mesh.clock.now()
    this.#alone = turn
  }

  leave(): void {
    this.#alone = undefined
  }

  /** Cancels all running turns, because the claim is lost. */
  cancel(error: StageError): void {
    for (const turn of this.running) {
      turn.cancel(error)
      if (!turn.ended && turn.id > 0) (this.#left ??= { turns: new Set() }).turns.add(turn) // hooks (id 0) are tracked by the activation
    }
    this.#alone = undefined
  }

  /** Resolves when the code of all cancelled turns has ended; undefined if none still runs. */
  quiet(): Promise<void> | undefined {
    const left = this.#left
    return left && new Promise((resolve) => { left.quieted = resolve })
  }

  /** Removes and returns the turns that never began, for another activation. */
  handOver(): readonly Turn[] {
    const left = [...this.#held ?? [], ...this.#queue ?? []].filter((turn) => !turn.over)
    this.#held = this.#queue = undefined
    // timers and reminders belong to this object, not to its successor
    for (const turn of left) if (turn.task && !turn.own) turn.answer(new StageError('CANCELLED', `${this.activation.address} was deactivated first`))
    return left.filter((turn) => !turn.over)
  }

  /** Begins every turn that may begin now. @param just  as `now` in `push` */
  next(just?: number): void {
    const { activation } = this
    if (this.#going || !activation.started) return
    const { mesh } = activation.host
    const held = this.#held
    if (held?.length) {
      just = undefined
      if (mesh.valid()) {
        this.#held = undefined
        for (const turn of held) if (!turn.over) this.push(turn) // pushed again, as the turn that they came back to may have ended
      } else activation.host.pause(this)
    }
    this.#going = true
    let until = Infinity
    try {
      while (this.#free) {
        // the actor asked for its deactivation during activation: the call that waited for it is served first
        if (activation.asked && (this.#count > 0 || this.queued === 0)) activation.stop('asked')
        if (activation.phase === 'stopping') {
          if (!this.#shared?.size) activation.leave()
          return
        }
        const turn = this.#queue?.[0]
        if (activation.phase !== 'active' || !turn || (this.#shared?.size && !turn.shared)) return
        if (this.#shared && this.#shared.size >= activation.definition.mailbox) return // counts cancelled turns, whose code still runs
        if (this.#shared?.size && this.#fixed && !this.#mended(this.#shared)) return // the activation was dropped, and its queue with it
        const now = just ?? mesh.clock.now()
        just = undefined
        if (!mesh.valid(now)) return activation.host.pause(this)
        if (until === Infinity) until = now + SLICE_MS
        else if (now > until) return void mesh.clock.setTimeout(() => this.next(), 0, true)
        if (this.queued > 1) this.#queue?.shift()
        else this.#queue = undefined
        this.#begin(turn, now)
      }
    } finally {
      this.#going = false
    }
  }

  /** Whether no exclusive turn or hook runs. */
  get #free(): boolean {
    return this.#alone === undefined
  }

  /** Finds the running turn of this actor whose call chain led to this call, and so waits for it. */
  #cycle(turn: Turn): Turn | undefined {
    if (this.idle && !this.#inner?.size) return undefined
    // a peer may send any chain: running turns are compared only with names of this activation
    const prefix = namesOf(this.activation)
    const named = turn.carried.chain.filter((name) => name.startsWith(prefix))
    return named.length === 0 ? undefined : this.running.find((one) => !one.ended && named.includes(one.name))
  }

  #begin(turn: Turn, now: number): void {
    if (turn.endsAt <= now) return turn.answer(new StageError('TIMEOUT', `the deadline passed before the call began: ${behind(turn)}`, { phase: 'queued', executed: 'no' }))
    const { activation } = this
    const { definition } = activation
    turn.startedAt = now
    turn.id = ++this.#count
    if (turn.inner) (this.#inner ??= new Set()).add(turn)
    else if (turn.shared) {
      if (!turn.own && !this.#shared?.size) this.#fixed = dataOf(activation)
      ;(this.#shared ??= new Set()).add(turn)
    } else {
      this.#alone = turn
      this.#fixed = undefined
    }
    let result: unknown
    try {
      // the call stack may be that of another turn or of the caller, whose async context must not be inherited
      result = turn.own ? this.#execute(turn) : turn.within ? turn.within.runInAsyncScope(this.#apart, this, turn) : outside(this.#apart, this, turn)
      if (isThenable(result)) {
        turn.slowAt = now + definition.slowTurnMs
        activation.host.note(turn)
        // the next turns begin in this callback, so the caller's async context must not leak into them
        outside(() => void Promise.resolve(result).then(
          (value) => this.#done(turn, null, value, true),
          (thrown: unknown) => this.#done(turn, this.#thrown(turn, thrown), undefined, true),
        ))
        return
      }
    } catch (thrown) {
      return outside(this.#done, this, turn, this.#thrown(turn, thrown))
    }
    // settling may run getters of the result or of durable state, and the caller may be on this call stack
    const looked = typeof result === 'object' && result !== null
    if (turn.from === undefined && (looked || definition.durable || activation.history)) outside(this.#done, this, turn, null, result)
    else this.#done(turn, null, result)
  }

  #execute(turn: Turn): unknown {
    return turn.task ? turn.task(this.activation) : this.activation.call(turn.method, turn.args)
  }

  /** Where turns run concurrently, only the async context tells which of them makes a call. */
  #apart(turn: Turn): unknown {
    return turn.shared || this.activation.definition.reentrant ? scope.run(turn, () => this.#execute(turn)) : this.#execute(turn)
  }

  #thrown(turn: Turn, thrown: unknown): StageError {
    const { address } = this.activation
    const error = asError(thrown)
    // errors of the library's own tasks pass as they are; exceptions of methods become REMOTE_ERROR
    if (error instanceof NoSuchMethod && error.address === address) return new StageError('NO_SUCH_METHOD', error.message)
    if (error instanceof StageError && turn.own) return error
    if (!turn.own) turn.report(thrown)
    // timers and reminders need no prefix: their own report names them
    return new StageError('REMOTE_ERROR', `${turn.task ? '' : `${turn.words} failed: `}${error.message}`.slice(0, 1024), { executed: 'yes', cause: thrown })
  }

  /**
   * Called when the code of a turn has ended.
   * @param waited  the code was asynchronous, so other turns may have run meanwhile
   */
  #done(turn: Turn, error: StageError | null, value?: unknown, waited = false): void {
    const { activation } = this
    const now = activation.host.mesh.clock.now()
    const took = now - turn.startedAt
    activation.usedAt = now
    turn.ended = true
    turn.onended?.()
    this.#last = remember(this.#last, this.#ran++, turn, took, error)
    if (took > activation.definition.slowTurnMs && turn.slowAt > 0) slow(turn)
    turn.slowAt = Infinity
    if (turn.over) turn.noted?.delete(turn)
    if (activation.phase === 'over') { // the claim was lost while the turn ran
      const left = this.#left
      if (left?.turns.delete(turn) && left.turns.size === 0) left.quieted?.()
      return turn.answer(error, value)
    }
    if (turn.inner) {
      this.#inner?.delete(turn)
      turn.answer(error, value)
      if (this.#inner?.size === 0) this.#outer?.()
    } else if (turn.shared) this.#unshare(turn, error, value, waited)
    else if (this.#inner?.size) { // reentrant turns belong to this turn, which ends with the last of them
      holdIn(value, activation.definition.share)
      this.#outer = () => { this.#outer = undefined; this.#settle(turn, error, value) }
    } else this.#settle(turn, error, value)
  }

  /** Ends a turn that could run concurrently; changes that a readonly turn made are rolled back and become its error. */
  #unshare(turn: Turn, error: StageError | null, value: unknown, waited: boolean): void {
    if (!turn.own && this.#fixed && !this.#mended(waited ? this.#shared ?? NOBODY : [turn])) return
    this.#shared?.delete(turn)
    const written = this.#written?.get(turn)
    if (written) {
      this.#written?.delete(turn)
      const who = waited ? 'it, or another turn that ran concurrently,' : 'it'
      const why = `${turn.words} is readonly, but ${who} changed ${written.join(', ')}: the change was rolled back`
      error = new StageError('REMOTE_ERROR', why, { executed: 'yes' })
    }
    turn.answer(error, value)
    this.next()
  }

  /**
   * Rolls back changes that readonly turns have made.
   * @param by  the turns that may have made them
   * @returns false if the rollback failed and the object was dropped
   */
  #mended(by: Iterable<Turn>): boolean {
    const { activation } = this
    try {
      const changed = putBackData(activation, this.#fixed!)
      if (changed.length > 0) {
        const written = this.#written ??= new Map<Turn, readonly string[]>()
        for (const one of by) written.set(one, [...new Set([...written.get(one) ?? [], ...changed])])
      }
      return true
    } catch (failure) {
      const [turn] = by
      activation.spoilt(turn, new StageError('REMOTE_ERROR', `${turn.words} is readonly, but changed state that cannot be rolled back`, { executed: 'yes' }), failure)
      return false
    }
  }

  /** Settles an exclusive turn: its changes are committed or rolled back before it is answered. */
  #settle(turn: Turn, error: StageError | null, value: unknown): void {
    const { activation } = this
    const { definition, persistence, history, reminders } = activation
    if (!definition.durable && !history && !reminders?.changed) return this.#conclude(turn, error, value)
    // a save() that the turn did not await: concurrent commits would have the same version
    if (persistence.saving) {
      holdIn(value, definition.share)
      return void persistence.saving.then(() => {
        if (activation.phase === 'over') turn.answer(error, value) // the claim was lost meanwhile
        else this.#settle(turn, error, value)
      })
    }
    if (error && !activation.putBack(turn, error)) return
    let commit: Promise<void> | undefined
    try {
      if (!error) commit = persistence.afterTurn(turn)
    } catch (failure) {
      error = new StageError('BAD_ARGUMENT', asError(failure).message, { executed: 'yes', cause: failure })
      if (!activation.putBack(turn, error)) return
    }
    if (!commit) {
      history?.publish()
      return this.#conclude(turn, error, value)
    }
    holdIn(value, definition.share)
    commit.then(() => {
      if (activation.phase === 'over') return turn.answer(null, value)
      activation.history?.publish()
      this.#conclude(turn, null, value)
    }, (failure: unknown) => {
      turn.answer(failure as StageError, value)
      if (activation.phase !== 'over') this.#conclude(turn, failure as StageError, undefined)
    })
  }

  #conclude(turn: Turn, error: StageError | null, value: unknown): void {
    turn.answer(error, value)
    this.#alone = undefined
    this.next()
  }
}
