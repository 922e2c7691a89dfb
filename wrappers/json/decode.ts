import { StageError } from '../../src/errors.js'
import { binaryFault, binaryKinds, rebuiltBinary } from '../codec/binary.js'
import { MORE_MAX, mayHave, receivedError } from '../codec/errors.js'
import { MAX_BIGINT_BYTES, REFERENCE_MAX_BYTES } from '../codec/sendable.js'
import { isStreamKind } from '../codec/stream-kind.js'
import type { CodecLimits } from '../codec/limits.js'
import type { Refs } from '../codec/types.js'
import { BYTES } from '../codec/weight.js'
import { scan } from './scan.js'
import { Tag, weights, wellFormed } from './tags.js'

const fail = (what: string): never => {
  throw new StageError('PROTOCOL_ERROR', `malformed message: ${what}`)
}

const specials: Readonly<Record<string, number>> = Object.assign(
  Object.create(null) as object, { 'NaN': NaN, 'Infinity': Infinity, '-Infinity': -Infinity, '-0': -0 },
)

/** Decodes one message. JSON.parse runs only once the size of its result is known. */
export class Decoder {
  private depth = 0
  private nodes = 0
  /** Approximate memory of the value, in bytes. */
  weight = 0
  /** True if the text has `\u` escapes: only an escape can produce a lone surrogate, so other texts need no check. */
  private escaped = false

  constructor(private readonly limits: CodecLimits, private readonly refs: Refs) {}

  decode(bytes: Buffer, start: number, end: number): unknown {
    try {
      return this.value(this.parse(bytes, start, end))
    } catch (thrown) {
      if (thrown instanceof StageError && thrown.code === 'PROTOCOL_ERROR') throw thrown
      throw new StageError('PROTOCOL_ERROR', 'malformed message: a value in it cannot be built', { cause: thrown })
    }
  }

  private parse(bytes: Buffer, start: number, end: number): unknown {
    const { maxBytes, maxNodes, maxDepth } = this.limits
    if (end - start > maxBytes) fail(`it has more than ${maxBytes} bytes`)
    if (start < 0 || end > bytes.length) fail('it ends in the middle of a value')
    // a container may be two brackets deep, and so may a leaf in the innermost container
    const { nodes, depth, containers, strings } = scan(bytes, start, end, maxNodes, maxDepth * 2 + 2)
    this.nodes = maxNodes
    // about half of the strings are property names, most of which are known already
    this.weight = end - start + containers * BYTES.container + strings * BYTES.name
    this.weigh(nodes)
    if (depth > maxDepth * 2 + 2) this.tooDeep()
    const text = bytes.toString('utf8', start, end)
    this.escaped = text.includes('\\u')
    try {
      return JSON.parse(text)
    } catch (error) {
      throw new StageError('PROTOCOL_ERROR', 'malformed message: it is not JSON', { cause: error })
    }
  }

  private weigh(nodes: number): void {
    this.weight += nodes * BYTES.slot
    if ((this.nodes -= nodes) < 0) fail(`it has more than ${this.limits.maxNodes} elements and properties`)
  }

  private tooDeep(): never {
    return fail(`it is nested deeper than ${this.limits.maxDepth}`)
  }

  private enter(): void {
    if (++this.depth > this.limits.maxDepth) this.tooDeep()
  }

  /** Converts the result of JSON.parse in place, as nobody else uses it. */
  private value(value: unknown): unknown {
    if (typeof value === 'string') return this.escaped ? wellFormed(value) : value
    if (typeof value !== 'object' || value === null) return value
    return Array.isArray(value) ? this.list(value) : this.object(value as Record<string, unknown>)
  }

  private list(list: unknown[]): unknown[] {
    this.enter()
    for (let i = 0; i < list.length; i++) list[i] = this.value(list[i])
    this.depth--
    return list
  }

  private object(object: Record<string, unknown>): unknown {
    let size = 0
    let last = ''
    let lone = false
    for (const key in object) {
      if (key === '__proto__') return fail('it has a property "__proto__"')
      if (this.escaped && wellFormed(key) !== key) lone = true
      last = key
      size++
    }
    if (size === 1 && last[0] === '$') {
      if (last[1] !== '$') return this.tagged(last, object[last])
      object = { [last.slice(1)]: object[last] }
    }
    this.enter()
    if (lone) object = Object.fromEntries(Object.entries(object).map(([key, item]) => [wellFormed(key), item]))
    for (const key in object) {
      const item = object[key]
      if (typeof item === 'object' || this.escaped) object[key] = this.value(item)
    }
    this.depth--
    return object
  }

