import type { Difference } from './program.js'

/** Ways over the library's own chain; other ways use a chain with a custom wrapper, or the bare carrier. */
const DEFAULT = /^(to\(\)|a stream)/
const OWN = /^a chain of (?!nothing)/
const BARE = /^a chain of nothing/
/** The stream is connected when its user gets it; otherwise it connects on its first use. */
const CALLBACK = /by callback/
const LATER = /^(?!.*by callback)/

const CUT = 'a stream that was destroyed before it was ended is cut off, and says so at the other end (P13), where a socket ends'
const RESET = 'a carrier that was destroyed with an error is reset (P13), where a socket ends'

const repeat = (count: number, all: Difference[]): Difference[] => Array.from({ length: count }, () => all).flat()

type Instead = (code: string) => string | readonly string[]

const closing = (line: string): Instead => (code) => `${line.split(':')[0]}: error ${code}, close`

/**
 * The events that the other end of a stream sees if the stream was destroyed without an end: the line of a socket (see
 * `Difference`), and the line that replaces it for an error of this code.
 */
export const cut = (line: string, count = 1, instead: Instead = closing(line)): Difference[] => repeat(count, [
  { way: DEFAULT, line, instead: instead('CANCELLED'), because: CUT },
  { way: OWN, line, instead: instead('DISCONNECTED'), because: CUT },
])

/** The same for a stream that was destroyed with an error, which a bare carrier passes on too. */
export const broken = (line: string, count = 1, instead: Instead = closing(line)): Difference[] => [
  ...cut(line, count, instead), ...repeat(count, [{ way: BARE, line, instead: instead('ECONNRESET'), because: RESET }]),
]

export const CONNECTS: readonly Difference[] = [
  { way: LATER, line: 'connecting true, after a write true, pending true, opening', instead: 'connecting false, after a write true, pending true, opening', because: 'to() connects on its first use' },
  ...['connecting true, after a write true, pending true, opening', 'connect, connecting false, pending false, open', 'ready, connecting false, pending false, open'].map((line, at) => ({
    way: CALLBACK, line, ...at === 0 ? { instead: 'connecting false, after a write false, pending false, open' } : {}, because: 'a stream that comes by callback is connected',
  })),
]

const SILENT = 'duplexify does not say whether what was written has left, so that to() over it does not either'

export const UNFINISHED: readonly Difference[] = [{ way: /duplexify/, line: 'dialled: end, finish, close', instead: 'dialled: end, close', because: SILENT }]
