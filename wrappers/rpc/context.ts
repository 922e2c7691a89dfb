/**
 * The context of a call beside its arguments (depth, turns that wait for the call, headers), how nested calls inherit the
 * context, and its encoding: one byte, 0, if nothing is carried, else 1 and then
 *
 *     length of what follows (2) · depth (1) · number of turns (1) · each: length (2) · text
 *                                · number of headers (1) · each: length of the name (1) · name · length (2) · value
 */
import { either } from '../../src/abort.js'
import { StageError } from '../../src/errors.js'
import { HEADERS_MAX, HEADERS_MAX_BYTES, NO_HEADERS, bytesOf, headersOf, isHeaderName, type Headers } from '../../src/headers.js'
import type { SelectOptions } from '../../src/types.js'
import type { Writer } from '../../src/writer.js'
import type { Hand } from '../codec/hand.js'

/** Maximum nesting depth of calls. */
export const DEPTH_MAX = 32
/** Maximum length of the name of a turn: an address, and a part that tells the turns of one activation apart. */
const TURN_MAX_BYTES = 1024
/** Room for the method name that follows the context. */
const NAME_ROOM = 256

/** Context that travels with a call beside its deadline. Immutable; all calls that carry nothing share one object. */
export interface Carried {
  /** Nesting depth of the call. */
  readonly depth: number
  /** Names of the actor turns that wait for the call, the outermost first. */
  readonly chain: readonly string[]
  readonly headers: Headers
}

export const NOTHING: Carried = Object.freeze({ depth: 0, chain: Object.freeze([]), headers: NO_HEADERS })

/** A call, as the calls made on its behalf see it. */
export interface Context {
  /** When the caller stops waiting, by the clock's `now()`; Infinity: nobody waits. */
  readonly endsAt: number
  /** Fires when nobody waits for the call any more. */
  readonly signal: AbortSignal | undefined
  readonly carried: Carried
}

/** Additional options of a `to()` or `actor()` that was made within a call. */
export interface Inherited {
  readonly carried: Carried
  /** Wraps the functions and streams in the arguments before they go to the callee. */
  readonly hand?: Hand | undefined
}

/**
 * Options for calls made on behalf of an outer call: their deadline is no later, they are cancelled with the outer call, and
 * they inherit its context, one call deeper and with the headers as `options.headers` changes them.
 * @param from  the outer call; undefined: there is none, and only `hand` is inherited
 * @param now   by the clock
 * @throws StageError BAD_ARGUMENT
 */
export function inherit<O extends SelectOptions>(from: Context | undefined, options: O, now: number, hand?: Hand): O {
  const outer = from?.carried ?? NOTHING
  const { signal, headers: changes, ...rest } = options
  const headers = changes ? headersOf(changes, outer.headers) : outer.headers
  if (!from) return { ...options, inherited: { carried: withHeaders(NOTHING, headers), hand } satisfies Inherited }
  const left = Math.max(1, from.endsAt - now)
  const carried: Carried = { depth: outer.depth + 1, chain: outer.chain, headers }
  return {
    ...rest as O,
    ...(left === Infinity ? {} : { timeoutMs: Math.min(options.timeoutMs ?? Infinity, left) }),
    signal: signal && from.signal ? either(from.signal, signal) : signal ?? from.signal,
    inherited: { carried, hand } satisfies Inherited,
  }
}

/** The context of calls with these options. @param options  as `checkOptions` returned them */
export function carriedBy({ inherited, headers }: SelectOptions): Carried {
  if (inherited) return (inherited as Inherited).carried
  return headers ? withHeaders(NOTHING, headers as Headers) : NOTHING
}

/** The same context with `headers` in place of its own. */
export const withHeaders = (carried: Carried, headers: Headers): Carried =>
  headers === carried.headers ? carried : { ...carried, headers }

// ── as bytes ────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param writer  has room for one byte and the name of a method; room for the name remains afterwards */
export function putCarried(writer: Writer, carried: Carried): void {
  if (carried === NOTHING) {
    writer.bytes[writer.at++] = 0
    return
  }
  const { depth, chain, headers } = carried
  const turns = chain.map((one) => Buffer.from(one))
  const texts = Object.entries(headers).map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
  let size = 3
  for (const turn of turns) size += 2 + turn.length
  for (const [name, value] of texts) size += 3 + name.length + value.length
  writer.need(3 + size + NAME_ROOM)
  const { bytes } = writer
  let { at } = writer
  const u8 = (value: number): void => { bytes[at++] = value }
  const u16 = (value: number): void => { u8(value >>> 8); u8(value) }
  const put = (text: Buffer): void => { at += text.copy(bytes, at) }
  u8(1)
  u16(size)
  u8(depth)
  u8(turns.length)
  for (const turn of turns) {
    u16(turn.length)
    put(turn)
  }
  u8(texts.length)
  for (const [name, value] of texts) {
    u8(name.length)
    put(name)
    u16(value.length)
    put(value)
  }
  writer.at = at
}

/** Length in bytes of the context that begins at `at`. @throws StageError PROTOCOL_ERROR */
export function sizeOfCarried(bytes: Buffer, at: number, end: number): number {
  if (at < end && bytes[at] === 0) return 1
  if (at + 3 > end || bytes[at] !== 1) throw bad('whose context cannot be read')
  const size = 3 + bytes.readUInt16BE(at + 1)
  if (at + size > end) throw bad('whose context is cut off')
  return size
}

/** @param end  where the context ends, by `sizeOfCarried` @throws StageError PROTOCOL_ERROR */
export function takeCarried(bytes: Buffer, at: number, end: number): Carried {
  if (end - at === 1) return NOTHING
  at += 3
  const u8 = (): number => {
    if (at >= end) throw bad('whose context ends too early')
    return bytes[at++]
  }
  const u16 = (): number => (u8() << 8) | u8()
  const text = (length: number): string => {
    if (at + length > end) throw bad('whose context ends too early')
    return bytes.toString('utf8', at, at += length)
  }
  const depth = u8()
  const turns = u8()
  if (turns > DEPTH_MAX + 1) throw bad(`with a chain of ${turns} turns`)
  const chain = Array.from({ length: turns }, () => {
    const length = u16()
    if (length > TURN_MAX_BYTES) throw bad(`with a turn whose name has ${length} bytes`)
    return text(length)
  })
  const headers = takeHeaders(u8(), () => text(u8()), () => text(u16()))
  if (at !== end) throw bad('whose context is longer than it declares')
  return { depth, chain, headers }
}

function takeHeaders(count: number, name: () => string, value: () => string): Headers {
  if (count === 0) return NO_HEADERS
  if (count > HEADERS_MAX) throw bad(`of ${count} headers`)
  const headers: Record<string, string> = {}
  for (let i = 0; i < count; i++) {
    const key = name()
    if (!isHeaderName(key) || Object.hasOwn(headers, key)) throw bad('whose headers have invalid names')
    headers[key] = value()
  }
  if (bytesOf(headers) > HEADERS_MAX_BYTES) throw bad(`whose headers have more than ${HEADERS_MAX_BYTES} bytes`)
  return Object.freeze(headers)
}

const bad = (what: string): StageError => new StageError('PROTOCOL_ERROR', `a call ${what}`)
