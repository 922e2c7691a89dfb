import type { Duplex } from 'node:stream'
import { shown } from './asking.js'
import { bounded } from './bounded.js'
import { encodeEntry } from './entry.js'
import { StageError, describe } from './errors.js'
import { HANDLE } from './handle.js'
import type { LetGo } from './kept.js'
import { knownOptions } from './known-options.js'
import { log } from './log.js'
import { NO_META, checkMeta, type Meta } from './meta.js'
import { NO_OPTIONS, checkOptions, checkStageOptions, optionsOf, type ChainItem, type CoreOptions, type Parts, type StageEvents, type StreamCallback } from './options.js'
import { outside } from './outside.js'
import { checkIdentifier, checkName, checkPattern } from './pattern.js'
import { Running } from './running.js'
import { Picked } from './selection.js'
import { retain } from './shared.js'
import type { PeerStream } from './socketlike.js'
import { Steps } from './steps.js'
import { Swap } from './swap.js'
import { TypedEmitter } from './typed-emitter.js'
import type { LinkEnd, Peer, Registry, TargetOptions, To, Wrapper } from './types.js'

/** One node of the mesh, as its users see it. From the first use on, its parts are in its `Running`. */
export class StageCore extends TypedEmitter<StageEvents> {
  readonly name: string
  #namespace: string
  readonly #options: CoreOptions
  readonly #parts: Parts
  readonly #swap: Swap
  /** Closes the registry that is used in place of the stage's own. */
  #joined: (() => Promise<void>) | undefined
  #moving: Promise<void> | undefined
  #ownChain: ChainItem[] | undefined
  readonly #release: readonly (() => Promise<void>)[]
  #running: Running | undefined
  #meta: Meta
  #closing: Promise<void> | undefined

