import { handleOf, type Handle } from '../../src/handle.js'
import { isError, isObjectPrototype } from '../../src/realm.js'
import type { Writer } from '../../src/writer.js'
import { binaryKinds, littleEndian } from '../codec/binary.js'
import type { CodecLimits } from '../codec/limits.js'
import type { Callable, Refs } from '../codec/types.js'
import { fieldsOf } from '../codec/errors.js'
import {
  INNER, NOWHERE, OUTER, PROTO, STREAM, SYMBOL, builtin as builtinKind, checkBigint, checkFunction, checkInstance,
  checkMethod, checkSent, getTime, mapEntries, referred, refuse, setValues, takeBack,
  tooDeep, tooLong, tooMany, typedArrayName, unbox, unsendable,
} from '../codec/sendable.js'
import { streamKind } from '../codec/stream-kind.js'
import { Tag, weights, wellFormed } from './tags.js'

// defined here and not imported: V8 inlines only constants of the same module
const hasOwn = Object.prototype.hasOwnProperty
const toString = Object.prototype.toString

/** Encodes one value by a plain copy that JSON can express, so that getters run once and `toJSON` never runs. */
export class Encoder {
  private readonly path: (string | number)[] = []
  private readonly given: number[] = []
  private readonly offered: number[] = []
  private readonly start: number
  private nodes: number
  /** Remaining bytes, as a lower estimate: escapes and tags are counted only in the final text. */
  private room: number
  private disturbed = false

  /** @param outer the encoder whose value has a getter that uses this encoder */
  constructor(
    private readonly limits: CodecLimits,
    private readonly out: Writer,
    private readonly refs: Refs,
    private readonly outer: Encoder | undefined,
  ) {
    this.start = out.at
    this.nodes = limits.maxNodes
    this.room = limits.maxBytes
  }

  encode(value: unknown): void {
    const { out } = this
    try {
      this.disturb()
      const text = JSON.stringify(this.value(value))
      if (this.disturbed || out.at !== this.start) refuse(OUTER)
      const size = Buffer.byteLength(text)
      this.take(size - (this.limits.maxBytes - this.room))
      out.need(size)
      // as many bytes as characters means that all are ASCII, and latin1 writes ASCII faster
      out.at += out.bytes.write(text, out.at, size, size === text.length ? 'latin1' : 'utf8')
    } catch (thrown) {
      out.at = this.start
      takeBack(this.refs, this.given, this.offered)
      throw unsendable(thrown, this.path)
    }
  }

  /** Fails, with any outer encoder of the same `out`, because the outer encoder could not tell our bytes from its own. */
  private disturb(): void {
    for (let other = this.outer; other; other = other.outer) {
      if (other.out !== this.out) continue
      other.disturbed = true
      refuse(INNER)
    }
  }

  private take(bytes: number): void {
    if ((this.room -= bytes) >= 0) return
    this.path.length = 0
    tooLong(this.limits.maxBytes)
  }

  private count(size: number): void {
    if ((this.nodes -= size) >= 0) return
    this.path.length = 0
    tooMany(this.limits.maxNodes)
  }

  private enter(): number {
    if (this.path.length >= this.limits.maxDepth) tooDeep(this.limits.maxDepth)
    return this.path.push(NOWHERE) - 1
  }

  private tag(name: string, content: unknown): unknown {
    this.count(1 + (weights.get(name) ?? 0))
    return { [name]: content }
  }

  private value(value: unknown): unknown {
    switch (typeof value) {
      case 'string': return this.string(value)
      case 'number': return this.number(value)
      case 'object': return value === null ? null : this.object(value)
      case 'boolean': return value
      case 'undefined': return this.tag(Tag.undefined, 0)
      case 'function': return this.tag(Tag.function, this.function(value as Callable))
      case 'bigint': return this.bigint(value)
      default: return refuse(SYMBOL)
    }
  }

  // ── leaves ────────────────────────────────────────────────────────────────────────────────────────────────────

  private string(text: string): string {
    this.take(text.length + 2)
    return wellFormed(text)
  }

  /** Tags -0, NaN and the infinities, which JSON lacks. */
  private number(value: number): unknown {
    if (Object.is(value, -0)) return this.tag(Tag.number, '-0')
    return Number.isFinite(value) ? value : this.tag(Tag.number, String(value))
  }

  private function(fn: Callable): number {
    checkFunction(fn)
    const id = this.refs.give(fn)
    this.given.push(id)
    return id
  }

  private bigint(value: bigint): unknown {
    const magnitude = value < 0n ? -value : value
    checkBigint(magnitude)
    return this.tag(Tag.bigint, this.string(value.toString(16)))
  }

  private base64(content: Buffer): string {
    this.take(Math.ceil(content.length / 3) * 4)
    return content.toString('base64')
  }

  private binary(name: string, content: Uint8Array, elementSize: number): unknown {
    if (!(binaryKinds as readonly string[]).includes(name)) refuse(`is a ${name}, which cannot be sent: send its bytes as a Buffer`)
    this.count(2)
    this.take(content.length)
    const copy = Buffer.from(content)
    littleEndian(copy, elementSize)
    return this.tag(Tag.binary, [name, copy.toString('base64')])
  }

