import { areChecked, checkEntry } from './entry.js'
import { StageError, describe } from './errors.js'
import { judgeAt } from './judge.js'
import { log } from './log.js'
import { isPattern, matches } from './pattern.js'
import { GRACE_MS } from './registry.js'
import { Watch } from './watch.js'
import type { Clock, Entry, PeerChanges, Random, Registry, Timer, View } from './types.js'

/** Why a peer is gone: it left by itself, or its lease expired. */
export type PartReason = 'closed' | 'timeout'

export interface DirectoryOptions {
  registry: Registry
  clock: Clock
  random: Random
  namespace: string
  /** Name of the directory's stage, for the log. */
  who: string
  /** Whether the id is this very stage's, present or past. */
  own(id: string): boolean
  onjoin(entry: Entry): void
  onpart(entry: Entry, reason: PartReason): void
  /** A known peer has other addresses, announcements or meta. */
  onupdate(entry: Entry, before: Entry): void
  /** An id that was reported gone is listed: its stage does not know that, and has to be told. */
  onzombie(entry: Entry): void
  /** The registry's history was reset. */
  onforgot(): void
  /** Peers changed, or the registry went away: a waiting selection may succeed, or has to fail. */
  onchange(changes: PeerChanges): void
  /** The registry was asked, whether or not that changed anything. */
  onlook(): void
  onerror(error: Error): void
}

const NO_CHANGES: PeerChanges = { listed: [], gone: [] }
/** After more changes than this at once, all cached look-ups are dropped without comparing their patterns. */
const STALE_MAX = 32

/** Ids remembered as gone, so that none of them comes back; older ids are long out of every registry's log. */
const GONE_MAX = 20_000

/**
 * The live peers, over any registry: keeps the last view while the registry is away, turns views into joins and parts, and
 * answers look-ups by pattern from memory. A view that holds changes costs work in proportion to them.
 */
export class Directory {
  readonly #entries = new Map<string, Entry>()
  readonly #gone = new Set<string>()
  /** Ids of peers that no registry lists: they are known by their links. */
  readonly #adopted = new Set<string>()
  /** Peers that are missing since the registry's history was reset: they have until the given time to list themselves again. */
  readonly #unconfirmed = new Map<string, number>()
  /** Peers whose link broke and whose addresses refuse: not offered until the given time, unless they show signs of life. */
  readonly #suspects = new Map<string, number>()
  /** Listed entries whose ids were reported gone: with each view, their stages are told so again. */
  readonly #zombies = new Map<string, Entry>()
  readonly #cache = new Map<string, readonly Entry[]>()
  readonly #ending = new AbortController()
  /** Entries that were checked; registries return the same objects again and again. */
  readonly #checked = new WeakMap<Entry, Entry | undefined>()
  #generation: string | undefined
  /** The earliest time in `#unconfirmed` and `#suspects`, for which the timer is armed. */
  #judgesAt = Infinity
  #timer: Timer | undefined
  /** Ids of this very stage that a view has contained. */
  readonly #shown = new Set<string>()
  readonly #watch: Watch
  /** Grows with every change, so that others can cache results that they derive from the entries. */
  version = 0
  /** True once a view has arrived. */
  known = false

