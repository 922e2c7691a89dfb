import { onAbort } from '../../src/abort.js'
import { cancelled } from '../../src/bounded.js'
import { StageError, asError, describe } from '../../src/errors.js'
import type { Mesh, Timer } from '../../src/types.js'
import type { Rpc } from '../rpc/rpc.js'
import { WORD_MS } from './call.js'
import type { Told } from './history.js'
import { NOTHING, decode, type Image } from './image.js'
import { isPublic } from './members.js'
import { UNREACHED } from './route.js'
import type { Routes } from './routes.js'
import { WATCH } from './tasks.js'
import type { ActorCallOptions, ObserveOptions } from './types.js'

type Mode = 'latest' | 'every'
/** What a loop is given. */
type Shown = Record<string, unknown> & { version: number; reset?: true }

/** Updates that wait for one loop, in mode `every`; beyond them it gets one that is marked `reset`. */
const WAITING_MAX = 1024
const WAITING_MAX_BYTES = 4 * 1024 * 1024
const PAUSE_MS = 100
const PAUSE_MAX_MS = 2000
/** An owner of the past is found out by then; one that is still there is the owner, of a store that has lost its own past. */
const PAST_MS = 40_000
/** Another try cannot mend these. That the owner is closed, or has put the actor away, is no end: it is elsewhere next. */
const FINAL: ReadonlySet<string> = new Set(['NO_SUCH_PROPERTY', 'BAD_ARGUMENT', 'BAD_NAME'])
/** Why a try ended that another one may mend. */
const AGAIN: ReadonlySet<string> = new Set([...UNREACHED, 'FENCED', 'CLOSED'])
const RESERVED: ReadonlySet<string> = new Set(['version', 'reset'])

/** All that this stage watches. Loops over the same properties share one stream of changes. */
export class Observers {
  readonly #feeds = new Map<string, Feed>()
  #closed = false

  constructor(private readonly mesh: Mesh<Rpc>, private readonly routes: Routes) {}

