/**
 * Functions and async iterables that an actor hands out, in results of its turns and in arguments of its calls, so that its
 * code runs on behalf of others. Each call of such a function, and each `next()`, is a turn among the others, whose result
 * goes out after its commit. While the turn that handed it out still runs, the new turn runs within that turn.
 *
 * Node streams and web streams read and write on their own schedule, so their work is not made of turns. A stream only
 * keeps the actor active until the stream ends.
 */
import { finished, type Duplex } from 'node:stream'
import { types } from 'node:util'
import { StageError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import type { Mesh } from '../../../src/types.js'
import type { Callable } from '../../codec.js'
import { taken } from '../../codec/dispose.js'
import { Answering, ELSEWHERE, markElsewhere, runsElsewhere, type Hand } from '../../codec/hand.js'
import { asNode } from '../../codec/hold.js'
import { ITERABLE, type StreamKind } from '../../codec/stream-kind.js'
import { NOTHING } from '../../rpc/context.js'
import { NEXT } from '../words.js'
import { Turn, isThrown, type Phase, type Settle, type Task } from './turn.js'

type Result = IteratorResult<unknown, unknown>
const DONE: Result = { done: true, value: undefined }

/** The turns that handed out one function or iterable. */
interface Givers {
  /** Ids of the givers that still ran when last checked. */
  turns: readonly number[]
  /** Whether all givers were readonly; then turns that run the handed-out code are readonly too. */
  readonly: boolean
  /** Method of the first giver. */
  readonly method: string
}

/** Notices readers and streams that were garbage collected before their end, so that the actor can become idle. */
const abandoned = new FinalizationRegistry<() => void>((leave) => leave())

/** The view of the activation that `HandedOut` needs. */
interface HandedOutOwner {
  readonly address: string
  readonly token: string
  readonly phase: Phase
  readonly definition: { readonly mailbox: number }
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'timeoutMs' | 'failed'> }
  readonly mailbox: {
    readonly alone: Turn | undefined
    readonly queued: number
    runs(id: number): boolean
    push(turn: Turn): void
  }
}

export class HandedOut implements Hand {
  readonly #functions = new WeakMap<Callable, { lent: Callable; by: Givers }>()
  /** Faces of iterators, which can be read only once: handing out the same iterator again yields the same face. */
  readonly #faces = new WeakMap<object, { face: WeakRef<Face>; by: Givers }>()
  readonly #streams = new WeakSet<object>()
  /** Iterables whose reading has begun, and in `#flowing` streams that have not ended. */
  readonly #readings = new Set<Reading>()
  readonly #flowing = new Set<object>()
  /** Why handed-out code runs no more; undefined while it may run. */
  ended: StageError | undefined

  constructor(readonly activation: HandedOutOwner) {}

  /** Whether the actor must stay active, because its iterables or streams are in use. */
  get pending(): boolean {
    return this.#readings.size > 0 || this.#flowing.size > 0
  }

  /** @param turn  the turn whose result or argument holds `fn`; undefined for code outside of turns */
  give(fn: Callable, turn?: Turn): Callable {
    if (runsElsewhere(fn)) return fn
    const known = this.#functions.get(fn)
    if (known) {
      this.#given(known.by, turn)
      return known.lent
    }
    const by = this.#by(turn)
    const answer = (call: Answering, args: readonly unknown[]): Promise<unknown> => this.#call(fn, by, call, args)
    const lent = markElsewhere(function (this: unknown, ...args: unknown[]): Promise<unknown> {
      return answer(this instanceof Answering ? this : new Answering(), args)
    })
    this.#functions.set(fn, { lent, by })
    return lent
  }

  offer(stream: object, kind: StreamKind, turn?: Turn): object {
    if (kind !== ITERABLE || 'getReader' in stream) {
      this.#keep(stream)
      return stream
    }
    if (runsElsewhere(stream)) return stream
    const known = this.#faces.get(stream)
    const face = known?.face.deref()
    if (known && face) {
      this.#given(known.by, turn)
      return face
    }
    const by = this.#by(turn)
    const made = new Face(new Reading(this, stream as AsyncIterable<unknown>, by))
    if (isIterator(stream)) this.#faces.set(stream, { face: new WeakRef(made), by })
    return made
  }

