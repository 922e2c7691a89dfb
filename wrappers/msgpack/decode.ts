import { StageError } from '../../src/errors.js'
import { SHORT, shortAscii } from '../../src/ascii.js'
import { binaryFault, binaryKinds, rebuiltBinary } from '../codec/binary.js'
import type { CodecLimits } from '../codec/limits.js'
import type { Refs } from '../codec/types.js'
import { BYTES, SLOW, SLOWEST } from '../codec/weight.js'
import { MORE_MAX, mayHave, receivedError } from '../codec/errors.js'
import { MAX_BIGINT_BYTES, REFERENCE_MAX_BYTES } from '../codec/sendable.js'
import { isStreamKind } from '../codec/stream-kind.js'
import { Ext } from './ext.js'
import { KeyCache } from './keys.js'

const EMPTY = Buffer.alloc(0)
/** Up to this size a separate Buffer lies within the V8 heap, and is created as fast as one with shared memory. */
const BARE = 64
const INDEX = /^(?:0|[1-9]\d{0,9})$/
/** How far apart the first numeric property names may lie. */
const DENSE = 8
const LAST_INDEX = 0xffff_fffe

/**
 * Switches an object to sparse elements. For numeric names V8 otherwise allocates a slot for every number below them (ten
 * kilobytes for the single name "900"), which is slow. After a name too large for that, V8 stores only the existing names.
 */
function spread(object: object): void {
  Reflect.set(object, LAST_INDEX, 0)
  Reflect.deleteProperty(object, LAST_INDEX)
}

const fail = (what: string): never => {
  throw new StageError('PROTOCOL_ERROR', `malformed message: ${what}`)
}
const truncated = (): never => fail('it ends in the middle of a value')

/**
 * Reads one value at a time. Every size on the wire is checked against the remaining bytes and the limits before memory is
 * allocated.
 */
export class Decoder {
  private bytes: Buffer = EMPTY
  /** Approximate memory of the value, in bytes. */
  weight = 0
  private at = 0
  private end = 0
  private nodes = 0
  private depth = 0
  private doubles = 0
  private view: DataView | undefined
  private refs: Refs | undefined
  private given = false
  /** A Buffer in the value was allocated from Node's shared pool. */
  private pooled = false
  private readonly keys = new KeyCache()
  private readonly maxBytes: number
  private readonly maxNodes: number
  private readonly maxDepth: number

  constructor(limits: CodecLimits) {
    this.maxBytes = limits.maxBytes
    this.maxNodes = limits.maxNodes
    this.maxDepth = limits.maxDepth
  }

  decode(bytes: Buffer, start: number, end: number, refs: Refs, given: boolean): unknown {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.nodes = this.maxNodes
    this.weight = end - start
    this.pooled = false
    this.depth = 0
    this.doubles = 0
    this.refs = refs
    this.given = given
    try {
      if (end - start > this.maxBytes) fail(`it has more than ${this.maxBytes} bytes`)
      if (start < 0 || end > bytes.length) truncated()
      const value = this.value()
      if (this.at !== end) fail('there are bytes after the value')
      return value
    } catch (thrown) {
      if (thrown instanceof StageError && thrown.code === 'PROTOCOL_ERROR') throw thrown
      throw new StageError('PROTOCOL_ERROR', 'malformed message: a value in it cannot be built', { cause: thrown })
    } finally {
      this.bytes = EMPTY
      this.view = undefined
      this.refs = undefined
    }
  }

  private value(): unknown {
    if (this.at >= this.end) truncated()
    const head = this.bytes[this.at++]
    if (head < 0x80) return head
    if (head < 0x90) return this.object(head & 0x0f)
    if (head < 0xa0) return this.array(head & 0x0f)
    if (head < 0xc0) return this.string(head & 0x1f)
    if (head >= 0xe0) return head - 0x100
    return this.other(head)
  }

  private other(head: number): unknown {
    switch (head) {
      case 0xc0: return null
      case 0xc2: return false
      case 0xc3: return true
      case 0xc4: return this.buffer(this.u8())
      case 0xc5: return this.buffer(this.u16())
      case 0xc6: return this.buffer(this.u32())
      case 0xc7: return this.ext(this.u8())
      case 0xc8: return this.ext(this.u16())
      case 0xc9: return this.ext(this.u32())
      case 0xca: return this.bytes.readFloatBE(this.skip(4))
      case 0xcb: return this.double()
      case 0xcc: return this.u8()
      case 0xcd: return this.u16()
      case 0xce: return this.u32()
      case 0xcf: return this.int64(this.u32())
      case 0xd0: return (this.u8() << 24) >> 24
      case 0xd1: return (this.u16() << 16) >> 16
      case 0xd2: return this.u32() | 0
      case 0xd3: return this.int64(this.u32() | 0)
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return this.ext(1 << (head - 0xd4))
      case 0xd9: return this.string(this.u8())
      case 0xda: return this.string(this.u16())
      case 0xdb: return this.string(this.u32())
      case 0xdc: return this.array(this.u16())
      case 0xdd: return this.array(this.u32())
      case 0xde: return this.object(this.u16())
      case 0xdf: return this.object(this.u32())
      default: return fail('0xc1 is not a type')
    }
  }

