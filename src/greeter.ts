/** Makes a link of a connection, dialled or accepted: the handshake, the arbiter's decision, and the chains of both ends. */
import type { Duplex } from 'node:stream'
import { unbuilt, type ChainLink } from './chain.js'
import { StageError } from './errors.js'
import { Gate } from './gate.js'
import { handshake, type Greeting, type Verdict } from './handshake.js'
import type { Identity, LastLink } from './hello.js'
import { introducedEntry, introductionOf } from './introduction.js'
import { LiveLink } from './link.js'
import { NO_META } from './meta.js'
import type { Secret } from './secret.js'
import type { Slot, Slots } from './slots.js'
import { LISTED, NAMED, PROVEN } from './strangers.js'
import type { Clock, Entry, Interface, Peer, Random, Security } from './types.js'

export interface GreeterOptions {
  clock: Clock
  random: Random
  namespace: string
  secret: Secret | undefined
  idleLinkMs: number
  chain: readonly ChainLink[]
  self(): Entry
  /** The live entry of that id; undefined once it is gone. */
  find(id: string): Entry | undefined
  isGone(id: string): boolean
  /** A peer has seen our id reported gone. */
  ongone(): void
  kept(peer: Peer): boolean
  onlink(link: LiveLink): void
  /** The peer says that its stage is closing. */
  onleave(peer: Peer): void
  /** A link stands to a peer that has described itself. @param by  it was dialled for that; by what it has proven itself */
  onintroduced(entry: Entry, by: { dialled: boolean; proven: string | undefined }): void
  /** The peer could not reach addresses of this stage. */
  onunreachable(peer: Peer, why: string): void
  /** The peer answered a handshake, so it lives. */
  onalive(peer: Peer): void
  onstream(stream: Duplex, peer: Peer): boolean
  /** A wrapper of the chain failed, so a link does not stand. */
  onerror(error: StageError): void
}

/** The owner of the finished links. */
export interface Holder {
  readonly slots: Slots
  readonly closed: boolean
  /** Drains the link: nothing new goes over it. */
  retire(link: LiveLink, leaving: boolean): void
  /** A link that stood has closed. */
  onclose(slot: Slot, link: LiveLink, error: StageError | undefined): void
  /** Drops the slot if nobody will ask for it again. */
  forget(slot: Slot): void
}

/**
 * Why a connection did not become a link: the pair keeps the connection of id `duplicate`, or a chain failed. Neither if it did.
 * `entry` is the description that came with a duplicate.
 */
export interface Greeted { duplicate?: string; failure?: StageError; peer?: Peer; entry?: Entry | undefined }

/** The state of one connection, until it is a link. */
interface Made { id?: string; link?: LiveLink; gate?: Gate; proven?: string | undefined; entry?: Entry }

export class Greeter {
  /** Connections with proven ends, while the other end still decides about them. */
  readonly #underway = new Set<string>()
  readonly #handshakes = new Set<Duplex>()
  #seq = 0

  constructor(private readonly options: GreeterOptions, private readonly holder: Holder) {}

  /** Number of handshakes in progress. */
  get size(): number {
    return this.#handshakes.size
  }

  /** Whether the ends of that connection are proven while the other end still decides about it. */
  isUnderway(id: string): boolean {
    return this.#underway.has(id)
  }

