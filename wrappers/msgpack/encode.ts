import { handleOf, type Handle } from '../../src/handle.js'
import { isError, isObjectPrototype } from '../../src/realm.js'
import type { Writer } from '../../src/writer.js'
import { binaryKinds, littleEndian } from '../codec/binary.js'
import type { CodecLimits } from '../codec/limits.js'
import type { Callable, Refs } from '../codec/types.js'
import {
  INNER, NOWHERE, PROTO, STREAM, SYMBOL, builtin as builtinKind, checkBigint, checkFunction, checkInstance,
  checkMethod, checkSent, getTime, mapEntries, referred, refuse, setValues, takeBack,
  tooDeep, tooMany, typedArrayName, unbox, unsendable,
} from '../codec/sendable.js'
import { fieldsOf } from '../codec/errors.js'
import { SLOW, SLOWEST } from '../codec/weight.js'
import { streamKind } from '../codec/stream-kind.js'
import { Ext } from './ext.js'
import { Output } from './output.js'

// defined here and not imported: V8 inlines only constants of the same module, and these run for every property
const hasOwn = Object.prototype.hasOwnProperty
const toString = Object.prototype.toString

/**
 * Writes one value at a time. `path` and `depth` track the position in the value, so that an error, even one thrown by a
 * getter, can name its place without a second walk, and the inner functions need no `try`.
 */
export class Encoder extends Output {
  private nodes = 0
  private refs: Refs | undefined
  private given: number[] = []
  private offered: number[] = []
  private readonly path: (string | number)[]
  private readonly maxNodes: number
  private readonly maxDepth: number

  /** @param outer the encoder that is encoding while this encoder is used */
  constructor(limits: CodecLimits, private readonly outer: Encoder | undefined) {
    super(limits.maxBytes)
    this.maxNodes = limits.maxNodes
    this.maxDepth = limits.maxDepth
    this.path = new Array<string | number>(Math.min(limits.maxDepth, 1000) + 1).fill('')
  }

  encode(value: unknown, out: Writer, refs: Refs): void {
    const start = out.at
    this.begin(out)
    this.refs = refs
    this.nodes = this.maxNodes
    try {
      if (this.outer !== undefined) this.disturb(out)
      this.value(value)
      this.finish()
    } catch (thrown) {
      out.at = start
      takeBack(refs, this.given, this.offered)
      throw unsendable(thrown, this.path.slice(1, this.depth + 1))
    } finally {
      if (this.given.length > 0) this.given = []
      if (this.offered.length > 0) this.offered = []
      this.out = this.refs = undefined
    }
  }

  /** Fails, with any outer encoder of the same `out`, because both wrote to it at the same time. */
  private disturb(out: Writer): void {
    for (let other = this.outer; other; other = other.outer) {
      if (other.out !== out) continue
      other.disturbed = true
      refuse(INNER)
    }
  }

  private enter(): number {
    if (this.depth >= this.maxDepth) tooDeep(this.maxDepth)
    this.path[++this.depth] = NOWHERE
    return this.depth
  }

  private count(size: number): void {
    if ((this.nodes -= size) < 0) {
      this.depth = 0
      tooMany(this.maxNodes)
    }
  }

