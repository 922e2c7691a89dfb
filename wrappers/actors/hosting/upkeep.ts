import type { StageError } from '../../../src/errors.js'
import { jitter } from '../../../src/random.js'
import type { Timer } from '../../../src/types.js'
import type { Activation } from './activation.js'
import type { Claims } from './claims.js'
import type { Definition } from '../definition.js'
import { Waking, type Next, type WakingHost } from './waking.js'

/** Looks for idle actors per shortest `idleMs`. */
const LOOKS = 5
const LOOK_MIN_MS = 100
const DUE_MS = 5000
/** Delay until the next look for due reminders. */
const NEXT_MS: Readonly<Record<Next, number>> = { now: 200, soon: 1000, later: DUE_MS }
/** Least time between two rounds of the other duties. */
const LEAST_MS = 0.8 * DUE_MS
/** A claim in use is verified if nothing has confirmed it for this long. */
const VERIFY_MS = 20_000

/** The view of the stage's hosting that upkeep needs. */
interface UpkeepHost extends WakingHost {
  readonly types: readonly Definition[]
  readonly activations: Iterable<Activation>
  readonly claims: Pick<Claims, 'verify'>
  reclaim(): void
}

/** Periodic work: deactivates idle actors, wakes actors with due reminders, verifies claims, and reclaims objects that lost theirs. */
export class Upkeep {
  #look: Timer | undefined
  #due: Timer | undefined
  readonly #waking: Waking
  #lookedAt = -Infinity
  #verifying = false
  #closed = false

  constructor(private readonly hosting: UpkeepHost, wake: (address: string) => Promise<StageError | null>) {
    this.#waking = new Waking(hosting, wake)
  }

  /** Actors with due reminders that could not be woken; 0 if another stage does the waking. */
  get stuck(): number {
    return this.#waking.stuck
  }

  /** Called when there are new types or objects to look after. */
  begin(): void {
    this.#watchIdle()
    this.#watchDue()
  }

  close(): void {
    this.#closed = true
    this.#look?.cancel()
    this.#due?.cancel()
  }

  #watchIdle(): void {
    this.#look?.cancel()
    const { hosting } = this
    const { clock, random } = hosting.mesh
    const least = Math.min(...hosting.types.map((one) => one.idleMs))
    if (least === Infinity || this.#closed) return
    this.#look = clock.setTimeout(() => {
      const now = clock.now()
      for (const one of hosting.activations) {
        const isIdle = now - one.usedAt >= one.definition.idleMs && one.idle
        if (isIdle && !hosting.isGiven(one.address)) one.stop('idle')
      }
      this.#watchIdle()
    }, Math.max(LOOK_MIN_MS, jitter(random, least / LOOKS, 0.1)))
  }

  #watchDue(ms = DUE_MS): void {
    if (this.#due || this.#closed) return
    const { clock, random } = this.hosting.mesh
    this.#due = clock.setTimeout(() => {
      this.#due = undefined
      if (clock.now() - this.#lookedAt >= LEAST_MS) { // not more often, however many reminders are due
        this.#lookedAt = clock.now()
        void this.#verify()
        if (this.hosting.mesh.valid()) this.hosting.reclaim()
      }
      void this.#wakeDue().then((next) => this.#watchDue(NEXT_MS[next]))
    }, jitter(random, ms, 0.1))
  }

  /** Verifies old claims: after a reset store or an unreported takeover, an activation without commits would live on for ever. */
  async #verify(): Promise<void> {
    const { mesh, claims, activations } = this.hosting
    if (!mesh.valid() || this.#verifying) return // very many actors take longer than the time between two rounds
    this.#verifying = true
    const before = mesh.clock.now() - VERIFY_MS
    await claims.verify([...activations].filter((one) => {
      const { heardAt } = one.persistence
      return heardAt <= before && (one.usedAt > heardAt || !one.idle)
    }))
    this.#verifying = false
  }

  /** Wakes actors with due reminders. A single stage, chosen by its id, does so for all. */
  async #wakeDue(): Promise<Next> {
    const { mesh, announcements } = this.hosting
    if (!mesh.valid()) return 'later'
    if (isFirst(mesh.id, announcements.hosts)) return this.#waking.round()
    this.#waking.rest()
    return 'later'
  }
}

/** Whether this stage has the least id of the stages that host types, and so does the waking for all. */
function isFirst(id: string, hosts: Iterable<string>): boolean {
  for (const other of hosts) if (other < id) return false
  return true
}
