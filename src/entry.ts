import type { Entry } from './types.js'
import { StageError, asError, describe, isPrintable } from './errors.js'
import { log } from './log.js'
import { NO_META, checkMeta, type Meta } from './meta.js'
import { isName } from './pattern.js'

/** What a record may weigh in any registry, in bytes of JSON. */
const MAX_ENTRY_BYTES = 8 * 1024
const MAX_ADDRESSES = 16

/**
 * The text under which an entry is stored.
 * @throws StageError BAD_ARGUMENT if nobody could read it back
 */
export function encodeEntry(entry: Entry): string {
  const { id, name, namespace, addresses, unique, draining, ttlMs, announces } = entry
  const meta = checkMeta(entry.meta ?? NO_META)
  const facts = Object.keys(meta).length > 0 ? { meta } : {}
  const text = JSON.stringify({ id, name, namespace, addresses, unique, draining, ttlMs, announces, ...facts })
  const bytes = Buffer.byteLength(text)
  if (bytes > MAX_ENTRY_BYTES) {
    const limit = `a registry holds at most ${MAX_ENTRY_BYTES}: announce less, or say less in meta`
    throw new StageError('BAD_ARGUMENT', `the entry of ${describe(name)} has ${bytes} bytes as JSON, but ${limit}`)
  }
  if (parseEntry(text, namespace)) return text
  throw new StageError('BAD_ARGUMENT', `${describe(text)} is not an entry: its id, a name or an address has not the form that others accept`)
}

/**
 * An entry as a registry gave it back, or undefined if it is none: registries are shared, and people edit them.
 * @param text       JSON
 * @param namespace  where it was found, which it must name itself
 */
export function parseEntry(text: unknown, namespace: string): Entry | undefined {
  if (typeof text !== 'string' || Buffer.byteLength(text) > MAX_ENTRY_BYTES) return undefined
  try {
    return checkEntry(parseJson(text), namespace)
  } catch {
    return undefined
  }
}

/** The same for one that is an object already, whoever made it. */
export function checkEntry(value: unknown, namespace: string): Entry | undefined {
  if (!isRecord(value)) return undefined
  const { id, name, addresses, unique, draining, ttlMs, announces } = value
  const good = isId(id) && isName(name) && value.namespace === namespace &&
    Array.isArray(addresses) && addresses.length <= MAX_ADDRESSES && addresses.every(isAddress) &&
    typeof unique === 'boolean' && typeof draining === 'boolean' &&
    typeof ttlMs === 'number' && ttlMs > 0 && ttlMs <= 86_400_000 && isRecord(announces)
  return good ? { id, name, namespace, addresses, unique, draining, ttlMs, announces, meta: metaOf(value) } : undefined
}

/** One without it is of a version that had none. One that is malformed hides no stage: whoever asks for a fact finds none. */
function metaOf({ id, meta }: Record<string, unknown>): Meta {
  if (meta === undefined || meta === NO_META) return NO_META
  try {
    return checkMeta(meta)
  } catch (error) {
    log('entry', `the meta of ${describe(id)} is left out: ${asError(error).message}`)
    return NO_META
  }
}

/** A key `__proto__` is refused at any depth: what is announced gets merged by somebody some day. */
function parseJson(text: string): unknown {
  // a reviver is slow, and only these texts can spell the key
  if (!text.includes('__proto__') && !text.includes('\\u')) return JSON.parse(text)
  return JSON.parse(text, (key, value: unknown) => {
    if (key === '__proto__') throw new SyntaxError('__proto__ is not a key')
    return value
  })
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

const isId = (value: unknown): value is string => typeof value === 'string' && /^[\w-]{1,64}$/.test(value)

/** `scheme://…` in printable characters; a port at its end is one that can be dialled. */
export function isAddress(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > 1024 || !/^[a-z][a-z0-9+.-]*:./.test(value) || !isPrintable(value)) return false
  const port = /^[a-z0-9+.-]+:\/\/[^/?#]*:(\d+)$/.exec(value)?.[1]
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65535)
}

/**
 * Decodes the records of one namespace, again and again: what did not change is the same object as before, and what is
 * no entry is skipped and put into the debug log once.
 */
export class EntryReader {
  #known = new Map<string, { text: unknown, entry: Entry | undefined }>()

  constructor(private readonly namespace: string, private readonly address: string) {}

  /** @param records  [id, text] of every one there is */
  read(records: Iterable<readonly [string, unknown]>): Entry[] {
    const known = new Map<string, { text: unknown, entry: Entry | undefined }>()
    const entries: Entry[] = []
    for (const [id, text] of records) {
      let record = this.#known.get(id)
      if (record?.text !== text || !record) record = this.#decode(id, text)
      known.set(id, record)
      if (record.entry) entries.push(record.entry)
    }
    this.#known = known
    return entries
  }

  #decode(id: string, text: unknown): { text: unknown, entry: Entry | undefined } {
    let entry = parseEntry(text, this.namespace)
    if (entry?.id !== id) entry = undefined
    if (!entry) log(this.address, `the record ${describe(id)} of namespace ${describe(this.namespace)} is no entry and is skipped: ${describe(text)}`)
    return { text, entry }
  }
}
