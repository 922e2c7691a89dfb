/**
 * The contracts of the library. All other code depends on this file and on the files that it re-exports, which import
 * nothing but each other and the type of the error class.
 *
 * Begin with the peers (`peer.ts`), the name server (`registry.ts`), the store of actors (`store.ts`) and the carriers of bytes
 * (`carrier.ts`). Then read this file top to bottom: the wrappers above the carriers (Wrapper, Layer), and the view that a layer
 * has of its stage (Mesh, Selection, Link).
 */
import type { Duplex } from 'node:stream'
import type { Datagrams } from './carrier.js'
import type { StageError } from './errors.js'
import type { Entry, Peer } from './peer.js'
import type { Store } from './store.js'

export type { Datagrams, Interface, Security } from './carrier.js'
export type { Closable } from './closable.js'
export type { Entry, Peer } from './peer.js'
export type { Lease, Registry, View } from './registry.js'
export type { Claim, Claimed, Commit, Committed, Fence, Owner, Store, Wake } from './store.js'

// ── time and randomness ─────────────────────────────────────────────────────────────────────────────────────────

/** Time, as an argument: the library never reads a clock directly, so a mesh can run on a virtual clock. */
export interface Clock {
  /** Milliseconds, monotonic, from an arbitrary origin. */
  now(): number
  /** Milliseconds since 1970 by this machine's calendar; may jump. Never compared with the time of another machine. */
  wall(): number
  /**
   * Runs `fn` once after `ms`; with 0, as soon as pending I/O was handled. `hold: true` keeps the process alive until then,
   * the default does not.
   */
  setTimeout(fn: () => void, ms: number, hold?: boolean): Timer
}
/** A timer that has been set. */
export interface Timer {
  /** Keeps the timer from firing; harmless afterwards. */
  cancel(): void
}

/** Randomness, as an argument. */
export interface Random {
  /** As many random bytes. */
  bytes(size: number): Buffer
  /** 0 ≤ x < 1 */
  float(): number
}

// ── wrappers and layers ─────────────────────────────────────────────────────────────────────────────────────────

/** One end of a link, as its wrappers see it. */
export interface LinkEnd {
  /** The peer, as known at the time of the read. */
  readonly peer: Peer
  /** True if this stage dialled; false at the other end. */
  readonly dialled: boolean
}

/**
 * A function from one stream to the next. The returned stream is well-behaved too: backpressure passes through it,
 * destroying either side destroys the other with the same error, and `close` comes once and last. A link ends when any of
 * its streams ends, however they behave. A wrapper that throws, or returns no stream, causes an `error` event of its stage
 * and a failed dial.
 */
export type Wrapper<In = Duplex, Out = Duplex> = (stream: In, end: LinkEnd) => Out

/**
 * Optional members of a wrapped stream, beside the members of a Duplex. The stage uses the members that it finds: `ping` of
 * the lowest wrapper that can ping; `idle`, `uses`, `drain` and `ondrain` of the highest that can drain; the streams of the top.
 */
export interface Top extends Duplex {
  /** Resolves when the peer has answered. */
  ping?(): Promise<void>
  /** A written chunk belongs to its writer again once the write callback came. Without `givesBack`, the stream may keep it. */
  readonly givesBack?: boolean
  /** Messages of one packet beside the stream, if the carrier has them. */
  readonly datagrams?: Datagrams | undefined
  /** The carrier accepts nothing at the moment, and written data waits for it. */
  readonly full?: boolean
  /** Opens one more stream to the same peer, over the same link. Without this method the top itself is the only stream. */
  openStream?(): Duplex
  /** Called with each stream that the peer opens; returns false if nobody wants it. Set by the stage. */
  onstream?: ((stream: Duplex) => boolean) | undefined
  /** No call or stream is open on it. Without this member the link never closes for being idle. */
  readonly idle?: boolean
  /** Changes with every use of the link, so that two reads tell whether the link was used in between. */
  readonly uses?: number
  /**
   * Admits no new work from either end; resolves when all work in progress has ended. `leaving`: the whole stage is closing,
   * not only this link.
   */
  drain?(leaving: boolean): Promise<void>
  /** Called when the peer asks this end to drain; nothing new may be sent from then on. Set by the stage. */
  ondrain?: ((leaving: boolean) => void) | undefined
}

/**
 * A wrapper that also gives verbs to `to()` and to the stage. A layer is a recipe and holds no state: `mount` is
 * called once for each stage that uses it.
 */
