import type { Duplex } from 'node:stream'
import { types } from 'node:util'
import type { ChainLink } from './chain.js'
import { destroy, isModern } from './destroy.js'
import { StageError, asError, describe } from './errors.js'
import type { Clock, LinkEnd, Timer, Top } from './types.js'

/** How long the other streams of a chain may take to follow a stream to its end, in milliseconds. */
const FOLLOW_MS = 500

/** The members that are read from a stream, which may be older than Node's present streams. */
type Any = Top & {
  _readableState?: { length?: number; buffered?: number }
  _writableState?: { ended?: boolean; finished?: boolean; emitClose?: boolean }
}

/** One watched stream of a chain. */
interface Part {
  readonly stream: Any
  /** The name of the stream in messages. */
  readonly what: string
  ended: boolean
  finished: boolean
  closed: boolean
  /** For an old stream, which may throw or say `close` at each destroy: `going` while a destroy runs, `gone` after the first. */
  going: boolean
  gone: boolean
}

export interface JoinedOptions {
  carrier: Duplex
  chain: readonly ChainLink[]
  end: LinkEnd
  clock: Clock
  /** Called when both directions are over. Received data may still wait to be read. */
  onover(): void
  /**
   * Called once when one of the streams has failed or closed, so that the others are destroyed.
   * @param reason  the error of that stream, if there was any
   * @param why     what happened, if there was none
   */
  onend(reason?: unknown, why?: string): void
}

/**
 * The streams of one link, which end as one: the carrier, and the output of each wrapper. The library's own layers pass
 * on every end, so in a chain without other wrappers only the carrier and the top are watched.
 */
export class Joined {
  readonly top: Top
  /** The stream of each wrapper, in the order of the chain. */
  readonly outputs: readonly Top[]
  /** A wrapper's stream was the first to fail, rather than the carrier. */
  byWrapper = false
  /** The carrier, the streams of wrappers that are not the library's, and the top; each once. */
  readonly #parts: Part[] = []
  readonly #carrier: Part
  readonly #top: Part
  /** Whether a wrapper that is not the library's is in the chain, and whether it is the top. */
  readonly #own: boolean
  readonly #ownTop: boolean
  #building: { failure?: { reason: unknown } } | undefined = {}
  /** The stream that was destroyed first. Streams below it may report their end earlier, and without the reason. */
  #first: [part: Part, reason: unknown, why: string | undefined] | undefined
  #done = false
  #timer: Timer | undefined

