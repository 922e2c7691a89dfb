/** The local stub of a function of the peer. */
import type { StageError } from '../../../src/errors.js'
import { NO_HEADERS, type Headers } from '../../../src/headers.js'
import type { Clock, Peer } from '../../../src/types.js'
import type { Callable } from '../../codec.js'
import { dispose } from '../../codec/dispose.js'
import { markElsewhere } from '../../codec/hand.js'
import { NOTHING } from '../context.js'
import type { Interception } from '../interception.js'
import type { Asked, Outgoing } from '../calling/outgoing.js'

interface StubHost {
  readonly clock: Clock
  readonly timeoutMs: number
  readonly interception: Interception | undefined
}

/** @param ref  the number of the function at the other end of the link */
export function stub(link: Asked & { readonly peer: Peer }, { clock, timeoutMs, interception }: StubHost, ref: number): Callable {
  const method = `function ${ref}`
  const ask = (args: readonly unknown[], headers: Headers, endsAt: number): Promise<unknown> => new Promise<unknown>((resolve, reject) => {
    const call: Outgoing = {
      method, args, endsAt,
      carried: headers === NO_HEADERS ? NOTHING : { ...NOTHING, headers },
      settle: (error, value) => {
        if (!error) return resolve(value)
        reject(error)
        dispose(call.streams ?? args) // no other peer can be tried
      },
    }
    try {
      link.send(call, ref)
    } catch (error) {
      call.settle(error as StageError)
    }
  })
  const intercepted = (by: Interception, args: readonly unknown[], endsAt: number): Promise<unknown> => {
    const { peer } = link
    const facts = {
      side: 'caller', kind: 'function', target: peer.name, peer, method,
      actor: undefined, args, headers: NO_HEADERS, options: undefined,
    } as const
    return by.out(facts, by.passage(method, endsAt), (call) => ask(call.args, call.headers, endsAt))
  }
  return markElsewhere((...args: unknown[]): Promise<unknown> => {
    const endsAt = clock.now() + timeoutMs
    const answer = interception ? intercepted(interception, args, endsAt) : ask(args, NO_HEADERS, endsAt)
    answer.catch(() => {}) // handled: a caller that ignores the promise must not end the process when the peer dies
    return answer
  })
}
