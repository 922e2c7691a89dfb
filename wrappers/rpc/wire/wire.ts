import { StageError, asError } from '../../../src/errors.js'
import type { Writer } from '../../../src/writer.js'
import type { Codec, Refs } from '../../codec.js'
import type { Hand } from '../../codec/hand.js'
import type { Clock } from '../../../src/types.js'
import type { Framed } from '../../framing.js'
import {
  CANCEL, CONGESTED_BYTES, DATA, HEAD, HELD_MAX_BYTES, MESSAGE_MAX_BYTES, METHODS, OPEN, PART, PARTS_WINDOW_BYTES,
  PIECE_MAX_BYTES, READ, RESET, type WireError,
} from './messages.js'
import { Held, Unfinished } from '../serving/held.js'
import { Inbox, append } from './inbox.js'
import { Outbox } from './outbox.js'
import { Scheduler } from './scheduler.js'

/** How long after a call streams and large messages leave room for the next call. */
const CALLED_MS = 5
/** Turns of the event loop between their sends; every few rounds the last turn is a pause. */
const REST_TURNS = 6
const PAUSE_ROUNDS = 4
const PAUSE_MS = 1
/** Memory per encoded byte, for a codec that does not weigh its values. */
const UNWEIGHED = 8

export interface WireBudgets {
  readonly answers: Held
  readonly unfinished: Unfinished
}
const NO_BUDGETS = (): WireBudgets => ({ answers: new Held(Infinity), unfinished: new Unfinished(Infinity) })

/** Writes and reads the messages of `messages.ts` on the frames of one link. */
export class Wire {
  /** Nothing is written any more. */
  closed = false
  /** Largest piece of a stream in one frame: the usual chunk of a source makes two equal pieces. */
  readonly maxPieceBytes: number
  readonly scheduler: Scheduler
  /** Wraps the functions and streams in the value that is being encoded, if their owner asks for that. */
  hand: Hand | undefined
  readonly #outbox: Outbox
  readonly #inbox: Inbox
  /** Bytes of PARTs that were read and not yet reported to the peer. */
  #unsaid = 0
  /** Id and type of the frame that comes in pieces. */
  #dividing = 0
  #divided = DATA
  /** When a call was last sent or came, by the clock. */
  calledAt = -Infinity
  #resting = false
  #rounds = 0
  #nextId: number
  #lastId: number

