import { types } from 'node:util'
import { StageError, describe } from '../../src/errors.js'
import type { Writer } from '../../src/writer.js'
import type { Callable, CodecLimits, Refs } from '../codec.js'
import { Ext, MAX_BIGINT_BYTES, binaryKinds, littleEndian } from './ext.js'
import { Output, Refusal } from './output.js'
import { streamKind } from '../stream-kind.js'

const MAX_BIGINT_BITS = BigInt(MAX_BIGINT_BYTES * 8)

const hasOwn = Object.prototype.hasOwnProperty
const toString = Object.prototype.toString
const mapEntries = Map.prototype.entries
const setValues = Set.prototype.values
/** 'Uint8Array' and the like from the inside of the object, whatever class or realm it is of; undefined for a DataView. */
const typedArrayName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!.get as (this: unknown) => string | undefined

/** In the path: in the container, but at none of its elements. */
const NOWHERE = -1
const STREAM = 'is a stream or an async iterable, which cannot be sent here: pass it as a stream of its own, with to()'
const STREAM_LIKE = 'makes a stream of the object that it is in, of a kind that cannot be sent: pass one of Node\'s'
const STREAM_OTHER = 'is a stream of a kind that cannot be sent: pass one of Node\'s'
const PROMISE = 'is a promise: await it first'
const PROMISE_LIKE = 'makes a promise of the object that it is in: await it first'

/**
 * Writes one value at a time. Where it is in the value is kept in `path` and `depth`, so that a failure, be it a
 * getter's, can say where it happened without a second walk, and the inner functions need no `try`.
 */
export class Encoder extends Output {
  private nodes = 0
  private refs: Refs | undefined
  private given: number[] = []
  private offered: number[] = []
  private readonly path: (string | number)[]
  private readonly maxNodes: number
  private readonly maxDepth: number

