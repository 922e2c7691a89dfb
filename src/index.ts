/** The public door: composes the defaults. The one file of `src/` that knows registries, interfaces and wrappers. */
import type { Duplex } from 'node:stream'
import { systemClock } from './clock.js'
import { StageError } from './errors.js'
import { systemRandom } from './random.js'
import type { ChainItem, CoreOptions, Parts, StreamCallback } from './options.js'
import type { PeerStream } from './socketlike.js'
import { StageCore } from './stage.js'
import type { Interface, Registry, TargetOptions, To } from './types.js'
import { IpcInterface } from '../interfaces/ipc.js'
import { MemoryInterface } from '../interfaces/memory.js'
import { TcpInterface } from '../interfaces/tcp.js'
import { LocalRegistry } from '../registries/local/registry.js'
import { MemoryRegistry } from '../registries/memory.js'
import { RedisRegistry } from '../registries/redis/registry.js'
import { framing } from '../wrappers/framing.js'
import { actors } from '../wrappers/actors/layer.js'
import { rpc, type RpcStageOptions } from '../wrappers/rpc/layer.js'
import type { Actor, ActorCallOptions, ActorClass, ActorFactory, ActorOf, Explained, HostOptions, HostedActor, ObserveOptions, UntypedActor, Update, Watchable } from '../wrappers/actors/types.js'
import type { Target } from '../wrappers/rpc/types.js'

export { StageError, codes, type Code, type Executed, type Issue } from './errors.js'
export type { ChainItem, StageEvents, StreamCallback } from './options.js'
export type { PartReason } from './directory.js'
// what else a registry, a store, an interface or a layer of one's own needs is in stagemesh/types
export type {
  Clock, Fence, Interface, Layer, Peer, Registry, Store, TargetOptions, To, Wrapper,
} from './types.js'
export type { Answer, CallContext, Handler, ProvideOptions, Remote, RpcVerbs, Target } from '../wrappers/rpc/types.js'
export type { Authorize, InterceptedCall, Interceptor } from '../wrappers/rpc/interceptor.js'
export type { Actor, ActorCallOptions, ActorTimer, DeactivateReason, Explained, HostedActor, ObserveOptions, ReminderOptions, Self, UntypedActor, Update } from '../wrappers/actors/types.js'
export { encodeEntry, parseEntry } from './entry.js'
export { around } from './around.js'
export { MemoryInterface, MemoryNetwork } from '../interfaces/memory.js'
export { IpcInterface } from '../interfaces/ipc.js'
export { TcpInterface } from '../interfaces/tcp.js'
export { LocalRegistry } from '../registries/local/registry.js'
export { MemoryRegistry } from '../registries/memory.js'
export { RedisRegistry } from '../registries/redis/registry.js'
export { frame, framing } from '../wrappers/framing.js'
export { msgpack } from '../wrappers/codec.js'
export { actors } from '../wrappers/actors/layer.js'
export { method, rpc } from '../wrappers/rpc/layer.js'
export { tap } from '../wrappers/tap.js'
export { latency } from '../wrappers/latency.js'

/** What a stage is made with; what of it is for the layers of the default chain, those of another one may not know. */
export interface StageOptions extends CoreOptions, RpcStageOptions {}

/** What tests and simulations put in place of the machine's own. */
interface Injected {
  clock?: Parts['clock']
  random?: Parts['random']
}

/** One node of the mesh: a name by which others reach it, and the way to reach others by theirs. */
export class Stage extends StageCore {
  /**
   * @param name       what others call it: 1 to 128 bytes of text in NFC, without control characters, `*`, `?`, `/` and white
   *                   space at its ends
   * @param registry   an object, or a URL: `redis:`, `rediss:`, `local:`, `local:/path`, `memory:name`; default
   *                   `$STAGE_REGISTRY`, else `redis://127.0.0.1:6379`. Closed with the last stage that uses it.
   * @param interfaces what carries the bytes; default memory within the process, a unix socket within the machine, and TCP on
   *                   loopback or on `$STAGE_HOST`; with `memory:` memory alone. Closed with the stage.
   */
  constructor(name: string, registry?: Registry | string, interfaces?: Interface | readonly Interface[], options?: StageOptions & Injected)
  constructor(name: string, options: StageOptions & Injected)
  constructor(name: string, registry?: Registry | string | (StageOptions & Injected), interfaces?: Interface | readonly Interface[], options?: StageOptions & Injected) {
    const given = options ?? (isOptions(registry) ? registry : {})
    const { clock = systemClock, random = systemRandom } = given
    const place = isOptions(registry) || registry === undefined ? process.env['STAGE_REGISTRY'] ?? 'redis://127.0.0.1:6379' : registry
    const known = typeof place === 'string' ? open(place, { clock, random }) : place
    for (const one of interfaces === undefined ? [] : [interfaces].flat()) {
      if (typeof (one as Partial<Interface> | null)?.listen !== 'function') throw new TypeError('the third argument is an interface or a list of them; options come fourth')
    }
    const carriers = interfaces === undefined ? defaultInterfaces(known, given, { clock, random }) : [interfaces].flat()
    const store = typeof given.store === 'string' ? open(given.store, { clock, random }) : given.store
    super(name, given, { registry: known, store, interfaces: carriers, chain: defaultChain(), clock, random })
  }