export interface Layer<In extends Duplex = Duplex, Out extends Duplex = Duplex> {
  /** The name in the chain, which both ends compare. Contains every setting that must agree (`rpc:msgpack`). */
  readonly name: string
  /**
   * `wrap` never throws, and its stream passes on every error, end and close. Links of a chain that has only such layers
   * stand without asking the peer whether its chain was built. Default false.
   */
  readonly infallible?: boolean
  /** Names of the stage options that the layer reads from `mesh.options`. */
  readonly options?: readonly string[]
  /** Checks these options for the constructor of a stage, so that a mistake shows where it was made. @throws TypeError · StageError BAD_NAME */
  check?(options: Readonly<Record<string, unknown>>): void
  /** Called once for each stage that uses the layer. */
  mount(mesh: Mesh<Out>): Mounted<In, Out>
}

/** A layer on one stage: what its `mount` returns. */
export interface Mounted<In extends Duplex = Duplex, Out extends Duplex = Duplex> {
  /** Without `wrap` the layer only uses the stream of the layer below, which stays the top. */
  readonly wrap?: Wrapper<In, Out>
  /** In place of `wrap`: called with the stream of the layer below for each new link. */
  readonly attach?: (stream: In, end: LinkEnd) => void
  /**
   * Verbs of `to()`: each gets the selection that it was called on, then its arguments. A verb of a later layer hides an
   * earlier verb of that name.
   */
  readonly target?: Readonly<Record<string, (selection: Selection<Out>, ...args: never[]) => unknown>>
  /** How handles of this layer travel when values contain them. */
  readonly references?: References
  /** Verbs of the stage: `stage.verb(name)`. */
  readonly host?: Readonly<Record<string, (...args: never[]) => unknown>>
  /** The live peers, or their announcements, have changed; or the registry became unavailable, and there are no changes. */
  onpeers?(changes: PeerChanges): void
  /** A heartbeat was answered; or the lease is lost, and the stage goes on under another id; or the registry's history was reset. */
  onlease?(what: 'renewed' | 'lost' | 'forgot'): void
  /** The stage is closing: admits no new work, and resolves when all work that began here has ended. */
  drain?(): Promise<void>
  /** Counters for `stats()`. */
  stats?(): Readonly<Record<string, number>>
  close?(): void
}

/** The difference between the live peers before and now. */
export interface PeerChanges {
  /** Peers that are new, or whose addresses, announcements or meta have changed. */
  readonly listed: readonly Entry[]
  /** Peers that have left, or have most likely crashed. */
  readonly gone: readonly Entry[]
}

/** Namespace and destination of a handle. Only the layer that makes such handles knows the meaning of `to`. */
export interface Reference {
  /** The namespace in which `to` means anything. */
  readonly namespace: string
  /** The destination, in the layer's own terms, such as the address of an actor. */
  readonly to: string
}

/** How the handles of a layer travel in values. */
export interface References {
  /**
   * @returns the text that travels in place of the handle, at most 1024 bytes of UTF-8 @throws StageError BAD_ARGUMENT the
   * handle means nothing at the other end
   */
  refer(reference: Reference): string
  /** The local handle for such a text. @throws StageError the text is no reference */
  resolve(text: string): object
}

// ── the view of a layer ─────────────────────────────────────────────────────────────────────────────────────────

/** One established connection to one peer, after its chain was applied; there are never two links to the same peer. */
export interface Link<T = Top> extends LinkEnd {
  /** The same on both ends. */
  readonly id: string
  /** For a layer, the stream that its own `wrap` returned; for everybody else, the top of the chain. */
  readonly top: T
  /** False once the link is draining or closed: nothing new may be sent over it. */
  readonly open: boolean
  /** True if both ends are this very stage. */
  readonly loopback: boolean
  /** Calls in flight from this end; the layer that makes calls counts them. */
  load: number
}

/** Where a refused connection came from, in the event `refused`. */
export interface RefusedFrom {
  /** The scheme of the interface that accepted it. */
  readonly scheme: string
  /** The remote address, if the interface knows one. */
  readonly address: string | undefined
  /** Connections from there that were refused for the same reason since the last event. */
  readonly more: number
}

