/** All connections of one stage: at most one link to each peer, dialled while somebody needs it. */
import type { Duplex } from 'node:stream'
import { Accepting } from './accepting.js'
import { onAbort } from './abort.js'
import { dial, interfaceFor, refuses, schemesOf } from './dial.js'
import { Dialling } from './dialling.js'
import { StageError, describe } from './errors.js'
import { Greeter, type Greeted, type GreeterOptions } from './greeter.js'
import type { LiveLink } from './link.js'
import { Loopback } from './loopback.js'
import { NO_META } from './meta.js'
import { outside } from './outside.js'
import { Slots, type Done, type Slot } from './slots.js'
import type { Interface, Peer, RefusedFrom } from './types.js'

export interface LinksOptions extends GreeterOptions {
  interfaces: readonly Interface[]
  onunlink(link: LiveLink, error: StageError | undefined): void
  /** A connection that came in did not become a link. */
  onrefused(error: StageError, from: RefusedFrom): void
  /** The peer's link broke and its addresses refuse connections: most likely it has crashed. */
  onsuspect(peer: Peer): void
}

export class Links {
  readonly #slots = new Slots()
  readonly #draining = new Set<LiveLink>()
  readonly #loopback: Loopback
  readonly #greeter: Greeter
  readonly #dialling: Dialling
  readonly #accepting: Accepting
  #closed = false
  #resetting = false

