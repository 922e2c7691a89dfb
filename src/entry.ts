import type { Entry } from './types.js'
import { StageError, asError, describe, isPrintable } from './errors.js'
import { log } from './log.js'
import { NO_META, checkMeta, type Meta } from './meta.js'
import { isName } from './pattern.js'

/** The size limit of a record in any registry, in bytes of JSON. */
const MAX_ENTRY_BYTES = 8 * 1024
const MAX_ADDRESSES = 16

/**
 * Encodes an entry as the text that a registry stores.
 * @throws StageError BAD_ARGUMENT if nobody could read the text back
 */
export function encodeEntry(entry: Entry): string {
  const { id, name, namespace, addresses, unique, draining, ttlMs, announces } = entry
  const meta = checkMeta(entry.meta ?? NO_META)
  const facts = Object.keys(meta).length > 0 ? { meta } : {}
  const text = JSON.stringify({ id, name, namespace, addresses, unique, draining, ttlMs, announces, ...facts })
  const bytes = Buffer.byteLength(text)
  if (bytes > MAX_ENTRY_BYTES) {
    const limit = `a registry holds at most ${MAX_ENTRY_BYTES}: announce less, or shorten meta`
    throw new StageError('BAD_ARGUMENT', `the entry of ${describe(name)} has ${bytes} bytes as JSON, but ${limit}`)
  }
  if (parseEntry(text, namespace)) return text
  throw new StageError('BAD_ARGUMENT', `${describe(text)} is not a valid entry: its id, a name or an address has a form that other stages reject`)
}

/**
 * Decodes an entry that a registry gave back; undefined if the text is no entry: registries are shared, and people edit them.
 * @param text       JSON
 * @param namespace  where the text was found; the entry must name it itself
 */
export function parseEntry(text: unknown, namespace: string): Entry | undefined {
  if (typeof text !== 'string' || Buffer.byteLength(text) > MAX_ENTRY_BYTES) return undefined
  try {
    return checkEntry(parseJson(text), namespace)
  } catch {
    return undefined
  }
}

/** The same for a value that is an object already, from any source. */
export function checkEntry(value: unknown, namespace: string): Entry | undefined {
  if (!isRecord(value)) return undefined
  const { id, name, addresses, unique, draining, ttlMs, announces } = value
  const good = isId(id) && isName(name) && value.namespace === namespace &&
    Array.isArray(addresses) && addresses.length <= MAX_ADDRESSES && addresses.every(isAddress) &&
    typeof unique === 'boolean' && typeof draining === 'boolean' &&
    typeof ttlMs === 'number' && ttlMs > 0 && ttlMs <= 86_400_000 && isRecord(announces)
  return good ? { id, name, namespace, addresses, unique, draining, ttlMs, announces, meta: metaOf(value) } : undefined
}

/** The meta of a record; older versions write none. A malformed meta does not hide its stage: it counts as empty. */
function metaOf({ id, meta }: Record<string, unknown>): Meta {
  if (meta === undefined || meta === NO_META) return NO_META
  try {
    return checkMeta(meta)
  } catch (error) {
    log('entry', `ignored the meta of ${describe(id)}: ${asError(error).message}`)
    return NO_META
  }
}

/** Refuses a key `__proto__` at any depth: somebody will merge announcements some day. */
function parseJson(text: string): unknown {
  // a reviver is slow, and only a text with one of these can contain the key
  if (!text.includes('__proto__') && !text.includes('\\u')) return JSON.parse(text)
  return JSON.parse(text, (key, value: unknown) => {
    if (key === '__proto__') throw new SyntaxError('__proto__ is not a key')
    return value
  })
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

const isId = (value: unknown): value is string => typeof value === 'string' && /^[\w-]{1,64}$/.test(value)

/** Lists of entries that `readEntry` has made, so that the directory need not check and copy each of them once more. */
const checked = new WeakSet<readonly Entry[]>()

/** The same list, noted as one of valid entries. */
export function checkedEntries(entries: readonly Entry[]): readonly Entry[] {
  checked.add(entries)
  return entries
}

export const areChecked = (entries: readonly Entry[]): boolean => checked.has(entries)

/** `scheme://…` in printable characters; a port at the end is from 1 to 65535. */
export function isAddress(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > 1024 || !/^[a-z][a-z0-9+.-]*:./.test(value) || !isPrintable(value)) return false
  const port = /^[a-z0-9+.-]+:\/\/[^/?#]*:(\d+)$/.exec(value)?.[1]
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65535)
}

/**
 * Decodes the record of one id; undefined, with a line in the log, if it is not a valid entry of that id.
 * @param address  of the registry, for the log
 */
export function readEntry(id: string, text: unknown, namespace: string, address: string): Entry | undefined {
  const entry = parseEntry(text, namespace)
  if (entry?.id === id) return entry
  log(address, `skipped the record ${describe(id)} of namespace ${describe(namespace)}, which is not a valid entry: ${describe(text)}`)
  return undefined
}
