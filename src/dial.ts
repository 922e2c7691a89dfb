import type { Duplex } from 'node:stream'
import { StageError, asError } from './errors.js'
import { jitter } from './random.js'
import { within } from './within.js'
import type { Clock, Interface, Peer, Random } from './types.js'

const BACKOFF_MS = 100
const BACKOFF_FACTOR = 1.6
const BACKOFF_MAX_MS = 10_000
const CONNECT_MS = 5000

/** How long to wait before the next dial, after so many that failed in a row. */
export function backoffMs(random: Random, failures: number): number {
  if (failures === 0) return 0
  return jitter(random, Math.min(BACKOFF_MS * BACKOFF_FACTOR ** (failures - 1), BACKOFF_MAX_MS), 0.2)
}

/** Nobody listens there: the one failure that says that the process is gone, not that the way to it is. */
export function refuses(error: StageError): boolean {
  const code = (error.cause as { code?: unknown } | undefined)?.code
  return code === 'ECONNREFUSED' || code === 'ENOENT'
}

/**
 * Tries every address of a peer once, in order, until one is connected and greeted.
 * @param greet  runs the handshake and acts on it; rejects when that address is no good
 * @returns      why none of them is, each named; undefined when one was greeted, or `signal` fired
 */
export async function dial(
  peer: Peer, interfaces: readonly Interface[], clock: Clock, signal: AbortSignal,
  greet: (stream: Duplex, through: Interface) => Promise<void>,
): Promise<StageError | undefined> {
  const failures: StageError[] = []
  for (const address of peer.addresses) {
    const through = interfaces.find((one) => address.startsWith(`${one.scheme}://`))
    if (!through) continue
    try {
      const stream = await connect(through, address, clock, signal)
      stream.on('error', () => {})
      await greet(stream, through)
      return undefined
    } catch (thrown) {
      if (signal.aborted) return undefined
      const cause = asError(thrown)
      failures.push(new StageError(cause instanceof StageError ? cause.code : 'DISCONNECTED', `${address}: ${cause.message}`, { cause, peer }))
    }
  }
  if (failures.length === 1) return failures[0]
  if (failures.length > 1) return new StageError(failures[0].code, failures.map((one) => one.message).join('; '), { cause: failures[0].cause, peer })
  return new StageError('DISCONNECTED', `${peer.name} (${peer.id}) lists no address that this stage can dial: it has ${peer.addresses.join(', ') || 'none'}, here are interfaces for ${interfaces.map((one) => one.scheme).join(', ')}`, { peer })
}

async function connect(through: Interface, address: string, clock: Clock, signal: AbortSignal): Promise<Duplex> {
  const attempt = new AbortController()
  const give = (): void => attempt.abort(signal.reason)
  signal.addEventListener('abort', give, { once: true })
  try {
    return await within(clock, CONNECT_MS, through.connect(address, attempt.signal), () => {
      const late = new StageError('TIMEOUT', `no answer within ${CONNECT_MS} ms`, { phase: 'connecting' })
      attempt.abort(late)
      return late
    })
  } finally {
    signal.removeEventListener('abort', give)
  }
}
