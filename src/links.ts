import type { Duplex } from 'node:stream'
import type { ChainLink } from './chain.js'
import { backoffMs, dial, refuses } from './dial.js'
import { StageError, asError } from './errors.js'
import { Gate } from './gate.js'
import { HANDSHAKE_MS, handshake, type Greeting, type Identity, type LastLink, type Verdict } from './handshake.js'
import { LiveLink } from './link.js'
import { OftenLog, log } from './log.js'
import { NO_META } from './meta.js'
import { outside } from './outside.js'
import { pair } from './pair.js'
import { LISTED, NAMED, PROVEN, Strangers, place, type Stranger } from './strangers.js'
import type { Clock, Entry, Interface, LinkEnd, Peer, Random, Timer } from './types.js'

export interface LinksOptions {
  clock: Clock
  random: Random
  namespace: string
  secret: string | undefined
  idleLinkMs: number
  interfaces: readonly Interface[]
  chain: readonly ChainLink[]
  self(): Entry
  /** The live entry of that id; undefined once it is gone. */
  find(id: string): Entry | undefined
  isGone(id: string): boolean
  /** A peer has seen our id reported gone. */
  ongone(): void
  kept(peer: Peer): boolean
  onlink(link: LiveLink): void
  onunlink(link: LiveLink, error: StageError | undefined): void
  /** The peer says that its stage is closing. */
  onleave(peer: Peer): void
  /** It answered a handshake: it lives. */
  onalive(peer: Peer): void
  /** Its link broke and its addresses refuse connections: it has most likely crashed. */
  onsuspect(peer: Peer): void
  onstream(stream: Duplex, peer: Peer): boolean
  /** A wrapper of the chain failed, so a link does not stand. */
  onerror(error: StageError): void
}

type Done = (error: StageError | null, link?: LiveLink) => void

/** A peer, and the links that show it. */
interface Known {
  peer: Peer
  /** All that were built and have not closed. */
  readonly links: Set<LiveLink>
}

/** What is known of the connections to one id. */
interface Slot extends Known {
  /** The link of the pair, or the connection that was just decided for, whose link does not stand yet. */
  current?: { id: string; seq: number; stream: Duplex; link?: LiveLink } | undefined
  last?: LastLink | undefined
  waiting: Set<Done>
  dial?: AbortController | undefined
  redial?: Timer | undefined
  failures: number
  /** The last dial connected, and was cut off before the other end had said anything that it can be held to. */
  cutOff?: boolean
  /** No dial before then. */
  notBefore?: number
  /** Its last link broke without a goodbye; counts refused dials since. */
  refused?: number | undefined
  error?: StageError | undefined
}

/** What a connection came to, if it is no link: the pair has the one of that id, or a chain failed. */
interface Greeted { duplicate?: string; failure?: StageError }

/** A link that held this long begins the next back-off from the start. */
const STABLE_MS = 10_000
const SUSPECT_AFTER = 3
/** Dials that were cut off in the handshake count as no more than so many failures: there was no room, and that passes. */
const CUT_OFF_MAX = 3

/** All connections of one stage: at most one link to each peer, dialled while somebody needs it. */
export class Links {
  readonly #slots = new Map<string, Slot>()
  /** Connections whose ends are proven while the other end still decides about them. */
  readonly #underway = new Set<string>()
  readonly #draining = new Set<LiveLink>()
  readonly #handshakes = new Set<Duplex>()
  readonly #strangers: Strangers
  readonly #often: OftenLog
  #seq = 0
  #loopback: LiveLink | undefined
  /** What this stage is to itself. */
  readonly #own: Known
  #closed = false
  #resetting = false

  constructor(private readonly options: LinksOptions) {
    this.#own = { peer: options.self(), links: new Set() }
    this.#strangers = new Strangers(options.clock)
    this.#often = new OftenLog(options.clock, this.#own.peer.name)
  }