  constructor(private readonly options: DirectoryOptions) {
    const { onchange, onerror, onlook } = options
    this.#watch = new Watch({
      ...options, onlook,
      onview: (view) => this.#apply(view),
      onfailure: (error, before) => {
        if (error.message !== before?.message) onerror(error) // once, not with every attempt
        onchange(NO_CHANGES)
      },
    })
  }

  start(): void {
    this.#watch.start()
  }

  /** Why there is no fresh view at the moment. */
  get failure(): Error | undefined {
    return this.#watch.failure
  }

  /**
   * Asks the registry, for a caller that is about to report a missing peer; the answer is applied like every view. `looked`
   * reaches the returned number when that was done, or when nothing newer can be had.
   */
  look(): number {
    return this.#watch.look()
  }

  get looked(): number {
    return this.#watch.looked
  }

  /** Whether a view has contained this id of our own. */
  shows(id: string): boolean {
    return this.#shown.has(id)
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  /** The peer of that id, if it is live as far as is known. */
  live(id: string): Entry | undefined {
    return this.#suspects.has(id) ? undefined : this.#entries.get(id)
  }

  isGone(id: string): boolean {
    return this.#gone.has(id)
  }

  /** Live peers that match, without `exclusions` (ids or names), in a stable order. */
  lookup(pattern: string, exclusions?: Iterable<string>): readonly Entry[] {
    let found = this.#cache.get(pattern)
    if (!found) {
      if (this.#cache.size >= 1000) this.#cache.clear() // patterns come from callers: bounded
      const meant = isPattern(pattern) ? (name: string) => matches(pattern, name) : (name: string) => name === pattern
      found = [...this.#entries.values()].filter(({ id, name }) => !this.#suspects.has(id) && meant(name))
      this.#cache.set(pattern, found)
    }
    if (exclusions === undefined) return found
    const out = new Set(exclusions)
    return found.filter((e) => !out.has(e.id) && !out.has(e.name))
  }

  /** The peers to choose from: the live matches, or if there are none, the matches that most likely crashed. */
  candidates(pattern: string): readonly Entry[] {
    const found = this.lookup(pattern)
    if (found.length > 0 || this.#suspects.size === 0) return found
    return [...this.#suspects.keys()].map((id) => this.#entries.get(id)).filter((e): e is Entry => e !== undefined && matches(pattern, e.name))
  }

  /** The peer's link broke and its addresses refuse: most likely it crashed, so others are preferred until the registry knows. */
  suspect(id: string): void {
    const entry = this.#entries.get(id)
    if (!entry || this.#suspects.has(id)) return
    this.#suspects.set(id, this.options.clock.now() + entry.ttlMs + GRACE_MS)
    this.#changed({ listed: [], gone: [entry] })
    this.#arm()
  }

  /** The peer has shown a sign of life. */
  trust(id: string): void {
    const entry = this.#entries.get(id)
    if (this.#suspects.delete(id)) this.#changed({ listed: entry ? [entry] : [], gone: [] })
  }

  /** The peer itself said that it is leaving. */
  leave(id: string): void {
    if (this.#adopted.has(id)) return this.abandon(id)
    const entry = this.#entries.get(id)
    if (entry) this.#part(entry, 'closed')
  }

  /** Another registry is used: what the one before has reported says nothing about its entries. */
  moved(): void {
    this.#gone.clear()
    this.#zombies.clear()
  }

  /** Whether the registry lists a peer of that name. */
  lists(name: string): boolean {
    return this.lookup(name).some(({ id }) => !this.#adopted.has(id))
  }

  /** A peer that no registry lists is known from now on, until `abandon`. @returns whether it is new */
  adopt(entry: Entry): boolean {
    if (this.#entries.has(entry.id) || this.#gone.has(entry.id) || this.options.own(entry.id)) return false
    this.#adopted.add(entry.id)
    this.#entries.set(entry.id, entry)
    this.#changed({ listed: [entry], gone: [] })
    return true
  }

  /** The link to a peer that no registry lists has ended; another link may bring the id back. */
  abandon(id: string): void {
    const entry = this.#entries.get(id)
    if (!this.#adopted.delete(id) || !entry) return
    this.#entries.delete(id)
    this.#suspects.delete(id)
    this.#changed({ listed: [], gone: [entry] })
  }

  isAdopted(id: string): boolean {
    return this.#adopted.has(id)
  }

  isSuspect(id: string): boolean {
    return this.#suspects.has(id)
  }

  /** Asks the registry now; the answer is newer than every view so far. */
  async listed(id: string): Promise<boolean> {
    const { registry, namespace } = this.options
    for await (const { entries } of registry.watch(namespace, this.#ending.signal)) return entries.some((entry) => entry.id === id)
    throw new StageError('CLOSED', 'this stage is closed')
  }

  async close(): Promise<void> {
    this.#ending.abort()
    this.#timer?.cancel()
    await this.#watch.close()
    const gone = [...this.#entries.values()]
    this.#entries.clear()
    this.#changed({ listed: [], gone })
  }

  /** Applies the whole view before anybody is notified, so that nobody sees half of it. */
  #apply(view: View): void {
    const { own, namespace, onjoin, onupdate, onzombie } = this.options
    const forgot = this.#generation !== undefined && this.#generation !== view.generation
    this.#generation = view.generation
    if (forgot) this.options.onforgot()
    const lapsed = new Set(view.lapsed)
    const present = new Set<string>()
    const listed: Entry[] = []
    const gone: Entry[] = []
    const parts: (() => void)[] = []
    const joins: (() => void)[] = []
    if (!view.removed) this.#zombies.clear()
    let first = !this.known
    this.known = true
    const remove = (entry: Entry, reason: PartReason): void => {
      gone.push(entry)
      parts.push(this.#remove(entry, reason))
    }
    const checked = areChecked(view.entries)
    for (const found of view.entries) {
      const entry = checked ? found : this.#asEntry(found, namespace)
      if (!entry) continue
      const { id } = entry
      const before = this.#entries.get(id)
      if (own(id)) {
        first ||= !this.#shown.has(id)
        this.#shown.add(id)
      } else if (this.#gone.has(id)) {
        if (entry.draining || lapsed.has(id)) this.#zombies.delete(id)
        else this.#zombies.set(id, entry)
      } else if (entry.draining) {
        if (before) remove(before, 'closed')
      } else {
        present.add(id)
        this.#unconfirmed.delete(id)
        this.#adopted.delete(id)
        if (before && (before === entry || JSON.stringify(before) === JSON.stringify(entry))) continue
        if (before && before.name !== entry.name) this.#cache.clear()
        listed.push(entry)
        this.#entries.set(id, entry)
        this.#suspects.delete(id)
        joins.push(() => { if (before) onupdate(entry, before); else onjoin(entry) })
      }
    }
    for (const entry of this.#missing(view, present)) {
      if (lapsed.has(entry.id)) remove(entry, 'timeout')
      else if (forgot) this.#unconfirmed.set(entry.id, this.options.clock.now() + entry.ttlMs + GRACE_MS)
      else if (!this.#unconfirmed.has(entry.id)) remove(entry, 'closed')
    }
    if (first || parts.length + joins.length > 0) this.#changed({ listed, gone })
    for (const tell of [...parts, ...joins]) tell()
    for (const id of view.removed ?? []) this.#zombies.delete(id)
    for (const zombie of this.#zombies.values()) onzombie(zombie)
    this.#arm()
  }

  /** Known peers that a view does not contain any more. @param present  ids of the peers that a complete view contains */
  #missing({ removed }: View, present: ReadonlySet<string>): Entry[] {
    if (!removed) return [...this.#entries.values()].filter(({ id }) => !present.has(id) && !this.#adopted.has(id))
    return removed.filter((id) => !this.#adopted.has(id)).map((id) => this.#entries.get(id)).filter((entry) => entry !== undefined)
  }

  /** A registry may be somebody's own implementation: a malformed entry goes no further, and is logged once. */
  #asEntry(found: Entry, namespace: string): Entry | undefined {
    if (typeof found !== 'object' || found === null) return undefined
    if (this.#checked.has(found)) return this.#checked.get(found)
    const entry = checkEntry(found, namespace)
    this.#checked.set(found, entry)
    if (!entry) log(this.options.who, `skipped a record of the registry that is not a valid entry: ${describe(found)}`)
    return entry
  }

  #part(entry: Entry, reason: PartReason): void {
    const tell = this.#remove(entry, reason)
    this.#changed({ listed: [], gone: [entry] })
    tell()
  }

  /** @returns notifies of the removal */
  #remove(entry: Entry, reason: PartReason): () => void {
    const { id } = entry
    this.#entries.delete(id)
    this.#adopted.delete(id)
    this.#unconfirmed.delete(id)
    this.#suspects.delete(id)
    this.#gone.add(id)
    if (this.#gone.size > GONE_MAX) this.#gone.delete(this.#gone.values().next().value as string)
    return () => {
      log(this.options.who, `${entry.name} (${id}) is gone: ${reason}`)
      this.options.onpart(entry, reason)
    }
  }

  #changed(changes: PeerChanges): void {
    this.version++
    const peers = [...changes.listed, ...changes.gone]
    if (peers.length > STALE_MAX) this.#cache.clear()
    else if (peers.length > 0) {
      for (const pattern of this.#cache.keys()) if (peers.some(({ name }) => matches(pattern, name))) this.#cache.delete(pattern)
    }
    this.options.onchange(changes)
  }

  /** Arms one timer for all unconfirmed and suspected peers. */
  #arm(): void {
    const next = Math.min(...this.#unconfirmed.values(), ...this.#suspects.values())
    if (next >= this.#judgesAt) return // the armed timer goes on, with all that it has seen of our own loop
    this.#timer?.cancel()
    this.#judgesAt = next
    this.#timer = judgeAt(this.options.clock, next, () => {
      this.#judgesAt = Infinity
      this.#expire()
    })
  }

  #expire(): void {
    const now = this.options.clock.now()
    const gone: Entry[] = []
    const parts: (() => void)[] = []
    // while the registry is away nobody is declared dead: an unconfirmed peer may still list itself later
    for (const [id, until] of [...this.#unconfirmed]) {
      if (until > now) continue
      const entry = this.#entries.get(id)
      if (this.failure) this.#unconfirmed.set(id, now + (entry?.ttlMs ?? 0) + GRACE_MS)
      else if (entry) {
        gone.push(entry)
        parts.push(this.#remove(entry, 'timeout'))
      }
    }
    if (gone.length > 0) this.#changed({ listed: [], gone })
    for (const tell of parts) tell()
    for (const [id, until] of [...this.#suspects]) if (until <= now) this.trust(id)
    this.#arm()
  }
}
