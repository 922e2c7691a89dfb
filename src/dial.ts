import type { Duplex } from 'node:stream'
import { StageError, asError } from './errors.js'
import { judgeAt } from './judge.js'
import { jitter } from './random.js'
import { within } from './within.js'
import type { Clock, Interface, Peer, Random } from './types.js'

const BACKOFF_MS = 100
const BACKOFF_FACTOR = 1.6
const BACKOFF_MAX_MS = 10_000
const CONNECT_MS = 5000
/** So long for one that is not the last, so that the last is tried within the default deadline, whatever hangs before it. */
const HURRY_MS = 2000
/** What an interface costs that does not say. */
const COST = 2

/** How long to wait before the next dial, after so many that failed in a row. */
export function backoffMs(random: Random, failures: number): number {
  if (failures === 0) return 0
  return jitter(random, Math.min(BACKOFF_MS * BACKOFF_FACTOR ** (failures - 1), BACKOFF_MAX_MS), 0.2)
}

/** Nobody listens there: the one failure that says that the process is gone, not that the way to it is. */
export const refuses = (error: StageError): boolean => codeOf(error.cause) === 'ECONNREFUSED' && !isNoPlace(error)

/**
 * There is no such place, as when a cleaner deleted a socket's file, or for what lies within another process: this tells
 * nothing about whoever listened there.
 */
const isNoPlace = ({ cause }: StageError): boolean => codeOf(cause) === 'ENOENT' || codeOf((cause as Error | undefined)?.cause) === 'ENOENT'

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code

/**
 * Tries every address of a peer once, the cheapest first, until one is connected and greeted. An address is only what
 * somebody wrote down: it may be this process's, or this machine's, or another's behind the same name.
 * @param greet  runs the handshake and acts on it; rejects when that address is no good, and resolves with why no other
 *               would be better
 * @returns      that, or why none of them is good, each named; undefined when one was greeted, or `signal` fired
 */
export async function dial(
  peer: Peer, interfaces: readonly Interface[], clock: Clock, signal: AbortSignal,
  greet: (stream: Duplex, through: Interface) => Promise<StageError | undefined>,
): Promise<StageError | undefined> {
  const ways = cheapest(peer.addresses, interfaces)
  const failures: StageError[] = []
  for (const [index, { address, through }] of ways.entries()) {
    const hurry = index < ways.length - 1
    try {
      const stream = await connect(through, address, clock, hurry ? HURRY_MS : CONNECT_MS, signal)
      stream.on('error', () => {})
      const late = hurry ? judgeAt(clock, clock.now() + HURRY_MS, () => stream.destroy(tooLate(HURRY_MS))) : undefined
      return await greet(stream, through).finally(() => late?.cancel())
    } catch (thrown) {
      if (signal.aborted) return undefined
      const cause = asError(thrown)
      failures.push(new StageError(cause instanceof StageError ? cause.code : 'DISCONNECTED', `${address}: ${cause.message}`, { cause, peer }))
    }
  }
  // that nobody listens is the answer only where all of them say so that say anything
  const others = failures.filter((one) => !refuses(one) && !isNoPlace(one))
  const told = others.length > 0 ? others : failures
  const first = told.find(refuses) ?? told[0]
  if (first && told.length === 1) return first
  if (first) return new StageError(first.code, told.map((one) => one.message).join('; '), { cause: first.cause, peer })
  const [listed, schemes] = [peer.addresses.join(', ') || 'none', interfaces.map((one) => one.scheme).join(', ')]
  const why = `lists no address that this stage can dial: it has ${listed}, here are interfaces for ${schemes}`
  return new StageError('DISCONNECTED', `${peer.name} (${peer.id}) ${why}`, { peer })
}

/** The addresses for which there is an interface; of equal cost in the order in which the peer lists them. */
function cheapest(addresses: readonly string[], interfaces: readonly Interface[]): { address: string; through: Interface }[] {
  const ways = addresses.flatMap((address) => {
    const through = interfaces.find((one) => address.startsWith(`${one.scheme}://`))
    return through ? [{ address, through }] : []
  })
  return ways.sort((a, b) => (a.through.cost ?? COST) - (b.through.cost ?? COST))
}

const tooLate = (ms: number): StageError => new StageError('TIMEOUT', `no answer within ${ms} ms`, { phase: 'connecting' })

async function connect(through: Interface, address: string, clock: Clock, ms: number, signal: AbortSignal): Promise<Duplex> {
  const attempt = new AbortController()
  const give = (): void => attempt.abort(signal.reason)
  signal.addEventListener('abort', give, { once: true })
  try {
    return await within(clock, ms, through.connect(address, attempt.signal), () => {
      const late = tooLate(ms)
      attempt.abort(late)
      return late
    })
  } finally {
    signal.removeEventListener('abort', give)
  }
}
