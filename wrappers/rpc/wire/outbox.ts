import type { Clock } from '../../../src/types.js'
import type { Framed } from '../../framing.js'
import { StageError } from '../../../src/errors.js'
import type { Held } from '../serving/held.js'
import { DIRECT_MAX_BYTES, HEAD, PART, PARTS_WINDOW_BYTES, UNFINISHED_MAX } from './messages.js'
import type { Scheduler, Source } from './scheduler.js'

/** A whole message on its way (type, id and rest), and how much of it has been sent. */
class Letter {
  sent = 0
  /** Messages that must follow right behind. */
  readonly behind: Buffer[] = []
  /** Called once the whole message has left. */
  onsent: (() => void) | undefined

  constructor(readonly message: Buffer) {}

  get left(): number {
    return this.message.length - this.sent
  }
}

/** Messages that are sent one after the other. */
class Lane implements Source {
  readonly letters = new Map<number, Letter>()

  /** @param answers  the lane has only answers */
  constructor(private readonly outbox: Outbox, readonly answers: boolean) {}

  turn(): boolean {
    for (const [key, letter] of this.letters) {
      if (this.outbox.waits(letter, this)) return false
      if (!this.outbox.send(letter, this)) return true
      this.letters.delete(key)
      this.outbox.done(this)
      for (const message of letter.behind) this.outbox.send(new Letter(message), this)
      letter.onsent?.()
      if (this.outbox.congested) break
    }
    return this.letters.size > 0
  }
}

/** Memory of a letter beside its message; if not counted, millions of small messages would exceed the limits unseen. */
const LETTER_BYTES = 256
/** Large answers that take turns: with one message of new ids, as many unfinished messages as the other end accepts. */
const LARGE_MAX = UNFINISHED_MAX - 1

/**
 * Messages that wait because they are larger than a frame, or because the carrier has enough for now. Messages that bring
 * new ids keep their order, since an id below an earlier id is refused; answers need not keep theirs.
 */
export class Outbox {
  /** Bytes that wait here. */
  held = 0
  /** The part of `held` that belongs to answers. */
  answering = 0
  readonly #ordered = new Lane(this, false)
  readonly #answers = new Lane(this, true)
  /** Lanes of one large answer each, which take their own turns. */
  readonly #large = new Set<Lane>()
  /** Large answers whose turns have not begun. */
  readonly #later = new Map<number, Buffer>()
  #keys = 0
  #over = false
  /** Bytes of PARTs that the peer has not reported as read. */
  #ahead = 0
  /** Lanes that wait for the peer to read more PARTs. */
  readonly #stopped = new Set<Lane>()
  /** Since when lanes wait and the peer has read no PARTs, by the clock. */
  stoppedSince = Infinity
  /** Called when `stoppedSince` is set. */
  onstopped = (): void => {}
  /** A piece of a stream or large message left since the last flush. An empty queue proves nothing: a writer may refill at each `drain`. */
  poured = false

  /** @param answers  the account of the answers of all links */
  constructor(
    private readonly framed: Framed, private readonly scheduler: Scheduler, private readonly clock: Clock, private readonly answers: Held,
  ) {}

  /** The framing holds enough: more messages that are sent at once would delay urgent ones. */
  get full(): boolean {
    return this.framed.held > DIRECT_MAX_BYTES
  }

  get congested(): boolean {
    return this.scheduler.congested()
  }

  /** Whether a message of new ids has to wait behind others. */
  get ordered(): boolean {
    return this.#ordered.letters.size > 0 || this.full
  }

  /** @param id  the new id of the message; 0 if it brings none */
  order(id: number, message: Buffer): void {
    this.#put(this.#ordered, id === 0 ? -++this.#keys : id, message)
  }

