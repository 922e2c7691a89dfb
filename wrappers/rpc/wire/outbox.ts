import type { Clock } from '../../../src/types.js'
import type { Framed } from '../../framing.js'
import { StageError } from '../../../src/errors.js'
import type { Held } from '../serving/held.js'
import { DIRECT_MAX_BYTES, HEAD, PART, PARTS_WINDOW_BYTES, UNFINISHED_MAX } from './messages.js'
import type { Scheduler, Source } from './scheduler.js'

/** A whole message on its way: its type, its id, and the rest; and how much of it has been sent. */
class Letter {
  sent = 0
  /** What must come right behind it. */
  readonly behind: Buffer[] = []
  /** Called once all of it has left. */
  onsent: (() => void) | undefined

  constructor(readonly message: Buffer) {}

  get left(): number {
    return this.message.length - this.sent
  }
}

/** Messages that go one after the other. */
class Lane implements Source {
  readonly letters = new Map<number, Letter>()

  /** @param answers  it has no others */
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

/** What a letter costs beside its message, or millions of small ones would be held for what they do not weigh. */
const LETTER_BYTES = 256
/** So many large answers take turns: with one message of new ids that is what the other end holds of unfinished ones. */
const LARGE_MAX = UNFINISHED_MAX - 1

/**
 * Messages that wait because they are larger than a frame, or because the carrier has enough for now. Those that bring
 * new ids keep their order, since an id below one that came before is refused; answers go as they come.
 */
export class Outbox {
  /** Bytes that wait here. */
  held = 0
  /** Those of them that are of answers. */
  answering = 0
  readonly #ordered = new Lane(this, false)
  readonly #answers = new Lane(this, true)
  /** Each is one message that takes its own turns. */
  readonly #large = new Set<Lane>()
  /** Those whose turns have not begun. */
  readonly #later = new Map<number, Buffer>()
  #keys = 0
  #over = false
  /** Bytes of PARTs that the peer has not said to have read, and those that wait for it to do so. */
  #ahead = 0
  readonly #stopped = new Set<Lane>()
  /** Since when the peer has read none of them, by the clock. */
  stoppedSince = Infinity
  /** Called when that begins. */
  onstopped = (): void => {}
  /** A piece of a stream or of a large message went out since all was last handed over; a writer that refills on every `drain` leaves none waiting. */
  poured = false

  /** @param answers  where those of all links count */
  constructor(
    private readonly framed: Framed, private readonly scheduler: Scheduler, private readonly clock: Clock, private readonly answers: Held,
  ) {}

  /** What goes at once must not be much, as everything urgent stands behind it. */
  get full(): boolean {
    return this.framed.held > DIRECT_MAX_BYTES
  }

  get congested(): boolean {
    return this.scheduler.congested()
  }

  /** Whether a message of new ids has to stand behind others. */
  get ordered(): boolean {
    return this.#ordered.letters.size > 0 || this.full
  }

  /** @param id  that it brings; 0 for those that bring none */
  order(id: number, message: Buffer): void {
    this.#put(this.#ordered, id === 0 ? -++this.#keys : id, message)
  }

  answer(id: number, message: Buffer): void {
    if (message.length <= this.framed.maxFrameBytes) return this.#put(this.#answers, id, message)
    if (this.#large.size < LARGE_MAX) return this.#begin(id, message)
    this.#later.set(id, message)
    this.#count(message.length, true)
  }

  /** Puts a message behind the one of that id, if that one waits. */
  behind(id: number, message: Buffer): boolean {
    const letter = this.#ordered.letters.get(id)
    if (!letter) return false
    letter.behind.push(message)
    this.#count(message.length, false)
    return true
  }

  /** Whether the message that brings this id waits; `onsent` is called when it has left. */
  awaits(id: number, onsent: () => void): boolean {
    const letter = this.#ordered.letters.get(id)
    if (letter) letter.onsent = onsent
    return letter !== undefined
  }

  /**
   * Takes back what waits under that id.
   * @returns  'unsent': the peer will never hear of it · 'begun': parts of it are with the peer · undefined: not here
   */
  withdraw(id: number): 'unsent' | 'begun' | undefined {
    const letter = this.#ordered.letters.get(id)
    if (!letter) return undefined
    this.#ordered.letters.delete(id)
    this.#count(-LETTER_BYTES - letter.left - letter.behind.reduce((sum, { length }) => sum + length, 0), false)
    return letter.sent === 0 ? 'unsent' : 'begun'
  }

  /** Whether the next of a letter is a PART, and too many of them are on their way. */
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
      throw new StageError('PROTOCOL_ERROR', `${bytes} bytes of parts read, of ${this.#ahead} that were sent`)
    }
    this.#ahead -= bytes
    this.stoppedSince = Infinity
    const stopped = [...this.#stopped]
    this.#stopped.clear()
    for (const lane of stopped) this.scheduler.add(lane)
  }

  /** What is left of its body. */
  #left({ message, sent }: Letter): number {
    return message.length - Math.max(sent, HEAD)
  }

  /** Sends one frame of a letter; true when that was the last. */
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

  /** A letter of that lane is through. */
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
    if (this.#over) return // it ended while a frame of it was written
    this.held += bytes
    if (!answers) return
    this.answering += bytes
    this.answers.add(bytes)
  }
}
