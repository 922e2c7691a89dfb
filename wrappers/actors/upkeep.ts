import { jitter } from '../../src/random.js'
import type { Mesh, Timer } from '../../src/types.js'
import { within } from '../../src/within.js'
import type { Rpc } from '../rpc/rpc.js'
import { STORE_MS } from './activation.js'
import { announcedBy } from './announced.js'
import type { Hosting } from './hosting.js'

/** How often those that nobody uses are looked for, as a part of the shortest idleMs. */
const LOOKS = 5
const LOOK_MIN_MS = 100
const DUE_MS = 5000
const DUE_MAX = 100
/** The most that a store is asked for. */
const ASKED_MAX = 10_000
/** One that was woken and is still due stands back for others that long; twice as long each time, as it seems to fail. */
const WOKEN_MS = 30_000
const WOKEN_MAX_MS = 600_000
/** Claims that are in use are looked at, if nothing has told for so long that they are good. */
const VERIFY_MS = 20_000

/** What is done from time to time: idle actors are put away, those with reminders that are due are woken, claims are looked at, objects that lost theirs get another. */
export class Upkeep {
  #look: Timer | undefined
  #due: Timer | undefined
  /** Were woken and are due all the same: until when they stand back. */
  readonly #woken = new Map<string, { until: number; ms: number }>()
  #closed = false

  constructor(private readonly hosting: Hosting, private readonly wake: (address: string) => void) {}

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
      for (const one of hosting.activations) if (now - one.usedAt >= one.definition.idleMs && one.idle && !hosting.isGiven(one.address)) one.stop('idle')
      this.#watchIdle()
    }, Math.max(LOOK_MIN_MS, jitter(random, least / LOOKS, 0.1)))
  }

  #watchDue(): void {
    if (this.#due || this.#closed) return
    const { clock, random } = this.hosting.mesh
    this.#due = clock.setTimeout(() => {
      this.#due = undefined
      void this.#verify()
      if (this.hosting.mesh.valid()) this.hosting.reclaim()
      void this.#wakeDue().finally(() => this.#watchDue())
    }, jitter(random, DUE_MS, 0.1))
  }

  /** A store may forget what it had, and nobody may tell us that we were taken for dead: one that keeps nothing would go on for ever. */
  async #verify(): Promise<void> {
    const { mesh, claims, activations } = this.hosting
    if (!mesh.valid()) return
    const before = mesh.clock.now() - VERIFY_MS
    await claims.verify([...activations].filter((one) => one.keeping.heardAt <= before && (one.usedAt > one.keeping.heardAt || !one.idle)))
  }

  /** One stage of those that host a type looks for reminders of actors that are not active. */
  async #wakeDue(): Promise<void> {
    const { hosting } = this
    const { mesh } = hosting
    if (!mesh.valid() || !isFirst(mesh)) return
    const now = mesh.clock.now()
    // those that need no waking are due first, where they fail: behind them there are others
    let asked = DUE_MAX + this.#woken.size
    for (const one of hosting.activations) if (one.reminders?.next !== undefined) asked++
    const slow = (): Error => new Error('no answer')
    const due: unknown = await within(mesh.clock, STORE_MS, (async () => hosting.store.due(Math.min(ASKED_MAX, asked)))(), slow).catch(() => undefined)
    if (!isAddresses(due)) return
    const still = new Set(due)
    for (const address of this.#woken.keys()) if (!still.has(address)) this.#woken.delete(address)
    for (const address of due.filter((one) => !hosting.active(one) && (this.#woken.get(one)?.until ?? 0) <= now).slice(0, DUE_MAX)) {
      const ms = Math.min(WOKEN_MAX_MS, 2 * (this.#woken.get(address)?.ms ?? WOKEN_MS / 2))
      this.#woken.set(address, { until: now + ms, ms })
      this.wake(address)
    }
  }
}

/** A store may be somebody's own. */
const isAddresses = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every((one) => typeof one === 'string')

/** Of the stages that host anything, the one with the least id: that one looks for all. */
function isFirst(mesh: Mesh<Rpc>): boolean {
  return mesh.peers().every((peer) => !announcedBy(peer.announces)?.types.length || peer.id > mesh.id)
}
