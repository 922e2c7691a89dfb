import { bounded } from '../../src/bounded.js'
import { StageError } from '../../src/errors.js'
import type { Selection } from '../../src/types.js'
import { brokenBefore, dispose, holdAll } from '../codec/dispose.js'
import { Answers } from './answers.js'
import { Invocation, type Caller } from './invocation.js'
import { isMethod, noSuch } from './provisions.js'
import type { Rpc } from './rpc.js'
import type { Answer } from './types.js'

/** Calls every match, once it is known who matches. The streams among the arguments end with it, unless some match has answered and may read on. */
export function callAll(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[]): Answers<unknown> {
  const endsAt = caller.clock.now() + (selection.options.timeoutMs ?? caller.timeoutMs)
  const calls = new Set<Invocation>()
  /** There while nobody was asked yet. */
  let stopWaiting: (() => void) | undefined
  const askNobody = (error?: StageError): void => {
    stopWaiting?.()
    stopWaiting = undefined
    dispose(args)
    if (error) answers.fail(error)
  }
  const answers = new Answers<unknown>(() => {
    if (stopWaiting) return askNobody()
    for (const one of [...calls]) one.cancel(new StageError('CANCELLED', `nobody waits for the answers to ${method} any more`))
  })
  const ask = (): void => {
    const peers = selection.matches()
    let left = peers.length
    let answered = false
    answers.expect(left)
    if (left === 0) return dispose(args)
    for (const peer of peers) {
      const settled = (answer: Answer<unknown>): void => {
        calls.delete(one)
        answered ||= !answer.error
        if (--left === 0 && !answered) dispose(args)
        answers.push(answer)
      }
      const one: Invocation = new Invocation(caller, selection, method, args, peer, (value) => settled({ peer, value }), (error) => settled({ peer, error }), endsAt)
      calls.add(one)
      one.start()
    }
  }
  if (!isMethod(method)) {
    askNobody(noSuch(method))
    return answers
  }
  let known = false
  const forget = bounded(caller, selection, (done) => selection.known(done), (error) => {
    known = true
    if (error) return askNobody(error)
    stopWaiting?.()
    stopWaiting = undefined
    ask()
  })
  if (!known) {
    const unhold = holdAll(args, (error) => askNobody(brokenBefore(method, error)))
    stopWaiting = () => {
      forget()
      unhold()
    }
  }
  return answers
}