  /** @param outer the one that is encoding while this one is used */
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
      throw this.failure(thrown, refs)
    } finally {
      if (this.given.length > 0) this.given = []
      if (this.offered.length > 0) this.offered = []
      this.out = this.refs = undefined
    }
  }

  /** Tells whoever is in the middle of writing to `out` that its bytes are no longer its own. */
  private disturb(out: Writer): void {
    for (let other = this.outer; other; other = other.outer) {
      if (other.out !== out) continue
      other.disturbed = true
      this.refuse('was sent by a getter while the value that it is part of was being sent, over the same link: read the value before you send it')
    }
  }

  private failure(thrown: unknown, refs: Refs): StageError {
    for (const id of this.given) refs.back?.(id)
    for (const id of this.offered) refs.withdraw?.(id)
    const what = thrown instanceof Refusal ? thrown.message : `cannot be read, it threw ${describe(thrown instanceof Error ? thrown.message : thrown)}: send a plain copy of it`
    return new StageError('BAD_ARGUMENT', `${where(this.path.slice(1, this.depth + 1))} ${what}`, { executed: 'no', ...(thrown instanceof Refusal ? {} : { cause: thrown }) })
  }

  private enter(): number {
    if (this.depth >= this.maxDepth) this.refuse(`is nested deeper than ${this.maxDepth} or cyclic: send a flatter copy`)
    this.path[++this.depth] = NOWHERE
    return this.depth
  }

  private count(size: number): void {
    if ((this.nodes -= size) < 0) {
      this.depth = 0
      this.refuse(`has more than ${this.maxNodes} elements and properties: send it in parts, or as one Buffer`)
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
        this.refuse('is a symbol, which means nothing elsewhere: send a string')
    }
  }

  // ── leaves ────────────────────────────────────────────────────────────────────────────────────────────────────

  private function(fn: Callable): void {
    const id = this.refs!.give(fn)
    this.given.push(id)
    this.need(6)
    this.ext(4, Ext.function)
    this.at = this.bytes.writeUInt32BE(id, this.at)
  }

  /** @returns whether it is one */
  private stream(value: object): boolean {
    const kind = streamKind(value)
    if (kind === 0) return false
    if (!this.refs!.offer) this.refuse(STREAM)
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
    if (magnitude >> MAX_BIGINT_BITS) this.refuse(`is a bigint of more than ${MAX_BIGINT_BYTES} bytes: send it as a Buffer`)
    const hex = magnitude.toString(16)
    const size = (hex.length + 1) >> 1
    this.needContent(size)
    this.ext(size + 1, Ext.bigint)
    this.bytes[this.at++] = value < 0n ? 1 : 0
    this.at += this.bytes.write(hex.length & 1 ? `0${hex}` : hex, this.at, size, 'hex')
  }

  private date(value: Date): void {
    this.need(10)
    this.ext(8, Ext.date)
    this.at = this.bytes.writeDoubleBE(Date.prototype.getTime.call(value), this.at)
  }

  private buffer(value: Uint8Array): void {
    this.needContent(value.length)
    this.sized(value.length, 0xc4)
    this.bytes.set(value, this.at)
    this.at += value.length
  }

  private binary(name: string, content: Uint8Array, elementSize: number): void {
    const kind = (binaryKinds as readonly string[]).indexOf(name)
    if (kind < 0) this.refuse(`is a ${name}, which cannot be sent: send its bytes as a Buffer`)
    const size = content.length
    this.needContent(size)
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
      if ((value as { [Symbol.asyncIterator]?: unknown })[Symbol.asyncIterator] === undefined || !this.stream(value)) this.properties(value as Record<string, unknown>)
    } else if (ArrayBuffer.isView(value)) this.arrayBufferView(value)
    else this.instance(value)
  }

  private array(value: readonly unknown[]): void {
    // a Proxy may give any length
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

  /** The own enumerable ones. How many there are shows only in the end: the head is widened if one byte cannot say it. */
  private properties(value: Record<string, unknown>): number {
    const depth = this.enter()
    const path = this.path
    this.need(1)
    const head = this.at++
    let size = 0
    for (const key in value) {
      if (!hasOwn.call(value, key)) continue
      path[depth] = key
      if (key === '__proto__') this.refuse('is a property that could change the prototype of the object at the other end: rename it')
      if (--this.nodes < 0) this.count(0)
      this.string(key)
      const item = value[key]
      if (typeof item === 'function') this.method(key)
      this.value(item)
      size++
    }
    if (size < 16) this.bytes[head] = 0x80 | size
    else this.widen(head, size)
    this.depth = depth - 1
    return size
  }

  /** Some names of functions make something of the object that cannot be sent. */
  private method(key: string): void {
    if (key === 'then') this.refuse(PROMISE_LIKE)
    if (key === 'pipe') this.refuse(STREAM_LIKE)
  }

  /** What is neither an array nor plain nor binary. */
  private instance(value: object): void {
    const tag = toString.call(value)
    if (tag !== '[object Object]' && this.builtin(value)) return
    if (this.stream(value)) return
    const like = value as { pipe?: unknown; then?: unknown }
    if (typeof like.pipe === 'function') this.refuse(STREAM_OTHER)
    if (typeof like.then === 'function') this.refuse(PROMISE)
    const sent = this.properties(value as Record<string, unknown>)
    if (sent === 0 && tag !== '[object Object]') this.refuse(`is a ${tag.slice(8, -1)}, of which nothing would arrive: send what you need of it`)
  }

  /** Told apart by what they are inside, not by their classes, which may be of another realm. */
  private builtin(value: object): boolean {
    if (types.isDate(value)) this.date(value)
    else if (types.isMap(value)) this.map(value)
    else if (types.isSet(value)) this.set(value)
    else if (types.isNativeError(value) || value instanceof Error) this.error(value)
    else if (types.isArrayBuffer(value)) this.binary('ArrayBuffer', new Uint8Array(value), 1)
    else if (types.isBoxedPrimitive(value)) this.value(unbox(value))
    else if (types.isPromise(value)) this.refuse(PROMISE)
    else if (types.isSharedArrayBuffer(value)) this.refuse('is a SharedArrayBuffer, and nothing is shared between peers: send a copy')
    else if (types.isRegExp(value)) this.refuse('is a RegExp, which cannot be sent: send its source as a string')
    else if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) this.refuse('holds its content weakly and cannot be sent: send the content')
    else return false
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

  private error(error: Error & { code?: unknown }): void {
    const { name, message, code, cause } = error
    const coded = typeof code === 'string' || typeof code === 'number'
    const caused = 'cause' in error
    const head = this.container(Ext.error, caused ? 4 : coded ? 3 : 2)
    this.string(typeof name === 'string' ? name : 'Error')
    this.string(typeof message === 'string' ? message : '')
    if (coded || caused) this.value(coded ? code : undefined)
    this.path[this.depth] = 'cause'
    if (caused) this.value(cause)
    this.close(head)
    this.depth--
  }

  private container(type: number, length: number): number {
    this.enter()
    this.count(length)
    return this.open(type, length)
  }
}

function unbox(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value)
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value)
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value)
  return types.isBigIntObject(value) ? BigInt.prototype.valueOf.call(value) : Symbol.prototype.valueOf.call(value)
}

/** `[1].user["first name"]` */
function where(path: readonly (string | number)[]): string {
  const keys = path.filter((key) => key !== NOWHERE)
  if (keys.length === 0) return 'the value'
  const steps = keys.slice(0, 8).map((key) => (typeof key === 'number' ? `[${key}]` : /^[A-Za-z_$][\w$]{0,63}$/.test(key) ? `.${key}` : `[${JSON.stringify(key.slice(0, 64))}]`))
  return steps.join('') + (keys.length > 8 ? '…' : '')
}
