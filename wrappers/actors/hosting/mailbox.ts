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

/** Turns of one actor follow each other for so long, before others get the event loop. */
const SLICE_MS = 10
const NOBODY: readonly Turn[] = []

/** What a mailbox asks of its activation. */
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

/** The turns of one activation: one at a time, in the order in which they came, but for those that may share it. */
export class Mailbox {
  /** Those that wait. An idle actor has no list: there are many of those. */
  #queue: Turn[] | undefined
  /** The one that runs alone. */
  #alone: Turn | undefined
  /** Those that change nothing, and run together. */
  #shared: Set<Turn> | undefined
  /** Those that came back to the one that runs alone, through its own calls. */
  #inner: Set<Turn> | undefined
  /** Came back to the one that runs alone, while the lease of the stage is not certain. */
  #held: Turn[] | undefined
  /** What is left to do for the one that runs alone, when those that came back to it have ended. */
  #outer: (() => void) | undefined
  /** All data while turns run that may change nothing. */
  #fixed: Snapshot | undefined
  /** What those of them that run have changed all the same, each or one that ran beside it. */
  #written: Map<Turn, readonly string[]> | undefined
  /** Were cancelled, and run on; and who waits for their ends. */
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

  /** None waits, and none runs. */
  get idle(): boolean {
    return this.#alone === undefined && this.queued === 0 && !this.#shared?.size
  }

  /** Whether the code of that one still runs. */
  runs(id: number): boolean {
    return this.running.some((one) => one.id === id && !one.ended)
  }

  /** The last of them, the newest last. */
  get last(): readonly Past[] {
    return this.#last ? pastOf(this.#last, this.#ran) : []
  }

