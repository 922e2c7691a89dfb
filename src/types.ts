/**
 * The contracts. Everything else leans on this file and on those that it passes on, and they import nothing of ours but each
 * other and the error class's type.
 *
 * Begin with who is there (`peer.ts`), the name server (`registry.ts`) and what it keeps of actors (`store.ts`). Then read
 * this file top to bottom: what carries bytes (Interface), what is made of the bytes (Wrapper, Layer), and what a layer may
 * ask of the stage that holds it (Mesh, Selection, Link).
 */
import type { Duplex } from 'node:stream'
import type { Closable } from './closable.js'
import type { StageError } from './errors.js'
import type { Entry, Peer } from './peer.js'
import type { Store } from './store.js'

export type { Closable } from './closable.js'
export type { Entry, Peer } from './peer.js'
export type { Lease, Registry, View } from './registry.js'
export type { Claim, Claimed, Commit, Committed, Fence, Owner, Store, Wake } from './store.js'

// ── time and chance ─────────────────────────────────────────────────────────────────────────────────────────────

/** Time, as an argument: nothing in the library reads a clock of its own, so a mesh can run on a virtual one. */
export interface Clock {
  /** Milliseconds, monotonic, from an arbitrary origin. */
  now(): number
  /** Milliseconds since 1970 by this machine's calendar; may jump. Never compared with another machine's. */
  wall(): number
  /** Runs `fn` once after `ms`; after 0 as soon as what has come in was looked at. `hold: true` keeps the process alive until then; the default does not. */
  setTimeout(fn: () => void, ms: number, hold?: boolean): Timer
}
export interface Timer {
  cancel(): void
}

/** Chance, as an argument. */
export interface Random {
  bytes(size: number): Buffer
  /** 0 ≤ x < 1 */
  float(): number
}

// ── what carries bytes ──────────────────────────────────────────────────────────────────────────────────────────

/** What carries bytes between two stages. Nothing else in the library knows what a socket is. */
export interface Interface extends Closable {
  /** "tcp" serves "tcp://…". */
  readonly scheme: string
  /** Proves both ends of its streams to each other; overrides the stage's. At least 16 bytes. */
  readonly secret?: string | undefined
  /** Reachable from beyond this machine without any proof of its own, so that the stage must have a secret. */
  readonly exposed?: boolean | undefined
  /** Of a peer's addresses the cheapest is dialled first: 0 within this process, 1 within this machine, 2 (the default) beyond it. */
  readonly cost?: number | undefined
  /** A stage that has others can do without: that it cannot listen is an `error` event, and does not fail `ready()`. */
  readonly optional?: boolean | undefined
  /**
   * Accepts streams from now on. `onstream` owns each stream it is given and its errors.
   * @param onaddresses called when the addresses have changed since
   * @returns the addresses that peers should dial: not what was bound, and never with port 0
   */
  listen(onstream: (stream: Duplex) => void, onaddresses?: (addresses: readonly string[]) => void): Promise<readonly string[]>
  /**
   * @throws the carrier's own error, or the signal's reason. ECONNREFUSED says that whoever listened there has ended, but
   *   for one whose cause is ENOENT: that the place is missing says nothing about who listened
   */
  connect(address: string, signal: AbortSignal): Promise<Duplex>
}

// ── what is made of the bytes ───────────────────────────────────────────────────────────────────────────────────

/** One end of a link, as its wrappers see it. */
export interface LinkEnd {
  /** As it is known when this is read. */
  readonly peer: Peer
  /** We dialled; the other end has false here. */
  readonly dialled: boolean
}

/**
 * From one stream to the next. What it returns is a good stream too: pressure passes through it, destroying either
 * side destroys the other with the same error, and `close` comes once and last. Whatever it returns, a link ends with
 * each of its streams. One that throws, or returns no stream, is an `error` event of its stage and a failed dial.
 */
export type Wrapper<In = Duplex, Out = Duplex> = (stream: In, end: LinkEnd) => Out

/**
 * What a wrapped stream may offer beside being a Duplex. The stage uses what it finds: `ping` of the lowest wrapper
 * that has one, `idle`, `uses`, `drain` and `ondrain` of the highest that can drain, the streams of the top.
 */
export interface Top extends Duplex {
  /** Resolves when the peer has answered. */
  ping?(): Promise<void>
  /** What was written is its writer's again once the callback came; of a stream that does not say so, never. */
  readonly givesBack?: boolean
  /** The carrier takes nothing at the moment, and something waits for it. */
  readonly full?: boolean
  /** One more stream to the same peer, over the same link. Without it the top itself is the one stream. */
  openStream?(): Duplex
  /** Called with each stream that the peer opens; false if nobody wants it. Set by the stage. */
  onstream?: ((stream: Duplex) => boolean) | undefined
  /** Nothing is open on it. Without it the link is never closed for being idle. */
  readonly idle?: boolean
  /** Changes whenever the link was used, so that two looks tell whether it was in between. */
  readonly uses?: number
  /**
   * No new work from either end; resolves when what was begun has ended. `leaving`: the whole stage is, not only this link.
   */
  drain?(leaving: boolean): Promise<void>
  /** Called when the peer asked for that; nothing new may be sent from then on. Set by the stage. */
  ondrain?: ((leaving: boolean) => void) | undefined
}

