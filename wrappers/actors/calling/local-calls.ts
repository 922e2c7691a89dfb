/** Calls to actors on the calling stage itself: they behave as over a link, without using one. */
import type { AsyncResource } from 'node:async_hooks'
import type { Ending } from '../../../src/bounded.js'
import { StageError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import type { Mesh, Peer, References } from '../../../src/types.js'
import { dispose } from '../../codec/dispose.js'
import type { Hand } from '../../codec/hand.js'
import type { Carried } from '../../rpc/context.js'
import type { Interception } from '../../rpc/interception.js'
import type { Rpc } from '../../rpc/rpc.js'
import { admit, guards, type Arrived, type Begin } from '../hosting/admission.js'
import type { ActorCall } from './call.js'
import type { Changes } from '../watching/changes.js'
import { copied, copiedAll, copiedError, holdIn, sharedBy, sharedWith, snapshotOf } from './copy.js'
import type { Hosting } from '../hosting/hosting.js'
import { prepare } from '../tasks.js'
import { Turn } from '../hosting/turn.js'

const NONE: readonly unknown[] = []
const AS_IT_IS: Hand = { give: (fn) => fn, offer: (stream) => stream }

/** A local call as interceptors and rules see it; this stage is both caller and callee. */
class ArrivedHere implements Arrived {
  #abort: AbortController | undefined

  /** @param references  used to copy the result; undefined if the actor has `share` */
  constructor(
    private readonly call: ActorCall, readonly args: readonly unknown[], readonly peer: Peer, private readonly references: References | undefined,
  ) {
    call.onfail = (error) => this.expire(error)
  }

  get address(): string {
    return this.call.made.address
  }

  get name(): string {
    return this.call.made.name
  }

  get carried(): Carried {
    return this.call.carried
  }

  get endsAt(): number {
    return this.call.endsAt
  }

  get over(): boolean {
    return this.call.over
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.over) this.#abort.abort()
    return this.#abort.signal
  }

  expire(error: StageError): void {
    if (this.#abort) outside(this.#abort.abort, this.#abort, error)
  }

  snapshot(value: unknown): unknown {
    return this.references ? snapshotOf(value, this.references) : value
  }
}

export class LocalCalls {
  constructor(private readonly mesh: Mesh<Rpc>, private readonly hosting: Hosting, private readonly interception: Interception) {}

  /** Runs a call on this stage, as if it had come over a link. @param now  as in `Way.add` */
  take(address: string, call: ActorCall, now?: number): void {
    const definition = this.hosting.active(address)?.definition ?? this.hosting.definitionOf(address)
    const share = definition?.share ?? false
    const { references } = this.hosting.outgoing
    let args = call.own
    let changes: Changes | undefined
    try {
      changes = call.made.onsend?.(undefined)
      const { hand } = call
      if (!share) args = copiedAll(args, references, call)
      else {
        for (const arg of args) holdIn(arg, true)
        args = args.map((one) => sharedWith(one, hand))
      }
    } catch (error) {
      return call.settle(error as StageError)
    }
    call.streams = share ? NONE : args
    if (args !== call.own) now = undefined // a getter of an argument may have taken any time
    if (!guards(this.interception, definition)) return this.#run(address, call, args, call.carried, changes, share, undefined, undefined, now)
    const begin: Begin = (own, carried, done, within) => {
      if (call.over) return done(new StageError('CANCELLED', `the caller no longer waits for ${call.method}`, { executed: 'no' }))
      this.#run(address, call, own, carried, changes, share, done, within)
    }
    const arrived = new ArrivedHere(call, args, this.mesh.self, share ? undefined : references)
    const done: Parameters<Begin>[2] = (error, value) => this.#answer(call, share, error, value)
    outside(() => admit(this.interception, definition, arrived, begin, done))
  }

  /** @param done  gets the outcome of the turn instead of the caller */
  #run(
    address: string, call: ActorCall, args: readonly unknown[], carried: Carried, changes: Changes | undefined, share: boolean,
    done?: Parameters<Begin>[2], within?: AsyncResource, now?: number,
  ): void {
    const turn = new Turn(call.made.name, args, call.made.deadline, carried, (error, value) => {
      if (error && error.executed !== 'no') call.streams = NONE // the code has received the streams and may still read them
      if (done) done(error, value)
      else this.#answer(call, share, error, value)
    })
    turn.within = within
    if (call.movedAt !== undefined) turn.until = () => Math.max(call.made.deadline, (call.movedAt ?? 0) + call.made.deadline - call.made.since)
    prepare(turn, changes)
    turn.arrivedAt = call.made.since
    call.turn = turn
    this.hosting.receive(address, turn, now)
  }

  /** Answers the caller with copies, as over a link. */
  #answer(call: ActorCall, share: boolean, error: StageError | null, value: unknown): void {
    const turn: Hand = call.turn ?? AS_IT_IS // no turn exists if an interceptor answered
    const { references } = this.hosting.outgoing
    const endings: Ending[] | undefined = call.signal && []
    if (share) holdIn(error ? error.cause : value, true)
    if (error) {
      if (!share) error = copiedError(error, references, turn)
    } else try {
      value = share ? sharedBy(value, turn) : copied(value, references, undefined, turn, endings)
    } catch (failure) {
      dispose(value)
      error = new StageError('BAD_ARGUMENT', `the result of ${call.method} cannot be sent: ${(failure as Error).message}`, { executed: 'yes' })
    }
    call.settle(error, value, endings)
  }
}