  answer(id: number, message: Buffer): void {
    if (message.length <= this.framed.maxFrameBytes) return this.#put(this.#answers, id, message)
    if (this.#large.size < LARGE_MAX) return this.#begin(id, message)
    this.#later.set(id, message)
    this.#count(message.length, true)
  }

  /** Puts a message right behind the message that brings `id`, if the latter waits here. */
  behind(id: number, message: Buffer): boolean {
    const letter = this.#ordered.letters.get(id)
    if (!letter) return false
    letter.behind.push(message)
    this.#count(message.length, false)
    return true
  }

  /** Whether the message that brings `id` waits; `onsent` is called when it has left. */
  awaits(id: number, onsent: () => void): boolean {
    const letter = this.#ordered.letters.get(id)
    if (letter) letter.onsent = onsent
    return letter !== undefined
  }

  /**
   * Removes the waiting message that brings `id`.
   * @returns  'unsent': the peer will never hear of it · 'begun': parts of it are with the peer · undefined: not here
   */
  withdraw(id: number): 'unsent' | 'begun' | undefined {
    const letter = this.#ordered.letters.get(id)
    if (!letter) return undefined
    this.#ordered.letters.delete(id)
    this.#count(-LETTER_BYTES - letter.left - letter.behind.reduce((sum, { length }) => sum + length, 0), false)
    return letter.sent === 0 ? 'unsent' : 'begun'
  }

  /** Whether the next frame of a letter is a PART, and too many PARTs are in flight. */
  waits(letter: Letter, lane: Lane): boolean {
    if (this.#ahead < PARTS_WINDOW_BYTES || this.#left(letter) <= this.framed.maxFrameBytes - HEAD) return false
    this.#stopped.add(lane)
    if (this.stoppedSince === Infinity) {
      this.stoppedSince = this.clock.now()
      this.onstopped()
    }
    return true
  }

  /** The peer has read so many bytes of PARTs. @throws StageError PROTOCOL_ERROR */
  onread(bytes: number): void {
    if (bytes === 0 || bytes > this.#ahead) {
      throw new StageError('PROTOCOL_ERROR', `credit for ${bytes} bytes of parts, but only ${this.#ahead} were sent`)
    }
    this.#ahead -= bytes
    this.stoppedSince = Infinity
    const stopped = [...this.#stopped]
    this.#stopped.clear()
    for (const lane of stopped) this.scheduler.add(lane)
  }

  /** Bytes of the body that are not sent yet. */
  #left({ message, sent }: Letter): number {
    return message.length - Math.max(sent, HEAD)
  }

  /** Sends one frame of a letter; true if the frame was the last. */
  send(letter: Letter, lane: Lane): boolean {
    const { framed } = this
    const { message } = letter
    const from = letter.sent
    const last = this.#left(letter) <= framed.maxFrameBytes - HEAD
    if (last && from === 0) {
      framed.frame(message)
      letter.sent = message.length
    } else {
      const begin = Math.max(from, HEAD)
      letter.sent = last ? message.length : begin + framed.maxFrameBytes - HEAD
      const writer = framed.begin()
      writer.need(HEAD + letter.sent - begin)
      writer.at += message.copy(writer.bytes, writer.at, 0, HEAD)
      if (!last) writer.bytes[writer.at - HEAD] = PART
      writer.at += message.copy(writer.bytes, writer.at, begin, letter.sent)
      framed.commit()
      if (!last) this.#ahead += letter.sent - begin
      this.poured = true
    }
    this.#count(from - letter.sent, lane.answers)
    return last
  }

  /** A letter of the lane was sent completely. */
  done(lane: Lane): void {
    this.#count(-LETTER_BYTES, lane.answers)
    if (!this.#large.delete(lane)) return
    for (const [id, message] of this.#later) {
      this.#later.delete(id)
      this.#count(-message.length, true)
      return this.#begin(id, message)
    }
  }

  clear(): void {
    this.#over = true
    this.answers.add(-this.answering)
    this.held = this.answering = 0
    for (const lane of [this.#ordered, this.#answers, ...this.#large]) {
      lane.letters.clear()
      this.scheduler.remove(lane)
    }
    this.#large.clear()
    this.#later.clear()
    this.#stopped.clear()
    this.stoppedSince = Infinity
  }

  #begin(id: number, message: Buffer): void {
    const lane = new Lane(this, true)
    this.#large.add(lane)
    this.#put(lane, id, message)
  }

  #put(lane: Lane, key: number, message: Buffer): void {
    lane.letters.set(key, new Letter(message))
    this.#count(LETTER_BYTES + message.length, lane.answers)
    this.scheduler.add(lane)
  }

  #count(bytes: number, answers: boolean): void {
    if (this.#over) return // cleared while a frame was written
    this.held += bytes
    if (!answers) return
    this.answering += bytes
    this.answers.add(bytes)
  }
}