/** The code that threw, in the event `failed`. */
export interface FailedCall {
  /** What ran: `greet`, `attack of players.42`, `a timer of players.42`. */
  readonly what: string
  /** The name of the method, if a method ran. */
  readonly method?: string | undefined
  /** The address of the actor whose code ran, if it was an actor's. */
  readonly actor?: string | undefined
  /** The caller; undefined for code that nobody called, and for calls within this stage's own actors. */
  readonly peer?: Peer | undefined
}

/** The narrow view of its stage that a layer gets. */
export interface Mesh<T = Top> {
  /** The stage's own entry as it is now; every read returns a new object. */
  readonly self: Entry
  /** The id of that entry, which changes after a lost lease. */
  readonly id: string
  /** The clock of the stage. */
  readonly clock: Clock
  /** The randomness of the stage. */
  readonly random: Random
  /** Deadlines that share one timer. */
  readonly deadlines: Deadlines
  /** The default deadline of the stage, in milliseconds. */
  readonly timeoutMs: number
  /** The options of the stage, of which each layer reads its own. */
  readonly options: Readonly<Record<string, unknown>>
  /** Live peers, without the stage itself. */
  peers(): readonly Entry[]
  /** The live peer of that id, or the stage itself. */
  find(id: string): Entry | undefined
  /**
   * Asks the registry, for a layer that is about to report a missing peer or actor. Resolves when `peers()` is newer than the
   * call, or after at most four seconds if the registry does not answer. Frequent calls are cheap: all callers within 50 ms
   * share one look.
   */
  look(): Promise<void>
  /**
   * Whether the stage of that id lives, as far as can be found out: it is linked, or it is listed and does not refuse
   * connections. An id that was never seen is looked up in the registry now. @throws StageError REGISTRY_UNAVAILABLE
   */
  alive(id: string): Promise<boolean>
  /** Open links to peers, without the stage's link to itself. */
  links(): Iterable<Link<T>>
  /** Selects like `to()`, for calls that a layer makes on behalf of others. */
  select(to: To, options?: SelectOptions): Selection<T>
  /** The result of `to()`, for layers that hand it out, as `this.to()` of a handler does. Only available once the chain is mounted. */
  target(to: To, options?: SelectOptions): unknown
  /** Claims and state of actors, opened on first use; undefined if neither the registry nor the options bring a store. */
  store(): Store | undefined
  /** References of the layer in the chain that has handles; undefined if no layer has any. */
  references(): References | undefined
  /** A verb that a layer of the chain gives to the stage. @throws TypeError if no layer gives it */
  verb(name: string): (...args: never[]) => unknown
  /** Changes one key under `announces` of the stage's entry. */
  announce(key: string, value: unknown): void
  /**
   * The lease is certain to hold: nobody else may believe at this moment that the stage is gone.
   * @param now  a reading of the clock, if the caller has just taken one
   */
  valid(now?: number): boolean
  /** How long the lease stays certain without another heartbeat, in milliseconds. */
  leaseMs(): number
  /** Emits an event of the stage. */
  emit(event: 'methodAdded' | 'methodRemoved', name: string, peer: Peer): void
  /** Emits the event `message` of the stage. */
  emit(event: 'message', peer: Peer, value: unknown): void
  /** Emits an `error` event of the stage. */
  error(error: Error): void
  /** User code has thrown. Nothing happens if that very error was reported before, or if the caller gets the StageError that it is. */
  failed(thrown: unknown, run: FailedRun): void
}

/** User code that has thrown, as a layer reports it. */
export interface FailedRun {
  /** As in `FailedCall`. */
  readonly what: string
  /** As in `FailedCall`. */
  readonly method?: string | undefined
  /** As in `FailedCall`. */
  readonly actor?: string | undefined
  /** The id of the calling stage, if a stage called. */
  readonly from?: string | undefined
  /** Nobody gets the error as an answer. */
  readonly unheard?: boolean | undefined
  /** The caller does not wait any more, so an AbortError is what it asked for. */
  readonly over?: boolean | undefined
}

/** The argument of `to()`: a name, a pattern, a peer, or a list of them. */
export type To = string | Peer | readonly (string | Peer)[]