  /** @throws StageError BAD_NAME · BAD_ARGUMENT; TypeError if the stage would listen beyond this machine without a secret */
  constructor(name: string, options: CoreOptions, parts: Parts) {
    super()
    this.name = checkName(name)
    this.#namespace = checkIdentifier(options.namespace ?? process.env['STAGE_NAMESPACE'] ?? 'default', 'the namespace')
    checkStageOptions(options, parts.interfaces, options.chain ?? parts.chain)
    this.#options = options
    this.#swap = new Swap(parts.registry)
    this.#parts = { ...parts, registry: this.#swap }
    this.#meta = options.meta === undefined ? NO_META : checkMeta(options.meta)
    this.#release = [...new Set([parts.registry, parts.store ?? parts.registry])].map(retain)
    // until then the namespace and the chain may still be set; a stage that nobody uses is listed all the same
    process.nextTick(() => { if (!this.#closing) this.#run() })
  }

  /** The identity in the mesh: new after a lost lease. */
  get id(): string {
    return this.#run().tenure.id
  }

  /** The registry in use: its kind and place, without credentials. */
  get registry(): { readonly address: string } {
    const { registry } = this.#parts
    return { get address() { return registry.address } }
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

  /** Facts that this stage publishes about itself: `peer.meta` to the others. */
  get meta(): Meta {
    return this.#meta
  }

  /**
   * Replaces `meta`, at any time. Resolves when the new meta is listed: others have it with their next view of the registry.
   * @throws StageError BAD_ARGUMENT not a flat object of text to text, of at most 2 KiB as JSON, and nothing has changed ·
   *   CLOSED · REGISTRY_UNAVAILABLE, or another reason why the stage is not listed: it will be, with this meta, once it can
   */
  async setMeta(meta: Readonly<Record<string, string>>): Promise<void> {
    const checked = checkMeta(meta)
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    if (this.#running) encodeEntry({ ...this.#running.surroundings.self(), meta: checked }) // too large an entry would no longer be listed
    this.#meta = checked
    if (!this.#running) await new Promise<void>((resolve) => { process.nextTick(resolve) }) // let the constructor's tick be the first use
    await this.#run().describe()
  }

  /** The first call replaces the default chain, each further call adds to it. @throws TypeError after the first use */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a wrapper takes whatever the wrapper before it returned
  addStreamWrapper(wrapper: Wrapper<any, Duplex>, options: { name?: string } = {}): this {
    this.#beforeUse('addStreamWrapper')
    knownOptions('addStreamWrapper()', options, ['name'])
    const { name } = options
    const lost = optionsOf(this.#options.chain ?? this.#parts.chain).find((one) => one in this.#options)
    if (lost !== undefined) throw new TypeError(`addStreamWrapper() replaces the chain, and with it the layer that reads the option ${lost}: remove one of the two`)
    this.#ownChain ??= []
    this.#ownChain.push({ name: name ?? (wrapper.name || '?'), wrap: wrapper as Wrapper })
    return this
  }

  /**
   * Selects whom to reach: a name, a pattern (`*`, `?`), a peer, or a list of them. Returns a Duplex that connects on the
   * first read or write, with the verbs of the chain. A callback gets a stream to each present match.
   * @throws StageError BAD_NAME · BAD_ARGUMENT
   */
  to<Top extends Duplex = PeerStream>(to: To, callback: StreamCallback<Top>): PeerStream
  to<Top extends Duplex = PeerStream>(to: To, options?: TargetOptions, callback?: StreamCallback<Top>): PeerStream
  to(to: To, options?: TargetOptions | StreamCallback, callback?: StreamCallback): PeerStream {
    const running = this.#run()
    const given = typeof options === 'function' ? NO_OPTIONS : checkOptions(options ?? NO_OPTIONS)
    const selection = new Picked(running.surroundings, to, given)
    const each = typeof options === 'function' ? options : callback
    if (each) running.eachMatch.open(selection.others(), each)
    return new running.target(selection)
  }

  /**
   * Live peers that match, without the stage itself.
   * @param pattern     default all
   * @param exclusions  ids or names to leave out
   * @throws StageError BAD_NAME
   */
  peers(pattern = '*', exclusions?: Iterable<string>): readonly Peer[] {
    return this.#run().directory.lookup(checkPattern(pattern), exclusions)
  }

  /** The same as `peers(pattern, exclusions)`. @throws StageError BAD_NAME */
  lookup(pattern: string, exclusions?: Iterable<string>): readonly Peer[] {
    return this.peers(pattern, exclusions)
  }

  /** Calls `fn` for every live match once the registry was asked; resolves after the last call. */
  async each(pattern: string, fn: (peer: Peer) => void): Promise<void> {
    const { surroundings, directory, bounds } = this.#run()
    const selection = new Picked(surroundings, pattern, {})
    await new Promise<void>((resolve, reject) => { bounded(bounds, selection, (done) => selection.known(done), (error) => error ? reject(error) : resolve()) })
    for (const peer of directory.lookup(pattern)) fn(peer)
  }

  /** The open links. */
  links(): readonly (LinkEnd & { id: string; load: number })[] {
    return [...this.#run().links.all()].map(({ id, peer, dialled, load }) => ({ id, peer, dialled, load }))
  }

  /**
   * Counters of held resources, by name: bounded, and 0 in the end. Also totals since the stage began: retries (`retries`,
   * `actorRetries`), retries that the retry budget refused (`…Refused`), datagrams that were sent (`datagrams`), and datagrams
   * that were not sent because too many waited, or came and were no casts (`datagramsDropped`).
   */
  stats(): Readonly<Record<string, number>> {
    if (!this.#running) return {}
    const { links, directory, mounted, surroundings } = this.#running
    const own = { peers: directory.lookup('*').length, waiting: surroundings.waiting.size, ...links.stats() }
    return Object.assign(own, ...mounted.map((one) => one.stats?.() ?? {})) as Record<string, number>
  }

  /**
   * Holds a link open to every match, now and later; with `false` releases everything that was held under the same pattern.
   * @returns releases the hold of this call: `using held = stage.keep('db')`, or `held()`. Other calls of `keep()` with the
   *   same pattern hold on.
   * @param pattern  a name or a pattern; or a peer that `connect()` has returned: then its address is dialled again
   * @throws StageError BAD_NAME · BAD_ARGUMENT the peer was not found by `connect()`
   */
  keep(pattern: string | Peer, hold = true): LetGo {
    const { kept, connections, surroundings } = this.#run()
    if (typeof pattern !== 'string') return hold ? connections.keep(pattern) : connections.drop(pattern)
    new Picked(surroundings, pattern, {})
    return hold ? kept.add(pattern) : kept.drop(pattern)
  }

  /**
   * Links to the stage at an address, without a registry: `tcp://10.0.0.5:4000`; of a list the first that answers. Both stages
   * know each other by name as long as the link stands: the dialled one only with a proof of this stage, by a secret or a
   * certificate, unless its registry is `none:`. `keep(peer)` dials the address again whenever the link ends.
   * @returns the stage that was found there
   * @throws StageError BAD_ARGUMENT no interface of this stage dials such addresses · DISCONNECTED nobody answers there · TIMEOUT ·
   *   WRONG_PEER the address is this stage's own · AUTH_FAILED · WRONG_NAMESPACE · CHAIN_MISMATCH · VERSION_MISMATCH · CLOSED
   */
  async connect(address: string | readonly string[]): Promise<Peer> {
    const list: readonly unknown[] = Array.isArray(address) ? address : [address]
    const wrong = list.find((one) => typeof one !== 'string')
    if (wrong !== undefined || list.length === 0) throw new StageError('BAD_ARGUMENT', `${describe(address)} is not an address: expected one such as tcp://10.0.0.5:4000, or a list of addresses of one stage`)
    const running = this.#run()
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    return outside(() => running.connections.connect(list as readonly string[]))
  }

  /**
   * Changes to another registry, such as that of a process which calls `serveRegistry()`: the stage is listed there under the same
   * id, and its links stay. Actors are kept in the store of that registry from then on, unless the option `store` names another.
   * @param to  `10.0.0.5:4444`, as in `mesh://10.0.0.5:4444`, and further hosts, which are tried in order; or a registry object
   * @throws StageError BAD_ARGUMENT · REGISTRY_UNAVAILABLE · NAME_TAKEN · AUTH_FAILED; the stage stays where it was then
   */
  async join(...to: readonly [Registry] | readonly string[]): Promise<void> {
    const [first] = to
    const registry = typeof first === 'object' ? first : this.#parts.served?.(to as readonly string[], this.#options)
    await this.#next(() => this.#use(registry))
  }

  /** Takes `join()` back: the stage is listed in its own registry again. @throws StageError why it is not */
  async leave(): Promise<void> {
    await this.#next(() => this.#use(undefined))
  }

  /**
   * Ends the link to a peer now, with a goodbye to both ends: calls in progress fail. An address that `keep(peer)` holds is let
   * go. The peer may link again.
   * @throws StageError BAD_ARGUMENT not a peer
   */
  async disconnect(peer: Peer): Promise<void> {
    if (typeof (peer as Partial<Peer> | undefined)?.id !== 'string') throw new StageError('BAD_ARGUMENT', `${describe(peer)} is not a peer: expected one of peers(), or of connect()`)
    return this.#run().connections.disconnect(peer)
  }

  /**
   * Resolves when the stage listens, is listed, and has seen its own entry in the registry. All methods work before that, but take longer.
   * @throws StageError why the stage is not ready; it keeps trying, so a later `ready()` may resolve
   */
  async ready(): Promise<void> {
    const { listening, tenure, surroundings } = this.#run()
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    await listening.ready()
    await tenure.listed()
    await shown(surroundings, () => tenure.id)
  }

  /**
   * Admits no new work, lets work in progress end (within nine seconds; it may make calls of its own), leaves the registry,
   * and ends everything. Settles within 15 s. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= outside(() => this.#close())
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A verb that a layer of the chain gives to the stage. @throws TypeError if no layer gives it */
  verb(name: string): (...args: unknown[]) => unknown {
    return this.#run().verb(name)
  }

  /** Changes of the registry happen one after the other. */
  #next(change: () => Promise<void>): Promise<void> {
    // kept for later, so without the context of the caller
    const next = outside(() => (this.#moving ?? Promise.resolve()).then(change, change))
    this.#moving = outside(() => next.catch(() => {}))
    return next
  }

  /** Lists the stage in another registry, or in its own again. @throws StageError why not; the registry before is used again then */
  async #use(registry: Registry | undefined): Promise<void> {
    const { directory } = this.#run()
    if (this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    const release = registry && retain(registry)
    const before = this.#swap.use(registry)
    directory.moved()
    try {
      await this.#run().describe()
    } catch (error) {
      this.#swap.use(before)
      directory.moved()
      await release?.()
      throw error
    }
    const left = this.#joined
    this.#joined = release
    await left?.()
  }

  #beforeUse(what: string): void {
    if (this.#running || this.#closing) throw new TypeError(`${what}() must come before the first use of the stage: call it right after the constructor`)
  }

  #run(): Running {
    if (!this.#running && this.#closing) throw new StageError('CLOSED', 'this stage is closed')
    return this.#running ??= outside(() => new Running({
      name: this.name,
      namespace: this.#namespace,
      options: this.#options,
      parts: this.#parts,
      chain: this.#ownChain ?? this.#options.chain ?? this.#parts.chain,
      meta: () => this.#meta,
      closed: () => this.#closing !== undefined,
      hears: (event) => this.listenerCount(event) > 0,
      tell: (event, ...args) => this.#tell(event, ...args),
      error: (error) => this.#error(error),
    }))
  }

  async #close(): Promise<void> {
    const { clock, interfaces } = this.#parts
    const steps = new Steps(clock, (error) => this.#error(error))
    if (this.#running) {
      this.#closing ??= Promise.resolve() // so that everything that wakes now finds the stage closed
      await this.#running.close(steps)
    }
    await Promise.all([
      ...interfaces.map((one) => steps.take(1000, `the interface ${one.scheme}`, () => one.close())),
      ...[...this.#release, ...(this.#joined ? [this.#joined] : [])].map((release) => steps.take(1000, 'the registry', release)),
    ])
    log(this.name, 'closed')
  }

  #error(error: Error): void {
    log(this.name, `error: ${error.message}`)
    if (this.listenerCount('error') > 0) this.#tell('error', error)
  }

  /** An error of a listener is its owner's bug, as with any emitter, and must not break the operation that is reported. */
  #tell<Name extends keyof StageEvents>(name: Name, ...args: StageEvents[Name]): void {
    try {
      outside(this.emit as (name: string, ...args: unknown[]) => boolean, this, name, ...args)
    } catch (thrown) {
      process.nextTick(() => { throw thrown })
    }
  }
}

Object.defineProperty(StageCore.prototype, HANDLE, {
  value: 'is a stage, which cannot be sent: send its name, and let the other end call to(name)',
})
