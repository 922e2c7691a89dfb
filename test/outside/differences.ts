import type { Difference } from './program.js'

/** The ways of the library's own chain, of a bare carrier, of both with a user's wrapper. */
export const DEFAULT = /^(to\(\)|a stream)/
export const BARE = /^a chain of nothing/
export const CALLBACK = /by callback/

const CUT = 'a stream that was destroyed before it was ended was cut off, and the other end learns it (P13); a socket sends an end'
const RESET = 'a carrier that was destroyed with an error resets its connection, so that the other end learns it (P13); a socket sends an end'

const times = (count: number, one: Difference): Difference[] => new Array<Difference>(count).fill(one)

/** One end sees an error in place of the other end's `end`, in the chain of the library. */
export const cut = (line: string, count = 1, instead = `${line.split(':')[0]}: error CANCELLED, close`): Difference[] => times(count, { way: DEFAULT, line, instead, because: CUT })

/** The same on a bare carrier, where the other end was destroyed with an error. */
export const reset = (line: string, count = 1, instead = `${line.split(':')[0]}: error ECONNRESET, close`): Difference[] => times(count, { way: BARE, line, instead, because: RESET })
