import { StageError, asError, printable } from '../../../src/errors.js'
import { newId } from '../../../src/random.js'
import type { Fence, Mesh, Store } from '../../../src/types.js'
import { within } from '../../../src/within.js'
import type { Refs } from '../../codec.js'
import type { Definition } from '../definition.js'
import type { Reminders } from '../hosting/reminders.js'
import { NO_BYTES, EMPTY, capture, encodeKept, restore, type Snapshot } from './snapshot.js'
import type { Phase, Turn } from '../hosting/turn.js'

/** How long a commit with unknown outcome is retried. */
const COMMIT_MS = 5000
const RETRY_MS = 100
const NONE: readonly string[] = []

/** The view of the activation that persistence needs. */
interface PersistenceOwner {
  readonly address: string
  readonly fence: Fence | undefined
  readonly instance: object | undefined
  readonly phase: Phase
  readonly definition: Pick<Definition, 'durable' | 'explicit' | 'version' | 'durableNames'>
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'random'>; readonly store: Store; readonly outgoing: { readonly data: Refs } }
  readonly reminders: Pick<Reminders, 'changed' | 'list' | 'next' | 'committing' | 'settle' | 'putBack'> | undefined
  readonly history: { publish(): void } | undefined
  drop(reason: 'fenced' | 'store', error: StageError): void
}

/** The durable state of one activation: its properties as the store has them, and its commits, one at a time. */
export class Persistence {
  /** Commits of the actor so far. */
  version = 0
  /** When the store last confirmed the claim. */
  heardAt = -Infinity
  /** Durable properties of a new object of the type: if one is deleted, the deletion is kept for the next activation. */
  made: readonly string[] = NONE
  /** The last committed state; before the first commit, the state of the new object. */
  #committed: Snapshot = EMPTY
  /** The state as the last turn left it, committed or not; used only with `commit: 'explicit'`. */
  #settled: Snapshot = EMPTY
  #saving: Promise<void> | undefined

  constructor(private readonly activation: PersistenceOwner) {}

  /** Called when the object has been created and restored from the store. */
  begin(version: number): void {
    this.version = version
    this.heardAt = this.activation.host.mesh.clock.now()
    if (this.activation.definition.durable) this.#settled = this.#committed = this.#capture(EMPTY)
  }

  /** Resolves when the commit in flight settles, and never rejects; undefined if there is none. */
  get saving(): Promise<void> | undefined {
    return this.#saving
  }

