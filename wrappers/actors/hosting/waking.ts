import { StageError, describe, printable } from '../../../src/errors.js'
import type { Mesh, Store, Wake } from '../../../src/types.js'
import { within } from '../../../src/within.js'
import type { Rpc } from '../../rpc/rpc.js'
import { STORE_MS } from './activation.js'
import { announced, type Pattern } from '../address.js'
import type { Announcements } from '../announcements.js'

/** Reads of the store per round, and actors per read. */
const PAGES_MAX = 10
const PAGE = 1000
/** Actors woken per round. */
const WAKES_MAX = 100
/** Additional wakes per round: of actors whose type fails, and of actors that were woken before. */
const PROBES_MAX = 50
const AGAIN_MAX = 50
/** A type counts as failing after this many failed wakes in a row. */
const FAILS_MIN = 20
/** Back-off after a failed wake: doubles with each failure, up to the maximum. */
const FAILED_MS = 10_000
const FAILED_MAX_MS = 600_000
/** Back-off from which a single actor is reported as stuck, even if its type does not fail. */
const REPORTED_MS = 40_000
/** Limit of remembered wakes. */
const TRIED_MAX = 10_000
/** Limit of kinds of stuck reminders that are counted separately. */
const KINDS_MAX = 100

/** An actor that was woken. */
interface Tried {
  /** When the actor may be woken again. */
  from: number
  /** Back-off after a failed wake; 0 after a successful one. */
  ms: number
  pending: boolean
  /** The last pass in which the actor was due. */
  pass: number
}

/** The view of the stage's hosting that waking needs. */
export interface WakingHost {
  readonly mesh: Mesh<Rpc>
  readonly store: Store
  readonly types: readonly { readonly pattern: Pattern }[]
  readonly announcements: Announcements
  /** The activation of that address; undefined if the actor is not active here. */
  active(address: string): object | undefined
  /** Whether the address belongs to an object of `host()`. */
  isGiven(address: string): boolean
}

/** An actor type that some stage hosts. */
interface Type {
  readonly text: string
  match(address: string): unknown
}

interface Failing {
  inRow: number
  error: StageError
}

/** Where a look at the due reminders stopped, and why; `full`: the budget of the round is spent. */
interface Looked {
  readonly at: Wake | undefined
  readonly found: 'more' | 'full' | 'end' | 'away'
}

/** How soon the next round should be. */
export type Next = 'now' | 'soon' | 'later'

/**
 * Wakes actors that are active nowhere and have due reminders. Repeated passes go over all due reminders, in parts. Actors
 * that cannot run, because no stage hosts their type or their activation fails, are counted and skipped, so that any number
 * of them delays none of the others.
 */
export class Waking {
  readonly #tried = new Map<string, Tried>()
  readonly #failing = new Map<string, Failing>()
  /** Position of the pass; undefined at its beginning. */
  #at: Wake | undefined
  /** If a pass takes several rounds, reminders that became due after this position are looked at in each round. */
  #newest: Wake | undefined
  /** Whether a pass has been completed with the present types. */
  #complete = false
  #types: readonly Type[] = []
  #pass = 0
  /** Number of actors that cannot be woken in this pass, by kind. */
  #counting = new Map<string, number>()
  /** Kinds counted in the previous pass. */
  #before: ReadonlySet<string> = new Set()
  readonly #reported = new Set<string>()
  /** Whether actors of a failing type were left untried in this pass. */
  #untried = false
  #counts = true
  #budget = 0
  #probes = 0
  /** Actors that were woken before and may be woken again in this round. */
  #again: { address: string; type: string; known: Tried }[] = []
  /** Actors with due reminders that the last pass could not wake. */
  stuck = 0

  /** @param wake  activates an actor on any stage */
  constructor(private readonly hosting: WakingHost, private readonly wake: (address: string) => Promise<StageError | null>) {}

  /** Forgets everything, because another stage does the waking. */
  rest(): void {
    this.#tried.clear()
    this.#failing.clear()
    this.#begin()
    this.#complete = false
    this.#newest = undefined
    this.stuck = 0
  }

  /** Looks at some of the due reminders. */
  async round(): Promise<Next> {
    this.#known()
    let more = false
    if (this.#complete && this.#at) {
      const { at, found } = await this.#look(this.#newest, false)
      this.#newest = at
      more = found === 'more' || found === 'full'
    }
    const { at, found } = await this.#look(this.#at, true)
    const untried = this.#untried && this.#tried.size < TRIED_MAX
    if (found === 'end') this.#passed(at)
    else this.#at = at
    if (more || found === 'full' || (found === 'more' && !this.#complete)) return 'now'
    return untried ? 'soon' : 'later'
  }

  /** Updates the hosted types. A change begins a new pass, because stuck reminders may be able to run. */
  #known(): void {
    const { announcements, types } = this.hosting
    const all = new Map<string, Type>()
    for (const { pattern } of types) all.set(pattern.text, { text: pattern.text, match: (address) => pattern.match(address) })
    for (const text of announcements.types) {
      const pattern = all.has(text) ? undefined : announced(text)
      if (pattern) all.set(text, { text, match: (address) => pattern.match(address) })
    }
    if (all.size !== this.#types.length || this.#types.some(({ text }) => !all.has(text))) {
      this.#begin()
      this.#complete = false
    }
    this.#types = [...all.values()]
  }

  /** @param counts  whether the look is part of the pass */
  async #look(after: Wake | undefined, counts: boolean): Promise<Looked> {
    this.#budget = WAKES_MAX
    this.#probes = PROBES_MAX
    this.#counts = counts
    this.#again = []
    const looked = await this.#read(after)
    // longest waiting first, not earliest due first, because some actors may be due again each time
    const longest = this.#again.sort((a, b) => a.known.from - b.known.from).slice(0, AGAIN_MAX)
    for (const { address, type, known } of longest) this.#try(address, type, known.ms)
    return looked
  }

