import { bounded } from '../../../src/bounded.js'
import { StageError } from '../../../src/errors.js'
import type { Peer, Selection } from '../../../src/types.js'
import { brokenBefore, dispose, holdAll } from '../../codec/dispose.js'
import { Answers } from './answers.js'
import { carriedWith, factsOf } from './call.js'
import { failedInterceptor } from '../interception.js'
import type { InterceptedCall } from '../interceptor.js'
import { Invocation, type Caller } from './invocation.js'
import { isMethod, noSuch } from '../serving/provisions.js'
import type { Rpc } from '../rpc.js'
import type { Answer } from '../types.js'

/** The call to one match, before it begins. */
interface One {
  start(): unknown
  cancel(error: StageError): void
}

/** Calls every match, once the matches are known. If no match answers, the streams among the arguments end; else the match may read on. */
export function callAll(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[]): Answers<unknown> {
  const endsAt = caller.clock.now() + (selection.options.timeoutMs ?? caller.timeoutMs)
  const calls = new Set<One>()
  /** Set while no match was asked yet. */
  let stopWaiting: (() => void) | undefined
  const askNobody = (error?: StageError): void => {
    stopWaiting?.()
    stopWaiting = undefined
    dispose(args)
    if (error) answers.fail(error)
  }
  const answers = new Answers<unknown>(() => {
    if (stopWaiting) return askNobody()
    for (const one of [...calls]) one.cancel(new StageError('CANCELLED', `the caller no longer waits for the answers to ${method}`))
  })
  const start = (peer: Peer, done: (answer: Answer<unknown>) => void): One => {
    const answer = (value: unknown): void => done({ peer, value })
    const fail = (error: StageError): void => done({ peer, error })
    const { interception } = caller
    if (!interception) {
      const one = new Invocation(caller, selection, method, args, { only: peer, endsAt })
      return { start: () => one.start(answer, fail), cancel: (error) => one.cancel(error) }
    }
    const passage = interception.passage(method, endsAt, selection.options.signal)
    const send = (call: InterceptedCall): Promise<unknown> => new Promise((resolve, reject) => {
      const carried = carriedWith(selection, call.headers)
      passage.carries(new Invocation(caller, selection, method, call.args, { only: peer, endsAt, carried })).start(resolve, reject)
    })
    return {
      start: () => {
        interception.out(factsOf('call', selection, method, args, peer), passage, send).then(answer, (error: unknown) => {
          fail(failedInterceptor(error))
        })
      },
      cancel: (error) => passage.cancel(error),
    }
  }
  const ask = (): void => {
    const peers = selection.matches()
    let left = peers.length
    let answered = false
    answers.expect(left)
    if (left === 0) return dispose(args)
    for (const peer of peers) {
      const one = start(peer, (answer) => {
        calls.delete(one)
        answered ||= !answer.error
        if (--left === 0 && !answered) dispose(args)
        answers.push(answer)
      })
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