  /** Breaks off every connection that is not a link yet. */
  reset(): void {
    for (const stream of this.#handshakes) stream.destroy()
  }

  /**
   * @param dialled  the peer's slot, or `anybody`, if this stage dialled
   * @param rise     for an incoming connection: called with each rank that it reaches
   */
  async greet(stream: Duplex, through: Interface, dialled: Slot | 'anybody' | undefined, rise?: (rank: number) => void): Promise<Greeted> {
    const slot = dialled === 'anybody' ? undefined : dialled
    const { clock, random, namespace, chain, find, isGone, ongone, self } = this.options
    const { id, name, addresses } = self()
    const secret = through.secret ?? this.options.secret
    const { security } = stream as { security?: Security }
    let met: Identity | undefined
    const made: Made = {}
    this.#handshakes.add(stream)
    try {
      const greeting = await handshake({
        stream, clock, random, namespace, isGone,
        ongone: () => { if (id === self().id) ongone() },
        certify: (peer) => {
          const certified = security?.proves?.(peer.name, dialled === 'anybody')
          made.proven = [...(secret === undefined ? [] : ['secret']), ...(certified === undefined ? [] : [certified])].join(' and ') || undefined
        },
        unreachable: (peer) => this.holder.slots.get(peer.id)?.unreachable(clock),
        onunreachable: (peer, why) => this.options.onunreachable(this.#peer(peer), why),
        introduces: dialled === 'anybody',
        introduction: () => introductionOf(self()),
        onintroduced: (peer, introduction) => { made.entry = introducedEntry(peer, namespace, self().ttlMs, introduction) },
        dialled: dialled !== undefined,
        self: { id, name, addresses: addresses.slice(0, 8) },
        chain: chain.map((one) => one.name),
        own: chain.some((one) => !one.infallible),
        secret,
        binding: security?.binding,
        expect: slot?.peer.id,
        last: slot?.last,
        onhello: (peer) => rise?.(find(peer.id)?.name === peer.name ? LISTED : NAMED),
        onproven: (peer, link) => {
          this.#checkName(peer)
          rise?.(PROVEN)
          met = peer
          this.#underway.add(made.id = link)
        },
        decide: (peer, link, last) => this.#decide(peer, link, last, stream),
        build: (decided) => {
          const gate = made.gate = new Gate(stream)
          made.link = this.#build(decided, gate, stream, dialled !== undefined, id, made.proven)
          // a wrapper closed the gate while the other end builds its chain
          gate.once('close', () => { if (!gate.isOpen) stream.destroy() })
        },
      })
      if ('duplicate' in greeting.verdict) {
        stream.end(() => stream.destroy())
        return { ...greeting.verdict, peer: this.#peer(greeting.peer), entry: made.entry }
      }
      if (greeting.failure) throw greeting.failure
      // Node learns only in the next tick that the handshake no longer listens for `readable`, and tells nobody before
      if (chain.length === 0) await new Promise<void>((resolve) => process.nextTick(resolve))
      const link = made.link ??= this.#build(greeting, stream, stream, dialled !== undefined, id, made.proven)
      made.gate?.open()
      this.#stand(link, id, made)
      return { peer: link.peer }
    } catch (thrown) {
      return { failure: this.#failed(thrown as StageError, made, met, dialled) }
    } finally {
      if (made.id) this.#underway.delete(made.id)
      this.#handshakes.delete(stream)
    }
  }

  /** @returns the reason, if a chain could not be built for a dial @throws StageError every other failure */
  #failed(thrown: StageError, { id, link }: Made, met: Identity | undefined, dialled: Slot | 'anybody' | undefined): StageError {
    const { clock, random, onerror, self } = this.options
    const failure = link?.byWrapper ? unbuilt(self().name, link, link.error) : thrown
    if (dialled && dialled !== 'anybody') dialled.cutOff = !met && failure.code === 'DISCONNECTED'
    link?.close(failure)
    const slot = met && this.holder.slots.get(met.id)
    if (slot?.current && slot.current.id === id && !slot.current.link) slot.current = undefined
    // after the proofs, only a chain of one of the two ends fails with these codes
    const chained = met !== undefined && (failure.code === 'BAD_ARGUMENT' || failure.code === 'CHAIN_MISMATCH')
    if (failure.code === 'BAD_ARGUMENT') onerror(failure)
    if (chained && dialled) return failure
    if (slot && chained) {
      slot.postpone(failure, clock, random)
      slot.settle(failure)
    }
    if (slot) this.holder.forget(slot)
    throw failure
  }

  /** Decides about a connection: this end is the arbiter. */
  #decide(peer: Identity, id: string, last: LastLink | undefined, stream: Duplex): Verdict {
    const slot = this.holder.slots.of(this.#peer(peer))
    const { current } = slot
    if (current && last?.of === current.id) {
      if (!current.link) slot.drop()
      else if (last.state === 'closed') current.link.close()
      else this.holder.retire(current.link, false)
    }
    if (slot.current && (slot.current.link?.open ?? true)) return { duplicate: slot.current.id }
    slot.current = { id, seq: ++this.#seq, stream }
    return { ready: this.#seq }
  }

  /**
   * Builds the chain on a connection that was chosen.
   * @param on  the connection itself, or the gate in front of it
   * @throws StageError BAD_ARGUMENT a wrapper failed · DISCONNECTED the connection is not needed any more, or broke · WRONG_PEER
   */
  #build({ verdict, link: id, peer }: Greeting, on: Duplex, stream: Duplex, dialled: boolean, as: string, proven: string | undefined): LiveLink {
    const { clock, chain, idleLinkMs, kept, self } = this.options
    const { slots } = this.holder
    const known = this.#peer(peer)
    try {
      if (this.holder.closed || as !== self().id) throw superseded()
      this.#checkName(peer) // the peer's entry may have come meanwhile
      const slot = slots.of(known)
      const { current } = slot
      if (!('ready' in verdict) || (current && current.id !== id && current.seq > verdict.ready) || stream.destroyed) throw superseded()
      if (current && current.id !== id) {
        // only the arbiter's newest word counts, and the arbiter gave it because it knows that the older link is dead
        slot.drop()
        slots.set(slot.peer.id, slot) // the end of the older link dropped the slot, if the peer is not listed
      }
      slot.current = { id, seq: verdict.ready, stream }
      const link = new LiveLink({
        id, peer: slot.peer, proven, dialled, stream: on, chain, clock,
        idleMs: idleLinkMs,
        kept: () => kept(slot.peer),
        // answering a goodbye does not mean that this stage leaves: only the peer does
        onretire: (retiring, leaving) => {
          if (leaving) this.options.onleave(slot.peer)
          this.holder.retire(retiring, false)
        },
        onclose: (closed, error) => {
          slot.links.delete(closed)
          if (closed.stands) this.holder.onclose(slot, closed, error)
        },
        onstream: (opened, from) => this.options.onstream(opened, from),
      })
      slot.links.add(link)
      return link
    } catch (thrown) {
      on.destroy()
      const error = thrown as StageError
      throw error.code === 'BAD_ARGUMENT' ? unbuilt(self().name, { peer: known, dialled }, error) : error
    }
  }

  /** The link stands: the chains of both ends are built. @throws StageError DISCONNECTED it is not needed any more */
  #stand(link: LiveLink, as: string, { entry, proven }: Made): void {
    const { peer } = link
    const slot = this.holder.slots.get(peer.id)
    const needed = !this.holder.closed && as === this.options.self().id && link.open
    if (!needed || slot?.current?.id !== link.id) throw superseded()
    slot.current.link = link
    slot.refused = undefined
    slot.error = undefined
    if (entry) this.options.onintroduced(entry, { dialled: link.dialled, proven })
    link.start()
    this.options.onalive(peer)
    // waiting callers go first, so that nothing sent later overtakes them
    slot.settle(null, link)
    this.options.onlink(link)
  }

  /** The peer as the registry lists it, or as it describes itself if it is not listed. */
  #peer(identity: Identity): Peer {
    return this.options.find(identity.id) ?? { ...identity, namespace: this.options.namespace, meta: NO_META, claimed: true }
  }

  /** @throws StageError WRONG_PEER the peer claims another name than the registry lists for its id */
  #checkName({ id, name }: Pick<Identity, 'id' | 'name'>): void {
    const listed = this.options.find(id)
    const slot = this.holder.slots.get(id)
    if (!listed && slot && slot.links.size > 0 && slot.peer.name !== name) {
      throw new StageError('WRONG_PEER', `the peer calls itself ${name}, but a link to ${id} stands under the name ${slot.peer.name}`)
    }
    if (!listed || listed.name === name) return
    throw new StageError('WRONG_PEER', `the peer calls itself ${name}, but the registry lists ${id} as ${listed.name}`)
  }
}

const superseded = (): StageError => new StageError('DISCONNECTED', 'the connection was closed right after the handshake')
