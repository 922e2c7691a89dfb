import { StageError, printable } from '../../../src/errors.js'
import { HANDLE } from '../../../src/handle.js'
import { NO_HEADERS, type Headers } from '../../../src/headers.js'
import type { Fence, References, SelectOptions, TargetOptions, To } from '../../../src/types.js'
import { outside } from '../../../src/outside.js'
import type { Refs } from '../../codec.js'
import type { Hand } from '../../codec/hand.js'
import { inherit, type Context } from '../../rpc/context.js'
import type { Target } from '../../rpc/types.js'
import type { Reminders } from './reminders.js'
import { Timers, type TimersOwner } from './timers.js'
import { scope, type Turn, type TurnOwner } from './turn.js'
import type { Actor, ActorCallOptions, ActorTimer, ReminderOptions, Self, UntypedActor } from '../types.js'

/** How an actor reaches other actors and stages: `within` and `hand` are evaluated for each call. */
export interface Proxies {
  actor(address: string, options: ActorCallOptions, within: () => Context | undefined, hand: () => Hand): object
  target(to: To, options: SelectOptions): unknown
  /** How proxies of actors travel in values. */
  readonly references: References
  /** The same for values that may contain only data. */
  readonly data: Refs
}

/** The view of the activation that an actor's self needs. */
interface SelfOwner extends TurnOwner {
  readonly fence: Fence | undefined
  readonly instance: object | undefined
  readonly host: TurnOwner['host'] & { readonly outgoing: Proxies }
  readonly mailbox: TurnOwner['mailbox'] & TimersOwner['mailbox'] & { readonly alone: Turn | undefined }
  readonly persistence: { save(): Promise<void> }
  readonly handedOut: TurnOwner['handedOut'] & Hand
  timers: Timers | undefined
  ownReminders(): Reminders
  stop(reason: 'asked'): void
}

export class ActorSelf implements Self {
  readonly #activation: SelfOwner
  #lost: AbortController | undefined
  #reason: StageError | undefined

  constructor(activation: SelfOwner) {
    this.#activation = activation
  }

  get [HANDLE](): string {
    return 'is the self of an actor, which only the actor can use: send its address, or self.actor(self.address), with which the other end can call it'
  }

  get address(): string {
    return this.#activation.address
  }

  get headers(): Headers {
    return this.#turn?.carried.headers ?? NO_HEADERS
  }

  get fence(): Fence {
    return this.#activation.fence!
  }

  get signal(): AbortSignal {
    this.#lost ??= new AbortController()
    if (this.#reason) this.#lost.abort(this.#reason)
    return this.#lost.signal
  }

  actor<T = UntypedActor>(address: string, options: ActorCallOptions = {}): Actor<T> {
    return this.#activation.host.outgoing.actor(address, options, () => this.#context(), () => this.#hand()) as Actor<T>
  }

  to(to: To, options: TargetOptions = {}): Target {
    const { mesh, outgoing } = this.#activation.host
    return outgoing.target(to, inherit(this.#context(), options, mesh.clock.now(), this.#hand())) as Target
  }

  after(ms: number, fn: () => unknown): ActorTimer {
    return this.#timers.set(ms, fn, false)
  }

  every(ms: number, fn: () => unknown): ActorTimer {
    return this.#timers.set(ms, fn, true)
  }

  remind(name: string, method: string, options: ReminderOptions): void {
    this.#mayWrite('set a reminder')
    this.#reminders.set(name, method, options)
  }

  forget(name: string): void {
    this.#mayWrite('forget a reminder')
    this.#reminders.forget(name)
  }

  async save(): Promise<void> {
    this.#mayWrite('save')
    return this.#activation.persistence.save()
  }

  deactivate(): void {
    this.#activation.stop('asked')
  }

  abort(reason: StageError): void {
    this.#reason = reason
    if (this.#lost) outside(this.#lost.abort, this.#lost, reason)
  }

  get #timers(): Timers {
    this.#check()
    return this.#activation.timers ??= new Timers(this.#activation)
  }

  get #reminders(): Reminders {
    this.#check()
    return this.#activation.ownReminders()
  }

  #check(): void {
    if (this.#reason) throw this.#reason
    if (!this.#activation.instance) throw new TypeError('the actor has not been created yet: set timers and reminders in activate() or later')
  }

  /** @throws TypeError in a readonly turn */
  #mayWrite(what: string): void {
    const turn = scope.getStore()
    if (turn?.shared && turn.of === this.#activation && !turn.ended) throw new TypeError(`${turn.method} of ${printable(this.address)} is readonly, and may not ${what}`)
  }

  get #turn(): Turn | undefined {
    const inside = scope.getStore()
    return inside?.of === this.#activation ? inside : this.#activation.mailbox.alone
  }

  /** The owner of functions and iterables in the arguments of calls made now: the running turn, or the activation. */
  #hand(): Hand {
    return this.#turn ?? this.#activation.handedOut
  }

  /** Context that calls made now inherit from the running turn; undefined outside of turns. */
  #context(): Context | undefined {
    const turn = this.#turn
    if (!turn || turn.over) return undefined
    const { endsAt, signal, carried } = turn
    return { endsAt, signal, carried: { ...carried, chain: [...carried.chain, turn.name] } }
  }
}