  /** @throws StageError BAD_ARGUMENT · CLOSED */
  observe(address: string, names: readonly string[], options: ObserveOptions): Observer {
    if (!isList(names)) throw new StageError('BAD_ARGUMENT', `observe() got ${describe(names)}: expected the names of properties, at least one`)
    const { mode = 'latest' } = options
    if (mode !== 'latest' && mode !== 'every') throw new StageError('BAD_ARGUMENT', `mode is ${describe(mode)}: expected 'latest' or 'every'`)
    for (const name of names) {
      if (RESERVED.has(name)) throw new StageError('BAD_ARGUMENT', `a property named ${name} cannot be watched: each update has a field of that name`)
      if (!isPublic(name)) throw new StageError('NO_SUCH_PROPERTY', `${describe(name)} cannot be a public property`)
    }
    if (this.#closed) throw new StageError('CLOSED', 'this stage is closed')
    const sorted = [...new Set(names)].sort()
    const key = JSON.stringify([address, mode, ...sorted])
    let feed = this.#feeds.get(key)
    if (!feed) {
      feed = new Feed(this.mesh, this.routes, address, sorted, mode, () => this.#feeds.delete(key))
      this.#feeds.set(key, feed)
    }
    const observer = new Observer(feed, this.mesh, options)
    if (feed.size === 0) this.#feeds.delete(key) // its signal had fired before
    return observer
  }

  get stats(): Record<string, number> {
    return { observers: [...this.#feeds.values()].reduce((sum, feed) => sum + feed.size, 0) }
  }

  close(): void {
    this.#closed = true
    for (const feed of [...this.#feeds.values()]) feed.fail(new StageError('CLOSED', 'this stage was closed'))
  }
}

/** The changes of some properties of one actor, wherever it is, for all the loops here that watch them. */
class Feed {
  readonly #observers = new Set<Observer>()
  #image: Image = NOTHING
  #version = 0
  #where: { epoch: number; activation: string; seq: number } | undefined
  /** Words of an owner of the past: the first and the last one in a row. */
  #past: { readonly since: number; at: number } | undefined
  #stream: AsyncIterator<Told> | undefined
  /** Takes back the call that asks for the stream. */
  #asking: AbortController | undefined
  #pause: { timer: Timer; go(): void } | undefined
  #over = false
  /** Why there is no value yet. */
  failure: StageError | undefined

  constructor(private readonly mesh: Mesh<Rpc>, private readonly routes: Routes, readonly address: string, private readonly names: readonly string[], private readonly mode: Mode, private readonly onend: () => void) {}

  get size(): number {
    return this.#observers.size
  }

  /** @param timeoutMs  how long it waits for the first value */
  add(observer: Observer, timeoutMs: number): void {
    this.#observers.add(observer)
    if (this.#where) observer.push(this.#image, this.#version, false)
    if (this.#observers.size === 1 && !this.#where) void this.#run(timeoutMs)
  }

  remove(observer: Observer): void {
    if (this.#observers.delete(observer) && this.#observers.size === 0) this.#end()
  }

  fail(error: StageError): void {
    const all = [...this.#observers]
    this.#observers.clear()
    this.#end()
    for (const observer of all) observer.fail(error)
  }

  /** Why nothing has come so far, if that is known. */
  why(): StageError | undefined {
    const { failure, address } = this
    // that of one try: the loop has tried on until its time was over
    if (failure) return AGAIN.has(failure.code) ? new StageError('TIMEOUT', `${address} could not be watched in time: ${failure.message}`, { phase: 'connecting', cause: failure }) : failure
    const why = this.routes.why(this.address, `watching ${this.address}`)
    return why.code === 'NO_SUCH_ACTOR' ? why : undefined
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.onend()
    this.#pause?.go()
    this.#asking?.abort()
    this.#leave()
  }

  /** The owner need not tell any more. */
  #leave(): void {
    void this.#stream?.return?.().catch(() => {})
    this.#stream = undefined
  }

  async #run(timeoutMs: number): Promise<void> {
    let pause = PAUSE_MS
    let options: ActorCallOptions = { timeoutMs } // so that the owner says where the time went
    while (!this.#over) {
      try {
        const stream = this.#stream = (await this.#open(options))[Symbol.asyncIterator]()
        if (this.#over) return void stream.return?.()
        for (let next = await stream.next(); !next.done; next = await stream.next()) {
          if (this.#over) return
          this.#apply(checked(next.value, this.names))
          pause = PAUSE_MS
        }
      } catch (error) {
        if (this.#over) return
        this.failure = error as StageError
        if (FINAL.has(this.failure.code)) return this.fail(this.failure)
      }
      this.#leave()
      options = {}
      await new Promise<void>((resolve) => { this.#pause = { go: resolve, timer: this.mesh.clock.setTimeout(resolve, pause) } })
      this.#pause?.timer.cancel()
      pause = Math.min(PAUSE_MAX_MS, pause * 2)
    }
  }

  #open(options: ActorCallOptions): Promise<AsyncIterable<Told>> {
    const seen = this.#where && { activation: this.#where.activation, seq: this.#where.seq }
    const { signal } = this.#asking = new AbortController()
    return new Promise((resolve, reject) => {
      this.routes.call(this.address, WATCH, [this.names, this.mode, seen], { ...options, signal }, undefined, (error, value) => {
        this.#asking = undefined
        if (error) reject(error)
        else resolve(value as AsyncIterable<Told>)
      })
    })
  }

  #apply(told: Told): void {
    const { whole } = told
    const before = this.#where
    if (!whole) {
      if (!before || told.seq <= before.seq) return
      before.seq = told.seq
      this.#past = undefined
      this.#show(new Map([...this.#image, ...told.values]), told.version, false)
      return
    }
    const past = before !== undefined && whole.epoch < before.epoch
    const now = this.mesh.clock.now()
    if (past) {
      if (!this.#past || now - this.#past.at > PAST_MS / 2) this.#past = { since: now, at: now } // another one
      this.#past.at = now
      if (now - this.#past.since < PAST_MS) throw new StageError('FENCED', `${this.address} was watched at an owner of the past`)
    }
    this.#past = undefined
    const version = this.#version
    const same = before?.activation === whole.activation
    this.#where = { epoch: whole.epoch, activation: whole.activation, seq: told.seq }
    if (same && told.seq === before.seq) return
    // elsewhere, at the version that was seen last: nothing is missing; before the first commit each activation has its own
    if (before && !same && !past && whole.kept && told.version === version && equal(this.#image, told.values)) {
      this.#image = told.values
      return
    }
    this.#show(told.values, told.version, before !== undefined && (!same || this.mode === 'every'))
  }

  #show(image: Image, version: number, reset: boolean): void {
    this.#image = image
    this.#version = version
    for (const observer of [...this.#observers]) observer.push(image, version, reset)
  }
}

/** What an owner tells, which may be anything. @throws StageError PROTOCOL_ERROR */
function checked(told: Told, names: readonly string[]): Told {
  const { seq, version, values, whole } = (told ?? {}) as Partial<Told>
  const good = Number.isSafeInteger(seq) && Number.isSafeInteger(version) && values instanceof Map && values.size <= names.length &&
    [...values].every(([name, bytes]) => names.includes(name as string) && Buffer.isBuffer(bytes)) &&
    (whole === undefined || (values.size === names.length && Number.isSafeInteger(whole?.epoch) && typeof whole.activation === 'string'))
  if (!good) throw new StageError('PROTOCOL_ERROR', `an owner tells ${describe(told)} of ${names.join(', ')}`)
  return told
}

const equal = (a: Image, b: Image): boolean => a.size === b.size && [...a].every(([name, bytes]) => b.get(name)?.equals(bytes))

const isList = (names: readonly string[]): boolean => Array.isArray(names) && names.length > 0

interface Waiting {
  readonly image: Image
  readonly version: number
  readonly reset: boolean
  readonly bytes: number
}

/** One loop over the updates of an actor. */
export class Observer implements AsyncIterableIterator<Shown> {
  #queue: Waiting[] = []
  /** Of what waits and is not the same as in front of it. */
  #bytes = 0
  readonly #asked: { resolve(result: IteratorResult<Shown, undefined>): void; reject(error: Error): void }[] = []
  #failed: StageError | undefined
  #over = false
  #started = false
  #timer: Timer | undefined
  #unlisten: (() => void) | undefined

  constructor(private readonly feed: Feed, mesh: Mesh<Rpc>, private readonly options: ObserveOptions) {
    const { signal, timeoutMs = mesh.timeoutMs } = options
    if (signal?.aborted) {
      this.#failed = cancelled(signal)
      return
    }
    if (signal) this.#unlisten = onAbort(signal, () => { this.feed.remove(this); this.#queue = []; this.fail(cancelled(signal)) })
    // whoever waits for the first value keeps the process alive until then
    this.#timer = mesh.clock.setTimeout(() => {
      feed.remove(this)
      this.fail(feed.why() ?? new StageError('TIMEOUT', `${feed.address} could not be watched within ${timeoutMs} ms`, { phase: 'connecting' }))
    }, timeoutMs + WORD_MS, true)
    feed.add(this, timeoutMs)
  }

  next(): Promise<IteratorResult<Shown, undefined>> {
    const first = this.#queue.shift()
    this.#bytes -= first?.bytes ?? 0
    if (first) {
      try {
        return Promise.resolve({ done: false, value: shown(first) })
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
    return new Promise((resolve, reject) => { this.#asked.push({ resolve, reject }) })
  }

  return(): Promise<IteratorResult<Shown, undefined>> {
    this.#timer?.cancel()
    this.#unlisten?.()
    this.#over = true
    this.#queue = []
    this.feed.remove(this)
    for (const one of this.#asked.splice(0)) one.resolve({ done: true, value: undefined })
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  push(image: Image, version: number, reset: boolean): void {
    if (!this.#started) this.#timer?.cancel()
    this.#started = true
    const asked = this.#asked.shift()
    if (asked) {
      try {
        return asked.resolve({ done: false, value: shown({ image, version, reset }) })
      } catch (error) {
        this.#asked.unshift(asked)
        return this.#spoil(error)
      }
    }
    const before = this.#queue.at(-1)
    const bytes = size(image, before?.image)
    const merge = before && (this.options.mode !== 'every' || this.#queue.length >= WAITING_MAX || this.#bytes + bytes > WAITING_MAX_BYTES)
    if (!merge) {
      this.#bytes += bytes
      return void this.#queue.push({ image, version, reset, bytes })
    }
    // what waits is passed over: in mode `every` that is a gap, and said so
    this.#bytes = size(image)
    this.#queue = [{ image, version, bytes: this.#bytes, reset: reset || this.options.mode === 'every' || this.#queue.some((one) => one.reset) }]
  }

  /** Its owner tells what cannot be read. */
  #spoil(error: unknown): void {
    this.feed.remove(this)
    this.#queue = []
    this.fail(new StageError('PROTOCOL_ERROR', `what is told of ${this.feed.address} cannot be read: ${asError(error).message}`))
  }

  /** The last thing that it yields. */
  fail(error: StageError): void {
    this.#timer?.cancel()
    if (this.#queue.length === 0) this.#unlisten?.() // what waits can still be left by the signal
    if (this.#over) return
    const asked = this.#asked.splice(0)
    if (asked.length === 0) this.#failed = error
    else this.#over = true
    for (const one of asked) one.reject(error)
  }
}

/** Of what is not the same as before. */
const size = (image: Image, before?: Image): number => [...image].reduce((sum, [name, bytes]) => before?.get(name) === bytes ? sum : sum + bytes.length, 0)

const shown = ({ image, version, reset }: Omit<Waiting, 'bytes'>): Shown => ({
  ...Object.fromEntries([...image].map(([name, bytes]) => [name, bytes.length > 0 ? decode(bytes) : undefined])),
  version,
  ...(reset ? { reset } : {}),
})
