/** One call of `to()`, through the interceptors of its stage if there are any. */
import type { Headers } from '../../../src/headers.js'
import type { Peer, Selection } from '../../../src/types.js'
import { dispose } from '../../codec/dispose.js'
import { carriedBy, withHeaders, type Carried } from '../context.js'
import type { Facts } from '../interception.js'
import { Passage } from '../passage.js'
import { Invocation, type Caller } from './invocation.js'
import { isMethod, noSuch } from '../serving/provisions.js'
import type { Rpc } from '../rpc.js'

export function call(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[]): Promise<unknown> {
  const { interception } = caller
  if (!isMethod(method)) {
    dispose(args)
    return Promise.reject(noSuch(method))
  }
  if (!interception) return new Promise((resolve, reject) => void new Invocation(caller, selection, method, args).start(resolve, reject))
  const passage = passageOf(caller, selection, method)
  return interception.out(factsOf('call', selection, method, args), passage, ({ args, headers }) => {
    const one = new Invocation(caller, selection, method, args, { endsAt: passage.endsAt, carried: carriedWith(selection, headers) })
    return new Promise((resolve, reject) => void one.start(resolve, reject))
  })
}

/** The description of a call for interceptors. @param peer  the match that is called, if already known */
export function factsOf(kind: 'call' | 'cast', selection: Selection<Rpc>, method: string, args: readonly unknown[], peer?: Peer): Facts {
  return { side: 'caller', kind, target: selection.label, peer, method, actor: undefined, args, headers: carriedBy(selection.options).headers, options: undefined }
}

/** The passage of a call through the interceptors. */
export const passageOf = ({ clock, timeoutMs }: Caller, { options }: Selection<Rpc>, method: string): Passage =>
  new Passage(method, clock.now() + (options.timeoutMs ?? timeoutMs), options.signal)

/** The context of a call, with other headers. */
export const carriedWith = ({ options }: Selection<Rpc>, headers: Headers): Carried => withHeaders(carriedBy(options), headers)