  override to<Top extends Duplex = PeerStream>(to: To, callback: StreamCallback<Top>): Target
  override to<Top extends Duplex = PeerStream>(to: To, options?: TargetOptions, callback?: StreamCallback<Top>): Target
  override to(to: To, options?: TargetOptions | StreamCallback, callback?: StreamCallback): Target {
    return super.to(to, options as TargetOptions, callback) as Target
  }

  /**
   * Calls `namespace://peer/method`, each part percent-encoded; the peer may be a pattern, of which one match answers.
   * @param uri  `default://${encodeURIComponent('my app')}/greet`
   * @throws StageError BAD_ARGUMENT no such form · BAD_NAME a part is no name, or is not percent-encoded · WRONG_NAMESPACE it is not this stage's · and what `to(peer).call(method)` throws
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an untyped call, as in to().call
  call<T = any>(uri: string, ...args: unknown[]): Promise<T> {
    return this.verb('call')(uri, ...args) as Promise<T>
  }

  /**
   * Hosts a type of actors: this stage may be the one on which they live. On every stage that may host them.
   * @throws TypeError the options are not right, or the pattern overlaps another · no store
   */
  define<const Pattern extends string, T extends object, const Methods = unknown>(type: ActorClass<Pattern, T, Methods> | ActorFactory<Pattern, T>): this {
    this.verb('define')(type)
    return this
  }

  /**
   * Hosts an object that exists already, under an address of its own; it is not durable.
   * @returns takes it away again
   * @throws StageError NAME_TAKEN another stage has that address · BAD_NAME · STORE_UNAVAILABLE
   */
  host<T extends object, const Methods = unknown>(address: string, object: T, options?: HostOptions<NoInfer<T>, Methods>): Promise<() => Promise<void>> {
    return this.verb('host')(address, object, options) as Promise<() => Promise<void>>
  }

  /**
   * An actor, wherever it lives; the first call makes it active.
   * @throws StageError BAD_NAME · BAD_ARGUMENT; its calls NO_SUCH_ACTOR no stage hosts it in time · NO_SUCH_METHOD ·
   *   NO_SUCH_PROPERTY · TIMEOUT · CANCELLED · DISCONNECTED · OVERLOADED · DEADLOCK · FENCED · STORE_UNAVAILABLE ·
   *   STATE_CORRUPT · REMOTE_ERROR (`cause`: what it threw) · BAD_ARGUMENT · CLOSED
   */
  actor<T = UntypedActor>(address: string, options?: ActorCallOptions): Actor<T> {
    return this.verb('actor')(address, options) as Actor<T>
  }

  /**
   * Properties of an actor over time: what they are now, then each committed change, also after it has moved. Begins
   * when it is called; leaving the loop ends it, and so does the signal, with CANCELLED.
   * @throws StageError BAD_ARGUMENT · NO_SUCH_PROPERTY · OVERLOADED 100 000 watches are open over the link · the first
   *   value did not come in time: as of a call
   */
  observe<T = UntypedActor, Name extends Watchable<T> = Watchable<T>>(actor: ActorOf<T> | string, names: readonly Name[], options?: ObserveOptions): AsyncIterableIterator<Update<T, Name>> {
    return this.verb('observe')(actor, names, options) as AsyncIterableIterator<Update<T, Name>>
  }

  /** The actors that are active on this stage. */
  actors(): readonly HostedActor[] {
    return this.verb('actors')() as readonly HostedActor[]
  }

  /** What is known of an actor: who has it, and what it is doing. Does not make it active. */
  explain(actor: ActorOf<unknown> | string): Promise<Explained> {
    return this.verb('explain')(actor) as Promise<Explained>
  }
}

/** framing → rpc → actors. */
const defaultChain = (): readonly ChainItem[] => [framing(), rpc(), actors()]

/** Whoever is in this process, on this machine, and beyond it. */
function defaultInterfaces(registry: Registry, { insecure }: StageOptions, { clock, random }: { clock: Parts['clock']; random: Parts['random'] }): Interface[] {
  const memory = new MemoryInterface(undefined, { clock })
  return registry instanceof MemoryRegistry ? [memory] : [memory, new IpcInterface({ clock, random }), new TcpInterface({ clock, random, insecure })]
}

const isOptions = (value: unknown): value is StageOptions & Injected =>
  typeof value === 'object' && value !== null && typeof (value as Partial<Registry>).publish !== 'function'

/** Opens a registry by its URL; its driver is loaded with the first use. */
function open(url: string, parts: { clock: Parts['clock']; random: Parts['random'] }): Registry {
  const scheme = /^([a-z]+):/.exec(url)?.[1]
  switch (scheme) {
    case 'redis': case 'rediss': return new RedisRegistry({ url, ...parts })
    case 'local':
      if (/^local:\/\/[^/]/.test(url)) throw new StageError('BAD_ARGUMENT', `${JSON.stringify(url)} has two slashes, as if it named a host: expected local:/path, or local: alone for a folder of its own`)
      return new LocalRegistry(url.slice('local:'.length) || undefined, parts)
    case 'memory': return new MemoryRegistry(url.slice('memory:'.length) || undefined, parts)
    default: throw new StageError('BAD_ARGUMENT', `no registry is known for ${JSON.stringify(url.replace(/\/\/.*@/, '//…@'))}: expected redis:, rediss:, local: or memory:, or a registry object`)
  }
}