  /** Consumes `size` bytes and returns where they begin. */
  private skip(size: number): number {
    const at = this.at
    if (size > this.end - at) truncated()
    this.at = at + size
    return at
  }

  private u8(): number {
    return this.bytes[this.skip(1)]
  }

  private u16(): number {
    const at = this.skip(2)
    return (this.bytes[at] << 8) | this.bytes[at + 1]
  }

  private u32(): number {
    const at = this.skip(4)
    const bytes = this.bytes
    return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0
  }

  /** A DataView reads ten times as fast, but creating one pays off only from the eighth number of a message on. */
  private double(): number {
    const at = this.skip(8)
    if (++this.doubles < 8) return this.bytes.readDoubleBE(at)
    this.view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
    return this.view.getFloat64(at)
  }

  /** An integer beyond the safe range, which we never send, becomes a bigint instead of a rounded number. */
  private int64(high: number): number | bigint {
    const low = this.u32()
    const value = high * 0x1_0000_0000 + low
    return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low)
  }

  private string(size: number): string {
    const at = this.skip(size)
    this.weight += BYTES.string
    if (size > SHORT) return this.bytes.toString('utf8', at, at + size)
    const bytes = this.bytes
    for (let i = at; i < at + size; i++) if (bytes[i] > 0x7f) return bytes.toString('utf8', at, at + size)
    return shortAscii(bytes, at, size)
  }

  private buffer(size: number): Buffer {
    this.weigh(SLOW)
    this.weight += BYTES.tag * SLOW
    const at = this.skip(size)
    if (this.given && size * 2 >= this.bytes.length) return this.bytes.subarray(at, at + size)
    if (size <= BARE) return this.copied(Buffer.allocUnsafeSlow(size), at)
    if (size < Buffer.poolSize >>> 1 && !this.pooled) {
      this.pooled = true
      this.weight += Buffer.poolSize // which this Buffer may be the last to keep alive
    }
    return this.copied(Buffer.allocUnsafe(size), at)
  }

  private copied(copy: Buffer, at: number): Buffer {
    const size = copy.length
    this.bytes.copy(copy, 0, at, at + size)
    return copy
  }

  // ── containers ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Checks the limits before memory is allocated for `size` values, each of at least one byte. */
  private enter(size: number): void {
    if (size > this.end - this.at) truncated()
    this.weigh(size)
    this.weight += BYTES.container + size * BYTES.slot
    if (++this.depth > this.maxDepth) fail(`it is nested deeper than ${this.maxDepth}`)
  }

  private weigh(nodes: number): void {
    if ((this.nodes -= nodes) < 0) fail(`it has more than ${this.maxNodes} elements and properties`)
  }

  private array(length: number): unknown[] {
    this.enter(length)
    const array = new Array<unknown>(length)
    for (let i = 0; i < length; i++) array[i] = this.value()
    this.depth--
    return array
  }

  private object(size: number): Record<string, unknown> {
    this.enter(size)
    const object: Record<string, unknown> = {}
    for (let i = 0; i < size; i++) {
      const key = this.key(object, i)
      object[key] = this.value()
    }
    this.depth--
    return object
  }

  /** Reads the name of the next property of `object`, which has `count` properties so far. */
  private key(object: object, count: number): string {
    const at = this.at
    const size = this.bytes[at] - 0xa0
    // the usual case first: a name that is not empty, fits a fixstr, and is complete
    if (size > 0 && size < 32 && at + size < this.end) {
      const known = this.keys.find(this.bytes, at + 1, size)
      if (known !== undefined) {
        this.at = at + 1 + size
        return known
      }
    }
    const key = this.value()
    if (typeof key !== 'string') return fail('the key of a property is not a string')
    if (key === '__proto__') return fail('it has a property "__proto__"')
    const index = INDEX.test(key) ? Number(key) : -1
    if (index >= 0 && index <= 2 * count + DENSE) return key // dense as in a list, so V8's slots cost little
    this.weight += BYTES.key
    if (index >= 0) {
      spread(object)
      return key
    }
    if (size > 0 && size < 32) this.keys.add(this.bytes, at + 1, size, key)
    return key
  }

  // ── extensions ────────────────────────────────────────────────────────────────────────────────────────────────

  private ext(size: number): unknown {
    const type = this.u8()
    if (size > this.end - this.at) truncated()
    const end = this.at + size
    if (type >= Ext.bigint && type !== Ext.stream) {
      const nodes = type === Ext.binary || type >= Ext.error ? SLOWEST : SLOW
      this.weigh(nodes)
      this.weight += BYTES.tag * nodes
    }
    const value = this.content(type, size)
    if (this.at !== end) fail(`an extension of type ${type} has a wrong length`)
    return value
  }

  private content(type: number, size: number): unknown {
    switch (type) {
      case Ext.undefined:
        this.skip(1)
        return undefined
      case Ext.function:
        this.weight += BYTES.function
        return this.refs!.take(this.u32())
      case Ext.bigint: return this.bigint(size)
      case Ext.date: return new Date(this.double())
      case Ext.binary: return this.binary(size)
      case Ext.map: return this.map()
      case Ext.set: return this.set()
      case Ext.error: return this.error()
      case Ext.stream: return this.stream()
      case Ext.reference: return this.reference(size)
      default: return fail(`unknown extension type ${type}`)
    }
  }

  private reference(size: number): unknown {
    if (size > REFERENCE_MAX_BYTES) fail('a reference is too long')
    if (!this.refs!.resolve) return fail('a reference where none is allowed')
    const at = this.skip(size)
    const text = this.bytes.toString('utf8', at, at + size)
    if (Buffer.byteLength(text) > REFERENCE_MAX_BYTES) fail('a reference is too long') // each invalid byte has become three bytes
    return this.refs!.resolve(text)
  }

  private stream(): unknown {
    const kind = this.u8()
    const id = this.u32()
    if (!isStreamKind(kind)) return fail('a stream of an unknown kind')
    this.weight += BYTES.stream
    if (!this.refs!.accept) return fail('a stream where none is allowed')
    return this.refs!.accept(id, kind)
  }

  private bigint(size: number): bigint {
    if (size < 2 || size - 1 > MAX_BIGINT_BYTES) fail('a bigint is empty or too long')
    const negative = this.u8()
    const at = this.skip(size - 1)
    const magnitude = BigInt(`0x${this.bytes.toString('hex', at, at + size - 1)}`)
    return negative ? -magnitude : magnitude
  }

  private binary(size: number): unknown {
    const kind = binaryKinds[this.u8()] ?? fail('binary data of an unknown kind')
    const fault = binaryFault(kind, size - 1)
    if (fault !== undefined) fail(fault)
    const at = this.skip(size - 1)
    return rebuiltBinary(kind, this.bytes.subarray(at, this.at))
  }

  private arrayLength(): number {
    const head = this.u8()
    if (head >= 0x90 && head < 0xa0) return head & 0x0f
    if (head === 0xdc) return this.u16()
    if (head === 0xdd) return this.u32()
    return fail('an extension does not contain an array')
  }

  private map(): Map<unknown, unknown> {
    const length = this.arrayLength()
    this.enter(length)
    if (length % 2 !== 0) fail('a Map has a key without a value')
    const map = new Map<unknown, unknown>()
    for (let i = 0; i < length; i += 2) {
      const key = this.value()
      map.set(key, this.value())
    }
    this.depth--
    return map
  }

  private set(): Set<unknown> {
    const length = this.arrayLength()
    this.enter(length)
    const set = new Set<unknown>()
    for (let i = 0; i < length; i++) set.add(this.value())
    this.depth--
    return set
  }

  private error(): Error {
    const length = this.arrayLength()
    this.enter(length)
    if (length < 2 || (length > 3 && length % 2 === 0) || length > 3 + MORE_MAX * 2) {
      fail('an Error does not have two or three parts and then pairs')
    }
    const name = this.value()
    const message = this.value()
    const code = length > 2 ? this.value() : undefined
    if (typeof name !== 'string' || typeof message !== 'string') return fail('name and message of an Error are not strings')
    if (code !== undefined && typeof code !== 'string' && typeof code !== 'number') {
      return fail('code of an Error is neither string nor number')
    }
    const more: [string, unknown][] = []
    for (let i = 3; i < length; i += 2) {
      const key = this.value()
      if (!mayHave(key)) return fail('a property of an Error has an invalid name')
      more.push([key, this.value()])
    }
    this.depth--
    return receivedError(name, message, code, more)
  }
}
