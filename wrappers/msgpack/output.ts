import type { Writer } from '../../src/writer.js'
import { OUTER, refuse, tooLong } from '../codec/sendable.js'
import { Ext } from './ext.js'

/** Up to this length a loop over the characters is faster than a call into the runtime. */
const SHORT = 64
const EMPTY = Buffer.alloc(0)

/** Writes the heads and leaves of msgpack, and enforces the limit on bytes. */
export abstract class Output {
  protected bytes: Buffer = EMPTY
  protected at = 0
  protected depth = 0
  protected out: Writer | undefined
  protected disturbed = false
  private start = 0
  private limit = 0
  private doubles = 0
  private view: DataView | undefined

  protected constructor(private readonly maxBytes: number) {}

  protected begin(out: Writer): void {
    this.out = out
    this.bytes = out.bytes
    this.start = this.at = out.at
    this.limit = out.at + this.maxBytes
    this.depth = 0
    this.doubles = 0
    this.view = undefined
    this.disturbed = false
  }

  protected finish(): void {
    this.checkPlace()
    if (this.disturbed) refuse(OUTER)
    if (this.at > this.limit) this.tooLong()
    this.out!.at = this.at
  }

  /** Detects that a getter has made other code append to `out`. */
  private checkPlace(): void {
    if (this.out!.at !== this.start || this.out!.bytes !== this.bytes) this.disturbed = true
  }

  protected tooLong(): never {
    this.depth = 0
    return tooLong(this.maxBytes)
  }

  protected need(size: number): void {
    if (this.at + size > this.bytes.length) this.grow(size)
  }

  private grow(size: number): void {
    if (this.at > this.limit) this.tooLong()
    this.checkPlace()
    const out = this.out!
    out.at = this.at
    out.need(size)
    out.at = this.start
    this.bytes = out.bytes
    this.view = undefined
  }

  /** Makes room for content of that length and a head, or throws before content that is too long is copied. */
  protected needContent(size: number): void {
    if (this.at + size > this.limit) this.tooLong()
    this.need(size + 8)
  }

  protected byte(byte: number): void {
    this.need(1)
    this.bytes[this.at++] = byte
  }

  protected number(value: number): void {
    this.need(9)
    const bytes = this.bytes
    const at = this.at
    if (value >>> 0 === value) {
      if (value < 0x80) {
        if (value === 0 && 1 / value < 0) return this.double(value)
        bytes[at] = value
        this.at = at + 1
      } else if (value < 0x100) {
        bytes[at] = 0xcc
        bytes[at + 1] = value
        this.at = at + 2
      } else if (value < 0x10000) this.u16(0xcd, value)
      else this.u32(0xce, value)
    } else if ((value | 0) === value) {
      if (value >= -0x20) {
        bytes[at] = value
        this.at = at + 1
      } else if (value >= -0x80) {
        bytes[at] = 0xd0
        bytes[at + 1] = value
        this.at = at + 2
      } else if (value >= -0x8000) this.u16(0xd1, value)
      else this.u32(0xd2, value)
    } else if (Number.isSafeInteger(value)) this.int64(value)
    else this.double(value)
  }

  private u16(head: number, value: number): void {
    const bytes = this.bytes
    const at = this.at
    bytes[at] = head
    bytes[at + 1] = value >> 8
    bytes[at + 2] = value
    this.at = at + 3
  }

  private u32(head: number, value: number): void {
    const bytes = this.bytes
    const at = this.at
    bytes[at] = head
    bytes[at + 1] = value >> 24
    bytes[at + 2] = value >> 16
    bytes[at + 3] = value >> 8
    bytes[at + 4] = value
    this.at = at + 5
  }

  private int64(value: number): void {
    this.u32(value < 0 ? 0xd3 : 0xcf, Math.floor(value / 0x1_0000_0000))
    this.at = this.bytes.writeUInt32BE(value >>> 0, this.at)
  }

  /** A DataView writes ten times as fast, but creating one pays off only from the eighth number of a value on. */
  private double(value: number): void {
    const at = this.at + 1
    this.bytes[this.at] = 0xcb
    this.at = at + 8
    if (++this.doubles < 8) this.bytes.writeDoubleBE(value, at)
    else {
      this.view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
      this.view.setFloat64(at, value)
    }
  }

  protected string(text: string): void {
    const length = text.length
    if (length > SHORT) return this.longString(text)
    this.need(SHORT + 2)
    const bytes = this.bytes
    let at = this.at
    if (length < 32) bytes[at++] = 0xa0 | length
    else {
      bytes[at++] = 0xd9
      bytes[at++] = length
    }
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) return this.longString(text)
      bytes[at++] = code
    }
    this.at = at
  }

  private longString(text: string): void {
    const size = Buffer.byteLength(text)
    this.needContent(size)
    if (size < 32) this.bytes[this.at++] = 0xa0 | size
    else this.sized(size, 0xd9)
    // as many bytes as characters means that all are ASCII, and latin1 writes ASCII faster
    this.at += this.bytes.write(text, this.at, size, size === text.length ? 'latin1' : 'utf8')
  }

  /** Writes a length in 8, 16 or 32 bits; `head` is the first of the three types. */
  protected sized(size: number, head: number): void {
    if (size < 0x100) {
      this.bytes[this.at++] = head
      this.bytes[this.at++] = size
    } else if (size < 0x10000) this.u16(head + 1, size)
    else this.u32(head + 2, size)
  }

  protected ext(size: number, type: number): void {
    const fixed = size === 1 ? 0xd4 : size === 4 ? 0xd6 : size === 8 ? 0xd7 : 0
    if (fixed) this.bytes[this.at++] = fixed
    else this.sized(size, 0xc7)
    this.bytes[this.at++] = type
    if (type === Ext.undefined) this.bytes[this.at++] = 0
  }

  protected arrayHead(length: number): void {
    this.need(5)
    if (length < 16) this.bytes[this.at++] = 0x90 | length
    else if (length < 0x10000) this.u16(0xdc, length)
    else this.u32(0xdd, length)
  }

  protected widen(head: number, size: number): void {
    this.need(4)
    const end = this.at
    const wide = size < 0x10000 ? 2 : 4
    this.bytes.copyWithin(head + 1 + wide, head + 1, end)
    this.at = head
    if (wide === 2) this.u16(0xde, size)
    else this.u32(0xdf, size)
    this.at = end + wide
  }

  /** Begins an extension that contains an array; `close` fills in the length of the extension. */
  protected open(type: number, length: number): number {
    this.need(6)
    const head = this.at
    this.bytes[head] = 0xc9
    this.bytes[head + 5] = type
    this.at = head + 6
    this.arrayHead(length)
    return head
  }

  protected close(head: number): void {
    this.bytes.writeUInt32BE(this.at - head - 6, head + 1)
  }
}
