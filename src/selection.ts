import { StageError, describe } from './errors.js'
import { checkPattern, isPattern, matches, named } from './pattern.js'
import { Patience } from './patience.js'
import { byKey } from './rendezvous.js'
import type { Directory } from './directory.js'
import type { LiveLink } from './link.js'
import type { Links } from './links.js'
import type { Clock, Entry, Link, Peer, Selection, SelectOptions, Timer, To } from './types.js'

/** The parts of a stage that its selections use. */
export interface Surroundings {
  readonly clock: Clock
  readonly directory: Directory
  readonly links: Links
  readonly registryAddress: string
  /** The deadline of a selection without one of its own, in milliseconds. */
  readonly timeoutMs: number
  closed(): boolean
  /** The stage is closing, but work in progress may still make calls of its own. */
  draining(): boolean
  self(): Entry
  /** Callbacks that wait for the directory to change; called once each, then forgotten. */
  readonly waiting: Set<() => void>
  /** Per pattern: the matches at one version of the directory, and whose turn it is among equals. */
  readonly turns: Map<string, Turn>
}

interface Turn {
  version: number
  self: string
  peers: readonly Peer[]
  next: number
}

type Done = (error: StageError | null, link?: Link) => void

/** Codes that are not retryable; every other failure to connect may pass. */
const FINAL: ReadonlySet<string> = new Set(['AUTH_FAILED', 'CHAIN_MISMATCH', 'VERSION_MISMATCH', 'WRONG_NAMESPACE', 'CLOSED', 'BAD_ARGUMENT'])

/** The peers meant by one `to()`. Cheap to make, since every call makes a selection. */
export class Picked implements Selection {
  readonly #patterns: readonly string[]
  readonly #ids: readonly Peer[]
  #label: string | undefined

  /**
   * @param layer  the layer whose output is the `top` of the links; default the top of the whole chain
   * @throws StageError BAD_NAME · BAD_ARGUMENT
   */
  constructor(private readonly stage: Surroundings, private readonly to: To, readonly options: Readonly<SelectOptions>, private readonly layer?: number) {
    if (typeof to === 'string') {
      this.#patterns = [stage.turns.has(to) && !to.startsWith('/') ? to : checkPattern(to)]
      this.#ids = NONE
    } else {
      const list = Array.isArray(to) ? to as readonly (string | Peer)[] : [to as Peer]
      this.#patterns = list.filter((one) => typeof one === 'string').map(checkPattern)
      this.#ids = list.filter((one) => typeof one !== 'string').map(checkPeer)
      this.#label = list.map((one) => typeof one === 'string' ? named(one) : `${named(one.name)} (${one.id})`).join(', ') || 'an empty list'
    }
  }

