import { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { onAbort } from './abort.js'
import { bounded } from './bounded.js'
import { mountChain, type ChainLink } from './chain.js'
import { alive } from './alive.js'
import { asked, shown } from './asking.js'
import { DeadlineSweep } from './deadlines.js'
import { Directory, type PartReason } from './directory.js'
import { encodeEntry } from './entry.js'
import { StageError, asError } from './errors.js'
import { Forward } from './forward.js'
import { endWithPeer } from './half-open.js'
import { HANDLE } from './handle.js'
import { DRAIN_MS, type LiveLink } from './link.js'
import { Links } from './links.js'
import { Listening } from './listening.js'
import { OftenLog, log } from './log.js'
import { NO_META, checkMeta, type Meta } from './meta.js'
import { checkOptions, checkStageOptions, optionsOf, type ChainItem, type CoreOptions, type Parts, type StageEvents, type StreamCallback } from './options.js'
import { outside } from './outside.js'
import { checkIdentifier, checkName, checkPattern, matches } from './pattern.js'
import { Picked, type Surroundings } from './selection.js'
import { retain } from './shared.js'
import { objects, writesObjects, type Modes } from './joint.js'
import { stand, type PeerStream } from './socketlike.js'
import { between, openStream, targetClass, type TargetClass, type TargetContext } from './target.js'
import { Tenure } from './tenure.js'
import { within } from './within.js'
import type { Entry, Link, LinkEnd, Mesh, Mounted, Peer, Store, TargetOptions, To, Wrapper } from './types.js'

/** Everything that exists from the first use on. */
interface Running {
  directory: Directory
  links: Links
  tenure: Tenure
  surroundings: Surroundings
  deadlines: DeadlineSweep
  bounds: TargetContext
  /** The chain is empty. */
  bare: boolean
  mounted: readonly Mounted[]
  forward: Forward | undefined
  target: TargetClass
  listening: Listening
  often: OftenLog
}

/** One node of the mesh. This is the file where the parts meet; which parts, says the public door. */
export class StageCore extends EventEmitter<StageEvents> {
  readonly name: string
  #namespace: string
  readonly #options: CoreOptions
  readonly #parts: Parts
  #ownChain: ChainItem[] | undefined
  readonly #ids = new Set<string>()
  readonly #announces: Record<string, unknown> = {}
  readonly #keeps = new Set<string>()
  /** Ids that a kept link is being made to. */
  readonly #holding = new Set<string>()
  readonly #persistent = new Set<(peer: Peer) => void>()
  readonly #release: readonly (() => Promise<void>)[]
  #running: Running | undefined
  #opened: Store | undefined
  #draining = false
  /** Closing, while what is being served ends. */
  #serving = false
  #addresses: readonly string[] = []
  /** What the top of a chain of one's own carries, once a link has shown it. */
  #modes: Modes = { readable: undefined, writable: undefined }
  #meta: Meta
  #listened = false
  #closing: Promise<void> | undefined

  /** @throws StageError BAD_NAME · BAD_ARGUMENT; TypeError when it would listen beyond this machine without a secret */
  constructor(name: string, options: CoreOptions, parts: Parts) {
    super()
    this.name = checkName(name)
    this.#namespace = checkIdentifier(options.namespace ?? process.env['STAGE_NAMESPACE'] ?? 'default', 'the namespace')
    checkStageOptions(options, parts.interfaces, options.chain ?? parts.chain)
    this.#options = options
    this.#parts = parts
    this.#meta = options.meta === undefined ? NO_META : checkMeta(options.meta)
    this.#release = [...new Set([parts.registry, parts.store ?? parts.registry])].map(retain)
    // whoever made it may still set the namespace and the chain; a stage that nobody touches is listed all the same
    process.nextTick(() => { if (!this.#closing) this.#run() })
  }

  /** The identity in the mesh: new after a lost lease. */
  get id(): string {
    return this.#run().tenure.id
  }

  get namespace(): string {
    return this.#namespace
  }

  /** @throws TypeError after the first use · StageError BAD_NAME */
  setPeerNamespace(namespace: string): this {
    this.#beforeUse('setPeerNamespace')
    this.#namespace = checkIdentifier(namespace, 'the namespace')
    return this
  }

  /** What it tells about itself: `peer.meta` to the others. */
  get meta(): Meta {
    return this.#meta
  }

  /**
   * Replaces `meta`, at any time. Resolves when it is listed: others have it with their next view of the registry.
   * @throws StageError BAD_ARGUMENT it is no flat object of text to text, of at most 2 KiB as JSON, and nothing has changed ·
   *   CLOSED · REGISTRY_UNAVAILABLE, or another reason for which the stage is not listed: it will be, with this meta, once it can
   */
  async setMeta(meta: Readonly<Record<string, string>>): Promise<void> {
    const checked = checkMeta(meta)
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    if (this.#running) encodeEntry({ ...this.#running.surroundings.self(), meta: checked }) // too large an entry would not be listed any more
    this.#meta = checked
    if (!this.#running) await new Promise<void>((resolve) => { process.nextTick(resolve) }) // this is no use of the stage: the constructor's tick is
    const { links, listening, surroundings, tenure } = this.#run()
    surroundings.turns.clear() // they hold what this stage was to itself
    links.describe(surroundings.self())
    if (!this.#listened) await listening.ready()
    await tenure.relist()
  }

  /** The first call replaces the default chain, each further one adds to it. @throws TypeError after the first use */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what it takes is what the one before it returned
  addStreamWrapper(wrapper: Wrapper<any, Duplex>, { name }: { name?: string } = {}): this {
    this.#beforeUse('addStreamWrapper')
    const lost = optionsOf(this.#options.chain ?? this.#parts.chain).find((one) => one in this.#options)
    if (lost !== undefined) throw new TypeError(`addStreamWrapper() replaces the chain, and with it the layer that reads the option ${lost}: leave one of the two out`)
    this.#ownChain ??= []
    this.#ownChain.push({ name: name ?? (wrapper.name || '?'), wrap: wrapper as Wrapper })
    return this
  }

  /**
   * Whom to reach: a name, a pattern (`*`, `?`), a peer, or a list of them. A Duplex that connects on the first read
   * or write, with the verbs of the chain; with a callback, a stream to each of those there now.
   * @throws StageError BAD_NAME · BAD_ARGUMENT
   */
  to<Top extends Duplex = PeerStream>(to: To, callback: StreamCallback<Top>): PeerStream
  to<Top extends Duplex = PeerStream>(to: To, options?: TargetOptions, callback?: StreamCallback<Top>): PeerStream
  to(to: To, options?: TargetOptions | StreamCallback, callback?: StreamCallback): PeerStream {
    const running = this.#run()
    const given = typeof options === 'function' ? {} : checkOptions(options ?? {})
    const selection = new Picked(running.surroundings, to, given)
    const each = typeof options === 'function' ? options : callback
    if (each) this.#forEach(selection.others(), each)
    return new running.target(selection)
  }

  /** Live peers, without oneself. */
  peers(): readonly Peer[] {
    return this.lookup('*')
  }

  /** Live peers that match, without `exclusions` (ids or names). @throws StageError BAD_NAME */
  lookup(pattern: string, exclusions?: Iterable<string>): readonly Peer[] {
    return this.#run().directory.lookup(checkPattern(pattern), exclusions)
  }

  /** Calls `fn` for every live match once the registry was asked; resolves when that is done. */
  async each(pattern: string, fn: (peer: Peer) => void): Promise<void> {
    const { surroundings, directory, bounds } = this.#run()
    const selection = new Picked(surroundings, pattern, {})
    await new Promise<void>((resolve, reject) => { bounded(bounds, selection, (done) => selection.known(done), (error) => error ? reject(error) : resolve()) })
    for (const peer of directory.lookup(pattern)) fn(peer)
  }

  /** The links that stand. */
  links(): readonly (LinkEnd & { id: string; load: number })[] {
    return [...this.#run().links.all()].map(({ id, peer, dialled, load }) => ({ id, peer, dialled, load }))
  }

  /** Counters of what is held, by name: bounded, and 0 in the end. Beside them totals of retries since the stage began (`retries`, `actorRetries`), and of those that the retry budget refused (`…Refused`). */
  stats(): Readonly<Record<string, number>> {
    if (!this.#running) return {}
    const { links, directory, mounted, surroundings } = this.#running
    const own = { peers: directory.lookup('*').length, waiting: surroundings.waiting.size, ...links.stats() }
    return Object.assign(own, ...mounted.map((one) => one.stats?.() ?? {})) as Record<string, number>
  }

  /** Holds a link open to every match, now and later; `false` lets go of what was held under the same pattern. */
  keep(pattern: string, hold = true): this {
    new Picked(this.#run().surroundings, pattern, {})
    if (hold) this.#keeps.add(pattern)
    else this.#keeps.delete(pattern)
    for (const peer of this.lookup(pattern)) this.#hold(peer)
    return this
  }

  /**
   * Resolves when the stage listens, is listed, and has seen that itself in the registry. Everything works before it, only later.
   * @throws StageError why it is not; it goes on trying, so a later `ready()` may resolve
   */
  async ready(): Promise<void> {
    const { listening, tenure, surroundings } = this.#run()
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    await listening.ready()
    await tenure.listed()
    await shown(surroundings, () => tenure.id)
  }

  /**
   * Takes no new work, lets what was begun end (within nine seconds; it may make calls of its own), leaves the registry,
   * and ends everything. Settles within 15 s. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= outside(() => this.#close())
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A verb that a layer of the chain gives to the stage. @throws TypeError when none does */
  verb(name: string): (...args: unknown[]) => unknown {
    for (const { host } of this.#run().mounted) {
      const verb = host?.[name]
      if (verb) return verb as (...args: unknown[]) => unknown
    }
    throw new TypeError(`${name}() needs a layer that this stage's chain does not have`)
  }

  #store(): Store | undefined {
    const { registry } = this.#parts
    return this.#opened ??= (this.#parts.store ?? registry).store?.(this.#namespace)
  }

  #beforeUse(what: string): void {
    if (this.#running || this.#closing) throw new TypeError(`${what}() comes before the first use of the stage: call it right after the constructor`)
  }

  // ── the parts ─────────────────────────────────────────────────────────────────────────────────────────────────

  #run(): Running {
    if (!this.#running && this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    return this.#running ??= outside(() => this.#assemble())
  }

  #assemble(): Running {
    const { clock, random, registry, interfaces } = this.#parts
    const { ttlMs = 15_000, idleLinkMs = 60_000, timeoutMs = 10_000, secret } = this.#options
    const entry = (id: string): Entry => ({
      id, name: this.name, namespace: this.#namespace, addresses: this.#addresses, unique: this.#options.unique ?? false,
      draining: this.#draining, ttlMs, announces: this.#announces, meta: this.#meta,
    })
    const deadlines = new DeadlineSweep(clock)
    const tenure = new Tenure({
      registry, clock, random, ttlMs, entry,
      look: () => asked(surroundings),
      onrenewed: () => { for (const layer of running.mounted) layer.onlease?.('renewed') },
      onlost: (before) => this.#onlost(before),
      onerror: (error) => this.#error(error),
    })
    this.#ids.add(tenure.id)
    const self = (): Entry => entry(tenure.id)
    const directory = new Directory({
      registry, clock, random, namespace: this.#namespace, who: this.name,
      own: (id) => this.#ids.has(id),
      onjoin: (peer) => this.#onjoin(peer),
      onpart: (peer, reason) => this.#onpart(peer, reason),
      onupdate: (peer, before) => this.#onupdate(peer, before),
      onzombie: (peer) => void links.need(peer, () => {}), // the handshake tells it
      onforgot: () => { tenure.forgot(); for (const layer of running.mounted) layer.onlease?.('forgot') },
      onchange: () => { wake(surroundings.waiting); for (const layer of running.mounted) layer.onpeers?.() },
      onlook: () => wake(surroundings.waiting),
      onerror: (error) => this.#error(error),
    })
    const bounds: TargetContext = {
      clock, timeoutMs,
      name: this.name,
      modes: () => running.forward && items.length > 0 ? this.#modes : BYTES,
    }
    const forward = new Forward(bounds, () => links.all(), (error) => this.#error(error))
    const items = this.#ownChain ?? this.#options.chain ?? this.#parts.chain
    const chain: ChainLink[] = []
    const links = new Links({
      clock, random, namespace: this.#namespace, secret, idleLinkMs, interfaces, chain, self,
      find: (id) => directory.get(id),
      isGone: (id) => directory.isGone(id),
      ongone: () => { if (!this.#draining) tenure.doubt() }, // to others, one that leaves is gone
      kept: (peer) => this.#kept(peer),
      onlink: (link) => this.#onlink(link),
      onunlink: (link, error) => this.#onunlink(link, error),
      onleave: (peer) => directory.leave(peer.id),
      onalive: (peer) => directory.trust(peer.id),
      onsuspect: (peer) => directory.suspect(peer.id),
      onstream: (stream, peer) => this.#onstream(stream, peer),
      onerror: (error) => this.#error(error),
    })
    const surroundings: Surroundings = {
      clock, directory, links, self, timeoutMs, registryAddress: registry.address, waiting: new Set(), turns: new Map(),
      closed: () => this.#closing !== undefined,
      draining: () => this.#serving,
    }
    const options = this.#options as Readonly<Record<string, unknown>>
    const mesh = (layer: number): Mesh => ({
      clock, random, deadlines, timeoutMs, options,
      get self() { return self() },
      get id() { return tenure.id },
      peers: () => directory.lookup('*'),
      look: () => asked(surroundings),
      alive: (id) => alive(directory, links, id),
      links: () => [...links.all()].map((link) => link.seenBy(layer)),
      select: (to, options = {}) => new Picked(surroundings, to, checkOptions(options), layer),
      target: (to, options = {}) => new running.target(new Picked(surroundings, to, checkOptions(options))),
      store: () => this.#store(),
      references: () => running.mounted.find((layer) => layer.references)?.references,
      verb: (name) => this.verb(name),
      announce: (key, value) => { this.#announces[key] = value; void tenure.update() },
      valid: (now) => tenure.valid(now),
      leaseMs: () => tenure.leftMs(),
      emit: (event, name, peer) => void this.#tell(event, name, peer),
      error: (error) => this.#error(error),
    })
    const { mounted, verbs } = mountChain(items, chain, mesh, forward.verbs)
    const running: Running = {
      often: new OftenLog(clock, this.name),
      directory, links, tenure, surroundings, deadlines, bounds, mounted, bare: items.length === 0,
      forward: mounted.some(({ target }) => target?.['provide']) ? undefined : forward,
      target: targetClass(bounds, verbs),
      listening: new Listening({
        clock, interfaces,
        accept: (stream, through) => links.accept(stream, through),
        onaddresses: (addresses) => this.#onaddresses(running, addresses),
        onerror: (error) => this.#error(error),
      }),
    }
    directory.start()
    running.listening.start()
    return running
  }

  #onaddresses(running: Running, addresses: readonly string[]): void {
    const first = !this.#listened
    this.#listened = true
    this.#addresses = addresses
    log(this.name, `listens on ${addresses.join(', ') || 'nothing'} as ${running.tenure.id} in ${this.#namespace}`)
    this.#tell('listening', addresses)
    if (first) running.tenure.start()
    else void running.tenure.update()
  }

  async #close(): Promise<void> {
    const { clock, interfaces } = this.#parts
    // whatever hangs or fails in one step, the others are taken
    const step = async (ms: number, what: string, begin: () => Promise<unknown>): Promise<void> => {
      const slow = (): Error => new Error(`closing: ${what} took more than ${ms} ms`)
      try {
        await within(clock, ms, begin(), slow)
      } catch (error) {
        this.#error(asError(error))
      }
    }
    const running = this.#running
    if (running) {
      const { tenure, links, directory, deadlines, surroundings, listening, mounted } = running
      const until = clock.now() + DRAIN_MS
      this.#closing ??= Promise.resolve() // so that what wakes now finds the stage closed
      wake(surroundings.waiting)
      // what is being served may still make calls of its own, so its links and names stay until it has ended
      this.#serving = true
      await step(DRAIN_MS, 'what was being served', () => Promise.all(mounted.flatMap((one) => one.drain ? [one.drain()] : [])))
      this.#serving = false
      this.#draining = true
      wake(surroundings.waiting)
      listening.close()
      // told to all, so that others stop choosing us; it is no condition for leaving
      await step(500, 'telling the registry', () => tenure.update())
      await step(DRAIN_MS + 1500, 'the links', () => links.close(Math.max(500, until - clock.now())))
      await step(1500, 'leaving the registry; the entry will lapse', () => tenure.close())
      await step(500, 'the watch', () => directory.close())
      for (const layer of mounted) layer.close?.()
      if (this.#opened) await step(500, 'the store', () => (this.#opened as Store).close())
      deadlines.close()
      surroundings.turns.clear()
      this.#persistent.clear()
      this.#keeps.clear()
    }
    await Promise.all([...interfaces.map((one) => step(1000, `the interface ${one.scheme}`, () => one.close())), ...this.#release.map((release) => step(1000, 'the registry', release))])
    log(this.name, 'closed')
  }

  // ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────

  #onjoin(peer: Entry): void {
    log(this.name, `${peer.name} (${peer.id}) joined, at ${peer.addresses.join(', ')}`)
    this.#run().links.describe(peer)
    this.#tell('join', peer)
    this.#hold(peer)
    for (const each of this.#persistent) each(peer)
  }

  #onupdate(peer: Entry, before: Entry): void {
    const { links } = this.#run()
    links.describe(peer)
    const meta = !isDeepStrictEqual(peer.meta, before.meta)
    const moved = !isDeepStrictEqual(peer.addresses, before.addresses)
    // facts alone are no reason to look at a link that stands
    if (moved || !meta) links.refresh(peer.id)
    this.#hold(peer)
    if (moved || meta) this.#tell('update', peer)
  }

  #onpart(peer: Entry, reason: PartReason): void {
    if (reason === 'timeout') this.#tell('timeout', peer)
    const { links } = this.#run()
    const crashed = reason === 'timeout'
    if (crashed || !links.active(peer.id)) {
      links.part(peer.id, new StageError('DISCONNECTED', `${peer.name} (${peer.id}) is gone: ${crashed ? 'its lease lapsed' : 'it left'}`, { executed: 'unknown', peer }), crashed)
    }
    this.#tell('part', peer, reason)
  }

  #onlink(link: LiveLink): void {
    log(this.name, `link to ${link.peer.name} (${link.peer.id}), ${link.dialled ? 'dialled' : 'accepted'}`)
    this.#running?.forward?.onlink(link)
    if (!link.top.openStream) this.#modes = { readable: objects(link.top), writable: writesObjects(link.top) }
    this.#tell('link', link.peer)
    // a chain whose top opens no streams has this one, and who did not dial learns of it here
    if (link.dialled || link.top.openStream) return
    if (link.outputs.length === 0) link.top.allowHalfOpen = false // the bare carrier ends as an accepted socket does
    this.#onstream(link.top, link.peer)
  }

  #onunlink(link: LiveLink, error: StageError | undefined): void {
    const { peer, remote } = link
    const ended = (): string => `link to ${peer.name} (${peer.id})${remote ? ` at ${remote}` : ''} ended${error ? `: ${error.message}` : ''}`
    // a peer that breaks the protocol decides how often, and under which names: by where it is
    if (error && CUT_OFF.has(error.code)) this.#run().often.note(`${error.code} ${remote?.split(' ')[0] ?? peer.name}`, ended)
    else log(this.name, ended())
    this.#tell('unlink', link.peer, error)
    this.#hold(link.peer)
  }

  /** The lease was lost: to everybody else this id is dead, so nothing may go on under it (P1). */
  #onlost(before: string): void {
    const running = this.#run()
    this.#ids.add(running.tenure.id)
    for (const layer of running.mounted) layer.onlease?.('lost')
    log(this.name, `lost its lease: ${before} is gone, goes on as ${running.tenure.id}`)
    running.links.reset(new StageError('DISCONNECTED', `this stage lost its lease and goes on as ${running.tenure.id}`, { executed: 'unknown' }))
    this.#error(new StageError('DISCONNECTED', `the registry had taken out ${this.name} (${before}): its lease was not renewed in time`, { executed: 'unknown' }))
  }

  #onstream(stream: Duplex, peer: Peer): boolean {
    if (this.#closing || this.listenerCount('stream') === 0) return false
    this.#tell('stream', stand(stream, between(this.#run().bounds, peer)), peer)
    return true
  }

  #kept(peer: Peer): boolean {
    for (const pattern of this.#keeps) if (matches(pattern, peer.name)) return true
    return false
  }

  /** Keeps a link to a peer that is to be kept, with the back-off of the links. */
  #hold(peer: Peer): void {
    const { links, directory } = this.#run()
    if (this.#closing || this.#holding.has(peer.id) || !this.#kept(peer) || !directory.get(peer.id) || links.active(peer.id)) return
    this.#holding.add(peer.id)
    links.need(peer, (error) => {
      this.#holding.delete(peer.id)
      if (error) this.#hold(peer)
    })
  }

  #forEach(selection: Picked, each: StreamCallback): void {
    const { surroundings, bounds } = this.#run()
    const { signal, persist } = selection.options
    // not at once: what waited for the same link goes first; and in the context of who asked
    const tell = AsyncResource.bind((error: StageError | null, stream?: PeerStream, peer?: Peer): void => process.nextTick(each, error, stream, peer))
    const open = (peer: Peer): void => {
      if (!selection.includes(peer)) return
      const one = new Picked(surroundings, peer, { ...selection.options, self: false })
      openStream(bounds, one, (error, stream, link) => {
        if (stream && link) this.#dialled(stream, link)
        tell(error, stream, peer)
      })
    }
    if (persist && !signal?.aborted) {
      selection.matches().forEach(open)
      this.#persistent.add(open)
      if (signal) onAbort(signal, () => void this.#persistent.delete(open))
      return
    }
    bounded(bounds, selection, (done) => selection.known(done), (error) => {
      if (error) return tell(error)
      const there = selection.matches()
      there.forEach(open)
      if (there.length === 0) tell(selection.why(0))
    })
  }

  /** A stream that was asked for by a callback ends as `to()` does; the bare carrier as a socket, and one of the user's own as it likes. */
  #dialled(stream: PeerStream, { top }: Link): void {
    const { bounds, bare } = this.#run()
    if (top.openStream) {
      if (typeof stream.bytesWritten === 'number') endWithPeer(stream, bounds.clock, () => stream.bytesWritten)
    } else if (bare) stream.allowHalfOpen = false
  }

  #error(error: Error): void {
    log(this.name, `error: ${error.message}`)
    if (this.listenerCount('error') > 0) this.#tell('error', error)
  }

  /** What a listener throws is its owner's bug, as with any emitter; it must not break what is being told about. */
  #tell<Name extends keyof StageEvents>(name: Name, ...args: StageEvents[Name]): void {
    try {
      outside(this.emit as (name: string, ...args: unknown[]) => boolean, this, name, ...args)
    } catch (thrown) {
      process.nextTick(() => { throw thrown })
    }
  }
}

Object.defineProperty(StageCore.prototype, HANDLE, { value: 'is a stage, which cannot be sent: send its name, by which the other end reaches it with to()' })

const CUT_OFF: ReadonlySet<string> = new Set(['PROTOCOL_ERROR', 'SLOW_PEER'])
const BYTES: Modes = { readable: false, writable: false }

/** Lets everybody who waited look again; whoever still waits puts himself back. */
function wake(waiting: Set<() => void>): void {
  const all = [...waiting]
  waiting.clear()
  for (const look of all) look()
}
