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
/** Where more are due than are woken at once. */
const NEXT_MS = 200
/** One that could not be woken is left alone that long, and twice as long each time. */
const FAILED_MS = 10_000
const FAILED_MAX_MS = 600_000
/** Claims that are in use are looked at, if nothing has told for so long that they are good. */
const VERIFY_MS = 20_000

/** What is done from time to time: idle actors are put away, those with reminders that are due are woken, claims are looked at, objects that lost theirs get another. */
export class Upkeep {
  #look: Timer | undefined
  #due: Timer | undefined
  /** Were woken, and were due when that was looked at last: from when on they may be woken again, behind all others. */
  readonly #woken = new Map<string, { from: number; ms: number }>()
  #closed = false

  constructor(private readonly hosting: Hosting, private readonly wake: (address: string) => Promise<boolean>) {}

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

  #watchDue(ms = DUE_MS): void {
    if (this.#due || this.#closed) return
    const { clock, random } = this.hosting.mesh
    this.#due = clock.setTimeout(() => {
      this.#due = undefined
      if (ms === DUE_MS) {
        void this.#verify()
        if (this.hosting.mesh.valid()) this.hosting.reclaim()
      }
      void this.#wakeDue().then((more) => this.#watchDue(more ? NEXT_MS : DUE_MS))
    }, jitter(random, ms, 0.1))
  }

  /** A store may forget what it had, and nobody may tell us that we were taken for dead: one that keeps nothing would go on for ever. */
  async #verify(): Promise<void> {
    const { mesh, claims, activations } = this.hosting
    if (!mesh.valid()) return
    const before = mesh.clock.now() - VERIFY_MS
    await claims.verify([...activations].filter((one) => one.keeping.heardAt <= before && (one.usedAt > one.keeping.heardAt || !one.idle)))
  }

  /** One stage of those that host a type looks for reminders of actors that are not active. @returns whether there are more */
  async #wakeDue(): Promise<boolean> {
    const { hosting } = this
    const { mesh } = hosting
    if (!mesh.valid() || !isFirst(mesh)) return false
    const now = mesh.clock.now()
    // those that need no waking are due first, where they fail: behind them there are others
    let asked = DUE_MAX + this.#woken.size
    for (const one of hosting.activations) if (one.reminders?.next !== undefined) asked++
    const slow = (): Error => new Error('no answer')
    const due: unknown = await within(mesh.clock, STORE_MS, (async () => hosting.store.due(Math.min(ASKED_MAX, asked)))(), slow).catch(() => undefined)
    if (!isAddresses(due)) return false
    const still = new Set(due)
    for (const address of this.#woken.keys()) if (!still.has(address)) this.#woken.delete(address)
    // those that were woken last come last, and no sooner than they may
    const from = (address: string): number => this.#woken.get(address)?.from ?? -1
    const asleep = due.filter((one) => !hosting.active(one) && from(one) <= now).sort((a, b) => from(a) - from(b))
    const fresh = asleep.filter((one) => !this.#woken.has(one)).length
    for (const address of asleep.slice(0, DUE_MAX)) {
      const ms = Math.min(FAILED_MAX_MS, 2 * (this.#woken.get(address)?.ms ?? 0) || FAILED_MS)
      this.#woken.set(address, { from: now + ms, ms })
      void this.wake(address).then((awake) => { if (awake && this.#woken.has(address)) this.#woken.set(address, { from: mesh.clock.now(), ms: 0 }) })
    }
    return fresh >= DUE_MAX
  }
}

/** A store may be somebody's own. */
const isAddresses = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every((one) => typeof one === 'string')

/** Of the stages that host anything, the one with the least id: that one looks for all. */
function isFirst(mesh: Mesh<Rpc>): boolean {
  return mesh.peers().every((peer) => !announcedBy(peer.announces)?.types.length || peer.id > mesh.id)
}
