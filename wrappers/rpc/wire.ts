import { StageError, asError } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import type { Codec, Refs } from '../codec.js'
import type { Framed } from '../framing.js'
import { HEAD, HELD_MAX_BYTES, MESSAGE_MAX_BYTES, OPEN_CALLS_MAX, PART } from './messages.js'

/** Messages on the frames of one link: what `messages.ts` lists, written and read. */
export class Wire {
  /** Nothing is written any more. */
  closed = false
  readonly maxPieceBytes: number
  /** Of messages that are not whole yet: what came of them, in one piece, since a peer may cut them into single bytes. */
  readonly #parts = new Map<number, Writer>()
  #partial = 0
  #nextId: number
  #lastId: number

  constructor(private readonly framed: Framed, private readonly codec: Codec, private readonly refs: Refs, dialled: boolean) {
    this.maxPieceBytes = framed.maxFrameBytes - HEAD
    this.#nextId = dialled ? 1 : 2
    this.#lastId = dialled ? 0 : 0xffffffff
  }

  /** Bytes held for the peer. */
  get held(): number {
    return this.framed.held
  }

  newId(): number {
    const id = this.#nextId
    this.#nextId = (id + 2) >>> 0
    return id
  }

  /** The peer's ids are of the other kind and go up, so that none is served twice. @throws StageError PROTOCOL_ERROR */
  fresh(id: number): void {
    if (((id ^ this.#nextId) & 1) === 0) throw new StageError('PROTOCOL_ERROR', `the id ${id} is one of this end's own`)
    if (((id - this.#lastId) | 0) <= 0) throw new StageError('PROTOCOL_ERROR', `the id ${id} was used before`)
    this.#lastId = id
  }

  // ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins a message; its fixed part (at most 200 bytes) may follow without asking for room. */
  begin(type: number, id: number): Writer {
    const writer = this.framed.begin()
    writer.need(256)
    writer.bytes[writer.at++] = type
    putU32(writer, id)
    return writer
  }

  /** Ends what was begun with a value. @throws StageError BAD_ARGUMENT, and nothing was written */
  finish(id: number, writer: Writer, value: unknown): void {
    try {
      this.codec.encode(value, writer, this.refs)
    } catch (thrown) {
      this.framed.cancel()
      throw thrown instanceof StageError ? thrown : new StageError('BAD_ARGUMENT', `it could not be encoded: ${asError(thrown).message}`, { cause: thrown })
    }
    if (this.framed.begun <= this.framed.maxFrameBytes) this.framed.commit()
    else this.#split(this.framed.detach(), id)
  }

  value(type: number, id: number, value: unknown): void {
    if (!this.closed) this.finish(id, this.begin(type, id), value)
  }

  /** A message without a value, or with one number. */
  signal(type: number, id: number, number?: number): void {
    if (this.closed) return
    const writer = this.begin(type, id)
    if (number !== undefined) putU32(writer, number)
    this.framed.commit()
  }

  bytes(type: number, id: number, bytes: Buffer): void {
    if (this.closed) return
    const writer = this.begin(type, id)
    writer.need(bytes.length)
    bytes.copy(writer.bytes, writer.at)
    writer.at += bytes.length
    this.framed.commit()
  }

  /** A whole message that was encoded before, for many. */
  encoded(message: Buffer): void {
    if (this.closed) return
    if (message.length <= this.framed.maxFrameBytes) this.framed.frame(message)
    else this.#split(message, 0)
  }

  #split(message: Buffer, id: number): void {
    const body = message.subarray(HEAD)
    let at = 0
    for (; body.length - at > this.maxPieceBytes; at += this.maxPieceBytes) this.bytes(PART, id, body.subarray(at, at + this.maxPieceBytes))
    this.bytes(message[0], id, body.subarray(at))
  }

  // ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Hands on each message that is whole: its type, its id, and where its rest lies. @throws StageError PROTOCOL_ERROR */
  read(bytes: Buffer, start: number, end: number, onmessage: (type: number, id: number, bytes: Buffer, at: number, end: number) => void): void {
    if (end - start < HEAD) throw new StageError('PROTOCOL_ERROR', `a message of ${end - start} bytes`)
    const type = bytes[start]
    const id = bytes.readUInt32BE(start + 1)
    if (type === PART) return this.#part(id, bytes.subarray(start + HEAD, end))
    const parts = this.#parts.size > 0 ? this.#parts.get(id) : undefined
    if (!parts) return onmessage(type, id, bytes, start + HEAD, end)
    this.#parts.delete(id)
    this.#partial -= parts.at
    append(parts, bytes.subarray(start + HEAD, end))
    onmessage(type, id, parts.bytes, 0, parts.at)
  }

  decode(bytes: Buffer, at: number, end: number): unknown {
    return this.codec.decode(bytes, at, end, this.refs)
  }

  clear(): void {
    this.closed = true
    this.#parts.clear()
  }

  #part(id: number, piece: Buffer): void {
    let parts = this.#parts.get(id)
    if (!parts) this.#parts.set(id, parts = new Writer(piece.length))
    this.#partial += piece.length
    if (parts.at + piece.length > MESSAGE_MAX_BYTES) throw new StageError('PROTOCOL_ERROR', `a message of more than ${MESSAGE_MAX_BYTES} bytes`)
    if (this.#partial > HELD_MAX_BYTES || this.#parts.size > OPEN_CALLS_MAX) throw new StageError('PROTOCOL_ERROR', `more messages begun and not ended than ${HELD_MAX_BYTES} bytes or ${OPEN_CALLS_MAX}`)
    append(parts, piece)
  }
}

function append(writer: Writer, piece: Buffer): void {
  writer.need(piece.length)
  piece.copy(writer.bytes, writer.at)
  writer.at += piece.length
}

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
  if (at + 4 > end) throw new StageError('PROTOCOL_ERROR', 'a message that ends too early')
  return bytes.readUInt32BE(at)
}