  /** The open link to that id, if it stands. */
  active(id: string): LiveLink | undefined {
    const link = this.#loopback && id === this.options.self().id ? this.#loopback : this.#slots.get(id)?.current?.link
    return link?.open && !link.top.destroyed ? link : undefined
  }

  *all(): Generator<LiveLink> {
    for (const { current } of this.#slots.values()) if (current?.link?.open) yield current.link
  }

  /** A link to it may stand soon: it has none, and its back-off does not forbid to dial. */
  promising(id: string): boolean {
    const slot = this.#slots.get(id)
    return !slot || slot.failures === 0 || (slot.notBefore ?? 0) <= this.options.clock.now()
  }

  /** Dials where nobody waits: other peers serve meanwhile, and this one joins them when it is there. */
  warm(peer: Peer): void {
    const slot = this.#slot(peer)
    if (!slot.dial && !slot.redial && slot.waiting.size === 0) this.need(peer, nothing)
  }

  /** Why the last dial to that id failed, if it did. */
  error(id: string): StageError | undefined {
    return this.#slots.get(id)?.error
  }

  /** Calls `done` once: at once with the standing link, or after one dial. What is returned takes it back. */
  need(peer: Peer, done: Done): () => void {
    let link = this.active(peer.id)
    if (!link && peer.id === this.options.self().id && !this.#closed) {
      try {
        link = outside(() => this.#loop())
      } catch (error) {
        this.options.onerror(error as StageError)
        done(error as StageError)
        return nothing
      }
    }
    if (link || this.#closed) {
      if (link) done(null, link)
      else done(new StageError('CLOSED', 'this stage is closed'))
      return nothing
    }
    const slot = this.#slot(peer)
    slot.waiting.add(done)
    this.#dial(slot)
    return () => void slot.waiting.delete(done)
  }

  /** A connection came in. */
  accept(stream: Duplex, through: Interface): void {
    stream.on('error', nothing)
    if (this.#closed) return void stream.destroy()
    const { remoteAddress } = stream as Duplex & { remoteAddress?: unknown }
    const address = typeof remoteAddress === 'string' ? remoteAddress : undefined
    const stranger = this.#strangers.enter(`${this.options.interfaces.indexOf(through)} ${place(address)}`, () => stream.destroy(crowded()))
    outside(() => this.#greet(stream, through, undefined, stranger))
      .catch((error: unknown) => this.#refused(asError(error), through.scheme, address))
      .finally(() => this.#strangers.leave(stranger))
  }

  /** Whoever connects decides how often. */
  #refused({ message, code }: Error & { code?: unknown }, scheme: string, address: string | undefined): void {
    this.#often.note(`refused ${scheme} ${place(address)} ${String(code)}`, () => `refused a connection over ${scheme}${address === undefined ? '' : ` from ${address}`}: ${message}`)
  }

  /**
   * The registry says that it is gone.
   * @param crashed  nothing more can come of what was begun; one that leaves by itself still ends that, and the links with it
   */
  part(id: string, error: StageError, crashed: boolean): void {
    const slot = this.#slots.get(id)
    if (!slot) return
    slot.dial?.abort(error)
    slot.dial = undefined
    slot.redial?.cancel()
    if (crashed || !slot.current?.link) this.#slots.delete(id)
    this.#settle(slot, error)
    if (!crashed) return
    slot.current?.link?.close(error)
    for (const link of [...this.#draining]) if (link.peer.id === id) link.close(error)
  }

  /** What the registry, or this stage of itself, says of it now; links that stand say the same from here on. */
  describe(peer: Peer): void {
    const known = this.#slots.get(peer.id) ?? (peer.id === this.#own.peer.id ? this.#own : undefined)
    if (!known) return
    if (known.peer.claimed && known.peer.name !== peer.name) {
      const error = new StageError('WRONG_PEER', `it called itself ${known.peer.name}, and the registry lists ${peer.id} as ${peer.name}`)
      for (const link of [...known.links]) link.close(error)
    }
    known.peer = peer
    for (const link of known.links) link.describe(peer)
  }

  /** Its addresses may have changed: nothing that was learned of the old ones counts. */
  refresh(id: string): void {
    const slot = this.#slots.get(id)
    if (!slot) return
    slot.failures = 0
    slot.refused = undefined
    slot.current?.link?.probe()
    if (slot.redial) {
      slot.redial.cancel()
      slot.redial = undefined
      this.#dial(slot)
    }
  }

  /** Ends every link at once: our own id is gone. */
  reset(error: StageError): void {
    this.#resetting = true
    for (const stream of this.#handshakes) stream.destroy()
    for (const slot of [...this.#slots.values()]) {
      slot.current?.link?.close(error)
      slot.current = undefined
      slot.last = undefined
    }
    for (const link of [...this.#draining]) link.close(error)
    this.#loopback?.close(error)
    this.#loopback = undefined
    this.#resetting = false
  }

  /** Lets everything that was begun end, for at most so long, then ends all links. */
  async close(drainMs: number): Promise<void> {
    this.#closed = true
    const closed = new StageError('CLOSED', 'this stage was closed')
    for (const slot of this.#slots.values()) {
      slot.dial?.abort(closed)
      slot.redial?.cancel()
      this.#settle(slot, closed)
    }
    const links = [...this.all(), ...this.#draining, ...(this.#loopback ? [this.#loopback] : [])]
    await Promise.all(links.map((link) => link.retire(true, drainMs)))
    for (const stream of this.#handshakes) stream.destroy()
    this.#strangers.close()
    this.#slots.clear()
  }

  stats(): Record<string, number> {
    return { links: [...this.all()].length, draining: this.#draining.size, handshakes: this.#handshakes.size, slots: this.#slots.size }
  }

  #slot(peer: Peer): Slot {
    let slot = this.#slots.get(peer.id)
    if (!slot) this.#slots.set(peer.id, slot = { peer, links: new Set(), waiting: new Set(), failures: 0 })
    return slot
  }

  #settle(slot: Slot, error: StageError | null, link?: LiveLink): void {
    const waiting = [...slot.waiting]
    slot.waiting.clear()
    for (const done of waiting) done(error, link)
  }

  // ── dialling ──────────────────────────────────────────────────────────────────────────────────────────────────

  #dial(slot: Slot): void {
    if (slot.dial || slot.redial || this.#closed) return
    const wait = slot.failures === 0 ? 0 : (slot.notBefore ?? 0) - this.options.clock.now()
    if (wait <= 0) return void outside(() => this.#try(slot))
    slot.redial = this.options.clock.setTimeout(() => {
      slot.redial = undefined
      if (slot.waiting.size > 0) void this.#try(slot)
    }, wait)
  }

  async #try(slot: Slot): Promise<void> {
    const { find, interfaces, clock, self } = this.options
    const ending = slot.dial = new AbortController()
    slot.cutOff = false
    const error = await dial(find(slot.peer.id) ?? slot.peer, interfaces, clock, ending.signal, async (stream, through) => {
      const { duplicate, failure } = await this.#greet(stream, through, slot)
      return failure ?? (duplicate === undefined ? undefined : await this.#elsewhere(slot, duplicate))
    })
    slot.dial = undefined
    if (ending.signal.aborted) return
    if (error) log(self().name, `cannot reach ${slot.peer.name} (${slot.peer.id}): ${error.message}`)
    const { link } = slot.current ?? {}
    if (link?.open) return this.#settle(slot, null, link) // dialled, or come in meanwhile
    this.#postpone(slot, error)
    if (error && refuses(error) && slot.refused !== undefined && ++slot.refused >= SUSPECT_AFTER) {
      slot.refused = undefined
      this.options.onsuspect(slot.peer)
    }
    this.#settle(slot, error ?? new StageError('DISCONNECTED', `the link to ${slot.peer.name} did not stand`, { peer: slot.peer }))
    if (slot.waiting.size === 0 && !find(slot.peer.id)) this.#slots.delete(slot.peer.id) // nobody will ask again
  }

  /** The next dial comes later, the more of them have failed. */
  #postpone(slot: Slot, error: StageError | undefined): void {
    slot.error = error
    slot.failures = Math.min(slot.failures + 1, slot.cutOff ? CUT_OFF_MAX : Infinity)
    slot.notBefore = this.options.clock.now() + backoffMs(this.options.random, slot.failures)
  }

  /**
   * The arbiter keeps another connection of this pair: it is about to stand here, or it is dead and must be told so.
   * @returns why it does not stand
   */
  async #elsewhere(slot: Slot, id: string): Promise<StageError | undefined> {
    if (slot.current?.id === id && slot.current.link?.open) return undefined
    if (this.#underway.has(id)) {
      // its verdict is on its way over the other connection
      return await new Promise((resolve) => {
        const done = (error: StageError | null) => { timer.cancel(); slot.waiting.delete(done); resolve(error ?? undefined) }
        const timer = this.options.clock.setTimeout(() => done(null), HANDSHAKE_MS)
        slot.waiting.add(done)
      })
    }
    slot.last = { of: id, state: slot.last?.of === id ? slot.last.state : 'closed' }
    return undefined
  }

  // ── what both ends do ─────────────────────────────────────────────────────────────────────────────────────────

  /** @param stranger  of one that came in */
  async #greet(stream: Duplex, through: Interface, dialled: Slot | undefined, stranger?: Stranger): Promise<Greeted> {
    const { clock, random, namespace, chain, isGone, ongone, self } = this.options
    const { id, name, addresses } = self()
    let met: Identity | undefined
    const made: { id?: string; link?: LiveLink; gate?: Gate } = {}
    this.#handshakes.add(stream)
    try {
      const greeting = await handshake({
        stream, clock, random, namespace, isGone,
        ongone: () => { if (id === self().id) ongone() },
        dialled: dialled !== undefined,
        self: { id, name, addresses: addresses.slice(0, 8) },
        chain: chain.map((one) => one.name),
        own: chain.some((one) => !one.infallible),
        secret: through.secret ?? this.options.secret,
        expect: dialled?.peer.id,
        last: dialled?.last,
        onhello: (peer) => { if (stranger) this.#strangers.rise(stranger, this.options.find(peer.id)?.name === peer.name ? LISTED : NAMED) },
        onproven: (peer, link) => {
          this.#checkName(peer)
          if (stranger) this.#strangers.rise(stranger, PROVEN)
          met = peer
          this.#underway.add(made.id = link)
        },
        decide: (peer, link, last) => this.#decide(peer, link, last, stream),
        build: (decided) => {
          const gate = made.gate = new Gate(stream)
          made.link = this.#build(decided, gate, stream, dialled !== undefined, id)
          // closed by a wrapper, while the other end builds its chain
          gate.once('close', () => { if (!gate.isOpen) stream.destroy() })
        },
      })
      if ('duplicate' in greeting.verdict) {
        stream.end(() => stream.destroy())
        return greeting.verdict
      }
      if (greeting.failure) throw greeting.failure
      // Node learns in the next tick that the handshake listens for `readable` no more, and tells nobody of it before
      if (chain.length === 0) await new Promise<void>((resolve) => process.nextTick(resolve))
      const link = made.link ??= this.#build(greeting, stream, stream, dialled !== undefined, id)
      made.gate?.open()
      this.#stand(link, id)
      return {}
    } catch (thrown) {
      const { link } = made
      const failure = link?.byWrapper ? this.#unbuilt(link, link.error) : thrown as StageError
      if (dialled) dialled.cutOff = !met && failure.code === 'DISCONNECTED'
      link?.close(failure)
      const slot = met && this.#slots.get(met.id)
      if (slot?.current && slot.current.id === made.id && !slot.current.link) slot.current = undefined
      // behind the proofs these are said of nothing but the chain, here or there
      const chained = met !== undefined && (failure.code === 'BAD_ARGUMENT' || failure.code === 'CHAIN_MISMATCH')
      if (failure.code === 'BAD_ARGUMENT') this.options.onerror(failure)
      if (chained && dialled) return { failure }
      if (slot && chained) {
        this.#postpone(slot, failure)
        this.#settle(slot, failure)
      }
      if (slot) this.#forget(slot)
      throw failure
    } finally {
      if (made.id) this.#underway.delete(made.id)
      this.#handshakes.delete(stream)
    }
  }

  /** We are the arbiter. */
  #decide(peer: Identity, id: string, last: LastLink | undefined, stream: Duplex): Verdict {
    const slot = this.#slot(this.#peer(peer))
    const { current } = slot
    if (current && last?.of === current.id) {
      if (!current.link) this.#drop(slot)
      else if (last.state === 'closed') current.link.close()
      else this.#retire(current.link, false)
    }
    if (slot.current && (slot.current.link?.open ?? true)) return { duplicate: slot.current.id }
    slot.current = { id, seq: ++this.#seq, stream }
    return { ready: this.#seq }
  }

  /** The connection that was decided for last is dead. */
  #drop(slot: Slot): void {
    const { current } = slot
    slot.current = undefined
    if (current?.link) current.link.close()
    else current?.stream.destroy()
  }

  /**
   * Builds the chain on a connection that was decided for.
   * @param on  the connection itself, or what the chain sees of it
   * @throws StageError BAD_ARGUMENT a wrapper failed · DISCONNECTED it is not needed any more, or broke
   */
  #build({ verdict, link: id, peer }: Greeting, on: Duplex, stream: Duplex, dialled: boolean, as: string): LiveLink {
    const { clock, chain, idleLinkMs, kept, self } = this.options
    const known = this.#peer(peer)
    try {
      if (this.#closed || as !== self().id) throw superseded()
      this.#checkName(peer) // its entry may have come meanwhile
      const slot = this.#slot(known)
      const { current } = slot
      if (!('ready' in verdict) || (current && current.id !== id && current.seq > verdict.ready) || stream.destroyed) throw superseded()
      if (current && current.id !== id) {
        // only the arbiter's newest word counts, and it gave that word because it knows the older link to be dead
        this.#drop(slot)
        this.#slots.set(slot.peer.id, slot) // of a peer that is not listed it went with that link
      }
      slot.current = { id, seq: verdict.ready, stream }
      const link = new LiveLink({
        id, peer: slot.peer, dialled, stream: on, chain, clock,
        idleMs: idleLinkMs,
        kept: () => kept(slot.peer),
        // answering a goodbye is none of our own: only the peer leaves
        onretire: (retiring, leaving) => { if (leaving) this.options.onleave(slot.peer); this.#retire(retiring, false) },
        onclose: (closed, error) => {
          slot.links.delete(closed)
          if (closed.stands) this.#onclose(slot, closed, error)
        },
        onstream: (opened, from) => this.options.onstream(opened, from),
      })
      slot.links.add(link)
      return link
    } catch (thrown) {
      on.destroy()
      const error = thrown as StageError
      throw error.code === 'BAD_ARGUMENT' ? this.#unbuilt({ peer: known, dialled }, error) : error
    }
  }

  #unbuilt({ peer, dialled }: LinkEnd, error: StageError | undefined): StageError {
    const { name } = this.options.self()
    return new StageError('BAD_ARGUMENT', `${name} could not build its chain for ${peer.name} (${peer.id}), which ${dialled ? 'it' : 'had'} dialled${dialled ? '' : ' it'}: ${error?.message}`, { cause: error?.cause, peer })
  }

  /** The chains of both ends are there. @throws StageError DISCONNECTED it is not needed any more */
  #stand(link: LiveLink, as: string): void {
    const { peer } = link
    const slot = this.#slots.get(peer.id)
    if (this.#closed || as !== this.options.self().id || slot?.current?.id !== link.id || !link.open) throw superseded()
    slot.current.link = link
    slot.refused = undefined
    slot.error = undefined
    link.start()
    this.options.onalive(peer)
    // those that waited go first, so that nothing sent later overtakes them
    this.#settle(slot, null, link)
    this.options.onlink(link)
  }

  #retire(link: LiveLink, leaving: boolean): void {
    if (this.#draining.has(link) || link.closed) return
    this.#draining.add(link)
    link.open = false
    const slot = this.#slots.get(link.peer.id)
    if (slot?.current?.link === link) {
      slot.current = undefined
      slot.last = { of: link.id, state: 'draining' }
    }
    void link.retire(leaving)
  }

  #onclose(slot: Slot, link: LiveLink, error: StageError | undefined): void {
    this.#draining.delete(link)
    if (slot.current?.link === link) slot.current = undefined
    slot.last = { of: link.id, state: 'closed' }
    // one that breaks right after it stood is as good as a dial that failed
    if (this.options.clock.now() - link.since > STABLE_MS) slot.failures = 0
    else if (error) slot.failures++
    else slot.failures = Math.min(slot.failures, 1) // with a goodbye: what failed before it stood is over
    slot.notBefore = this.options.clock.now() + backoffMs(this.options.random, slot.failures)
    this.options.onunlink(link, error)
    // where the link is the stream, a new one would be somebody's
    if (!this.#forget(slot) && error?.code === 'DISCONNECTED' && link.top.openStream && !this.#resetting) this.#probe(slot)
  }

  /** @returns whether nobody will ask for it again */
  #forget(slot: Slot): boolean {
    const over = !this.options.find(slot.peer.id) && slot.waiting.size === 0 && !slot.dial && !slot.current
    return over && this.#slots.delete(slot.peer.id)
  }

  /** Its link broke: one that crashed refuses at once, and then others need not wait for the registry to know (P3). */
  #probe(slot: Slot): void {
    if (this.#closed || !this.options.find(slot.peer.id)) return
    slot.refused = 0
    const again = (error: StageError | null) => {
      if (error && refuses(error) && slot.refused !== undefined && this.options.find(slot.peer.id)) this.need(slot.peer, again)
    }
    this.need(slot.peer, again)
  }

  /** A stage's own calls run over a chain like all others: the same copies, errors and order. */
  #loop(): LiveLink {
    const { clock, chain, idleLinkMs, self } = this.options
    const [near, far] = pair()
    for (const stream of [near, far]) stream.on('error', nothing) // of a chain that cannot be built
    const own = this.#own
    own.peer = self()
    const end = (stream: Duplex, dialled: boolean): LiveLink => {
      const built = new LiveLink({
        id: 'loopback', loopback: true, peer: own.peer, clock, chain, idleMs: idleLinkMs, stream, dialled,
        kept: () => true,
        onretire: (retiring, leaving) => void retiring.retire(leaving),
        onstream: () => false,
        onclose: (closed) => {
          own.links.delete(closed)
          if (this.#loopback === closed) this.#loopback = undefined
        },
      })
      own.links.add(built)
      return built
    }
    let link: LiveLink | undefined
    try {
      link = end(near, true)
      end(far, false)
      return this.#loopback = link
    } catch (thrown) {
      const error = this.#unbuilt({ peer: self(), dialled: link === undefined }, thrown as StageError)
      link?.close(error)
      near.destroy()
      throw error
    }
  }

  /** As the registry lists it, or as it says of itself where the registry does not. */
  #peer(identity: Identity): Peer {
    return this.options.find(identity.id) ?? { ...identity, namespace: this.options.namespace, meta: NO_META, claimed: true }
  }

  /** @throws StageError WRONG_PEER it claims another name than the registry lists for its id */
  #checkName({ id, name }: Pick<Identity, 'id' | 'name'>): void {
    const listed = this.options.find(id)
    if (listed && listed.name !== name) throw new StageError('WRONG_PEER', `it calls itself ${name}, and the registry lists ${id} as ${listed.name}`)
  }
}

const nothing = (): void => {}
const crowded = (): StageError => new StageError('REFUSED', 'too many connections from there have not finished their handshake')
const superseded = (): StageError => new StageError('DISCONNECTED', 'it broke right after the handshake')
