import type { Mesh, Timer } from '../../../src/types.js'
import type { Refs } from '../../codec.js'
import { dispose } from '../../codec/dispose.js'
import { StageError, describe, printable } from '../../../src/errors.js'
import { isPublic } from '../members.js'
import { NOTHING } from '../../rpc/context.js'
import { decode, encode, type Reminder } from '../state/snapshot.js'
import { Turn } from './turn.js'
import type { ReminderOptions } from '../types.js'

export const REMINDERS_MAX = 100
/** One that is later than this counts as missed: nobody could wake the actor. */
const MISSED_MS = 30_000
const MAX_MS = 2 ** 31 - 1
/** One that failed is tried again. */
const RETRY_MS = 1000
const RETRY_MAX_MS = 60_000

/** What reminders ask of their activation. */
interface RemindersOwner {
  readonly address: string
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'error'>; readonly outgoing: { readonly data: Refs } }
  readonly mailbox: { push(turn: Turn): void }
  hasMethod(name: string): boolean
  call(name: string, args: readonly unknown[]): unknown
}

/**
 * What an actor wants to be called for, at times of the store's clock. It is kept with the state, and changes with the
 * commits of turns: one that has run is taken out by the very commit that keeps what it did.
 */
export class Reminders {
  #kept: readonly Reminder[]
  /** As the last turn left them, saved or not. */
  #settled: readonly Reminder[]
  #now: Map<string, Reminder>
  /** By the turn that runs. */
  #touched = false
  /** Since the last commit. */
  changed = false
  #timer: Timer | undefined
  /** Its turn is waiting or running. */
  readonly #due = new Set<string>()
  /** Those that failed: for how long they wait, and until when by the store's clock. */
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

  /** When the actor has to be woken, should it not be active. */
  get next(): number | undefined {
    const times = this.list.map((one) => one.at)
    return times.length > 0 ? Math.min(...times) : undefined
  }

  /** One of them is to be tried again. */
  get failing(): boolean {
    return this.#failed.size > 0
  }

  /** @throws TypeError · StageError OVERLOADED · BAD_ARGUMENT */
  set(name: string, method: string, { afterMs, everyMs, missed = 'once', args = [] }: ReminderOptions): void {
    if (typeof name !== 'string' || name === '' || name.length > 128) {
      throw new TypeError(`a reminder named ${describe(name)}: expected a name of 1 to 128 characters`)
    }
    if (!isPublic(method)) throw new TypeError(`a reminder calls a public method, not ${describe(method)}`)
    if (!isMs(afterMs, 0)) throw new TypeError(`afterMs is ${describe(afterMs)}: expected milliseconds from now, at most 1e13`)
    if (everyMs !== undefined && !isMs(everyMs, 1)) throw new TypeError(`everyMs is ${describe(everyMs)}: expected milliseconds, 1 to 1e13`)
    if (missed !== 'once' && missed !== 'skip') throw new TypeError(`missed is ${describe(missed)}: expected 'once' or 'skip'`)
    if (!Array.isArray(args)) throw new TypeError(`args is ${describe(args)}: expected a list`)
    if (!this.activation.hasMethod(method)) {
      throw new TypeError(`a reminder calls ${describe(method)}, and ${this.activation.address} has no public method of that name`)
    }
    let own: unknown[]
    try {
      own = copyOf(args, this.activation.host.outgoing.data) // here, and not when it is committed, so that whoever set it is told
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

  /** A turn has ended, and what it changed stands, though it may not be saved yet. */
  settle(): void {
    if (this.#touched) this.#settled = this.list
    this.#touched = false
  }

  /** What there is now is being committed. */
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

  /** Waits for the earliest that is committed. */
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
        this.#report(name, error)
      } else {
        this.#failed.delete(name)
      }
      this.arm()
    }, () => {
      const current = this.#now.get(name)
      if (current !== reminder && current?.at !== at) return undefined // replaced or forgotten since
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

/** What is changed later is not in it. @throws StageError BAD_ARGUMENT */
const copyOf = (args: readonly unknown[], refs: Refs): unknown[] => decode(encode(args, refs), refs) as unknown[]

/** At most three hundred years. */
const isMs = (value: unknown, least: number): boolean => typeof value === 'number' && value >= least && value <= 1e13

const byName = (list: readonly Reminder[]): Map<string, Reminder> => new Map(list.map((one) => [one.name, one]))
