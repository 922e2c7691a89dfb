/** The description of a stage in its handshake, for peers that find it without a registry. */
import { checkEntry } from './entry.js'
import { malformed, type Identity } from './hello.js'
import type { Entry } from './types.js'

/** The fields of an entry that a HELLO does not have. */
export type Introduction = Pick<Entry, 'meta' | 'announces'>

/** A handshake message has at most 4096 bytes. */
const MAX_BYTES = 3072

/** Announcements that do not fit are left out: the peer then does not know which actors this stage hosts. */
export function introductionOf({ meta, announces }: Entry): Introduction {
  return Buffer.byteLength(JSON.stringify({ meta, announces })) <= MAX_BYTES ? { meta, announces } : { meta, announces: {} }
}

/** @throws StageError PROTOCOL_ERROR */
export function introducedEntry(peer: Identity, namespace: string, ttlMs: number, introduction: unknown): Entry {
  const { meta, announces } = (introduction ?? {}) as Partial<Introduction>
  const entry = checkEntry({ ...peer, namespace, unique: false, draining: false, ttlMs, announces, meta }, namespace)
  if (!entry) throw malformed('introduction', introduction)
  return entry
}
