/** The proof of each handshake message: an HMAC by the secret, over both hellos and the whole content of the message. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { StageError } from './errors.js'
import type { Hello } from './hello.js'
import { keyIds, keyOf, type Secret } from './secret.js'

export interface SealOptions {
  dialled: boolean
  namespace: string
  secret?: Secret | undefined
  /** Bytes that only the ends of this connection know. */
  binding?: (() => Buffer) | undefined
}

/** The first secret of the dialler that the listener has too. An end that names none has one only, which may be any of ours. */
function common(o: SealOptions, secret: Secret, dialler: Hello, listener: Hello): string {
  const [first, ...others] = [secret].flat()
  const theirs = o.dialled ? listener.keys : dialler.keys
  if (!theirs) return first
  const mine = keyIds(o, dialler.nonce) as string[]
  const chosen = o.dialled ? mine.find((id) => theirs.includes(id)) : theirs.find((id) => mine.includes(id))
  if (chosen === undefined) throw unproven()
  return [first, ...others][mine.indexOf(chosen)]
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
  const key = keyOf(common(o, o.secret, dialler, listener), o.namespace)
  const transcript = createHash('sha256')
    .update(JSON.stringify(canonical(dialler)))
    .update('\n')
    .update(JSON.stringify(canonical(listener)))
    .update(o.binding?.() ?? '')
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
  new StageError('AUTH_FAILED', 'the two stages have different secrets, or somebody between them alters the handshake or ends the TLS connection')
