/** The parts of a stage, from its first use on, and how they are connected. The public door says which parts. */
import type { Duplex } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { asked } from './asking.js'
import { mountChain, type ChainLink } from './chain.js'
import { Connections } from './connections.js'
import { DeadlineSweep } from './deadlines.js'
import { Directory, type PartReason } from './directory.js'
import { EachMatch } from './each-match.js'
import { StageError } from './errors.js'
import { Failures } from './failures.js'
import { Forward } from './forward.js'
import { objects, writesObjects, type Modes } from './joint.js'
import { Kept } from './kept.js'
import { DRAIN_MS, type LiveLink } from './link.js'
import { Links } from './links.js'
import { Listening } from './listening.js'
import { OftenLog, log } from './log.js'
import { meshOf, type MeshParts } from './mesh.js'
import type { Meta } from './meta.js'
import { DEFAULTS, type ChainItem, type CoreOptions, type Parts, type StageEvents } from './options.js'
import type { Surroundings } from './selection.js'
import { Silence } from './silence.js'
import { stand } from './socketlike.js'
import type { Steps } from './steps.js'
import { between, targetClass, type TargetClass, type TargetContext } from './target.js'
import { Tenure } from './tenure.js'
import type { Entry, Mounted, Peer, Store } from './types.js'
import { within } from './within.js'

export interface RunningOptions {
  name: string
  namespace: string
  options: CoreOptions
  parts: Parts
  chain: readonly ChainItem[]
  meta(): Meta
  /** Whether `close()` was called. */
  closed(): boolean
  /** Whether somebody listens to that event. */
  hears(event: keyof StageEvents): boolean
  tell<Name extends keyof StageEvents>(name: Name, ...args: StageEvents[Name]): void
  error(error: Error): void
}

export class Running {
  readonly directory: Directory
  readonly links: Links
  readonly tenure: Tenure
  readonly surroundings: Surroundings
  readonly bounds: TargetContext
  readonly kept: Kept
  readonly connections: Connections
  readonly eachMatch: EachMatch
  readonly mounted: readonly Mounted[]
  readonly target: TargetClass
  readonly listening: Listening
  readonly #deadlines: DeadlineSweep
  readonly #often: OftenLog
  readonly #silence: Silence
  /** For a chain of one's own in which no layer has `provide`. */
  readonly #forward: Forward | undefined
  /** The present and past ids of this stage. */
  readonly #ids = new Set<string>()
  readonly #announces: Record<string, unknown> = {}
  #store: Store | undefined
  /** The stage is closing, and work in progress may still make calls. */
  #serving = false
  #draining = false
  #addresses: readonly string[] = []
  #listened = false
  /** The address of the registry, when it was last seen. */
  #place: string
  /** A peer could not reach the present addresses. */
  #unreachable = false
  /** Whether the top of a chain of one's own carries objects, known once a link has stood. */
  #modes: Modes = { readable: undefined, writable: undefined }