  /** Ends open iterables during deactivation, when no turn runs, so that their `finally` blocks run; undefined if none is open. */
  leaving(error: StageError): Promise<unknown> | undefined {
    this.ended = error
    return this.#readings.size > 0 ? Promise.all([...this.#readings].map((one) => one.end(error))) : undefined
  }

  /** Called when the activation is over: ends open iterables and forgets streams. */
  end(error: StageError): void {
    this.ended = error
    for (const one of [...this.#readings]) void one.end(error)
    this.#flowing.clear()
  }

  // ── host of its readings ──────────────────────────────────────────────────────────────────────────────────────

  begun(reading: Reading): void {
    this.#readings.add(reading)
  }

  over(reading: Reading): void {
    this.#readings.delete(reading)
  }

  /** Creates a turn that runs handed-out code. */
  turn(method: string, by: Givers, endsAt: number, done: Settle, task: Task): Turn {
    const { address, token, mailbox } = this.activation
    by.turns = by.turns.filter((id) => mailbox.runs(id))
    const turn = new Turn(method, [by.method], endsAt, { ...NOTHING, chain: by.turns.map((id) => `${address}#${token}.${id}`) }, done, task)
    turn.back = true
    turn.shared = by.readonly
    return turn
  }

  /** Queues a turn, or fails it if the activation is over. */
  push(turn: Turn): void {
    const { address, phase, mailbox } = this.activation
    if (phase === 'over') turn.answer(this.ended ?? new StageError('FENCED', `${address} has lost its claim`, { executed: 'no' }))
    else mailbox.push(turn)
  }

  report(thrown: unknown): void {
    const { address, host } = this.activation
    host.mesh.failed(thrown, { what: `closing an iterable that ${address} handed out`, unheard: true })
  }

  #call(fn: Callable, by: Givers, call: Answering, args: readonly unknown[]): Promise<unknown> {
    const { address, definition, host, mailbox } = this.activation
    const { clock, timeoutMs } = host.mesh
    return new Promise((resolve, reject) => {
      const failed = (error: StageError): void => {
        if (isThrown(error)) call.reported = true
        else call.failure = error
        reject(thrownBy(error))
      }
      if (mailbox.queued >= definition.mailbox) {
        return failed(new StageError('OVERLOADED', `${mailbox.queued} calls are waiting for ${address}`, { executed: 'no' }))
      }
      const endsAt = call.endsAt === Infinity ? clock.now() + timeoutMs : call.endsAt
      const turn = this.turn('@function', by, endsAt, (error, value) => {
        call.onend = undefined
        if (error) return failed(error)
        call.hand = turn
        resolve(value)
      }, () => fn(...args))
      call.onend = () => turn.cancel(unwanted(turn, 'the caller no longer waits for the answer'))
      this.push(turn)
    })
  }

  #by(turn: Turn | undefined): Givers {
    const by: Givers = { turns: [], readonly: turn !== undefined && turn.shared && !turn.own, method: turn?.method ?? '' }
    this.#given(by, turn)
    return by
  }

  #given(by: Givers, turn: Turn | undefined): void {
    if (!turn) return
    const { mailbox } = this.activation
    if (!turn.shared || turn.own) by.readonly = false
    const ids = [...turn.ended ? [] : [turn.id], ...turn.inner && mailbox.alone ? [mailbox.alone.id] : []]
    by.turns = [...new Set([...by.turns.filter((id) => mailbox.runs(id)), ...ids])]
  }

  /** Keeps the actor active until a stream ends or is garbage collected. */
  #keep(stream: object): void {
    if (this.#streams.has(stream)) return
    this.#streams.add(stream)
    const token = {}
    const over = (): void => { this.#flowing.delete(token) }
    try {
      finished((asNode(stream) ?? stream) as Duplex, over)
    } catch {
      return // claims to be a stream, but `finished` cannot watch it
    }
    this.#flowing.add(token)
    abandoned.register(stream, over)
  }
}

/** The iterator that the reader gets. Nothing here references it strongly, so that a reader that drops it is noticed. */
class Face implements AsyncIterableIterator<unknown> {
  constructor(private readonly reading: Reading) {}

  get [ELSEWHERE](): true {
    return true
  }

  next(...args: unknown[]): Promise<Result> {
    if (!this.reading.begun) abandoned.register(this, this.reading.abandon, this)
    return this.reading.next(args)
  }