  /** Commits the current durable state. @throws StageError FENCED · STORE_UNAVAILABLE · BAD_ARGUMENT */
  async save(): Promise<void> {
    const { activation } = this
    const isOver = (): boolean => activation.phase === 'over'
    const lost = (): StageError => new StageError('FENCED', `${activation.address} has lost its claim`)
    if (isOver()) throw lost()
    if (!activation.definition.durable) throw new TypeError(`${printable(activation.address)} has nothing durable to save`)
    while (this.#saving) await this.#saving
    if (isOver()) throw lost()
    await this.commit(activation.host.mesh.clock.now() + COMMIT_MS)
    activation.history?.publish()
  }

  /** Commits the changes of a hook like the changes of a turn. */
  async afterHook(ms: number): Promise<void> {
    while (this.#saving) await this.#saving
    const { definition, phase, host } = this.activation
    if (phase === 'over') return
    if (definition.explicit && definition.durable) this.#settle(this.#capture(this.#settled))
    else await this.commit(host.mesh.clock.now() + ms)
  }

  /** Commits the changes of a turn. @returns undefined if there is nothing to commit @throws StageError BAD_ARGUMENT */
  afterTurn(turn: Turn): Promise<void> | undefined {
    const { definition } = this.activation
    if (!definition.explicit || !definition.durable) return this.commit(turn.endsAt)
    const settled = this.#capture(this.#settled)
    // a reminder that has run must be removed, or it would stay due for ever
    const commit = turn.method === '@reminder' ? this.commit(turn.endsAt, false) : undefined
    this.#settle(settled)
    return commit
  }

  /** @param all  false commits only the reminders @returns undefined if there is nothing to commit @throws StageError BAD_ARGUMENT */
  commit(until: number, all = true): Promise<void> | undefined {
    const { definition, reminders } = this.activation
    const next = !all ? this.#committed : definition.durable ? this.#capture(this.#committed) : EMPTY
    if (next === this.#committed && !reminders?.changed) return undefined
    const kept = { version: definition.version, snapshot: next, reminders: reminders?.list ?? [] }
    const data = encodeKept(kept, this.activation.host.outgoing.data)
    reminders?.committing()
    if (all) this.#settled = next
    const saving = this.#saved(data, next, until)
    this.#saving = saving.catch(() => {}).finally(() => { this.#saving = undefined })
    return saving
  }

  /** Rolls back to the committed state; with `commit: 'explicit'`, to the state after the last turn. @throws any exception of setters */
  putBack(): void {
    const { definition, instance, reminders, host } = this.activation
    if (definition.durable) {
      const before = definition.explicit ? this.#settled : this.#committed
      restore(instance!, definition.durableNames(instance!), before, host.outgoing.data)
    }
    reminders?.putBack()
  }

  has(name: string): boolean {
    return this.activation.definition.durable && this.#committed.has(name)
  }

  /** The values to show to watchers: the committed value of a durable property, the current value of any other. */
  shown(names: readonly string[], before: Snapshot): Map<string, Buffer> {
    const volatile = capture(this.activation.instance!, names.filter((name) => !this.has(name)), before, this.activation.host.outgoing.data)
    return new Map(names.map((name) => [name, (this.has(name) ? this.#committed.get(name) : volatile.get(name)) ?? NO_BYTES]))
  }

  /** Accepts the state that a turn left, without a commit. */
  #settle(settled: Snapshot): void {
    this.#settled = settled
    this.activation.reminders?.settle()
  }

  #capture(before: Snapshot): Snapshot {
    const { definition, instance, host } = this.activation
    const names = definition.durableNames(instance!)
    const lost = this.made.every((name, at) => names[at] === name) ? [] : this.made.filter((name) => !names.includes(name))
    return capture(instance!, names, before, host.outgoing.data, lost)
  }

  async #saved(data: Buffer, snapshot: Snapshot, until: number): Promise<void> {
    const { activation } = this
    const { host, address, fence, reminders } = activation
    const { clock, random } = host.mesh
    const last = Math.min(until, clock.now() + COMMIT_MS)
    const commit = { id: newId(random), version: this.version + 1, data, wake: reminders?.next }
    let lost = false // whether an attempt went unanswered, so that it may have been committed
    for (let wait = RETRY_MS; ; wait *= 2) {
      let answer: 'ok' | 'fenced'
      try {
        const slow = (): Error => new StageError('STORE_UNAVAILABLE', `the store ${host.store.address} did not answer a commit in time`)
        answer = await within(clock, COMMIT_MS, host.store.commit(address, fence!, commit), slow)
      } catch (error) {
        lost = true
        // the store recognises a repeated commit by its id, if the first attempt did arrive
        if ((asError(error) as StageError).code === 'STORE_UNAVAILABLE' && clock.now() + wait < last && activation.phase !== 'over') {
          await new Promise<void>((resolve) => { clock.setTimeout(resolve, wait, true) })
          continue
        }
        const failure = this.#uncommitted(error)
        activation.drop('store', failure)
        throw failure
      }
      if (answer === 'ok') {
        this.heardAt = clock.now()
        this.version++
        this.#committed = snapshot
        return
      }
      const kept = lost ? 'were committed before that, or are lost' : 'are not kept'
      const why = `${address} has another owner now, or the history of its store was reset: the changes of this call ${kept}`
      const fenced = new StageError('FENCED', why, { executed: lost ? 'unknown' : 'yes' })
      activation.drop('fenced', fenced)
      throw fenced
    }
  }

  #uncommitted(error: unknown): StageError {
    const { code, message } = asError(error) as StageError
    const told = code === 'AUTH_FAILED' || code === 'BAD_ARGUMENT' || code === 'CLOSED' ? code : 'STORE_UNAVAILABLE'
    const why = `the changes of ${this.activation.address} could not be stored: ${message}`
    return new StageError(told, why, { executed: 'unknown', cause: error })
  }
}