  /** Takes a call on: it begins now, or when those before it have ended. */
  push(turn: Turn): void {
    const { activation } = this
    const { definition, address, host } = activation
    turn.of = activation
    turn.inner = false // it may have been that of a turn that has ended since
    const cycle = turn.carried.chain.length > 0 ? this.#cycle(turn) : undefined
    turn.shared = turn.shared || definition.readonly.has(turn.method)
    // what comes back to one that changes nothing may not change anything either
    if (cycle?.shared && turn.back) turn.shared = true
    if (cycle && (turn.back || (definition.reentrant && activation.phase !== 'starting')) && (!cycle.shared || turn.shared)) {
      turn.inner = cycle.inner || !cycle.shared
      const now = host.mesh.clock.now()
      if (turn.arrivedAt === 0) turn.arrivedAt = now
      if (cycle.shared && this.#fixed && !this.#mended(this.#shared ?? NOBODY)) return turn.move()
      if (host.mesh.valid(now)) return this.#begin(turn, now)
      ;(this.#held ??= []).push(turn)
      host.note(turn)
      return host.pause(this)
    }
    if (cycle) {
      const { chain } = turn.carried
      const circle = [...chain.slice(chain.indexOf(cycle.name)), address].map((one) => one.replace(/#[^#]*$/, '')).join(' → ')
      const why = `a circle of calls: ${circle} waits for itself; make it reentrant, or do not wait for the answer`
      return turn.answer(new StageError('DEADLOCK', why, { executed: 'no' }))
    }
    // the timers and reminders of an actor are its own, and not many
    if (this.queued >= definition.mailbox && (!turn.task || turn.own)) {
      return turn.answer(new StageError('OVERLOADED', `${this.queued} calls wait for ${address}`, { executed: 'no' }))
    }
    if (turn.arrivedAt === 0) turn.arrivedAt = host.mesh.clock.now()
    activation.usedAt = turn.arrivedAt
    if (this.#queue) this.#queue.push(turn)
    else this.#queue = [turn]
    if (activation.phase === 'active' && this.#queue.length === 1) this.next()
    if (!turn.over) host.note(turn)
  }

  /** Nobody waits for that one any more. */
  forgotten(turn: Turn): void {
    if (turn.id > 0) return
    for (const list of [this.#queue, this.#held]) {
      const at = list?.indexOf(turn) ?? -1
      if (at >= 0) list?.splice(at, 1)
    }
    this.next()
  }

  /** Takes the actor for a hook: nothing else begins until `leave()`. */
  enter(turn: Turn): void {
    turn.of = this.activation
    turn.arrivedAt = turn.startedAt = this.activation.host.mesh.clock.now()
    this.#alone = turn
  }

  leave(): void {
    this.#alone = undefined
  }

  /** The claim is lost: none of those that run counts any more. */
  cancel(error: StageError): void {
    for (const turn of this.running) {
      turn.cancel(error)
      if (!turn.ended && turn.id > 0) (this.#left ??= { turns: new Set() }).turns.add(turn) // a hook is no turn, and ends elsewhere
    }
    this.#alone = undefined
  }

  /** Resolves when the code of those that were cancelled has ended. */
  quiet(): Promise<void> | undefined {
    const left = this.#left
    return left && new Promise((resolve) => { left.quieted = resolve })
  }

  /** Those that were not begun, for another activation. */
  handOver(): readonly Turn[] {
    const left = [...this.#held ?? [], ...this.#queue ?? []].filter((turn) => !turn.over)
    this.#held = this.#queue = undefined
    // timers and reminders are of this object, and not of the one that is made next
    for (const turn of left) if (turn.task && !turn.own) turn.answer(new StageError('CANCELLED', `${this.activation.address} was put away before`))
    return left.filter((turn) => !turn.over)
  }

  /** Begins what may begin. */
  next(): void {
    const { activation } = this
    if (this.#going || !activation.started) return
    const { mesh } = activation.host
    const held = this.#held
    if (held?.length) {
      if (mesh.valid()) {
        this.#held = undefined
        for (const turn of held) if (!turn.over) this.push(turn) // the one that they came back to may have ended
      } else activation.host.pause(this)
    }
    this.#going = true
    let until = Infinity
    try {
      while (this.#free) {
        // put away by its own word, and that came while it was made: whoever waits for that is served first
        if (activation.asked && (this.#count > 0 || this.queued === 0)) activation.stop('asked')
        if (activation.phase === 'stopping') {
          if (!this.#shared?.size) activation.leave()
          return
        }
        const turn = this.#queue?.[0]
        if (activation.phase !== 'active' || !turn || (this.#shared?.size && !turn.shared)) return
        if (this.#shared && this.#shared.size >= activation.definition.mailbox) return // those that nobody waits for any more run on
        if (this.#shared?.size && this.#fixed && !this.#mended(this.#shared)) return // it is given up, and the queue with it
        const now = mesh.clock.now()
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

  /** No turn runs that must be alone. */
  get #free(): boolean {
    return this.#alone === undefined
  }

  /** The turn of ours that waits for this one to end. */
  #cycle(turn: Turn): Turn | undefined {
    if (this.idle && !this.#inner?.size) return undefined
    // a peer may say anything of its chain: those that run are looked at only where it holds a name of this activation
    const prefix = namesOf(this.activation)
    const named = turn.carried.chain.filter((name) => name.startsWith(prefix))
    return named.length === 0 ? undefined : this.running.find((one) => !one.ended && named.includes(one.name))
  }

  #begin(turn: Turn, now: number): void {
    if (turn.endsAt <= now) return turn.answer(new StageError('TIMEOUT', `its deadline passed before it was begun: ${behind(turn)}`, { phase: 'queued', executed: 'no' }))
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
      // it may follow in the midst of another turn, or of its caller, and inherits nothing of them
      result = turn.own ? this.#execute(turn) : turn.within ? turn.within.runInAsyncScope(this.#apart, this, turn) : outside(this.#apart, this, turn)
      if (isThenable(result)) {
        turn.slowAt = now + definition.slowTurnMs
        activation.host.note(turn)
        // the turns behind it follow from here, and go on when the caller of this one is long gone
        outside(() => void Promise.resolve(result).then(
          (value) => this.#done(turn, null, value, true),
          (thrown: unknown) => this.#done(turn, this.#thrown(turn, thrown), undefined, true),
        ))
        return
      }
    } catch (thrown) {
      return outside(this.#done, this, turn, this.#thrown(turn, thrown))
    }
    // getters in what it returns or keeps are run as well, and below it may be its caller
    const looked = typeof result === 'object' && result !== null
    if (turn.from === undefined && (looked || definition.durable || activation.history)) outside(this.#done, this, turn, null, result)
    else this.#done(turn, null, result)
  }

  #execute(turn: Turn): unknown {
    return turn.task ? turn.task(this.activation) : this.activation.call(turn.method, turn.args)
  }

  /** Where several run at once, only the context of each tells which of them makes a call. */
  #apart(turn: Turn): unknown {
    return turn.shared || this.activation.definition.reentrant ? scope.run(turn, () => this.#execute(turn)) : this.#execute(turn)
  }

  #thrown(turn: Turn, thrown: unknown): StageError {
    const { address } = this.activation
    const error = asError(thrown)
    // what a task of ours says stands for itself; what a method throws is its own
    if (error instanceof NoSuchMethod && error.address === address) return new StageError('NO_SUCH_METHOD', error.message)
    if (error instanceof StageError && turn.own) return error
    // of a timer or reminder it says who has begun it
    return new StageError('REMOTE_ERROR', `${turn.task ? '' : `${turn.words} failed: `}${error.message}`.slice(0, 1024), { executed: 'yes', cause: thrown })
  }

  /**
   * The code of a turn has ended.
   * @param waited  and others may have run meanwhile
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
    if (activation.phase === 'over') { // it was when the claim was lost
      const left = this.#left
      if (left?.turns.delete(turn) && left.turns.size === 0) left.quieted?.()
      return turn.answer(error, value)
    }
    if (turn.inner) {
      this.#inner?.delete(turn)
      turn.answer(error, value)
      if (this.#inner?.size === 0) this.#outer?.()
    } else if (turn.shared) this.#unshare(turn, error, value, waited)
    else if (this.#inner?.size) { // they belong to this turn: it ends with the last of them
      holdIn(value, activation.definition.share)
      this.#outer = () => { this.#outer = undefined; this.#settle(turn, error, value) }
    } else this.#settle(turn, error, value)
  }

  /** One that may have changed nothing has ended. */
  #unshare(turn: Turn, error: StageError | null, value: unknown, waited: boolean): void {
    if (!turn.own && this.#fixed && !this.#mended(waited ? this.#shared ?? NOBODY : [turn])) return
    this.#shared?.delete(turn)
    const written = this.#written?.get(turn)
    if (written) {
      this.#written?.delete(turn)
      const who = waited ? 'it, or another that ran beside it,' : 'it'
      const why = `${turn.words} is readonly, and ${who} has changed ${written.join(', ')}: that was put back`
      error = new StageError('REMOTE_ERROR', why, { executed: 'yes' })
    }
    turn.answer(error, value)
    this.next()
  }

  /**
   * Puts back what may not have been changed.
   * @param by  those which it can have been
   * @returns false if the object does not let itself be put back, and was given up
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
      activation.spoilt(turn, new StageError('REMOTE_ERROR', `${turn.words} is readonly, and has changed what cannot be put back`, { executed: 'yes' }), failure)
      return false
    }
  }

  /** One that ran alone has ended: what it changed is kept, or put back, before it is answered. */
  #settle(turn: Turn, error: StageError | null, value: unknown): void {
    const { activation } = this
    const { definition, persistence, history, reminders } = activation
    if (!definition.durable && !history && !reminders?.changed) return this.#conclude(turn, error, value)
    // a save() that nobody waited for: two commits at once would be of the same version
    if (persistence.saving) {
      holdIn(value, definition.share)
      return void persistence.saving.then(() => {
        if (activation.phase === 'over') turn.answer(error, value) // it was when the claim was lost
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