  async return(value?: unknown): Promise<Result> {
    abandoned.unregister(this)
    await this.reading.leave()
    return { done: true, value }
  }

  async throw(error: unknown): Promise<Result> {
    await this.return()
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}

/** The reading of an actor's iterable; each step is a turn. */
class Reading {
  begun = false
  #iterator: AsyncIterator<unknown> | undefined
  /** Turns of `next()` calls that wait or run. */
  readonly #turns = new Set<Turn>()
  #over = false
  #left = false
  /** Whether `return()` of the source was called. */
  #returned = false
  #failure: StageError | undefined

  constructor(private readonly handed: HandedOut, private readonly source: AsyncIterable<unknown>, private readonly by: Givers) {}

  readonly abandon = (): void => { this.leave().catch((thrown: unknown) => { this.handed.report(thrown) }) }

  next(args: readonly unknown[]): Promise<Result> {
    const { handed } = this
    this.#failure ??= this.#over ? undefined : handed.ended
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#over) return Promise.resolve(DONE)
    this.#begin()
    return new Promise((resolve, reject) => {
      const turn = handed.turn(NEXT, this.by, Infinity, (error, value) => {
        this.#turns.delete(turn)
        if (this.#left) return resolve(DONE)
        if (error) {
          reject(this.#failure ?? thrownBy(error) as Error)
          return this.abandon()
        }
        if ((value as Result).done) this.#end()
        resolve(value as Result)
      }, () => this.#step(args))
      this.#turns.add(turn)
      handed.push(turn)
    })
  }

  /** Ends the reading on the reader's behalf: cancels its turns and the calls that they make, and runs `finally` as a turn. */
  leave(): Promise<void> {
    if (this.#over) return Promise.resolve()
    const { handed } = this
    this.#over = this.#left = true
    const running = [...this.#turns].some(({ id, ended }) => id > 0 && !ended)
    for (const turn of [...this.#turns]) turn.cancel(unwanted(turn, 'the reader has left'))
    if (!this.begun && !isIterator(this.source)) return Promise.resolve() // no code of the source has run
    taken.add(this.source)
    // return() ends the running turn of an iterator at once; a generator would only queue it
    if (running && !types.isGeneratorObject(this.#iterator)) this.#return().catch((thrown: unknown) => { handed.report(thrown) })
    return new Promise((resolve, reject) => {
      const turn = handed.turn(NEXT, this.by, Infinity, (error) => {
        this.#end()
        if (error && isThrown(error)) reject(thrownBy(error))
        else resolve()
      }, () => this.#return())
      handed.push(turn)
    })
  }

  /** Ends the reading with the activation, outside of turns. */
  async end(error: StageError): Promise<void> {
    this.#failure ??= error
    this.#end()
    try {
      await this.#return()
    } catch (thrown) {
      this.handed.report(thrown)
    }
  }

  #begin(): void {
    if (this.begun) return
    this.begun = true
    taken.add(this.source)
    this.handed.begun(this)
  }

  #end(): void {
    this.#over = true
    this.handed.over(this)
  }

  async #step(args: readonly unknown[]): Promise<Result> {
    this.#iterator ??= this.source[Symbol.asyncIterator]()
    const result: unknown = await this.#iterator.next(...args as [])
    if (typeof result !== 'object' || result === null) throw new TypeError('the iterator returned a value that is not a result of next()')
    const { done, value } = result as Result
    return done ? { done, value } : { done: false, value }
  }

  async #return(): Promise<void> {
    if (this.#returned) return
    this.#returned = true
    const iterator = this.#iterator ?? (isIterator(this.source) ? this.source : undefined)
    if (iterator) await outside(() => iterator.return?.())
  }
}

const isIterator = (source: object): source is AsyncIterator<unknown> =>
  typeof (source as Partial<AsyncIterator<unknown>>).next === 'function'

/** The error that cancels a turn whose result nobody wants. */
const unwanted = (turn: Turn, why: string): StageError =>
  new StageError('CANCELLED', why, { executed: turn.id === 0 ? 'no' : 'unknown' })

/** The exception of the actor's code, as a direct call would have thrown it; else the library's error. */
const thrownBy = (error: StageError): unknown => isThrown(error) ? error.cause : error