/**
 * A wrapper that also gives verbs to `to()` and to the stage. A layer is a recipe and holds no state: `mount` is
 * called once for each stage that uses it.
 */
export interface Layer<In extends Duplex = Duplex, Out extends Duplex = Duplex> {
  /** Its name in the chain, which both ends compare; with what must agree in it (`rpc:msgpack`). */
  readonly name: string
  /**
   * What it does to a stream cannot throw, and passes on every error, end and close. Links of a chain of such layers
   * alone stand without asking the peer whether its chain does. Default false.
   */
  readonly infallible?: boolean
  /** Options of a stage that it reads: names in `mesh.options`. */
  readonly options?: readonly string[]
  mount(mesh: Mesh<Out>): Mounted<In, Out>
}

export interface Mounted<In extends Duplex = Duplex, Out extends Duplex = Duplex> {
  /** Without it the layer only uses what the one below returns, which stays the top. */
  readonly wrap?: Wrapper<In, Out>
  /** In place of `wrap`: called with what the layer below returned for a new link. */
  readonly attach?: (stream: In, end: LinkEnd) => void
  /** Verbs of `to()`: each gets the selection that it was called on, then its arguments. A later layer's hide an earlier one's. */
  readonly target?: Readonly<Record<string, (selection: Selection<Out>, ...args: never[]) => unknown>>
  /** What travels in place of this layer's handles where they are values. */
  readonly references?: References
  /** Verbs of the stage: `stage.verb(name)`. */
  readonly host?: Readonly<Record<string, (...args: never[]) => unknown>>
  /** The live peers, or what they announce, may have changed. */
  onpeers?(): void
  /** A heartbeat was answered; or the lease is lost, and the stage goes on with another id; or the registry has another past. */
  onlease?(what: 'renewed' | 'lost' | 'forgot'): void
  /** The stage is closing: takes no new work, and resolves when what was begun here has ended. */
  drain?(): Promise<void>
  /** Counters for `stats()`. */
  stats?(): Readonly<Record<string, number>>
  close?(): void
}

/** What a handle says of itself: of which namespace, and to what. Only the layer that makes such handles knows what the text means. */
export interface Reference {
  readonly namespace: string
  readonly to: string
}

/** How handles of a layer travel in values. */
export interface References {
  /** @returns what travels in its place, at most 1024 bytes of UTF-8 @throws StageError BAD_ARGUMENT it means nothing at the other end */
  refer(reference: Reference): string
  /** What stands for such a text here. @throws StageError it is none */
  resolve(text: string): object
}

// ── what a layer may ask ────────────────────────────────────────────────────────────────────────────────────────

/** One established connection to one peer, after its chain was applied; never two to the same peer. */
export interface Link<T = Top> extends LinkEnd {
  /** The same on both ends. */
  readonly id: string
  /** What the layer's own `wrap` returned; for everybody else the top of the chain. */
  readonly top: T
  /** False once it is draining or closed: nothing new may be sent over it. */
  readonly open: boolean
  /** Both ends are this very stage. */
  readonly loopback: boolean
  /** Calls in flight over it from this end; the layer that makes calls keeps it. */
  load: number
}

/** The narrow view of its stage that a layer gets. */
export interface Mesh<T = Top> {
  /** Our own entry as it is now; made anew each time. */
  readonly self: Entry
  /** The id in it, which changes after a lost lease. */
  readonly id: string
  readonly clock: Clock
  readonly random: Random
  readonly deadlines: Deadlines
  readonly timeoutMs: number
  /** What the stage was given of the options that layers read. */
  readonly options: Readonly<Record<string, unknown>>
  /** Live peers without ourselves. */
  peers(): readonly Entry[]
  /**
   * Asks the registry, for a layer that is about to say that somebody is not there. Resolves when `peers()` is newer than
   * the call, or at the latest after four seconds when the registry does not answer. Asking often is cheap: all that ask
   * within 50 ms share one look.
   */
  look(): Promise<void>
  /**
   * Whether the stage of that id lives, as far as can be found out: it is linked, or it is listed and does not refuse
   * connections. An id that was never seen is asked of the registry now. @throws StageError REGISTRY_UNAVAILABLE
   */
  alive(id: string): Promise<boolean>
  /** Open links, the one to ourselves among them when it is in use. */
  links(): Iterable<Link<T>>
  /** Selects like `to()`, for calls that layers make for others. */
  select(to: To, options?: SelectOptions): Selection<T>
  /** What `to()` returns, for layers that hand one out: `this.to()` of a handler. Not before the chain is mounted. */
  target(to: To, options?: SelectOptions): unknown
  /** Claims and state of actors, opened with the first use; undefined if neither the registry nor the options bring one. */
  store(): Store | undefined
  /** Of the layer of the chain that has handles; undefined where none has. */
  references(): References | undefined
  /** A verb that a layer of the chain gives to the stage. @throws TypeError when none does */
  verb(name: string): (...args: never[]) => unknown
  /** Changes what our entry says under `announces`. */
  announce(key: string, value: unknown): void
  /**
   * The lease is certain to hold: at this moment nobody else may believe that we are gone.
   * @param now  of the clock, where it was read a moment ago
   */
  valid(now?: number): boolean
  /** How long that is still so without a heartbeat, in milliseconds. */
  leaseMs(): number
  emit(event: 'methodAdded' | 'methodRemoved', name: string, peer: Peer): void
  error(error: Error): void
}