  async #read(after: Wake | undefined): Promise<Looked> {
    const { mesh } = this.hosting
    const slow = (): Error => new Error('no answer')
    let at = after
    for (let pages = 0; pages < PAGES_MAX; pages++) {
      const answer = (async () => this.hosting.store.due(PAGE, at))()
      const page: unknown = await within(mesh.clock, STORE_MS, answer, slow).catch(() => undefined)
      if (!isWakes(page)) return { at, found: 'away' } // also if a custom store answers with something else
      const now = mesh.clock.now()
      for (const one of page) {
        if (at && one.at === at.at && one.actor === at.actor) return { at, found: 'end' } // a custom store that repeats itself
        if (!this.#take(one.actor, now)) return { at, found: 'full' }
        at = one
      }
      if (page.length < PAGE) return { at, found: 'end' }
    }
    return { at, found: 'more' }
  }

  /** @returns false if no more actors can be woken in this round */
  #take(address: string, now: number): boolean {
    const known = this.#tried.get(address)
    if (known) known.pass = this.#pass
    if (this.hosting.active(address) || this.hosting.isGiven(address)) return true
    const type = this.#types.find((one) => one.match(address))
    if (!type) {
      this.#count(`whose address begins with ${describe(address.slice(0, address.indexOf('.') + 1 || undefined))}`)
      return true
    }
    const failing = (this.#failing.get(type.text)?.inRow ?? 0) >= FAILS_MIN
    if (failing || (known && known.ms >= REPORTED_MS)) this.#count(`of ${type.text}`)
    if (known) {
      if (!known.pending && known.from <= now) this.#again.push({ address, type: type.text, known })
      return true
    }
    if (failing && this.#probes === 0) {
      this.#untried = true
      return true
    }
    if (failing) this.#probes--
    else if (this.#budget-- === 0) return false
    this.#try(address, type.text, 0)
    return true
  }

  #try(address: string, type: string, ms: number): void {
    const tried = { from: 0, ms, pending: true, pass: this.#pass }
    this.#tried.delete(address)
    this.#tried.set(address, tried)
    for (const [oldest] of this.#tried) if (this.#tried.size > TRIED_MAX) this.#tried.delete(oldest)
    void this.wake(address).then((error) => {
      tried.pending = false
      tried.ms = error ? Math.min(FAILED_MAX_MS, 2 * ms || FAILED_MS) : 0
      tried.from = this.hosting.mesh.clock.now() + tried.ms
      if (error) this.#failing.set(type, { inRow: (this.#failing.get(type)?.inRow ?? 0) + 1, error })
      else this.#failing.delete(type)
    })
  }

  #count(kind: string): void {
    if (!this.#counts) return
    const known = this.#counting.get(kind)
    const counted = known !== undefined || this.#counting.size < KINDS_MAX ? kind : 'of further types'
    this.#counting.set(counted, (known ?? this.#counting.get(counted) ?? 0) + 1)
  }

  /** Ends a pass over all due reminders. */
  #passed(newest: Wake | undefined): void {
    this.stuck = [...this.#counting.values()].reduce((sum, one) => sum + one, 0)
    for (const kind of this.#reported) if (!this.#counting.has(kind)) this.#reported.delete(kind)
    // reported in the second pass only, because a restarting stage may be about to host them again
    for (const [kind, count] of this.#counting) if (this.#before.has(kind) && !this.#reported.has(kind)) this.#report(kind, count)
    this.#before = new Set(this.#counting.keys())
    for (const [address, { pass, pending }] of this.#tried) if (pass !== this.#pass && !pending) this.#tried.delete(address)
    this.#begin()
    this.#complete = true
    this.#newest = newest
  }

  #begin(): void {
    this.#at = undefined
    this.#pass++
    this.#counting = new Map()
    this.#untried = false
  }

  #report(kind: string, count: number): void {
    this.#reported.add(kind)
    const type = this.#types.find(({ text }) => kind === `of ${text}`)
    const actors = count === 1 ? 'one actor' : `${count} actors`
    const why = type ? this.#whyNone(type) : 'no stage hosts their type; call define() for it on some stage'
    this.hosting.mesh.error(new Error(printable(`the reminders of ${actors} ${kind} are due and cannot run: ${why}`)))
  }

  #whyNone(type: Type): string {
    const failure = this.#failing.get(type.text)?.error.message
    return `none of the actors tried last could be activated: ${failure ?? 'see the errors of their stages'}`
  }
}

/** Checks the answer, because the store may be a custom one. */
const isWakes = (value: unknown): value is readonly Wake[] => Array.isArray(value) && value.every(isWake)

const isWake = (value: unknown): value is Wake =>
  typeof (value as Partial<Wake> | null)?.actor === 'string' && typeof (value as Partial<Wake>).at === 'number'