  constructor(private readonly options: RunningOptions) {
    const { name, namespace, chain: items, closed, tell } = options
    const { clock, random, registry, interfaces, byDefault } = options.parts
    const silence = this.#silence = new Silence({
      clock, name, registry: byDefault === undefined ? registry.address : `${registry.address}, ${byDefault}`,
      listed: () => this.tenure.isListed,
      hears: () => options.hears('error'),
    })
    this.#place = registry.address
    const error = (one: Error): void => {
      silence.note(one)
      options.error(one)
    }
    const { ttlMs = DEFAULTS.ttlMs, idleLinkMs = DEFAULTS.idleLinkMs, timeoutMs = DEFAULTS.timeoutMs, secret, unique = false } = options.options
    const entry = (id: string): Entry => ({
      id, name, namespace, addresses: this.#addresses, unique, draining: this.#draining, ttlMs,
      announces: this.#announces, meta: options.meta(),
    })
    const deadlines = this.#deadlines = new DeadlineSweep(clock)
    const tenure = this.tenure = new Tenure({
      registry, clock, random, ttlMs, entry,
      look: () => asked(surroundings),
      onrenewed: () => {
        this.#onplace(registry.address)
        for (const layer of this.mounted) layer.onlease?.('renewed')
      },
      onlost: (before) => this.#onlost(before),
      onerror: error,
    })
    this.#ids.add(tenure.id)
    const self = (): Entry => entry(tenure.id)
    const directory = this.directory = new Directory({
      registry, clock, random, namespace, who: name,
      own: (id) => this.#ids.has(id),
      onjoin: (peer) => this.#onjoin(peer),
      onpart: (peer, reason) => this.#onpart(peer, reason),
      onupdate: (peer, before) => this.#onupdate(peer, before),
      onzombie: (peer) => void links.need(peer, () => {}), // the handshake tells that stage
      onforgot: () => {
        tenure.forgot()
        for (const layer of this.mounted) layer.onlease?.('forgot')
      },
      onchange: (changes) => {
        for (const layer of this.mounted) layer.onpeers?.(changes)
        wake(surroundings.waiting)
      },
      onlook: () => wake(surroundings.waiting),
      onerror: error,
    })
    const bounds = this.bounds = {
      clock, timeoutMs, name,
      modes: () => this.#forward && items.length > 0 ? this.#modes : BYTES,
    }
    const forward = new Forward(bounds, () => links.all(), error)
    const chain: ChainLink[] = []
    const links = this.links = new Links({
      clock, random, namespace, secret, idleLinkMs, interfaces, chain, self,
      find: (id) => directory.get(id),
      isGone: (id) => directory.isGone(id),
      ongone: () => { if (!this.#draining) tenure.doubt() }, // a stage that leaves is gone to others anyway
      kept: (peer) => this.kept.includes(peer) || directory.isAdopted(peer.id) || this.connections.holds(peer.id),
      onlink: (link) => this.#onlink(link),
      onunlink: (link, error) => this.#onunlink(link, error),
      onleave: (peer) => directory.leave(peer.id),
      onintroduced: (entry, { dialled, proven }) => {
        // without proof, a stage believes what others say of themselves only if nobody else says who they are
        const believed = dialled || proven !== undefined || registry.lists === false
        // any member of the mesh has the secret, and could use the name of another stage
        const others = !dialled && !proven?.includes('certificate') && directory.lists(entry.name)
        if (believed && !others && directory.adopt(entry)) this.#onadopted(entry)
      },
      onunreachable: (peer, why) => this.#onunreachable(peer, why, error),
      onalive: (peer) => directory.trust(peer.id),
      onsuspect: (peer) => directory.suspect(peer.id),
      onrefused: (refusal, from) => tell('refused', refusal, from),
      onstream: (stream, peer) => this.#onstream(stream, peer),
      onerror: error,
    })
    const surroundings = this.surroundings = {
      clock, directory, links, self, timeoutMs, get registryAddress() { return registry.address }, waiting: new Set(), turns: new Map(), closed,
      draining: () => this.#serving,
    }
    this.kept = new Kept(directory, links, closed)
    this.connections = new Connections({ clock, random, name, timeoutMs, directory, links, closed })
    this.eachMatch = new EachMatch(surroundings, bounds, items.length === 0)
    this.#often = new OftenLog(clock, name)
    const failures = new Failures({
      clock, name, tell,
      hears: () => options.hears('failed'),
      find: (id) => id === tenure.id ? self() : directory.get(id),
    })
    const parts: MeshParts = {
      random, deadlines, tenure, surroundings, error,
      options: options.options as Readonly<Record<string, unknown>>,
      mounted: () => this.mounted,
      target: (selection) => new this.target(selection),
      store: () => this.#store ??= (options.parts.store ?? registry).store?.(namespace),
      verb: (name) => this.verb(name),
      announce: (key, value) => {
        this.#announces[key] = value
        void tenure.update()
      },
      emit: tell,
      failed: (thrown, run) => failures.report(thrown, run),
    }
    const { mounted, verbs } = mountChain(items, chain, (layer) => meshOf(parts, layer), forward.verbs)
    this.mounted = mounted
    this.#forward = mounted.some(({ target }) => target?.['provide']) ? undefined : forward
    this.target = targetClass(bounds, verbs)
    this.listening = new Listening({
      clock, interfaces,
      accept: (stream, through) => links.accept(stream, through),
      onaddresses: (addresses) => this.#onaddresses(addresses),
      onerror: error,
    })
    directory.start()
    this.listening.start()
  }

  /** A verb that a layer of the chain gives to the stage. @throws TypeError if no layer gives it */
  verb(name: string): (...args: unknown[]) => unknown {
    for (const { host } of this.mounted) {
      const verb = host?.[name]
      if (verb) return verb as (...args: unknown[]) => unknown
    }
    throw new TypeError(`${name}() needs a layer that the chain of this stage does not have: the default chain is framing(), rpc(), actors()`)
  }

  /** Publishes the stage's changed description. Resolves when it is listed. @throws StageError why it is not listed */
  async describe(): Promise<void> {
    const { links, listening, surroundings, tenure } = this
    surroundings.turns.clear() // cached selections hold the stage's old entry
    links.describe(surroundings.self())
    if (!this.#listened) await listening.ready()
    await tenure.relist()
  }

  /** Lets work in progress end, leaves the registry, and ends everything. By now the stage refuses new work. */
  async close(steps: Steps): Promise<void> {
    const { tenure, links, directory, surroundings, listening, mounted } = this
    const { clock } = surroundings
    const until = clock.now() + DRAIN_MS
    this.#silence.close()
    wake(surroundings.waiting)
    // work in progress may still make calls of its own, so its links and names stay until it has ended
    this.#serving = true
    await steps.take(DRAIN_MS, 'the work in progress', () => Promise.all(mounted.flatMap((one) => one.drain ? [one.drain()] : [])))
    this.#serving = false
    this.#draining = true
    wake(surroundings.waiting)
    listening.close()
    this.connections.close()
    const ending = steps.take(DRAIN_MS + 1500, 'the links', () => links.close(Math.max(500, until - clock.now())))
    // Links notify their peers. The registry notifies the others that this stage drains, so that they stop choosing it, but
    // only if that takes a while: each notice costs every stage of the namespace a read.
    await within(clock, NOTICE_MS, ending, () => new Error('it takes a while')).catch(async () => {
      await steps.take(500, 'notifying the registry', () => tenure.update())
    })
    await ending
    await steps.take(1500, 'leaving the registry (the entry will lapse)', () => tenure.close())
    await steps.take(500, 'the watch of the registry', () => directory.close())
    for (const layer of mounted) layer.close?.()
    const store = this.#store
    if (store) await steps.take(500, 'the store', () => store.close())
    this.#deadlines.close()
    surroundings.turns.clear()
    this.eachMatch.clear()
    this.kept.clear()
    this.connections.close()
  }

  // ── events of the parts ───────────────────────────────────────────────────────────────────────────────────────

  /** A registry that several servers serve may use another one now. */
  #onplace(address: string): void {
    if (address === this.#place) return
    this.#place = address
    log(this.options.name, `uses the registry ${address}`)
    this.options.tell('registry', address)
  }

  /** Told once for the present addresses: the first peer that cannot reach them is enough. */
  #onunreachable(peer: Peer, why: string, error: (one: Error) => void): void {
    if (this.#unreachable) return
    this.#unreachable = true
    const advice = 'publish an address that others can dial, by $STAGE_HOST or the option `host` of the interface'
    error(new StageError('DISCONNECTED', `${peer.name} (${peer.id}) could not reach this stage: ${why}: ${advice}`, { peer }))
  }

  #onaddresses(addresses: readonly string[]): void {
    this.#unreachable = false
    const { name, namespace, tell } = this.options
    const first = !this.#listened
    this.#listened = true
    this.#addresses = addresses
    log(name, `listens on ${addresses.join(', ') || 'nothing'} as ${this.tenure.id} in ${namespace}`)
    tell('listening', addresses)
    if (first) this.tenure.start()
    else void this.tenure.update()
  }

  #onjoin(peer: Entry): void {
    log(this.options.name, `${peer.name} (${peer.id}) joined, at ${peer.addresses.join(', ')}`)
    const { links, kept, eachMatch } = this
    links.describe(peer)
    this.options.tell('join', peer)
    kept.hold(peer)
    eachMatch.joined(peer)
  }

  /** A peer that no registry lists is there as long as a link to it stands. */
  #onadopted(peer: Entry): void {
    this.links.describe(peer)
    this.eachMatch.joined(peer)
  }

  #onupdate(peer: Entry, before: Entry): void {
    const { links, kept } = this
    links.describe(peer)
    const meta = !isDeepStrictEqual(peer.meta, before.meta)
    const moved = !isDeepStrictEqual(peer.addresses, before.addresses)
    // a change of `meta` alone is no reason to probe a standing link
    if (moved || !meta) links.refresh(peer.id)
    kept.hold(peer)
    if (moved || meta) this.options.tell('update', peer)
  }

  #onpart(peer: Entry, reason: PartReason): void {
    if (reason === 'timeout') this.options.tell('timeout', peer)
    const { links } = this
    const crashed = reason === 'timeout'
    if (crashed || !links.active(peer.id)) {
      const why = crashed ? 'its lease lapsed' : 'it left'
      links.part(peer.id, new StageError('DISCONNECTED', `${peer.name} (${peer.id}) is gone: ${why}`, { executed: 'unknown', peer }), crashed)
    }
    this.options.tell('part', peer, reason)
  }

  #onlink(link: LiveLink): void {
    log(this.options.name, `link to ${link.peer.name} (${link.peer.id}), ${link.dialled ? 'dialled' : 'accepted'}`)
    this.#forward?.onlink(link)
    if (!link.top.openStream) this.#modes = { readable: objects(link.top), writable: writesObjects(link.top) }
    this.options.tell('link', link.peer)
    // a top that opens no streams is the only stream of the link, and the accepting stage learns of it here
    if (link.dialled || link.top.openStream) return
    if (link.outputs.length === 0) link.top.allowHalfOpen = false // the bare carrier ends as an accepted socket does
    this.#onstream(link.top, link.peer)
  }

  #onunlink(link: LiveLink, error: StageError | undefined): void {
    const { peer, remote } = link
    const ended = (): string => {
      const at = remote ? ` at ${remote}` : ''
      return `link to ${peer.name} (${peer.id})${at} ended${error ? `: ${error.message}` : ''}`
    }
    // a peer that breaks the protocol decides how often and under which names, so its address counts
    if (error && CUT_OFF.has(error.code)) this.#often.note(`${error.code} ${remote?.split(' ')[0] ?? peer.name}`, ended)
    else log(this.options.name, ended())
    this.options.tell('unlink', link.peer, error)
    this.connections.lost(link.peer)
    this.kept.hold(link.peer)
  }

  /** The lease was lost: to everybody else this id is dead, so nothing may go on under it (P1). */
  #onlost(before: string): void {
    const { name, error } = this.options
    this.#ids.add(this.tenure.id)
    for (const layer of this.mounted) layer.onlease?.('lost')
    log(name, `lost its lease: ${before} is gone, continues as ${this.tenure.id}`)
    this.links.reset(new StageError('DISCONNECTED', `this stage lost its lease and continues as ${this.tenure.id}`, { executed: 'unknown' }))
    const why = 'its lease was not renewed in time'
    error(new StageError('DISCONNECTED', `the registry had removed ${name} (${before}): ${why}`, { executed: 'unknown' }))
  }

  #onstream(stream: Duplex, peer: Peer): boolean {
    if (this.options.closed() || !this.options.hears('stream')) return false
    this.options.tell('stream', stand(stream, between(this.bounds, peer)), peer)
    return true
  }
}

/** How long the links may take to end before the registry is notified that this stage drains. */
const NOTICE_MS = 100
const CUT_OFF: ReadonlySet<string> = new Set(['PROTOCOL_ERROR', 'SLOW_PEER'])
const BYTES: Modes = { readable: false, writable: false }

/** Makes every waiter look again; a waiter that goes on waiting adds itself back. */
function wake(waiting: Set<() => void>): void {
  const all = [...waiting]
  waiting.clear()
  for (const look of all) look()
}
