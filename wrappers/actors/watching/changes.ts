/**
 * All watches of one stage at another share one stream of their link. Each item of the stream is a batch: notices, each
 * under the number that the watching stage gave to its watch, and the bytes of their values, each once. A notice larger
 * than a batch is sent in pieces, between the notices of other watches.
 */
import type { Duplex } from 'node:stream'
import { StageError, asError } from '../../../src/errors.js'
import { encode } from '../state/snapshot.js'
import type { Told, Watcher } from './watcher.js'

/** The service that answers with the stream, and the service by which the watching stage ends watches. */
export const CHANGES = '@changes'
export const UNWATCH = '@unwatch'

/** Limit of the watches over one link. A watch counts once for every ten of its properties, rounded up. */
export const WATCHES_MAX = 100_000
const NAMES_EACH = 10
/** Limits of one batch of several notices: bytes of values, and notices. */
const BATCH_BYTES = 64 * 1024
const BATCH_MAX = 256
/** A notice with more bytes is sent in pieces; up to this size it fits into a batch of its own. */
const LARGE_BYTES = 256 * 1024
export const PIECE_BYTES = 64 * 1024
/** Limit of an error's message, in characters. */
const TEXT_MAX = 1024

/** The activation that the values come from, and whether all their properties are durable. */
type Origin = readonly [epoch: number, activation: string, kept: boolean]

/**
 * A notice of one watch: the changed values, as pairs of the index of a name and the index of its bytes, with `whole` if
 * all its properties are included; or the reason why the watch has ended.
 */
export type Notice =
  | readonly [number: number, seq: number, version: number, values: readonly number[], whole?: Origin]
  | readonly [number: number, code: string, message: string]

/** One item of the stream, which may also carry a piece of a larger batch. */
export type Batch = readonly [values: readonly Buffer[], notices: readonly Notice[], piece?: Buffer, last?: boolean]

/** How much a watch of these properties counts against `WATCHES_MAX`. */
export const weightOf = (names: readonly string[]): number => Math.ceil(names.length / NAMES_EACH)

export const tooMany = (where: string): StageError =>
  new StageError('OVERLOADED', `${WATCHES_MAX} watches are open ${where}: no more until some have ended (a watch counts once for every ten properties, rounded up)`)

/**
 * The notices that go over one link, or within one stage. Notices are not queued: a watcher with news waits for its turn,
 * and its notice is made when the reader wants more. So a slow link costs no memory, because changes are merged or skipped
 * in the history of their actor, and a watcher with many changes does not delay the others.
 */
export class Changes implements AsyncIterableIterator<Batch> {
  readonly #watchers = new Map<number, Watcher>()
  /** Watchers with news, in the order of their turns. */
  readonly #ready = new Set<Watcher>()
  /** Watchers whose news is too large for one batch. */
  readonly #large = new Set<Watcher>()
  #weight = 0
  /** The notice that is being sent in pieces. */
  #pieces: { readonly bytes: Buffer; at: number; readonly of: Watcher } | undefined
  #asked: ((result: IteratorResult<Batch, undefined>) => void) | undefined
  #woken = false
  #ending = false
  #over = false

  /** @param link  name of the watching stage; undefined within one stage, where no limit applies */
  constructor(private readonly link: { readonly name: string } | undefined, private readonly onend: () => void = () => {}) {}

