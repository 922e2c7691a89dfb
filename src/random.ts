import { randomBytes } from 'node:crypto'
import type { Random } from './types.js'

/** The only place where the library reads the machine's randomness. */
export const systemRandom: Random = {
  bytes: (size) => randomBytes(size),
  float: () => Math.random(),
}

/** A new identity: 96 bits, so that no two collide, in letters that a URL, a Redis key and a log can carry. */
export const newId = (random: Random): string => random.bytes(12).toString('base64url')

/** `ms` spread evenly by ± `part` of it. */
export const jitter = (random: Random, ms: number, part: number): number => ms * (1 + part * (2 * random.float() - 1))