  constructor(private readonly options: LinksOptions) {
    const { clock, random, interfaces, find, onrefused, onsuspect, self } = options
    const { name } = self()
    const closed = (): boolean => this.#closed
    this.#loopback = new Loopback(options)
    const greeter = this.#greeter = new Greeter(options, {
      slots: this.#slots,
      get closed() { return closed() },
      retire: (link, leaving) => this.#retire(link, leaving),
      onclose: (slot, link, error) => this.#onclose(slot, link, error),
      forget: (slot) => void this.#forget(slot),
    })
    this.#dialling = new Dialling({
      clock, random, interfaces, name, find, closed, onsuspect,
      greet: (stream, through, slot) => greeter.greet(stream, through, slot),
      isUnderway: (id) => greeter.isUnderway(id),
      onforgotten: (slot) => void this.#slots.delete(slot.peer.id),
    })
    this.#accepting = new Accepting({ clock, name, interfaces, onrefused, greet: (stream, through, rise) => greeter.greet(stream, through, undefined, rise) })
  }

  /** The open link to that id, if it stands. */
  active(id: string): LiveLink | undefined {
    const loopback = this.#loopback.link
    const link = loopback && id === this.options.self().id ? loopback : this.#slots.get(id)?.current?.link
    return link?.open && !link.top.destroyed ? link : undefined
  }

  *all(): Generator<LiveLink> {
    for (const { current } of this.#slots.values()) if (current?.link?.open) yield current.link
  }

  /** A link to that id may stand soon: there is none yet, and the back-off permits a dial. */
  promising(id: string): boolean {
    const slot = this.#slots.get(id)
    return !slot || slot.failures === 0 || slot.notBefore <= this.options.clock.now()
  }

  /** There may be a link to that id soon: no dial has failed since the last link, or a dial is in progress or may begin. */
  reachable(id: string): boolean {
    const slot = this.#slots.get(id)
    return slot?.error === undefined || slot.dial !== undefined || this.promising(id)
  }

  /** Dials although nobody waits: other peers serve meanwhile, and this peer joins them once it is linked. */
  warm(peer: Peer): void {
    const slot = this.#slots.of(peer)
    if (!slot.dial && !slot.redial && slot.waiting.size === 0) this.need(peer, nothing)
  }

  /** Why the last dial to that id failed, if it did. */
  error(id: string): StageError | undefined {
    return this.#slots.get(id)?.error
  }

  /** Calls `done` once: at once with the open link, or after one dial. The returned function cancels the wait. */
  need(peer: Peer, done: Done): () => void {
    let link = this.active(peer.id)
    if (!link && peer.id === this.options.self().id && !this.#closed) {
      try {
        link = outside(() => this.#loopback.open())
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
    const slot = this.#slots.of(peer)
    slot.waiting.add(done)
    this.#dialling.dial(slot)
    return () => void slot.waiting.delete(done)
  }

  /**
   * Dials addresses of one stage without expecting anybody there. @returns the linked peer, and the address at which it was found
   * @throws StageError BAD_ARGUMENT no interface dials such addresses · the errors of the connection and of the handshake
   */
  async connect(addresses: readonly string[], signal: AbortSignal): Promise<{ peer: Peer; address: string }> {
    const { clock, interfaces, namespace, onintroduced } = this.options
    const alien = addresses.find((one) => !interfaceFor(one, interfaces))
    if (alien !== undefined) {
      const schemes = interfaces.flatMap(schemesOf).map((scheme) => `${scheme}:`).join(', ')
      throw new StageError('BAD_ARGUMENT', `${describe(alien)} is not an address that this stage can dial: expected one that begins with ${schemes}`)
    }
    let found: { greeted: Greeted; address: string } | undefined
    const whoever: Peer = { id: '', name: 'the stage', namespace, addresses, meta: NO_META, claimed: true }
    const error = await dial(whoever, {
      clock, interfaces, signal,
      greet: async (stream, through, address) => {
        const release = onAbort(signal, () => stream.destroy(signal.reason as Error))
        const greeted = await this.#greeter.greet(stream, through, 'anybody').finally(release)
        found = { greeted, address }
        return greeted.failure
      },
    })
    if (error) throw withoutPeer(error)
    if (!found) throw signal.reason
    const { greeted: { peer, entry }, address } = found
    // of two connections of a pair the other one may have been chosen, and its link may be on its way
    return new Promise((resolve, reject) => {
      this.need(peer as Peer, (failure, link) => {
        if (!link) return reject(failure)
        if (entry) onintroduced(entry, { dialled: true, proven: link.peer.proven })
        resolve({ peer: link.peer, address })
      })
    })
  }

  /** Ends the link to that id now, with a goodbye. */
  async end(id: string): Promise<void> {
    const link = this.active(id)
    if (!link) return
    this.#retire(link, false, 0)
    await link.ended()
  }

  /** Takes an incoming connection. */
  accept(stream: Duplex, through: Interface): void {
    stream.on('error', nothing)
    if (this.#closed) return void stream.destroy()
    this.#accepting.accept(stream, through)
  }

  /**
   * The registry says that the peer is gone.
   * @param crashed  work in progress cannot succeed any more; a peer that left by itself still finishes it, and then ends the links
   */
  part(id: string, error: StageError, crashed: boolean): void {
    const slot = this.#slots.get(id)
    if (!slot) return
    slot.dial?.abort(error)
    slot.dial = undefined
    slot.redial?.cancel()
    if (crashed || !slot.current?.link) this.#slots.delete(id)
    slot.settle(error)
    if (!crashed) return
    slot.current?.link?.close(error)
    for (const link of [...this.#draining]) if (link.peer.id === id) link.close(error)
  }

  /** Applies the newest description of a peer by the registry, or of this stage by itself; open links show it from here on. */
  describe(peer: Peer): void {
    const known = this.#slots.get(peer.id) ?? (peer.id === this.#loopback.peer.id ? this.#loopback : undefined)
    if (!known) return
    if (known.peer.claimed && known.peer.name !== peer.name) {
      const error = new StageError('WRONG_PEER', `the peer called itself ${known.peer.name}, but the registry lists ${peer.id} as ${peer.name}`)
      for (const link of [...known.links]) link.close(error)
    }
    known.peer = peer
    for (const link of known.links) link.describe(peer)
  }

  /** The peer's addresses may have changed: nothing learned about the old addresses counts. */
  refresh(id: string): void {
    const slot = this.#slots.get(id)
    if (!slot) return
    slot.failures = 0
    slot.refused = undefined
    slot.current?.link?.probe()
    if (slot.redial) {
      slot.redial.cancel()
      slot.redial = undefined
      this.#dialling.dial(slot)
    }
  }

  /** Ends every link at once: the stage's own id is gone. */
  reset(error: StageError): void {
    this.#resetting = true
    this.#greeter.reset()
    for (const slot of [...this.#slots.values()]) {
      slot.current?.link?.close(error)
      slot.current = undefined
      slot.last = undefined
    }
    for (const link of [...this.#draining]) link.close(error)
    this.#loopback.reset(error)
    this.#resetting = false
  }

  /** Lets all work in progress end, for at most `drainMs`, then ends all links. */
  async close(drainMs: number): Promise<void> {
    this.#closed = true
    const closed = new StageError('CLOSED', 'this stage was closed')
    for (const slot of this.#slots.values()) {
      slot.dial?.abort(closed)
      slot.redial?.cancel()
      slot.settle(closed)
    }
    const links = [...this.all(), ...this.#draining, ...(this.#loopback.link ? [this.#loopback.link] : [])]
    await Promise.all(links.map((link) => link.retire(true, drainMs)))
    this.#greeter.reset()
    this.#accepting.close()
    this.#slots.clear()
  }

  stats(): Record<string, number> {
    return { links: [...this.all()].length, draining: this.#draining.size, handshakes: this.#greeter.size, slots: this.#slots.size }
  }

  #retire(link: LiveLink, leaving: boolean, drainMs?: number): void {
    if (this.#draining.has(link) || link.closed) return
    this.#draining.add(link)
    link.open = false
    const slot = this.#slots.get(link.peer.id)
    if (slot?.current?.link === link) {
      slot.current = undefined
      slot.last = { of: link.id, state: 'draining' }
    }
    void link.retire(leaving, drainMs)
  }

  #onclose(slot: Slot, link: LiveLink, error: StageError | undefined): void {
    this.#draining.delete(link)
    slot.closed(link, error, this.options.clock, this.options.random)
    this.options.onunlink(link, error)
    // if the link itself is the stream, a new link would become somebody's stream
    if (!this.#forget(slot) && error?.code === 'DISCONNECTED' && link.top.openStream && !this.#resetting) this.#probe(slot)
  }

  /** @returns whether the slot was dropped, because nobody will ask for it again */
  #forget(slot: Slot): boolean {
    const over = !this.options.find(slot.peer.id) && slot.waiting.size === 0 && !slot.dial && !slot.current
    return over && this.#slots.delete(slot.peer.id)
  }

  /** The link broke. A crashed peer refuses connections at once, and then nobody need wait for the registry to notice (P3). */
  #probe(slot: Slot): void {
    if (this.#closed || !this.options.find(slot.peer.id)) return
    slot.refused = 0
    const again = (error: StageError | null) => {
      if (error && refuses(error) && slot.refused !== undefined && this.options.find(slot.peer.id)) this.need(slot.peer, again)
    }
    this.need(slot.peer, again)
  }
}

/** Nobody knows whose the addresses are, so the error names none. */
const withoutPeer = ({ code, message, cause }: StageError): StageError => new StageError(code, message, { cause, executed: 'no' })

const nothing = (): void => {}
