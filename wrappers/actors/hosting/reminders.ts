import type { Mesh, Timer } from '../../../src/types.js'
import type { Refs } from '../../codec.js'
import { dispose } from '../../codec/dispose.js'
import { StageError, describe, printable } from '../../../src/errors.js'
import { knownOptions } from '../../../src/known-options.js'
import { isPublic } from '../members.js'
import { NOTHING } from '../../rpc/context.js'
import { decode, encode, type Reminder } from '../state/snapshot.js'
import { Turn, isThrown } from './turn.js'
import type { ReminderOptions } from '../types.js'

export const REMINDERS_MAX = 100
/** A reminder that runs later than this counts as missed: no stage could wake the actor in time. */
const MISSED_MS = 30_000
const MAX_MS = 2 ** 31 - 1
/** First and longest delay before a failed reminder is retried. */
const RETRY_MS = 1000
const RETRY_MAX_MS = 60_000

/** The view of the activation that its reminders need. */
interface RemindersOwner {
  readonly address: string
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'error'>; readonly outgoing: { readonly data: Refs } }
  readonly mailbox: { push(turn: Turn): void }
  hasMethod(name: string): boolean
  call(name: string, args: readonly unknown[]): unknown
}

/**
 * The reminders of one actor, due at times of the store's clock. Reminders are part of the state and change with the commits
 * of turns: the commit of a reminder's own turn also removes or reschedules the reminder.
 */
export class Reminders {
  #kept: readonly Reminder[]
  /** The reminders as the last turn left them, committed or not. */
  #settled: readonly Reminder[]
  #now: Map<string, Reminder>
  /** Whether the running turn has changed a reminder. */
  #touched = false
  /** Whether reminders have changed since the last commit. */
  changed = false
  #timer: Timer | undefined
  /** Names of reminders whose turns wait or run. */
  readonly #due = new Set<string>()
  /** Failed reminders: the retry delay, and when it ends by the store's clock. */
  readonly #failed = new Map<string, { readonly ms: number; readonly until: number }>()
  #closed = false

  /** @param offset  the store's time when our clock was at 0 */
  constructor(private readonly activation: RemindersOwner, private readonly offset: number, kept: readonly Reminder[] = []) {
    this.#settled = this.#kept = kept
    this.#now = byName(kept)
  }