/** What `to()` was given. */
export type To = string | Peer | readonly (string | Peer)[]

/** Options of what is done through one `to()`. */
export interface TargetOptions {
  /**
   * Milliseconds for finding, connecting, queueing and running together; default 10 000, at most a day. A call with
   * streams among its arguments has so long from its beginning, and from when something of them last moved.
   */
  timeoutMs?: number | undefined
  /** Cancels; the reason becomes the cause of `CANCELLED`. */
  signal?: AbortSignal | undefined
  /** Calls with the same key go to the same peer as long as the set of matches stands. */
  key?: string | undefined
  /** `false` leaves oneself out; default true, but for streams, which never go to oneself. */
  self?: boolean | undefined
  /**
   * `true`: a call that is made twice does what one does, so it may be made again within its deadline where its link broke
   * (then its handler may run twice) or it was refused: at another match if there is one, after a pause, and as far as
   * the retry budget goes (10 % of the calls of the last ten seconds, or ten). `false`: never, whatever its method says of
   * itself; default that. Not with streams or async iterables among its arguments, and neither `callAll` nor `cast`.
   */
  idempotent?: boolean | undefined
  /** With a callback: goes on with the peers that join later. */
  persist?: boolean | undefined
  /**
   * Text that travels with each call, and on to the calls that its handler makes through `this.to()` and `this.actor()`.
   * Names are matched without regard to case; at most 64 headers, of 8 KiB together. Of a `to()` within a call they are added
   * to those of the call, and `undefined` takes one away.
   */
  headers?: Readonly<Record<string, string | undefined>> | undefined
}

/** Options of a selection, with what a layer has added where it is made within a call. */
export interface SelectOptions extends TargetOptions {
  /** Only the layer that makes calls looks further into it. `depth` above 0: it belongs to a call that is being served. */
  inherited?: { readonly carried: { readonly depth: number } } | undefined
}

/** Whom a `to()` means, and how to get at them. */
export interface Selection<T = Top> {
  /** For messages: what `to()` was given. Two of the same label mean the same. */
  readonly label: string
  readonly options: Readonly<SelectOptions>
  /** Whether a peer is meant, now or when it joins; one whose name is only claimed is meant by `*` alone. */
  includes(peer: Peer): boolean
  /** Every live match, oneself included unless `self: false`. Empty before the first view arrived. */
  matches(): readonly Peer[]
  /**
   * The link to use for one match: least load, round robin among equals, or by `key`. `done` is called once, and at
   * once if the link stands. It waits as long as it takes: for the registry, for a match, for a connection; whoever
   * has a deadline calls what is returned here, and `why` tells then what it was waiting for.
   * @param tried  ids that are not to be used again
   */
  acquire(tried: ReadonlySet<string> | undefined, done: (error: StageError | null, link?: Link<T>) => void): () => void
  /** The link to that match; like `acquire`, but it fails as soon as the peer is gone. */
  reach(peer: Peer, done: (error: StageError | null, link?: Link<T>) => void): () => void
  /**
   * Calls `done` once `matches` speaks of a registry that was asked: at once where another stage is known to match, else
   * when a view arrived that is newer than this call. While the registry does not answer the last view counts, after three
   * quarters of the deadline at the latest; before the first view it waits on.
   */
  known(done: (error: StageError | null) => void): () => void
  /** What a wait that ended without a link was waiting for: NO_SUCH_PEER, REGISTRY_UNAVAILABLE or TIMEOUT connecting. */
  why(waitedMs: number): StageError
}

/** Deadlines without a timer each: holders sweep what they hold when told that the earliest one may have passed. */
export interface Deadlines {
  /** Something now ends at `at` (by `clock.now()`). */
  note(at: number): void
  /** `sweep` ends what is due at `now` and returns the earliest deadline that it still holds, or Infinity. */
  add(sweep: (now: number) => number): () => void
}