  // ── tags ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private tagged(tag: string, content: unknown): unknown {
    const nodes = weights.get(tag) ?? 0
    this.weigh(nodes)
    this.weight += nodes * BYTES.tag + (tag === Tag.stream ? BYTES.stream : tag === Tag.function ? BYTES.function : 0)
    switch (tag) {
      case Tag.undefined: return undefined
      case Tag.number: return specials[this.text(content)] ?? fail('an invalid number')
      case Tag.bigint: return this.bigint(this.text(content))
      case Tag.date: return new Date(content === null ? NaN : typeof content === 'number' ? content : fail('a Date is not a number'))
      case Tag.buffer: return this.base64(content)
      case Tag.binary: return this.binary(this.array(content))
      case Tag.map: return this.map(this.array(content))
      case Tag.set: return new Set(this.list(this.array(content)))
      case Tag.error: return this.error(this.array(content))
      case Tag.function: return this.refs.take(this.id(content))
      case Tag.stream: return this.stream(this.array(content))
      case Tag.reference: return this.reference(this.text(content))
      default: return fail('an unknown tag')
    }
  }

  private text(content: unknown): string {
    return typeof content === 'string' ? content : fail('the content of a tag is not a string')
  }

  private array(content: unknown): unknown[] {
    return Array.isArray(content) ? content : fail('the content of a tag is not a list')
  }

  private id(content: unknown): number {
    return typeof content === 'number' && content >>> 0 === content ? content : fail('the number of a function or stream is not a non-negative integer')
  }

  private bigint(text: string): bigint {
    if (text.length > MAX_BIGINT_BYTES * 2 + 1 || !/^-?[0-9a-f]+$/.test(text)) fail('a bigint is too long, or not hexadecimal')
    return text[0] === '-' ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`)
  }

  private base64(content: unknown): Buffer {
    const text = this.text(content)
    const bytes = Buffer.from(text, 'base64')
    // Buffer.from skips characters that are not base64, so the length shows whether there were any
    const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
    if (text.length % 4 !== 0 || bytes.length !== (text.length / 4) * 3 - padding) fail('binary data is not base64')
    return bytes
  }

  private binary(parts: unknown[]): unknown {
    const kind = binaryKinds.find((one) => one === parts[0])
    if (kind === undefined || parts.length !== 2) return fail('binary data of an unknown kind')
    const bytes = this.base64(parts[1])
    const fault = binaryFault(kind, bytes.length)
    return fault === undefined ? rebuiltBinary(kind, bytes) : fail(fault)
  }

  private map(parts: unknown[]): Map<unknown, unknown> {
    if (parts.length % 2 !== 0) fail('a Map has a key without a value')
    this.list(parts)
    const map = new Map<unknown, unknown>()
    for (let i = 0; i < parts.length; i += 2) map.set(parts[i], parts[i + 1])
    return map
  }

  private error(parts: unknown[]): Error {
    const { length } = parts
    if (length < 2 || (length > 3 && length % 2 === 0) || length > 3 + MORE_MAX * 2) {
      fail('an Error does not have two or three parts and then pairs')
    }
    this.list(parts)
    const [name, message, code] = parts
    if (typeof name !== 'string' || typeof message !== 'string') return fail('name and message of an Error are not strings')
    if (code !== undefined && code !== null && typeof code !== 'string' && typeof code !== 'number') {
      return fail('code of an Error is neither string nor number')
    }
    const more: [string, unknown][] = []
    for (let i = 3; i < length; i += 2) {
      const key = parts[i]
      if (!mayHave(key)) return fail('a property of an Error has an invalid name')
      more.push([key, parts[i + 1]])
    }
    return receivedError(name, message, code ?? undefined, more)
  }

  private reference(text: string): unknown {
    const wellFormedText = this.escaped ? wellFormed(text) : text
    if (Buffer.byteLength(wellFormedText) > REFERENCE_MAX_BYTES) fail('a reference is too long')
    return this.refs.resolve ? this.refs.resolve(wellFormedText) : fail('a reference where none is allowed')
  }

  private stream(parts: unknown[]): unknown {
    const [kind, id] = parts
    if (typeof kind !== 'number' || !isStreamKind(kind) || parts.length !== 2) return fail('a stream of an unknown kind')
    if (!this.refs.accept) return fail('a stream where none is allowed')
    return this.refs.accept(this.id(id), kind)
  }
}