  private value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        return this.string(value)
      case 'number':
        return this.number(value)
      case 'object':
        if (value === null) return this.byte(0xc0)
        return this.object(value)
      case 'boolean':
        return this.byte(value ? 0xc3 : 0xc2)
      case 'undefined':
        this.need(3)
        return this.ext(1, Ext.undefined)
      case 'function':
        return this.function(value as Callable)
      case 'bigint':
        return this.bigint(value)
      default:
        refuse(SYMBOL)
    }
  }

  // ── leaves ────────────────────────────────────────────────────────────────────────────────────────────────────

  private function(fn: Callable): void {
    checkFunction(fn)
    const id = this.refs!.give(fn)
    this.given.push(id)
    this.need(6)
    this.ext(4, Ext.function)
    this.at = this.bytes.writeUInt32BE(id, this.at)
  }

  /** @returns whether the value is a stream */
  private stream(value: object): boolean {
    const kind = streamKind(value)
    if (kind === 0) return false
    if (!this.refs!.offer) return refuse(STREAM)
    const id = this.refs!.offer(value, kind)
    this.offered.push(id)
    this.need(8)
    this.ext(5, Ext.stream)
    this.bytes[this.at++] = kind
    this.at = this.bytes.writeUInt32BE(id, this.at)
    return true
  }

  private bigint(value: bigint): void {
    const magnitude = value < 0n ? -value : value
    checkBigint(magnitude)
    const hex = magnitude.toString(16)
    const size = (hex.length + 1) >> 1
    this.needContent(size)
    this.count(SLOW)
    this.ext(size + 1, Ext.bigint)
    this.bytes[this.at++] = value < 0n ? 1 : 0
    this.at += this.bytes.write(hex.length & 1 ? `0${hex}` : hex, this.at, size, 'hex')
  }

  private date(value: Date): void {
    this.need(10)
    this.count(SLOW)
    this.ext(8, Ext.date)
    this.at = this.bytes.writeDoubleBE(getTime.call(value), this.at)
  }

  private buffer(value: Uint8Array): void {
    this.count(SLOW)
    this.needContent(value.length)
    this.sized(value.length, 0xc4)
    this.bytes.set(value, this.at)
    this.at += value.length
  }

  private binary(name: string, content: Uint8Array, elementSize: number): void {
    const kind = (binaryKinds as readonly string[]).indexOf(name)
    if (kind < 0) refuse(`is a ${name}, which cannot be sent: send its bytes as a Buffer`)
    const size = content.length
    this.needContent(size)
    this.count(SLOWEST)
    this.ext(size + 1, Ext.binary)
    this.bytes[this.at++] = kind
    this.bytes.set(content, this.at)
    littleEndian(this.bytes.subarray(this.at, this.at + size), elementSize)
    this.at += size
  }

  private arrayBufferView(value: ArrayBufferView): void {
    if (Buffer.isBuffer(value)) return this.buffer(value)
    const content = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    this.binary(typedArrayName.call(value) ?? 'DataView', content, (value as Uint8Array).BYTES_PER_ELEMENT ?? 1)
  }

  // ── containers ────────────────────────────────────────────────────────────────────────────────────────────────

  private object(value: object): void {
    if (Array.isArray(value)) return this.array(value)
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Object.prototype || prototype === null) {
      const plain = value as Record<PropertyKey, unknown>
      if (plain[Symbol.asyncIterator] === undefined || !this.stream(plain)) this.properties(plain)
    } else if (ArrayBuffer.isView(value)) this.arrayBufferView(value)
    else this.instance(value, isObjectPrototype(prototype))
  }

  private array(value: readonly unknown[]): void {
    // a Proxy may return any length
    const length = value.length >>> 0
    const depth = this.enter()
    this.count(length)
    this.arrayHead(length)
    const path = this.path
    for (let i = 0; i < length; i++) {
      path[depth] = i
      this.value(value[i])
    }
    this.depth = depth - 1
  }

  /** Writes the own enumerable properties. Their number is known only at the end, so the head is widened if one byte is too small. */
  private properties(value: Record<string, unknown>): number {
    const depth = this.enter()
    const path = this.path
    this.need(1)
    const head = this.at++
    let size = 0
    for (const key in value) {
      if (!hasOwn.call(value, key)) continue
      path[depth] = key
      if (key === '__proto__') refuse(PROTO)
      if (--this.nodes < 0) this.count(0)
      this.string(key)
      const item = value[key]
      if (typeof item === 'function') checkMethod(key)
      this.value(item)
      size++
    }
    if (size < 16) this.bytes[head] = 0x80 | size
    else this.widen(head, size)
    this.depth = depth - 1
    return size
  }

  /** Encodes an instance, neither array nor binary. @param plain  a plain object of another realm */
  private instance(value: object, plain: boolean): void {
    const handle = handleOf(value)
    if (handle !== undefined) return this.reference(handle)
    const tag = toString.call(value)
    if ((tag !== '[object Object]' || ('message' in value && isError(value))) && this.builtin(value)) return
    if ((!plain || Symbol.asyncIterator in value) && this.stream(value)) return
    if (!plain) checkInstance(value)
    checkSent(this.properties(value as Record<string, unknown>), tag)
  }

  private reference(handle: Handle): void {
    const text = referred(handle, this.refs!)
    const size = Buffer.byteLength(text)
    this.count(SLOWEST)
    this.needContent(size)
    this.ext(size, Ext.reference)
    this.at += this.bytes.write(text, this.at, size, 'utf8')
  }

  private builtin(value: object): boolean {
    switch (builtinKind(value)) {
      case 'date': this.date(value as Date); break
      case 'map': this.map(value as Map<unknown, unknown>); break
      case 'set': this.set(value as Set<unknown>); break
      case 'error': this.error(value as Error); break
      case 'arrayBuffer': this.binary('ArrayBuffer', new Uint8Array(value as ArrayBuffer), 1); break
      case 'boxed': this.value(unbox(value)); break
      default: return false
    }
    return true
  }

  private map(value: ReadonlyMap<unknown, unknown>): void {
    const entries = [...mapEntries.call(value)]
    const head = this.container(Ext.map, entries.length * 2)
    for (const [i, [key, item]] of entries.entries()) {
      this.path[this.depth] = typeof key === 'string' ? key : i
      this.value(key)
      this.value(item)
    }
    this.close(head)
    this.depth--
  }

  private set(value: ReadonlySet<unknown>): void {
    const members = [...setValues.call(value)]
    const head = this.container(Ext.set, members.length)
    for (const [i, member] of members.entries()) {
      this.path[this.depth] = i
      this.value(member)
    }
    this.close(head)
    this.depth--
  }

  private error(error: Error): void {
    const { name, message, code, more } = fieldsOf(error)
    const size = more.length > 0 ? 3 + more.length * 2 : code === undefined ? 2 : 3
    const head = this.container(Ext.error, size)
    this.string(name)
    this.string(message)
    if (size > 2) this.value(code)
    for (const [key, value] of more) {
      this.path[this.depth] = key
      this.string(key)
      this.value(value)
    }
    this.close(head)
    this.depth--
  }

  private container(type: number, length: number): number {
    this.enter()
    this.count(length + (type === Ext.error ? SLOWEST : SLOW))
    return this.open(type, length)
  }
}