  /** The name that is meant, if there is only one and it is no pattern. */
  get name(): string | undefined {
    const [only, ...more] = [...this.#patterns, ...this.#ids.map((peer) => peer.name)]
    return only !== undefined && more.length === 0 && !isPattern(only) ? only : undefined
  }

  get label(): string {
    return this.#label ??= named(this.to as string)
  }

  /** The same selection, as the layer at `index` of the chain sees it. */
  at(index: number): Picked {
    return new Picked(this.stage, this.to, this.options, index)
  }

  /** The same selection without the stage itself, for streams and links kept open. */
  others(): Picked {
    return this.options.self === false ? this : new Picked(this.stage, this.to, { ...this.options, self: false })
  }

  includes(peer: Peer): boolean {
    if (peer.claimed) return this.#patterns.includes('*') // the peer's own word is no reason to match anything narrower
    return this.#ids.some((one) => one.id === peer.id) || this.#patterns.some((pattern) => matches(pattern, peer.name))
  }

  matches(): readonly Peer[] {
    return this.#turn().peers
  }

  acquire(tried: ReadonlySet<string> | undefined, done: Done): () => void {
    const peer = this.#pick(tried, undefined)
    const link = peer && this.stage.links.active(peer.id)
    if (link) {
      done(null, this.#seen(link))
      return nothing
    }
    return this.#wait(peer, tried, done)
  }

  reach(peer: Peer, done: Done): () => void {
    const { clock, directory, links, self } = this.stage
    let cancel = nothing
    let over = false
    const stop = (): void => {
      over = true
      patience.cancel()
      cancel()
    }
    const end: Done = (error, link) => {
      stop()
      done(error, link && this.#seen(link as LiveLink))
    }
    const patience = new Patience(clock, this.options.waitMs, () => end(this.#absent(peer)))
    const attempt = (): void => {
      if (over) return
      if (peer.id !== self().id && !directory.get(peer.id)) {
        return end(links.error(peer.id) ?? new StageError('NO_SUCH_PEER', `${peer.name} (${peer.id}) is no longer listed`, { peer }))
      }
      const failure = links.error(peer.id)
      if (patience.over && !links.reachable(peer.id)) return end(failure && FINAL.has(failure.code) ? failure : this.#absent(peer))
      cancel = links.need(peer, (error, link) => {
        if (over) return
        if (!error || FINAL.has(error.code)) end(error, link)
        else if (patience.over) end(this.#absent(peer, error))
        else attempt()
      })
    }
    attempt()
    return stop
  }

  known(done: (error: StageError | null) => void): () => void {
    const { clock, directory, timeoutMs, waiting } = this.stage
    if (directory.known && !this.#closed && !this.#lacks()) {
      done(null)
      return nothing
    }
    const { waitMs } = this.options
    let asked: number | undefined
    let timer: Timer | undefined
    const stop = (): void => {
      waiting.delete(look)
      timer?.cancel()
    }
    const end = (error: StageError | null): void => {
      stop()
      done(error)
    }
    const look = (): void => {
      if (this.#closed) return end(closed())
      if (directory.known && !this.#lacks()) return end(null)
      asked ??= directory.look()
      if (asked <= directory.looked) {
        if (directory.known) return end(null)
        if (waitMs !== undefined && asked === 0) return end(this.why(waitMs))
      }
      waiting.add(look)
      // if the registry does not answer, there is time left for the known peers, and no error
      timer ??= clock.setTimeout(() => {
        asked = 0
        look()
      }, Math.min(LOOK_PART * (this.options.timeoutMs ?? timeoutMs), waitMs === undefined ? Infinity : Math.max(waitMs, LEAST_LOOK_MS)))
    }
    look()
    return stop
  }

  why(waitedMs: number): StageError {
    const { directory, links, registryAddress } = this.stage
    const waited = within(waitedMs)
    // two processes may use two folders while each believes that there is only one
    const where = registryAddress.startsWith('local:') ? ` (${registryAddress})` : ''
    if (this.#closed) return closed()
    if (!directory.known) {
      const { failure } = directory
      return new StageError('REGISTRY_UNAVAILABLE', failure?.message ?? `the registry ${registryAddress} has not answered ${waitedMs > 0 ? waited : 'yet'}`, { cause: failure })
    }
    const phase = 'connecting'
    for (const peer of this.matches()) {
      const cause = links.error(peer.id)
      if (cause) return new StageError('TIMEOUT', `no link to ${named(peer.name)} ${waited}: ${cause.message}`, { phase, cause, peer })
    }
    const [match] = this.matches()
    if (match) return new StageError('TIMEOUT', `no link to ${this.label} ${waited}; tried ${match.addresses.join(', ') || 'no address'}`, { phase })
    if (this.options.self === false && this.includes(this.stage.self())) {
      return new StageError('NO_SUCH_PEER', `no other stage named ${this.label}${where} ${waited}: only this stage itself has the name, and a stage opens no streams to itself`)
    }
    const others = directory.lookup('*').map((peer) => peer.name)
    const there = others.length ? `listed: ${[...new Set(others)].slice(0, 8).map(named).join(', ')}` : 'no other stage is listed'
    return new StageError('NO_SUCH_PEER', `no stage named ${this.label} in the namespace ${this.stage.self().namespace}${where} ${waited}; ${there}`)
  }

  /**
   * Why no match can be reached by a selection that does not wait for one.
   * @param peer   the only match that is meant; default: any
   * @param error  why it cannot be reached; default: the last failure to dial it
   */
  #absent(peer?: Peer, error = peer && this.stage.links.error(peer.id)): StageError {
    const { waitMs = 0 } = this.options
    if (peer) {
      const why = error ? `: ${error.message}` : `; tried ${peer.addresses.join(', ') || 'no address'}`
      return new StageError('NO_SUCH_PEER', `no link to ${named(peer.name)} (${peer.id}) ${within(waitMs)}${why}`, { cause: error, peer })
    }
    const found = this.why(waitMs)
    return found.code === 'TIMEOUT' ? new StageError('NO_SUCH_PEER', found.message, { cause: found.cause, peer: found.peer }) : found
  }

  /**
   * As far as is known, a peer that is meant is missing: nobody but the stage itself matches, or nobody matches one name or
   * pattern of a list. A view that is newer than the question may know more.
   */
  #lacks(): boolean {
    const { directory } = this.stage
    let others = this.#patterns.length === 0
    for (const pattern of this.#patterns) {
      if (directory.candidates(pattern).length > 0) others = true
      else if (this.#patterns.length + this.#ids.length > 1 && !matches(pattern, this.stage.self().name)) return true
    }
    for (const { id } of this.#ids) if (!directory.get(id) && !directory.isGone(id) && id !== this.stage.self().id) return true
    return !others
  }

  get #closed(): boolean {
    return this.stage.closed() && !(this.stage.draining() && (this.options.inherited?.carried.depth ?? 0) > 0)
  }

  #load(peer: Peer): number {
    const { links } = this.stage
    const link = links.active(peer.id)
    if (link) return link.load
    if (peer.id === this.stage.self().id) return 0
    return links.promising(peer.id) ? NOT_LINKED : NOT_LINKED + 1
  }

  #seen(link: LiveLink): Link {
    return this.layer === undefined ? link : link.seenBy(this.layer)
  }

  /** The present matches; computed once for each change of the directory. */
  #turn(): Turn {
    const { directory, turns } = this.stage
    const self = this.options.self === false ? '' : this.stage.self().id
    const slot = self ? this.#patterns[0] : `/${this.#patterns[0]}` // no name has a "/"
    const cached = this.#ids === NONE ? turns.get(slot) : undefined
    if (cached && cached.version === directory.version && cached.self === self) return cached
    const found = new Map<string, Peer>()
    for (const pattern of this.#patterns) for (const peer of directory.candidates(pattern)) found.set(peer.id, peer)
    for (const { id } of this.#ids) {
      const entry = directory.get(id)
      if (entry) found.set(id, entry)
    }
    if (self && this.includes(this.stage.self())) found.set(self, this.stage.self())
    const turn = { version: directory.version, self, peers: [...found.values()], next: cached?.next ?? 0 }
    if (this.#ids === NONE && this.#patterns.length === 1) {
      if (turns.size >= 1000) turns.clear() // patterns come from callers: bounded
      turns.set(slot, turn)
    }
    return turn
  }

  #pick(tried: ReadonlySet<string> | undefined, failed: ReadonlyMap<string, StageError> | undefined): Peer | undefined {
    const turn = this.#turn()
    const { peers } = turn
    if (this.options.key !== undefined) return byKey(peers, this.options.key, tried, failed)
    if (peers.length === 1) return tried?.has(peers[0].id) || failed?.has(peers[0].id) ? undefined : peers[0]
    let best: Peer | undefined
    let least = Infinity
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[(turn.next + i) % peers.length]
      if (tried?.has(peer.id) || failed?.has(peer.id)) continue
      const load = this.#load(peer)
      if (load >= least) continue
      best = peer
      least = load
    }
    // no call waits for a link while another match has one; matches without a link are dialled meanwhile, and take part once linked
    if (least < NOT_LINKED) for (const peer of peers) if (this.#load(peer) === NOT_LINKED) this.stage.links.warm(peer)
    if (best) turn.next = (peers.indexOf(best) + 1) % peers.length
    return best
  }

  /** The matches to dial: the chosen one, and where somebody waits only so long all that can be reached, as it may not answer. */
  #dialled(chosen: Peer, tried: ReadonlySet<string> | undefined, failed: ReadonlyMap<string, StageError>): readonly Peer[] {
    if (this.options.waitMs === undefined || this.options.key !== undefined) return [chosen]
    const others = this.matches().filter(({ id }) => id !== chosen.id && !tried?.has(id) && !failed.has(id) && this.stage.links.reachable(id))
    return [chosen, ...others]
  }

  /** @param first  the peer whose turn it is */
  #wait(first: Peer | undefined, tried: ReadonlySet<string> | undefined, done: Done): () => void {
    const { clock, waiting, links, directory } = this.stage
    const failed = new Map<string, StageError>()
    let cancel = nothing
    let over = false
    let asked: number | undefined
    let chosen: Peer | undefined
    const stop = (): void => {
      over = true
      patience.cancel()
      waiting.delete(attempt)
    }
    const end: Done = (error, link) => {
      stop()
      done(error, link)
    }
    const patience = new Patience(clock, this.options.waitMs, () => {
      cancel()
      end(this.#absent())
    })
    const attempt = (): void => {
      if (over) return
      if (this.#closed) return end(closed())
      if (chosen && this.matches().some((one) => one.id === chosen?.id)) {
        // still a match: keeps its place among the callers that wait for the same link
        waiting.add(attempt)
        return
      }
      cancel()
      let peer = first ?? this.#pick(tried, failed)
      first = undefined
      if (patience.over) {
        for (; peer && !links.reachable(peer.id); peer = this.#pick(tried, failed)) failed.set(peer.id, links.error(peer.id) ?? this.#absent(peer))
      }
      chosen = peer
      if (peer) {
        waiting.add(attempt)
        const dials = this.#dialled(peer, tried, failed).map((one) => links.need(one, (error, link) => {
          if (over) return
          if (link) return end(null, this.#seen(link))
          failed.set(one.id, error as StageError)
          if (one.id !== chosen?.id) return
          chosen = undefined
          attempt()
        }))
        cancel = () => { for (const one of dials) one() }
        if (over) cancel()
        return
      }
      if (this.#lacks()) asked ??= directory.look()
      // every match was tried or cannot be reached: there is nothing to wait for once the registry was asked
      if (tried?.size && this.matches().every((one) => tried.has(one.id) || failed.has(one.id)) && (asked ?? 0) <= directory.looked) return end(this.why(0))
      const errors = [...failed.values()]
      if (errors.length > 0 && errors.every((error) => FINAL.has(error.code))) return end(errors[0])
      if (patience.over && (asked ?? 0) <= directory.looked) return end(this.#absent())
      for (const [id, error] of failed) if (!FINAL.has(error.code)) failed.delete(id)
      if (errors.length > 0 && this.#pick(tried, failed)) return attempt() // the links back off before the next dial
      waiting.add(attempt)
    }
    attempt()
    return () => {
      stop()
      cancel()
    }
  }
}

const NONE: readonly Peer[] = []
/** The part of its deadline that a selection waits for the registry at most. */
const LOOK_PART = 0.75
/** Greater than the load of any link. */
const NOT_LINKED = 1e9
/** A look takes no longer, so a selection that does not wait gives its answer so much time. */
const LEAST_LOOK_MS = 2000
const nothing = (): void => {}
const within = (ms: number): string => ms > 0 ? `within ${Math.round(ms)} ms` : 'at the moment'
const closed = (): StageError => new StageError('CLOSED', 'this stage is closed')

function checkPeer(value: Peer): Peer {
  if (typeof (value as Peer | null)?.id === 'string' && typeof value.name === 'string') return value
  throw new StageError('BAD_ARGUMENT', `to() got ${describe(value)}: expected a name, a pattern, a peer, or a list of them`)
}
