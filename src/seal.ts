/** The proof of each handshake message: an HMAC by the secret, over both hellos and the whole content of the message. */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { StageError } from './errors.js'
import type { Hello } from './hello.js'

export const SECRET_MIN_BYTES = 16

export interface SealOptions {
  dialled: boolean
  namespace: string
  secret?: string | undefined
}

/** The proofs of both ends, each a function of the JSON of a message's content. */
export interface Seal {
  ours(said: string): string
  theirs(said: string): string
}

/** Role labels and both nonces are covered, so no proof can be replayed or reflected. The chain and names are covered as well. */
export function seal(o: SealOptions, dialler: Hello, listener: Hello): Seal {
  if ((o.secret !== undefined) !== (o.dialled ? listener : dialler).secret) {
    throw new StageError('AUTH_FAILED', 'one of the two stages has a secret and the other has none: give both the same `secret`')
  }
  if (o.secret === undefined) return { ours: () => '', theirs: () => '' }
  const key = Buffer.from(hkdfSync('sha256', o.secret, '', `stage1|${o.namespace}`, 32))
  const transcript = createHash('sha256')
    .update(JSON.stringify(canonical(dialler)))
    .update('\n')
    .update(JSON.stringify(canonical(listener)))
    .digest()
  const by = (role: string) => (said: string): string =>
    createHmac('sha256', key).update(`stage1 ${role}\n`).update(transcript).update(said).digest('base64url')
  return o.dialled ? { ours: by('dialler'), theirs: by('listener') } : { ours: by('listener'), theirs: by('dialler') }
}

/** The part of a message that its proof covers: the whole content. An empty message is proven by the hellos alone. */
export const covered = (said: object): string => Object.keys(said).length > 0 ? JSON.stringify(said) : ''

/** The fields of a hello in one fixed order, whichever end built it. */
const canonical = (h: Hello): unknown[] => [
  h.protocol, h.namespace, h.from.id, h.from.name, h.from.addresses, h.expect ?? null, h.nonce, h.chain, h.own ?? null, h.secret,
  h.last?.of ?? null, h.last?.state ?? null,
]

/** @throws StageError AUTH_FAILED */
export function checkProof(found: unknown, expected: string): void {
  const a = Buffer.from(typeof found === 'string' ? found : '?')
  const b = Buffer.from(expected)
  if (a.length !== b.length || !timingSafeEqual(a, b)) throw unproven()
}

export const unproven = (): StageError =>
  new StageError('AUTH_FAILED', 'the two stages have different secrets, or somebody between them alters the handshake')
