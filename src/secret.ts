/** The secrets of a stage: what they must be, and their names on the wire. */
import { createHmac, hkdfSync } from 'node:crypto'
import { describe } from './errors.js'

const SECRET_MIN_BYTES = 16
const SECRETS_MAX = 4

/** One secret, or several that are valid while one replaces the other. */
export type Secret = string | readonly string[]

/** @throws TypeError */
export function checkSecret(secret: unknown): void {
  if (secret === undefined) return
  const all: readonly unknown[] = Array.isArray(secret) ? secret : [secret]
  if (all.length === 0 || all.length > SECRETS_MAX) {
    throw new TypeError(`secret is a list of ${all.length}: expected one secret, or a list of at most ${SECRETS_MAX}, the newest first`)
  }
  for (const one of all) {
    if (typeof one !== 'string') throw new TypeError(`the secret is ${describe(one)}: expected a string of at least ${SECRET_MIN_BYTES} bytes, or a list of such strings`)
    if (Buffer.byteLength(one) < SECRET_MIN_BYTES) throw new TypeError(`the secret is shorter than ${SECRET_MIN_BYTES} bytes and can be guessed: use a longer one`)
  }
}

export const keyOf = (secret: string, namespace: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', `stage1|${namespace}`, 32))

/**
 * Names for the secrets: with them the ends choose a secret that they share. A name lets its reader test guesses of the secret, so the
 * dialler alone gives its names, as it is the first to send a proof; and they differ for each nonce, so that no table of guesses
 * can be made beforehand.
 * @param nonce  the dialler's
 */
export const keyIds = ({ secret, namespace }: { secret?: Secret | undefined; namespace: string }, nonce: string): string[] | undefined =>
  secret === undefined ? undefined : [secret].flat().map((one) => createHmac('sha256', keyOf(one, namespace)).update(`stage1 key ${nonce}`).digest('base64url').slice(0, 12))
