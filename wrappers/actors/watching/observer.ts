import { onAbort } from '../../../src/abort.js'
import { cancelled } from '../../../src/bounded.js'
import { StageError, asError } from '../../../src/errors.js'
import type { Mesh, Timer } from '../../../src/types.js'
import type { Refs } from '../../codec.js'
import { ELSEWHERE } from '../../codec/hand.js'
import type { Rpc } from '../../rpc/rpc.js'
import { WORD_MS } from '../calling/call.js'
import type { Subscription, Values } from './subscription.js'
import { decode } from '../state/snapshot.js'
import type { ObserveOptions } from '../types.js'

/** An update as a loop yields it. */
type UntypedUpdate = Record<string, unknown> & { version: number; reset?: true }

/** Limits of updates that wait for one loop in mode `every`; beyond them, waiting updates merge into one marked `reset`. */
const WAITING_MAX = 1024
const WAITING_MAX_BYTES = 4 * 1024 * 1024

interface Waiting {
  readonly values: Values
  readonly version: number
  readonly reset: boolean
  readonly bytes: number
}

interface Asked {
  /** Keeps the loop alive while its reader waits for an update. */
  readonly loop: Loop
  resolve(result: IteratorResult<UntypedUpdate, undefined>): void
  reject(error: Error): void
}

/** Short lists without `push`: most loops have at most one item waiting, and an array that has ever grown has room for seventeen. */
const NONE: never[] = []
const withOne = <T>(list: T[], one: T): T[] => list.length === 0 ? [one] : (list.push(one), list)
const without = <T>(list: T[]): T[] => list.length > 1 ? (list.shift(), list) : NONE

/** Ends the watches of garbage-collected loops, so that the watched actors need not stay active. */
const dropped = new FinalizationRegistry<Observer>((observer) => observer.return())

/** The iterator that `observe()` returns. The library holds no reference to it while nobody waits for its next update. */
export class Loop implements AsyncIterableIterator<UntypedUpdate> {
  constructor(private readonly observer: Observer) {
    dropped.register(this, observer)
  }

  next(): Promise<IteratorResult<UntypedUpdate, undefined>> {
    return this.observer.next(this)
  }

  return(): Promise<IteratorResult<UntypedUpdate, undefined>> {
    this.observer.return()
    return Promise.resolve({ done: true, value: undefined })
  }

  get [ELSEWHERE](): true {
    return true
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}

/** The updates of an actor for one loop. */
export class Observer {
  #queue: Waiting[] = NONE
  /** Bytes of waiting values, without values unchanged from the update before. */
  #bytes = 0
  #asked: Asked[] = NONE
  #failed: StageError | undefined
  #over = false
  #timer: Timer | undefined
  #unlisten: (() => void) | undefined

  constructor(
    private readonly subscription: Subscription, mesh: Mesh<Rpc>, private readonly options: ObserveOptions, private readonly refs: Refs,
  ) {
    const { signal, timeoutMs = mesh.timeoutMs } = options
    if (signal?.aborted) {
      this.#failed = cancelled(signal)
      return
    }
    if (signal) {
      this.#unlisten = onAbort(signal, () => {
        this.subscription.remove(this)
        this.#queue = NONE
        this.fail(cancelled(signal))
      })
    }
    // a loop that waits for its first value keeps the process alive until then
    this.#timer = mesh.clock.setTimeout(() => {
      subscription.remove(this)
      const late = `${subscription.address} could not be watched within ${timeoutMs} ms`
      this.fail(subscription.why() ?? new StageError('TIMEOUT', late, { phase: 'connecting' }))
    }, timeoutMs + WORD_MS, true)
    subscription.add(this, timeoutMs)
  }

  next(loop: Loop): Promise<IteratorResult<UntypedUpdate, undefined>> {
    const first = this.#queue[0]
    this.#queue = without(this.#queue)
    this.#bytes -= first?.bytes ?? 0
    if (first) {
      try {
        return Promise.resolve({ done: false, value: this.#shown(first) })
      } catch (error) {
        this.#spoil(error)
      }
    }
    if (this.#failed) {
      const error = this.#failed
      this.#failed = undefined
      this.#over = true
      this.#unlisten?.()
      return Promise.reject(error)
    }
    if (this.#over) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => { this.#asked = withOne(this.#asked, { loop, resolve, reject }) })
  }

  return(): void {
    this.#timer?.cancel()
    this.#unlisten?.()
    this.#over = true
    this.#queue = NONE
    this.subscription.remove(this)
    const asked = this.#asked
    this.#asked = NONE
    for (const one of asked) one.resolve({ done: true, value: undefined })
  }

  push(values: Values, version: number, reset: boolean): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const asked = this.#asked[0]
    if (asked) {
      this.#asked = without(this.#asked)
      try {
        return asked.resolve({ done: false, value: this.#shown({ values, version, reset }) })
      } catch (error) {
        this.#asked = [asked, ...this.#asked]
        return this.#spoil(error)
      }
    }
    const before = this.#queue.at(-1)
    const bytes = size(values, before?.values)
    const merge = before && (this.options.mode !== 'every' || this.#queue.length >= WAITING_MAX || this.#bytes + bytes > WAITING_MAX_BYTES)
    if (!merge) {
      this.#bytes += bytes
      this.#queue = withOne(this.#queue, { values, version, reset, bytes })
      return
    }
    // waiting updates are skipped; in mode `every` the gap is marked with `reset`
    this.#bytes = size(values)
    const gap = reset || this.options.mode === 'every' || this.#queue.some((one) => one.reset)
    this.#queue = [{ values, version, bytes: this.#bytes, reset: gap }]
  }

  /** Decodes an update for this loop alone, so that loops share no values. @throws StageError PROTOCOL_ERROR */
  #shown({ values, version, reset }: Omit<Waiting, 'bytes'>): UntypedUpdate {
    const shown: UntypedUpdate = { version }
    for (const [i, name] of this.subscription.names.entries()) shown[name] = values[i].length > 0 ? decode(values[i], this.refs) : undefined
    return reset ? { ...shown, reset } : shown
  }

  /** Ends the loop, because the owner sent values that cannot be decoded. */
  #spoil(error: unknown): void {
    this.subscription.remove(this)
    this.#queue = NONE
    this.fail(new StageError('PROTOCOL_ERROR', `a notice of ${this.subscription.address} cannot be read: ${asError(error).message}`))
  }

  /** Ends the loop with an error, after the updates that wait. */
  fail(error: StageError): void {
    this.#timer?.cancel()
    if (this.#queue.length === 0) this.#unlisten?.() // the signal can still drop waiting updates
    if (this.#over) return
    const asked = this.#asked
    this.#asked = NONE
    if (asked.length === 0) this.#failed = error
    else this.#over = true
    for (const one of asked) one.reject(error)
  }
}

/** Bytes of the values that differ from `before`. */
const size = (values: Values, before?: Values): number =>
  values.reduce((sum, bytes, i) => before?.[i] === bytes ? sum : sum + bytes.length, 0)