/** Options for everything that is done through one `to()`. */
export interface TargetOptions {
  /**
   * Milliseconds for finding, connecting, queueing and running together; default 10 000, at most a day. A call with streams
   * among its arguments has that long from its beginning, and again from the last activity on any of them.
   */
  timeoutMs?: number | undefined
  /**
   * Milliseconds to wait for a match that is there and can be reached; the time counts as part of `timeoutMs`, which is the
   * default. After it the call or stream fails with NO_SUCH_PEER, whose `cause` is the last failure to connect. With 0 each match
   * is dialled once, unless its last dial failed a moment ago, and the registry is asked once if no match is known.
   */
  waitMs?: number | undefined
  /** Cancels; the reason becomes the cause of `CANCELLED`. */
  signal?: AbortSignal | undefined
  /** Calls with the same key go to the same peer as long as the set of matches does not change. */
  key?: string | undefined
  /** `false` leaves out the stage itself; default true, except for streams, which never go to the stage itself. */
  self?: boolean | undefined
  /**
   * `true`: running the call twice has the effect of running it once. The call may then be retried within its deadline if its
   * link broke (its handler may run twice) or if it was refused: at another match if there is one, after a pause, and within
   * the retry budget (10 % of the calls of the last ten seconds, or ten). `false`: never retried, even if its method is declared
   * idempotent. Default: as its method declares. Ignored for calls with streams or async iterables as arguments, `callAll` and `cast`.
   */
  idempotent?: boolean | undefined
  /** With a callback: continues with the peers that join later. */
  persist?: boolean | undefined
  /**
   * Text that travels with each call, and on to the calls that its handler makes through `this.to()` and `this.actor()`.
   * Names are matched without regard to case; at most 64 headers, of 8 KiB together. A `to()` within a call adds its headers to
   * the headers of the call, and `undefined` removes a header.
   */
  headers?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * For `cast`: `unreliable` sends each message as a datagram, which may be lost and may overtake others, so that nothing waits
   * behind a lost one. Without a link over UDP, and for a message beyond one packet (about 1 KB), the same as `ordered`, the default.
   * `unordered`: must arrive, in any order; goes as `ordered` over all interfaces of this library.
   */
  delivery?: Delivery | undefined
}

/** How a cast may arrive. */
export type Delivery = 'ordered' | 'unordered' | 'unreliable'

/** Options of a selection, with the additions of a layer if the selection is made within a call. */
export interface SelectOptions extends TargetOptions {
  /** Only the layer that makes calls reads more of it. `depth` above 0: the selection belongs to a call that is being served. */
  inherited?: { readonly carried: { readonly depth: number } } | undefined
}

/** The peers that a `to()` means, and how to get links to them. */
export interface Selection<T = Top> {
  /** The argument of `to()`, for messages. Selections with equal labels mean the same peers. */
  readonly label: string
  /** The options of the `to()` that made the selection. */
  readonly options: Readonly<SelectOptions>
  /** Whether a peer is meant, now or when it joins. A peer whose name is only claimed is meant by `*` alone. */
  includes(peer: Peer): boolean
  /** Every live match, the stage itself included unless `self: false`. Empty before the first view has arrived. */
  matches(): readonly Peer[]
  /**
   * Finds the link to one match: least load, round robin among equals, or by `key`. Calls `done` once, and at once if the
   * link stands. The wait for the registry, a match or a connection has no limit of its own: a caller with a deadline calls
   * the returned function to cancel it, and `why` then says what was missing.
   * @param tried  ids that must not be used again
   */
  acquire(tried: ReadonlySet<string> | undefined, done: (error: StageError | null, link?: Link<T>) => void): () => void
  /** Finds the link to that match. Like `acquire`, but fails as soon as the peer is gone. */
  reach(peer: Peer, done: (error: StageError | null, link?: Link<T>) => void): () => void
  /**
   * Calls `done` once `matches` reflects an answer of the registry: at once if another stage is known to match, otherwise
   * when a view newer than this call has arrived. If the registry does not answer, the last view counts, after three quarters
   * of the deadline at the latest; before the first view the wait goes on.
   */
  known(done: (error: StageError | null) => void): () => void
  /** Why a wait ended without a link: NO_SUCH_PEER, REGISTRY_UNAVAILABLE, TIMEOUT while connecting, or CLOSED. */
  why(waitedMs: number): StageError
}

/** Deadlines that share one timer: holders sweep their own entries when the earliest deadline may have passed. */
export interface Deadlines {
  /** Announces a deadline at `at` (by `clock.now()`). */
  note(at: number): void
  /** `sweep` settles everything that is due at `now` and returns the earliest deadline that it still holds, or Infinity. */
  add(sweep: (now: number) => number): () => void
}