  /** @throws StageError BAD_ARGUMENT which wrapper failed; earlier outputs are destroyed then, the carrier is not */
  constructor(private readonly options: JoinedOptions) {
    const { carrier, chain, end } = options
    this.#own = chain.some((one) => !one.infallible)
    this.#ownTop = chain.at(-1)?.infallible === false
    this.#carrier = this.#watch(carrier, 'the carrier')
    if (this.#own) this.#hook(this.#carrier)
    const outputs: Top[] = []
    let top: Top = carrier
    for (const { name, wrap, infallible } of chain) {
      try {
        top = checked(wrap(top, end))
        top.on('error', nothing)
        if (!infallible && top !== carrier && !outputs.includes(top)) this.#hook(this.#watch(top, `the stream of the wrapper ${name}`))
        outputs.push(top)
        if (this.#building?.failure) throw this.#building.failure.reason
      } catch (thrown) {
        const error = new StageError('BAD_ARGUMENT', `the wrapper ${name} failed: ${asError(thrown).message}`, { cause: thrown })
        this.#done = true
        for (const output of new Set(outputs.reverse())) if (output !== carrier) destroy(output, error)
        throw error
      }
    }
    this.#building = undefined
    this.top = top
    this.outputs = outputs
    this.#top = this.#parts.find((part) => part.stream === top) ?? this.#watch(top, 'the top of the chain')
  }

  /** The users of the link ended both directions. */
  get parted(): boolean {
    const { readableEnded, writableFinished } = this.#carrier.stream
    return (readableEnded && writableFinished) || (this.#ownTop && isOver(this.#top))
  }

  /** Tells the peer that nothing more comes. @param unread  nobody reads the incoming data, which has to end */
  end(unread: boolean): void {
    try {
      if (unread) this.top.resume()
      if (!isOver(this.#top)) this.top.end()
    } catch {
      // a foreign stream, which is destroyed soon
    }
  }

  /** Destroys all streams. After a good end, outputs are left to their readers if any of them holds unread data. */
  destroy(error?: StageError): void {
    this.#done = true
    this.#timer?.cancel()
    const { stream } = this.#carrier
    // the carrier is reset before an old stream, which can only be ended, says goodbye over it
    if (error && this.#own) stream.destroy(error)
    const unread = !error && this.#ownTop && this.outputs.some((output) => held(output) > 0)
    for (const output of unread ? [] : new Set([...this.outputs].reverse())) {
      const part = this.#parts.find((one) => one.stream === output)
      // a stream that has closed by itself is not destroyed again, unless it only said so
      if (part) {
        if (!part.closed || output.destroyed === false) kill(part, error)
      } else destroy(output, error)
    }
    stream.destroy(error)
  }

  #watch(stream: Top, what: string): Part {
    const part: Part = { stream, what, ended: false, finished: false, closed: false, going: false, gone: false }
    this.#parts.push(part)
    stream.on('error', (error: unknown) => this.#end(part, error ?? new Error(`${what} emitted 'error' without an error`)))
    stream.on('close', () => this.#onclose(part))
    if (this.#own) {
      stream.on('end', () => { part.ended = true; this.#follow() })
      stream.on('finish', () => { part.finished = true; this.#follow() })
    }
    return part
  }

  /** Intercepts `destroy`, as not every stream reports that it was destroyed, or with which error. */
  #hook(part: Part): void {
    const { stream, what } = part
    const original = stream.destroy as ((...args: unknown[]) => Top) | undefined
    if (typeof original !== 'function') return
    const hooked = (...args: unknown[]): Top => {
      if (part.going) return original.apply(stream, args)
      const reason = args[0] ?? undefined
      // the user has written everything, and reads no more: that is a goodbye
      if (!this.#building && part === this.#top && reason === undefined && hasFinished(part)) part.ended = true
      const why = part === this.#carrier ? undefined : `${what} was destroyed`
      const error = reason === undefined ? new Error(`${what} was destroyed`) : asError(reason)
      const first = !this.#done && !part.closed && !isOver(part) && !this.#first
      if (first) {
        part.closed = true
        this.#first ??= [part, reason, why]
        // to a peer that has not said goodbye itself, the end must not look like a goodbye
        if (!this.#building && (reason !== undefined || !this.#top.ended)) this.#carrier.stream.destroy(error)
      }
      try {
        // a stream of Node's that does not emit `close` reports a destroy only by its error
        if (isModern(stream)) return original.apply(stream, first && stream._writableState?.emitClose === false ? [error] : args)
        kill(part, first ? error : undefined)
        return stream
      } finally {
        if (first) this.#end(part, reason, why)
      }
    }
    try {
      stream.destroy = hooked
    } catch {
      // the stream is frozen: its events have to do
    }
  }

  #onclose(part: Part): void {
    part.closed = true
    if (isOver(part) && (this.#ownTop || (part !== this.#carrier && part !== this.#top))) return this.#follow()
    // if several streams closed in one step, another may know why
    const reason = this.#own ? this.#parts.find(({ stream }) => stream.errored)?.stream.errored : undefined
    this.#end(part, reason, part === this.#carrier ? undefined : `${part.what} was closed`)
  }

  #end(...ended: [part: Part, reason?: unknown, why?: string | undefined]): void {
    const [part, reason, why] = this.#first ?? ended
    if (this.#building) this.#building.failure ??= { reason: reason ?? new Error(why) }
    if (this.#done || this.#building) return
    this.#done = true
    this.#timer?.cancel()
    this.byWrapper = part !== this.#carrier
    this.options.onend(reason, why)
  }

  // ── one stream has ended, and the others should follow ──────────────────────────────────────────────────────────────

  #follow(): void {
    const carrier = this.#carrier
    if (this.#done || this.#building) return
    const over = this.#ownTop && isOver(this.#top)
    if (over && carrier.closed) return this.#end(carrier)
    if (this.#ownTop && (carrier.closed || (over && carrier.finished))) return this.options.onover()
    if (!over && !this.#alone()) return
    this.#timer ??= this.options.clock.setTimeout(() => {
      this.#timer = undefined
      const alone = this.#alone()
      if (this.#ownTop && isOver(this.#top)) carrier.stream.end()
      else if (alone && this.outputs.some((output) => held(output) > 0)) this.#follow()
      else if (alone) this.#end(alone, undefined, `${alone.what} has ended, but the streams above it in the chain have not`)
    }, FOLLOW_MS)
  }

  /** A stream that has ended by itself: it ended reading before all streams below, or it ended writing before the top. */
  #alone(): Part | undefined {
    const top = this.#top
    const ended = this.#parts.find((part) => part.ended)
    if (ended && ended !== this.#carrier && !top.ended) return ended
    return endsWriting(top.stream) ? undefined : this.#parts.findLast((part) => part !== top && hasFinished(part))
  }
}

function kill(part: Part, error?: Error): void {
  if (part.gone && !isModern(part.stream)) return
  part.gone = part.going = true
  destroy(part.stream, error)
  part.going = false
}

const nothing = (): void => {}

/** Number of unread bytes or objects. */
const held = (stream: Any): number => stream.readableLength ?? stream._readableState?.length ?? stream._readableState?.buffered ?? 0

const endsWriting = (stream: Any): boolean => stream.writableEnded ?? stream._writableState?.ended ?? stream.writable === false

/** The oldest streams only say so in `writable`, and emit nothing. */
const hasFinished = ({ stream, finished }: Part): boolean =>
  finished || (stream._writableState ? stream._writableState.finished === true : stream.writable === false)

const isOver = (part: Part): boolean => part.ended && hasFinished(part)

/** The output of a wrapper, if it is a stream. */
function checked(returned: unknown): Top {
  const stream = returned as Partial<Top> | null | undefined
  if (typeof stream?.on === 'function' && (typeof stream.write === 'function' || typeof stream.pipe === 'function')) {
    if (!stream.destroyed) return stream as Top
    throw new TypeError('the returned stream is destroyed')
  }
  const late = types.isPromise(returned)
  if (late) returned.then((value) => { if (typeof value === 'object' && value !== null) destroy(value) }, () => {})
  throw new TypeError(`it returned ${late ? 'a promise' : describe(returned)}: a wrapper must return a stream`)
}