  /** @param budgets  of the process, for answers that wait and for incomplete messages */
  constructor(
    private readonly framed: Framed,
    private readonly codec: Codec,
    private readonly refs: Refs,
    private readonly clock: Clock,
    dialled: boolean,
    { answers, unfinished }: WireBudgets = NO_BUDGETS(),
  ) {
    this.maxPieceBytes = Math.min(PIECE_MAX_BYTES, framed.maxFrameBytes - HEAD)
    this.scheduler = new Scheduler(() =>
      this.#resting || framed.held > CONGESTED_BYTES || framed.full || framed.encoding || framed.destroyed)
    this.#outbox = new Outbox(framed, this.scheduler, clock, answers)
    this.#inbox = new Inbox(framed, unfinished)
    this.#nextId = dialled ? 1 : 2
    this.#lastId = dialled ? 0 : 0xffffffff
  }

  /** Bytes held for the peer. */
  get held(): number {
    return this.framed.held + this.#outbox.held
  }

  /** The part of `held` that does not belong to answers. */
  get asking(): number {
    return this.held - this.#outbox.answering
  }

  /** How many bytes of answers may still be held: more exceed the limit, or come close to closing the link. */
  get room(): number {
    return Math.min(HELD_MAX_BYTES - this.#outbox.answering, 2 * HELD_MAX_BYTES - MESSAGE_MAX_BYTES - this.held)
  }

  /** Calls `fn` whenever a large message begins to wait for the peer. */
  onstopped(fn: () => void): void {
    this.#outbox.onstopped = fn
  }

  /** Since when a large message waits for the peer to read, by the clock; else Infinity. */
  get stoppedSince(): number {
    return this.#outbox.stoppedSince
  }

  /** No message waits to be sent. */
  get empty(): boolean {
    return this.#outbox.held === 0
  }

  newId(): number {
    const id = this.#nextId
    this.#nextId = (id + 2) >>> 0 || 2 // 0 is the link's own stream
    return id
  }

  /** Accepts a new id of the peer: it has the other parity and goes up, so that none is served twice. @throws StageError PROTOCOL_ERROR */
  fresh(id: number): void {
    if (this.#ours(id)) throw new StageError('PROTOCOL_ERROR', `the id ${id} belongs to this end`)
    if (((id - this.#lastId) | 0) <= 0) throw new StageError('PROTOCOL_ERROR', `the id ${id} was used before`)
    this.#lastId = id
  }

  /** Accepts the id of a call that came in parts, of which the first has taken it. @throws StageError PROTOCOL_ERROR: no part takes such an id */
  taken(id: number): void {
    if (id === 0 || this.#ours(id)) throw new StageError('PROTOCOL_ERROR', `a call in parts has the id ${id}, which is none of the peer's`)
  }

  /** Checks that an id was used: messages about an id may come too late, but not too early. @throws StageError PROTOCOL_ERROR */
  known(id: number): void {
    const last = this.#ours(id) ? this.#nextId - 2 : this.#lastId
    if (((id - last) | 0) > 0) throw new StageError('PROTOCOL_ERROR', `the id ${id} was never used`)
  }

  #ours(id: number): boolean {
    return ((id ^ this.#nextId) & 1) === 0
  }

  // ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins a message of at least `size` bytes, for which the writer has room; for more the writer must be asked. */
  begin(type: number, id: number, size = 256): Writer {
    const writer = this.framed.begin(size)
    writer.bytes[writer.at++] = type
    putU32(writer, id)
    return writer
  }

  /**
   * Ends the message that was begun, with a value.
   * @param ordered  whether the message brings a new id
   * @param hand     wraps the functions and streams in the value before they go to the peer
   * @throws StageError BAD_ARGUMENT, and nothing was written
   */
  finish(id: number, writer: Writer, value: unknown, ordered: boolean | Offering, hand?: Hand): void {
    this.hand = hand
    try {
      this.#encode(value, writer)
    } finally {
      this.hand = undefined
    }
    this.#commit(id, typeof ordered === 'boolean' ? ordered : ordered.offering)
  }

  #encode(value: unknown, writer: Writer): void {
    try {
      this.codec.encode(value, writer, this.refs)
    } catch (thrown) {
      this.framed.cancel()
      this.scheduler.pump() // a getter may have written to a stream, whose data waited for this frame
      if (thrown instanceof StageError) throw thrown
      throw new StageError('BAD_ARGUMENT', `the value could not be encoded: ${asError(thrown).message}`, { cause: thrown })
    }
  }

  /** Writes a message with a value. @param ordered  asked once the value is encoded: whether it brings new ids */
  value(type: number, id: number, value: unknown, ordered: boolean | Offering = false, hand?: Hand): void {
    if (!this.closed) this.finish(id, this.begin(type, id), value, ordered, hand)
  }

  /**
   * Ends a stream with an error, at once, as bytes of other streams must not come before the end that makes room for them;
   * without the cause of the error if the cause cannot be sent, or is larger than a frame.
   */
  reset(id: number, error: WireError): void {
    if (this.closed) return
    if (this.framed.encoding) return behind(() => this.reset(id, error))
    try {
      this.#encode(error, this.begin(RESET, id))
      this.framed.commit()
    } catch (failed) {
      if (error.cause === undefined) throw failed
      return this.reset(id, { ...error, cause: undefined })
    }
    this.#check()
  }

  /** Writes a message without a value, or with a number, ahead of all messages that wait. */
  signal(type: number, id: number, number?: number): void {
    if (this.closed) return
    if (this.framed.encoding) return behind(() => this.signal(type, id, number))
    this.#signal(type, id, number)
    this.framed.commit()
    this.#check()
  }

  /** The same, but in sequence with all messages that bring a new id, whether this message brings one or not. */
  order(type: number, id: number, number?: number): void {
    if (this.closed) return
    this.#signal(type, id, number)
    this.#commit(type === OPEN ? id : 0, true) // in other types the number is not a new id
  }

  /** The same, right behind the message that brings `id`, which may still wait here. */
  follow(type: number, id: number, number?: number): void {
    if (this.closed) return
    if (this.framed.encoding) return behind(() => this.follow(type, id, number))
    this.#signal(type, id, number)
    if (this.#outbox.held === 0) this.framed.commit()
    else {
      const message = this.framed.detach()
      if (!this.#outbox.behind(id, message)) this.framed.frame(message)
    }
    this.#check()
  }

  data(id: number, piece: Buffer): void {
    if (this.closed) return
    this.#outbox.poured = true
    const writer = this.begin(DATA, id, HEAD + piece.length)
    writer.at += piece.copy(writer.bytes, writer.at)
    this.framed.commit()
  }

  /** Writes a whole message without an id that was encoded before, for many peers. */
  encoded(message: Buffer): void {
    if (this.closed) return
    if (message.length <= this.framed.maxFrameBytes && !this.#outbox.ordered) this.framed.frame(message)
    else this.#outbox.order(0, message)
  }

  /**
   * Everything was handed to the carrier: sources that wait for their turns go on. If calls go over the same link, sources
   * go on a few turns of the event loop later, so that both ends poll more often, and every few rounds after a pause. Stream
   * data soon becomes garbage: in a program of few megabytes V8 marks fifty times a second, and a peer that sends as fast
   * as it can leaves V8 no core but that of the calls. Measured on two cores: without the pauses a stream is three times as
   * fast, and the p99 of calls six times as long.
   */
  flushed(): void {
    const { poured } = this.#outbox
    if (this.#resting || (this.scheduler.empty && !poured)) return
    this.#outbox.poured = false
    // no rest if only small calls wait for a full carrier: the rest is meant to leave room for calls
    if (!poured || this.clock.now() - this.calledAt > CALLED_MS) return this.scheduler.pump()
    this.#resting = true
    this.#rounds++
    this.#rest(REST_TURNS)
  }

  #rest(turns: number): void {
    if (this.closed) return
    const pause = turns === 1 && this.#rounds % PAUSE_ROUNDS === 0
    this.clock.setTimeout(() => {
      if (turns > 1) return this.#rest(turns - 1)
      this.#resting = false
      this.scheduler.pump()
    }, pause ? PAUSE_MS : 0, true)
  }

  /** Removes the message that brings `id`. @returns 'unsent', 'begun', or undefined if it has left */
  withdraw(id: number): 'unsent' | 'begun' | undefined {
    return this.#outbox.held === 0 ? undefined : this.#outbox.withdraw(id)
  }

  /** Whether the message that brings `id` still waits; `onsent` is called when it has left. */
  awaits(id: number, onsent: () => void): boolean {
    return this.#outbox.held > 0 && this.#outbox.awaits(id, onsent)
  }

  /** Errors and control messages bypass admission, so the hard limit is checked after writing. */
  #check(): void {
    const { held } = this
    if (held <= 2 * HELD_MAX_BYTES) return
    const why = `the peer sends calls faster than it reads their answers: ${held} bytes are waiting for it`
    this.framed.destroy(new StageError('SLOW_PEER', why, { executed: 'unknown' }))
  }

  #signal(type: number, id: number, number: number | undefined): void {
    const writer = this.begin(type, id)
    if (number !== undefined) putU32(writer, number)
  }

  #commit(id: number, ordered: boolean): void {
    const { framed } = this
    const outbox = this.#outbox
    if (framed.begun <= framed.maxFrameBytes && !(ordered ? outbox.ordered : outbox.full)) framed.commit()
    else if (ordered) outbox.order(id, framed.detach())
    else outbox.answer(id, framed.detach())
    this.#check()
  }

  // ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Hands on each complete message: its type, its id, and where its rest lies. @throws StageError PROTOCOL_ERROR */
  read(bytes: Buffer, start: number, end: number, onmessage: OnMessage): void {
    if (end - start < HEAD) throw new StageError('PROTOCOL_ERROR', `a message of ${end - start} bytes`)
    const type = bytes[start]
    const id = bytes.readUInt32BE(start + 1)
    if (type === PART) return this.#part(id, bytes.subarray(start + HEAD, end))
    const parts = this.#inbox.size > 0 && hasParts(type) ? this.#inbox.get(id) : undefined
    if (!parts) return onmessage(type, id, bytes, start + HEAD, end, false)
    this.#inbox.drop(id, parts)
    if (type === CANCEL) return
    const { writer } = parts
    append(writer, bytes.subarray(start + HEAD, end))
    onmessage(type, id, writer.bytes, 0, writer.at, true)
  }

  /** Takes the beginning of a frame whose rest can be processed in pieces: data of a stream, or a part of a message. */
  begins(bytes: Buffer, start: number, end: number, onmessage: OnMessage): boolean {
    const type = bytes[start]
    if (end - start <= HEAD || (type !== DATA && type !== PART)) return false
    const id = bytes.readUInt32BE(start + 1)
    if ((this.#inbox.get(id) !== undefined) !== (type === PART)) return false
    this.#dividing = id
    this.#divided = type
    this.goesOn(bytes, start + HEAD, end, onmessage)
    return true
  }

  goesOn(bytes: Buffer, start: number, end: number, onmessage: OnMessage): void {
    if (this.#divided === PART) this.#part(this.#dividing, bytes.subarray(start, end))
    else onmessage(DATA, this.#dividing, bytes, start, end, false)
  }

  /** The peer has read so many bytes of parts. @throws StageError PROTOCOL_ERROR */
  onread(bytes: number): void {
    this.#outbox.onread(bytes)
  }

  /** @param assembled  the message came in parts, and was joined in memory of its own */
  decode(bytes: Buffer, at: number, end: number, assembled = false): unknown {
    return this.codec.decode(bytes, at, end, this.refs, assembled || bytes === this.framed.joined)
  }

  /** Memory that the value decoded last takes, with so many encoded bytes. */
  weightOf(bytes: number): number {
    return this.codec.weight ?? bytes * UNWEIGHED
  }

  clear(): void {
    this.closed = true
    this.#inbox.clear()
    this.#outbox.clear()
  }

  /** The first part of a call takes its id, so that no message with the same id comes in between. */
  #part(id: number, piece: Buffer): void {
    let parts = this.#inbox.get(id)
    if (!parts) {
      if (id !== 0 && !this.#ours(id)) this.fresh(id)
      else if (id !== 0) this.known(id)
      parts = this.#inbox.begin(id, piece.length)
    }
    this.#inbox.add(parts, piece)
    this.#unsaid += piece.length
    if (this.#unsaid < PARTS_WINDOW_BYTES / 4) return
    this.signal(READ, 0, this.#unsaid)
    this.#unsaid = 0
  }
}

/** Messages with a value, which may be large, and CANCEL, which ends a message early; in other types the id may mean something else. */
const hasParts = (type: number): boolean => type <= CANCEL || type === METHODS

/** Says, once a value was encoded, whether it brings new ids. */
interface Offering {
  readonly offering: boolean
}

/** @param assembled  the message came in parts, and its id was noted with the first part */
type OnMessage = (type: number, id: number, bytes: Buffer, at: number, end: number, assembled: boolean) => void

/** A getter in the value that is being encoded has ended a call or a stream: the frame that was begun must end first. */
const behind = (say: () => void): void => process.nextTick(say)

export function putU32(writer: Writer, value: number): void {
  const { bytes, at } = writer
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
  writer.at = at + 4
}

/** A method's name: at most 128 characters, all ASCII. */
export function putName(writer: Writer, name: string): void {
  const { bytes } = writer
  let { at } = writer
  bytes[at++] = name.length
  for (let i = 0; i < name.length; i++) bytes[at++] = name.charCodeAt(i)
  writer.at = at
}

/** @throws StageError PROTOCOL_ERROR */
export function u32(bytes: Buffer, at: number, end: number): number {
  if (at + 4 > end) throw new StageError('PROTOCOL_ERROR', 'a message that is cut off')
  return bytes.readUInt32BE(at)
}