  private arrayBufferView(value: ArrayBufferView): unknown {
    if (Buffer.isBuffer(value)) return this.tag(Tag.buffer, this.base64(value))
    const content = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    return this.binary(typedArrayName.call(value) ?? 'DataView', content, (value as Uint8Array).BYTES_PER_ELEMENT ?? 1)
  }

  /** @returns undefined if the value is not a stream */
  private stream(value: object): unknown {
    const kind = streamKind(value)
    if (kind === 0) return undefined
    if (!this.refs.offer) return refuse(STREAM)
    const id = this.refs.offer(value, kind)
    this.offered.push(id)
    this.count(2)
    return this.tag(Tag.stream, [kind, id])
  }

  // ── containers ────────────────────────────────────────────────────────────────────────────────────────────────

  private object(value: object): unknown {
    // a Proxy may return any length
    if (Array.isArray(value)) return this.list(value, value.length >>> 0)
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Object.prototype || prototype === null) {
      const plain = value as Record<PropertyKey, unknown>
      if (plain[Symbol.asyncIterator] === undefined) return this.properties(plain)
      return this.stream(plain) ?? this.properties(plain)
    }
    return ArrayBuffer.isView(value) ? this.arrayBufferView(value) : this.instance(value, isObjectPrototype(prototype))
  }

  private list(value: readonly unknown[], length: number): unknown[] {
    const depth = this.enter()
    this.count(length)
    this.take(length)
    const copy = new Array<unknown>(length)
    for (let i = 0; i < length; i++) {
      this.path[depth] = i
      copy[i] = this.value(value[i])
    }
    this.path.pop()
    return copy
  }

  /** Copies the own enumerable properties. */
  private properties(value: Record<string, unknown>, tag = '[object Object]'): unknown {
    const depth = this.enter()
    const copy: Record<string, unknown> = {}
    let size = 0
    let last = ''
    for (const key in value) {
      if (!hasOwn.call(value, key)) continue
      this.path[depth] = key
      if (key === '__proto__') refuse(PROTO)
      this.count(1)
      last = this.string(key)
      const item = value[key]
      if (typeof item === 'function') checkMethod(key)
      copy[last] = this.value(item)
      size++
    }
    this.path.pop()
    checkSent(size, tag)
    // escapes an object that looks like a tag; two names may have become one when they were made well-formed
    return last[0] === '$' && (size === 1 || Object.keys(copy).length === 1) ? { [`$${last}`]: copy[last] } : copy
  }

  /** Encodes an instance, neither array nor binary. @param plain  a plain object of another realm */
  private instance(value: object, plain: boolean): unknown {
    const handle = handleOf(value)
    if (handle !== undefined) return this.reference(handle)
    const tag = toString.call(value)
    const built = tag !== '[object Object]' || ('message' in value && isError(value)) ? this.builtin(value) : undefined
    if (built !== undefined) return built
    const stream = plain && !(Symbol.asyncIterator in value) ? undefined : this.stream(value)
    if (stream !== undefined) return stream
    if (!plain) checkInstance(value)
    return this.properties(value as Record<string, unknown>, tag)
  }

  private reference(handle: Handle): unknown {
    return this.tag(Tag.reference, this.string(referred(handle, this.refs)))
  }

  private builtin(value: object): unknown {
    switch (builtinKind(value)) {
      case 'date': return this.date(value as Date)
      case 'map': return this.map(value as Map<unknown, unknown>)
      case 'set': return this.set(value as Set<unknown>)
      case 'error': return this.error(value as Error)
      case 'arrayBuffer': return this.binary('ArrayBuffer', new Uint8Array(value as ArrayBuffer), 1)
      case 'boxed': return this.value(unbox(value))
      default: return undefined
    }
  }

  private date(value: Date): unknown {
    const time = getTime.call(value)
    return this.tag(Tag.date, Number.isNaN(time) ? null : time)
  }

  private map(value: ReadonlyMap<unknown, unknown>): unknown {
    const entries = [...mapEntries.call(value)] as [unknown, unknown][]
    const depth = this.enter()
    this.count(entries.length * 2)
    const content: unknown[] = []
    for (const [i, [key, item]] of entries.entries()) {
      this.path[depth] = typeof key === 'string' ? key : i
      content.push(this.value(key), this.value(item))
    }
    this.path.pop()
    return this.tag(Tag.map, content)
  }

  private set(value: ReadonlySet<unknown>): unknown {
    const members = [...setValues.call(value)]
    return this.tag(Tag.set, this.list(members, members.length))
  }

  private error(error: Error): unknown {
    const { name, message, code, more } = fieldsOf(error)
    const size = more.length > 0 ? 3 + more.length * 2 : code === undefined ? 2 : 3
    const depth = this.enter()
    this.count(size)
    const content: unknown[] = [this.string(name), this.string(message)]
    if (size > 2) content.push(code === undefined ? null : this.value(code))
    for (const [key, value] of more) {
      this.path[depth] = key
      content.push(this.string(key), this.value(value))
    }
    this.path.pop()
    return this.tag(Tag.error, content)
  }
}
