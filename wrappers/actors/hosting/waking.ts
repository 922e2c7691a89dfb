import { StageError, describe, printable } from '../../../src/errors.js'
import type { Mesh, Store, Wake } from '../../../src/types.js'
import { within } from '../../../src/within.js'
import type { Rpc } from '../../rpc/rpc.js'
import { STORE_MS } from './activation.js'
import { announced, type Pattern } from '../address.js'
import { announcedBy } from '../announced.js'

/** Reads of the store in one round, and how many actors each shows. */
const PAGES_MAX = 10
const PAGE = 1000
/** Actors that are woken in one round. */
const WAKES_MAX = 100
/** Beside them, so many of types that fail, and so many that were woken before. */
const PROBES_MAX = 50
const AGAIN_MAX = 50
/** A type fails when so many of its actors in a row could not be woken. */
const FAILS_MIN = 20
/** One that could not be woken is left alone that long, and twice as long each time. */
const FAILED_MS = 10_000
const FAILED_MAX_MS = 600_000
/** One that fails for so long is reported, though others of its type do not. */
const REPORTED_MS = 40_000
/** Actors that were woken, and are remembered. */
const TRIED_MAX = 10_000
/** Kinds of reminders that cannot run, and are told apart. */
const KINDS_MAX = 100

/** One that was woken. */
interface Tried {
  /** When it may be woken again. */
  from: number
  /** For how long it was left alone; 0: it was woken. */
  ms: number
  pending: boolean
  /** The pass in which it was due last. */
  pass: number
}

/** What waking asks of the hosting of its stage. */
export interface WakingHost {
  readonly mesh: Mesh<Rpc>
  readonly store: Store
  readonly types: readonly { readonly pattern: Pattern }[]
  /** Undefined: it is not active here. */
  active(address: string): object | undefined
  /** Whether it is an object that was given to `host()`. */
  isGiven(address: string): boolean
}

/** A type of actors that some stage hosts. */
interface Type {
  readonly text: string
  match(address: string): unknown
}

interface Failing {
  inRow: number
  error: StageError
}

/** Up to where was looked; `full`: no more can be woken in this round. */
interface Looked {
  readonly at: Wake | undefined
  readonly found: 'more' | 'full' | 'end' | 'away'
}

/** How soon the next round should be. */
export type Next = 'now' | 'soon' | 'later'

/**
 * Wakes the actors whose reminders are due and that are active nowhere. It passes over all that are due again and again,
 * in parts: those that cannot run, because nobody hosts their type or they cannot be made, are counted and passed over,
 * so that however many they are, they hold up none of those behind them.
 */
export class Waking {
  readonly #tried = new Map<string, Tried>()
  readonly #failing = new Map<string, Failing>()
  /** Where the pass is. */
  #at: Wake | undefined
  /** What became due behind this is looked at in each round, where a pass takes several. */
  #newest: Wake | undefined
  /** A whole pass was made since the types are those. */
  #complete = false
  #types: readonly Type[] = []
  #pass = 0
  /** Actors that cannot be woken, by kind, in this pass; and why. */
  #counting = new Map<string, number>()
  /** The kinds that the pass before had. */
  #before: ReadonlySet<string> = new Set()
  readonly #reported = new Set<string>()
  /** Some of a type that fails were not tried. */
  #untried = false
  #counts = true
  #budget = 0
  #probes = 0
  /** Were woken before, and may be again. */
  #again: { address: string; type: string; known: Tried }[] = []
  /** Actors with due reminders that could not be woken, in the last pass. */
  stuck = 0

  /** @param wake  makes an actor active, on whichever stage */
  constructor(private readonly hosting: WakingHost, private readonly wake: (address: string) => Promise<StageError | null>) {}

  /** Somebody else looks after them. */
  rest(): void {
    this.#tried.clear()
    this.#failing.clear()
    this.#begin()
    this.#complete = false
    this.#newest = undefined
    this.stuck = 0
  }

  /** Looks at some of those that are due. */
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

  /** The types that are hosted: where they change, what could not run may be able to. */
  #known(): void {
    const { mesh, types } = this.hosting
    const all = new Map<string, Type>()
    for (const { pattern } of types) all.set(pattern.text, { text: pattern.text, match: (address) => pattern.match(address) })
    for (const peer of mesh.peers()) {
      for (const text of announcedBy(peer.announces)?.types ?? []) {
        const pattern = all.has(text) ? undefined : announced(text)
        if (pattern) all.set(text, { text, match: (address) => pattern.match(address) })
      }
    }
    if (all.size !== this.#types.length || this.#types.some(({ text }) => !all.has(text))) {
      this.#begin()
      this.#complete = false
    }
    this.#types = [...all.values()]
  }

  /** @param counts  it is a part of the pass */
  async #look(after: Wake | undefined, counts: boolean): Promise<Looked> {
    this.#budget = WAKES_MAX
    this.#probes = PROBES_MAX
    this.#counts = counts
    this.#again = []
    const looked = await this.#read(after)
    // those first that were left alone for longest, and not those that were due first: they may be due again each time
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
      if (!isWakes(page)) return { at, found: 'away' } // or a store of somebody's own that answers with something else
      const now = mesh.clock.now()
      for (const one of page) {
        if (at && one.at === at.at && one.actor === at.actor) return { at, found: 'end' } // such a store goes in a circle
        if (!this.#take(one.actor, now)) return { at, found: 'full' }
        at = one
      }
      if (page.length < PAGE) return { at, found: 'end' }
    }
    return { at, found: 'more' }
  }

  /** @returns false: no more are woken in this round */
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
    const counted = known !== undefined || this.#counting.size < KINDS_MAX ? kind : 'of still other types'
    this.#counting.set(counted, (known ?? this.#counting.get(counted) ?? 0) + 1)
  }

  /** All that are due were looked at. */
  #passed(newest: Wake | undefined): void {
    this.stuck = [...this.#counting.values()].reduce((sum, one) => sum + one, 0)
    for (const kind of this.#reported) if (!this.#counting.has(kind)) this.#reported.delete(kind)
    // not those that a stage which restarts is about to host again
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
    const why = type ? this.#whyNone(type) : 'no stage hosts their type; define() it somewhere for them to run'
    this.hosting.mesh.error(new Error(printable(`the reminders of ${actors} ${kind} are due and cannot run: ${why}`)))
  }

  #whyNone(type: Type): string {
    const failure = this.#failing.get(type.text)?.error.message
    return `none of those tried last could be made: ${failure ?? 'see the errors of their stages'}`
  }
}

/** A store may be somebody's own. */
const isWakes = (value: unknown): value is readonly Wake[] => Array.isArray(value) && value.every(isWake)

const isWake = (value: unknown): value is Wake =>
  typeof (value as Partial<Wake> | null)?.actor === 'string' && typeof (value as Partial<Wake>).at === 'number'