  /** @throws StageError OVERLOADED · BAD_ARGUMENT · CANCELLED */
  add(watcher: Watcher): void {
    const weight = weightOf(watcher.names)
    if (this.#over) throw new StageError('CANCELLED', 'the stream of watch notices over this link has ended')
    if (this.#watchers.has(watcher.number)) {
      throw new StageError('BAD_ARGUMENT', `a watch with the number ${watcher.number} is already open`)
    }
    if (this.link && this.#weight + weight > WATCHES_MAX) throw tooMany(`from ${this.link.name}`)
    this.#weight += weight
    this.#watchers.set(watcher.number, watcher)
  }

  remove(number: number): void {
    const watcher = this.#watchers.get(number)
    if (!watcher) return
    this.#watchers.delete(number)
    this.#ready.delete(watcher)
    this.#large.delete(watcher)
    this.#weight -= weightOf(watcher.names)
    watcher.end()
  }

  /** Whether the watcher waits for its turn, or its notice is being sent in pieces. */
  awaits(watcher: Watcher): boolean {
    return this.#ready.has(watcher) || this.#large.has(watcher) || this.#pieces?.of === watcher
  }

  /** Called when a watcher has news. */
  ready(watcher: Watcher): void {
    if (this.#watchers.get(watcher.number) !== watcher || this.awaits(watcher)) return
    this.#ready.add(watcher)
    this.#wake()
  }

  /** Ends the stream after the pending notices. */
  end(): void {
    this.#ending = true
    this.#wake()
  }

  next(): Promise<IteratorResult<Batch, undefined>> {
    return new Promise((resolve) => {
      this.#asked = resolve
      this.#tell()
    })
  }

  return(): Promise<IteratorResult<Batch, undefined>> {
    if (!this.#over) {
      this.#over = true
      for (const watcher of this.#watchers.values()) watcher.end()
      this.#watchers.clear()
      this.#ready.clear()
      this.#large.clear()
      this.#pieces = undefined
      this.onend()
    }
    this.#tell()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  /** Answers the reader later in the same tick, when all watchers of a change are ready, so that its bytes go into one batch. */
  #wake(): void {
    if (this.#woken || !this.#asked) return
    this.#woken = true
    queueMicrotask(() => {
      this.#woken = false
      this.#tell()
    })
  }

  #tell(): void {
    const asked = this.#asked
    const value = asked && !this.#over ? this.#batch() : undefined
    if (!asked || (!value && !this.#over && !this.#ending)) return
    this.#asked = undefined
    asked(value ? { done: false, value } : { done: true, value: undefined })
    if (!value) void this.return()
  }

  #batch(): Batch | undefined {
    const batch = new Filling()
    this.#fill(batch)
    if (!this.#pieces && this.#large.size > 0) this.#divide()
    const pieces = this.#pieces
    if (!pieces) return batch.notices.length > 0 ? [batch.values, batch.notices] : undefined
    const piece = pieces.bytes.subarray(pieces.at, pieces.at + PIECE_BYTES)
    pieces.at += piece.length
    const last = pieces.at === pieces.bytes.length
    if (last) {
      this.#pieces = undefined
      if (pieces.of.isBehind()) this.ready(pieces.of)
    }
    return [batch.values, batch.notices, piece, last]
  }

  /** Fills a batch with one notice per watcher in turn. */
  #fill(batch: Filling): void {
    const ready = this.#ready
    const largest = this.link ? LARGE_BYTES : Infinity
    for (const watcher of ready) { // a watcher with more news goes behind the others and is visited again
      if (batch.notices.length >= BATCH_MAX) return
      const { failed } = watcher
      const told = failed ? undefined : watcher.next()
      const bytes = told ? batch.costs(told) : 0
      if (bytes > 0 && batch.notices.length > 0 && batch.bytes + bytes > BATCH_BYTES) return // first in the next batch
      ready.delete(watcher)
      if (bytes > largest) {
        this.#large.add(watcher)
        continue
      }
      if (failed) {
        this.remove(watcher.number)
        batch.notices.push([watcher.number, failed.code, failed.message.slice(0, TEXT_MAX)])
      } else if (told) {
        batch.put(watcher, told)
        if (watcher.isBehind()) ready.add(watcher)
      }
    }
  }

  /** Begins to send a large notice. Only one is sent at a time, so that the reader buffers no more than one incomplete notice. */
  #divide(): void {
    for (const watcher of this.#large) {
      this.#large.delete(watcher)
      const told = watcher.next()
      if (told) try {
        const batch = new Filling()
        batch.put(watcher, told)
        this.#pieces = { bytes: encode([batch.values, batch.notices]), at: 0, of: watcher }
        return
      } catch (error) {
        watcher.fail(new StageError('BAD_ARGUMENT', `a watched value cannot be sent: ${asError(error).message}`, { cause: error }))
      }
      if (watcher.isBehind()) this.ready(watcher) // the watcher failed, here or before
    }
  }
}

/** A batch under construction. */
class Filling {
  readonly values: Buffer[] = []
  readonly notices: Notice[] = []
  bytes = 0
  readonly #at = new Map<Buffer, number>()

  /** By how many bytes a notice would grow the batch. */
  costs({ values }: Told): number {
    let bytes = 0
    for (const one of values.values()) if (!this.#at.has(one)) bytes += one.length
    return bytes
  }

  put(watcher: Watcher, told: Told): void {
    const { seq, version, values, whole } = told
    const pairs: number[] = []
    for (const [name, bytes] of values) {
      let at = this.#at.get(bytes)
      if (at === undefined) {
        this.#at.set(bytes, at = this.values.push(bytes) - 1)
        this.bytes += bytes.length
      }
      pairs.push(watcher.names.indexOf(name), at)
    }
    const { number } = watcher
    if (whole) this.notices.push([number, seq, version, pairs, [whole.epoch, whole.activation, whole.kept]])
    else this.notices.push([number, seq, version, pairs])
    watcher.took(told)
  }
}

/** The streams of changes to all stages that watch actors of this stage, by link. */
export class Notifying {
  readonly #byLink = new Map<Duplex, Changes>()

  /** Begins a stream, which replaces the link's previous stream and ends its watches. */
  open(link: Duplex, peer: string): Changes {
    void this.#byLink.get(link)?.return()
    const leave = (): void => void changes.return()
    const changes = new Changes({ name: peer }, () => {
      link.off('close', leave)
      if (this.#byLink.get(link) === changes) this.#byLink.delete(link)
    })
    this.#byLink.set(link, changes)
    link.once('close', leave)
    return changes
  }

  of(link: Duplex): Changes | undefined {
    return this.#byLink.get(link)
  }

  /** Called when all actors are deactivated: ends each stream after its last notices. */
  end(): void {
    for (const one of this.#byLink.values()) one.end()
  }

  close(): void {
    for (const one of [...this.#byLink.values()]) void one.return()
  }
}