  get list(): readonly Reminder[] {
    return [...this.#now.values()]
  }

  /** When the actor must be woken if it is not active. */
  get next(): number | undefined {
    const times = this.list.map((one) => one.at)
    return times.length > 0 ? Math.min(...times) : undefined
  }

  /** Whether a failed reminder is to be retried. */
  get failing(): boolean {
    return this.#failed.size > 0
  }

  /** @throws TypeError · StageError OVERLOADED · BAD_ARGUMENT */
  set(name: string, method: string, options: ReminderOptions): void {
    knownOptions('a reminder', options, ['afterMs', 'everyMs', 'missed', 'args'])
    const { afterMs, everyMs, missed = 'once', args = [] } = options
    if (typeof name !== 'string' || name === '' || name.length > 128) {
      throw new TypeError(`the name of a reminder is ${describe(name)}: expected 1 to 128 characters`)
    }
    if (!isPublic(method)) throw new TypeError(`a reminder calls a public method, not ${describe(method)}`)
    if (!isMs(afterMs, 0)) throw new TypeError(`afterMs is ${describe(afterMs)}: expected milliseconds from now, at most 1e13`)
    if (everyMs !== undefined && !isMs(everyMs, 1)) throw new TypeError(`everyMs is ${describe(everyMs)}: expected milliseconds, 1 to 1e13`)
    if (missed !== 'once' && missed !== 'skip') throw new TypeError(`missed is ${describe(missed)}: expected 'once' or 'skip'`)
    if (!Array.isArray(args)) throw new TypeError(`args is ${describe(args)}: expected a list`)
    if (!this.activation.hasMethod(method)) {
      throw new TypeError(`a reminder calls ${describe(method)}, but ${this.activation.address} has no public method of that name`)
    }
    let own: unknown[]
    try {
      own = copyOf(args, this.activation.host.outgoing.data) // copied now, so that the error reaches the code that sets the reminder
    } catch (error) {
      dispose(args)
      throw error
    }
    if (!this.#now.has(name) && this.#now.size >= REMINDERS_MAX) {
      throw new StageError('OVERLOADED', `${this.activation.address} has ${REMINDERS_MAX} reminders: forget one first`)
    }
    this.#now.set(name, { name, at: this.#time() + afterMs, everyMs, method, args: own, missed })
    this.#failed.delete(name)
    this.changed = this.#touched = true
  }

  forget(name: string): void {
    this.#failed.delete(name)
    if (this.#now.delete(name)) this.changed = this.#touched = true
  }

  /** Accepts the changes of a turn that has ended, though they may not be committed yet. */
  settle(): void {
    if (this.#touched) this.#settled = this.list
    this.#touched = false
  }

  /** Called when the present reminders are being committed. */
  committing(): void {
    this.settle()
    this.changed = false
    this.#kept = this.#settled
    this.arm()
  }

  putBack(): void {
    if (!this.#touched) return
    this.#now = byName(this.#settled)
    this.#touched = false
    this.changed = this.#settled !== this.#kept
  }

  /** Sets the timer for the earliest committed reminder. */
  arm(): void {
    this.#timer?.cancel()
    if (this.#closed) return
    const next = Math.min(...this.#kept.filter((one) => !this.#due.has(one.name)).map((one) => this.#begins(one)))
    if (next === Infinity) return
    this.#timer = this.activation.host.mesh.clock.setTimeout(() => this.#fire(), Math.min(MAX_MS, Math.max(0, next - this.#time())))
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #time(): number {
    return this.offset + this.activation.host.mesh.clock.now()
  }

  #fire(): void {
    const now = this.#time()
    for (const one of this.#kept) if (this.#begins(one) <= now && !this.#due.has(one.name)) this.#begin(one)
    this.arm()
  }

  #begins({ name, at }: Reminder): number {
    return Math.max(at, this.#failed.get(name)?.until ?? 0)
  }

  #again(name: string): void {
    const ms = Math.min(RETRY_MAX_MS, 2 * (this.#failed.get(name)?.ms ?? RETRY_MS / 2))
    this.#failed.set(name, { ms, until: this.#time() + ms })
  }

  #begin(reminder: Reminder): void {
    const { activation } = this
    const { name, at, everyMs, method, args, missed } = reminder
    this.#due.add(name)
    activation.mailbox.push(new Turn('@reminder', [name], Infinity, NOTHING, (error) => {
      this.#due.delete(name)
      if (this.#closed) return
      if (error) {
        this.#again(name)
        if (!isThrown(error)) this.#report(name, error)
      } else {
        this.#failed.delete(name)
      }
      this.arm()
    }, () => {
      const current = this.#now.get(name)
      if (current !== reminder && current?.at !== at) return undefined // replaced or forgotten meanwhile
      const now = this.#time()
      this.changed = this.#touched = true
      if (everyMs === undefined) this.#now.delete(name)
      else this.#now.set(name, { ...reminder, at: at + everyMs * (Math.floor(Math.max(0, now - at) / everyMs) + 1) })
      if (missed === 'skip' && now - at > MISSED_MS && !this.#failed.has(name)) return undefined
      return activation.call(method, copyOf(args, activation.host.outgoing.data))
    }))
  }

  #report(name: string, error: Error): void {
    const { address, host } = this.activation
    const what = `the reminder ${printable(name)} of the actor ${printable(address)}`
    host.mesh.error(new Error(`${what} failed: ${error.message}`, { cause: error }))
  }
}

/** Copies the arguments, so that later changes do not reach the reminder. @throws StageError BAD_ARGUMENT */
const copyOf = (args: readonly unknown[], refs: Refs): unknown[] => decode(encode(args, refs), refs) as unknown[]

/** Whether a value is a valid number of milliseconds, at most about three hundred years. */
const isMs = (value: unknown, least: number): boolean => typeof value === 'number' && value >= least && value <= 1e13

const byName = (list: readonly Reminder[]): Map<string, Reminder> => new Map(list.map((one) => [one.name, one]))
