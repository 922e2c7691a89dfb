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
/** The limit for each address but the last, so that the last is tried within the default deadline even if all before it hang. */
const HURRY_MS = 2000
/** The cost of an interface that does not state any. */
const COST = 2

/** Milliseconds before the next dial, after `failures` failed dials in a row. */
export function backoffMs(random: Random, failures: number): number {
  if (failures === 0) return 0
  return jitter(random, Math.min(BACKOFF_MS * BACKOFF_FACTOR ** (failures - 1), BACKOFF_MAX_MS), 0.2)
}

/** Nobody listens there. No other failure says that the process is gone, rather than the way to it. */
export const refuses = (error: StageError): boolean => codeOf(error.cause) === 'ECONNREFUSED' && !isNoPlace(error)

/**
 * The place does not exist, as when a cleaner deleted a socket's file, or it lies within another process. Such a failure
 * tells nothing about the process that listened there.
 */
const isNoPlace = ({ cause }: StageError): boolean => codeOf(cause) === 'ENOENT' || codeOf((cause as Error | undefined)?.cause) === 'ENOENT'

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code

/**
 * Tries every address of a peer once, the cheapest first, until one is connected and greeted. An address is only a note
 * that somebody made: it may belong to this process, to this machine, or to another machine behind the same name.
 * @param greet  runs the handshake and acts on it; rejects if the address is no good, and resolves with an error if no
 *               other address would be better
 * @returns      that error, or why none of the addresses is good, each named; undefined once an address was greeted, or if
 *               `signal` fired
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
  // a refusal is the answer only if every address says so, apart from missing places
  const others = failures.filter((one) => !refuses(one) && !isNoPlace(one))
  const told = others.length > 0 ? others : failures
  const first = told.find(refuses) ?? told[0]
  if (first && told.length === 1) return first
  if (first) return new StageError(first.code, told.map((one) => one.message).join('; '), { cause: first.cause, peer })
  const [listed, schemes] = [peer.addresses.join(', ') || 'none', interfaces.flatMap(schemesOf).join(', ')]
  const why = `has no address that this stage can dial: it lists ${listed}, this stage has interfaces for ${schemes}`
  return new StageError('DISCONNECTED', `${peer.name} (${peer.id}) ${why}`, { peer })
}

const schemesOf = (one: Interface): readonly string[] => one.dials ?? [one.scheme]

/** The addresses with a matching interface, the cheapest first; equal costs keep the order in which the peer lists them. */
function cheapest(addresses: readonly string[], interfaces: readonly Interface[]): { address: string; through: Interface }[] {
  const ways = addresses.flatMap((address) => {
    const through = interfaces.find((one) => schemesOf(one).some((scheme) => address.startsWith(`${scheme}://`)))
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
