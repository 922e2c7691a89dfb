import type { StageError } from '../../../src/errors.js'
import { jitter } from '../../../src/random.js'
import type { Mesh, Timer } from '../../../src/types.js'
import type { Rpc } from '../../rpc/rpc.js'
import type { Activation } from './activation.js'
import { announcedBy } from '../announced.js'
import type { Claims } from './claims.js'
import type { Definition } from '../definition.js'
import { Waking, type Next, type WakingHost } from './waking.js'

/** How often those that nobody uses are looked for, as a part of the shortest idleMs. */
const LOOKS = 5
const LOOK_MIN_MS = 100
const DUE_MS = 5000
/** When it is looked for due reminders again. */
const NEXT_MS: Readonly<Record<Next, number>> = { now: 200, soon: 1000, later: DUE_MS }
/** How often it is looked at what else is to be done. */
const LEAST_MS = 0.8 * DUE_MS
/** Claims that are in use are looked at, if nothing has told for so long that they are good. */
const VERIFY_MS = 20_000

/** What upkeep asks of the hosting of its stage. */
interface UpkeepHost extends WakingHost {
  readonly types: readonly Definition[]
  readonly activations: Iterable<Activation>
  readonly claims: Pick<Claims, 'verify'>
  reclaim(): void
}

/** What is done from time to time: idle actors are put away, those with reminders that are due are woken, claims are looked at, objects that lost theirs get another. */
export class Upkeep {
  #look: Timer | undefined
  #due: Timer | undefined
  readonly #waking: Waking
  #lookedAt = -Infinity
  #closed = false

  constructor(private readonly hosting: UpkeepHost, wake: (address: string) => Promise<StageError | null>) {
    this.#waking = new Waking(hosting, wake)
  }

  /** Actors with due reminders that could not be woken, as far as this stage looks after them. */
  get stuck(): number {
    return this.#waking.stuck
  }

  /** There is something to look after, or more of it. */
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
      if (clock.now() - this.#lookedAt >= LEAST_MS) { // however many reminders are due
        this.#lookedAt = clock.now()
        void this.#verify()
        if (this.hosting.mesh.valid()) this.hosting.reclaim()
      }
      void this.#wakeDue().then((next) => this.#watchDue(NEXT_MS[next]))
    }, jitter(random, ms, 0.1))
  }

  /** A store may forget what it had, and nobody may tell us that we were taken for dead: one that keeps nothing would go on for ever. */
  async #verify(): Promise<void> {
    const { mesh, claims, activations } = this.hosting
    if (!mesh.valid()) return
    const before = mesh.clock.now() - VERIFY_MS
    await claims.verify([...activations].filter((one) => {
      const { heardAt } = one.persistence
      return heardAt <= before && (one.usedAt > heardAt || !one.idle)
    }))
  }

  /** One stage of those that host a type looks for reminders of actors that are not active. */
  async #wakeDue(): Promise<Next> {
    const { mesh } = this.hosting
    if (!mesh.valid()) return 'later'
    if (isFirst(mesh)) return this.#waking.round()
    this.#waking.rest()
    return 'later'
  }
}

/** Of the stages that host anything, the one with the least id: that one looks for all. */
function isFirst(mesh: Mesh<Rpc>): boolean {
  return mesh.peers().every((peer) => !announcedBy(peer.announces)?.types.length || peer.id > mesh.id)
}
