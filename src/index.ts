/** The public door: composes the defaults. Only this file of `src/` knows registries, interfaces and wrappers. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { systemClock } from './clock.js'
import { StageError, describe } from './errors.js'
import { knownOptions } from './known-options.js'
import { systemRandom } from './random.js'
import type { ChainItem, CoreOptions, Parts, StreamCallback } from './options.js'
import type { PeerStream } from './socketlike.js'
import { retain, sharedRegistry } from './shared.js'
import { StageCore } from './stage.js'
import type { Interface, Peer, Registry, TargetOptions, To } from './types.js'
import { IpcInterface } from '../interfaces/ipc.js'
import { MemoryInterface } from '../interfaces/memory.js'
import type { TlsOptions } from '../interfaces/shared/certificates.js'
import { TcpInterface, type TcpOptions } from '../interfaces/tcp.js'
import { LocalRegistry } from '../registries/local/registry.js'
import { MemoryRegistry } from '../registries/memory.js'
import type { Dialler } from '../registries/mesh/line.js'
import { MeshRegistry } from '../registries/mesh/registry.js'
import { Served } from '../registries/mesh/server.js'
import { NoRegistry } from '../registries/none.js'
import { RedisRegistry } from '../registries/redis/registry.js'
import { SqlRegistry } from '../registries/sql/registry.js'
import { framing } from '../wrappers/framing.js'
import { actors } from '../wrappers/actors/layer.js'
import { rpc, type RpcStageOptions } from '../wrappers/rpc/layer.js'
import type {
  Actor, ActorCallOptions, ActorClass, ActorFactory, ActorOf, ActorsOptions, Explained, HostOptions, HostedActor, ObserveOptions, UntypedActor,
  Update, Watchable,
} from '../wrappers/actors/types.js'
import type { Target } from '../wrappers/rpc/types.js'

export { StageError, codes, type Code, type Executed, type Issue } from './errors.js'
export type { ChainItem, StageEvents, StreamCallback } from './options.js'
export type { PartReason } from './directory.js'
// further types for a registry, a store, an interface or a layer of one's own are in stagemesh/types
export type {
  Clock, Fence, Interface, Layer, Peer, Registry, Store, TargetOptions, To, Wrapper,
} from './types.js'
export type { Answer, CallContext, Handler, ProvideOptions, Remote, RpcVerbs, Target } from '../wrappers/rpc/types.js'
export type { Authorize, InterceptedCall, Interceptor } from '../wrappers/rpc/interceptor.js'
export type {
  Actor, ActorCallOptions, ActorTimer, DeactivateReason, Explained, HostedActor, ObserveOptions, ReminderOptions, Self, UntypedActor,
  Update,
} from '../wrappers/actors/types.js'
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

/** Options of a stage. Some are read by layers of the default chain only; a stage with another chain may not know them. */
export interface StageOptions extends CoreOptions, RpcStageOptions {}

/** Replacements of the machine's clock and randomness, for tests and simulations. */
type Injected = Partial<Machine>

type Machine = Pick<Parts, 'clock' | 'random'>

/** One node of the mesh: a name by which others reach it, and the way to reach others by theirs. */
export class Stage extends StageCore {
  /**
   * @param name     the name for others: 1 to 128 bytes of text in NFC, without control characters, `*`, `?`, `/` and white
   *                 space at its ends
   * @param options  `registry`, `interfaces` and the rest
   * @throws StageError BAD_NAME · BAD_ARGUMENT; TypeError for an unknown option, an option that is given twice, or a stage that
   *   would listen beyond this machine without a secret
   */
  constructor(name: string, options?: StageOptions & Injected)
  /** The same, with the registry and the interfaces by position. */
  constructor(name: string, registry?: Registry | string, interfaces?: Interface | readonly Interface[], options?: StageOptions & Injected)
  constructor(name: string, ...given: [second?: Second, interfaces?: Interface | readonly Interface[], fourth?: StageOptions & Injected]) {
    const options = arranged(...given)
    const { clock = systemClock, random = systemRandom, store } = options
    const parts = { clock, random }
    const named = options.registry ?? process.env['STAGE_REGISTRY']
    const registry = opened(named ?? DEFAULT_REGISTRY, parts, options.secret)
    super(name, options, {
      ...parts, registry,
      byDefault: named === undefined ? unnamed(given) : undefined,
      store: store === undefined ? undefined : opened(store, parts, options.secret),
      interfaces: options.interfaces === undefined ? defaultInterfaces(registry, options, parts) : [options.interfaces].flat(),
      chain: defaultChain(),
      served: (hosts, { secret }) => meshRegistry({ url: `mesh://${hosts.map((one) => one.replace(/^mesh:\/\//, '')).join(',')}`, secret }),
    })
  }

  override to<Top extends Duplex = PeerStream>(to: To, callback: StreamCallback<Top>): Target
  override to<Top extends Duplex = PeerStream>(to: To, options?: TargetOptions, callback?: StreamCallback<Top>): Target
  override to(to: To, options?: TargetOptions | StreamCallback, callback?: StreamCallback): Target {
    return super.to(to, options as TargetOptions, callback) as Target
  }

  /**
   * Calls `namespace://peer/method`, each part percent-encoded; the peer may be a pattern, of which one match answers.
   * @param uri  `default://${encodeURIComponent('my app')}/greet`
   * @throws StageError BAD_ARGUMENT no such form · BAD_NAME a part is no name, or is not percent-encoded · WRONG_NAMESPACE the
   *   namespace is not this stage's · and the errors of `to(peer).call(method)`
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an untyped call, as in to().call
  call<T = any>(uri: string, ...args: unknown[]): Promise<T> {
    return this.verb('call')(uri, ...args) as Promise<T>
  }

  /**
   * Sends a value one way to peers to which a link stands, encoded once; they get the event `message`. Messages over one link
   * arrive in order, and nobody learns whether they did.
   * @param to  a peer, an id or a name, or a list of them; of several stages of one name, each
   * @returns   for a single one whether a link to it stands; for a list the number of peers that the value was sent to
   * @throws StageError BAD_ARGUMENT the value cannot be sent
   */
  send(to: Peer | string, value: unknown): boolean
  send(to: readonly (Peer | string)[], value: unknown): number
  send(to: Peer | string | readonly (Peer | string)[], value: unknown): boolean | number {
    return this.verb('send')(to, value) as boolean | number
  }

  /**
   * Hosts a type of actors: they may live on this stage. Call it on every stage that may host them.
   * @throws TypeError the options are not right, or the pattern overlaps another · no store
   */
  define<const Pattern extends string, T extends object, const Methods = unknown>(type: ActorClass<Pattern, T, Methods> | ActorFactory<Pattern, T>): this {
    this.verb('define')(type)
    return this
  }

  /**
   * Hosts an object that exists already, under an address of its own; the object is not durable.
   * @returns removes the object again
   * @throws StageError NAME_TAKEN another stage has that address · BAD_NAME · STORE_UNAVAILABLE
   */
  host<T extends object, const Methods = unknown>(address: string, object: T, options?: HostOptions<NoInfer<T>, Methods>): Promise<() => Promise<void>> {
    return this.verb('host')(address, object, options) as Promise<() => Promise<void>>
  }

  /**
   * An actor, wherever it lives; the first call activates it.
   * @throws StageError BAD_NAME · BAD_ARGUMENT; its calls NO_SUCH_ACTOR no stage hosts it in time · NO_SUCH_METHOD ·
   *   NO_SUCH_PROPERTY · TIMEOUT · CANCELLED · DISCONNECTED · OVERLOADED · DEADLOCK · FENCED · STORE_UNAVAILABLE ·
   *   STATE_CORRUPT · REMOTE_ERROR (`cause`: the thrown error) · BAD_ARGUMENT · CLOSED
   */
  actor<T = UntypedActor>(address: string, options?: ActorCallOptions): Actor<T> {
    return this.verb('actor')(address, options) as Actor<T>
  }

  /**
   * Properties of an actor over time: the present values, then each committed change, also after the actor has moved. Begins
   * with the call; leaving the loop ends it, and so does the signal, with CANCELLED.
   * @throws StageError BAD_ARGUMENT · NO_SUCH_PROPERTY · OVERLOADED 100 000 watches are open over the link · the errors of a
   *   call, if the first value did not come in time
   */
  observe<T = UntypedActor, Name extends Watchable<T> = Watchable<T>>(
    actor: ActorOf<T> | string, names: readonly Name[], options?: ObserveOptions,
  ): AsyncIterableIterator<Update<T, Name>> {
    return this.verb('observe')(actor, names, options) as AsyncIterableIterator<Update<T, Name>>
  }

  /**
   * The actors that are active on this stage, in the order of their addresses; `limit` and `after` list them page by page.
   * @throws TypeError for a limit that is not a whole number above 0
   */
  actors(options?: ActorsOptions): readonly HostedActor[] {
    return this.verb('actors')(options) as readonly HostedActor[]
  }

  /** The owner of an actor, and its present activity. Does not activate the actor. */
  explain(actor: ActorOf<unknown> | string): Promise<Explained> {
    return this.verb('explain')(actor) as Promise<Explained>
  }
}

/** The namespace of stages that serve a registry, and of their clients. */
const REGISTRY_NAMESPACE = 'stagemesh-registry'
/** Their names, which certificates of `tls.mutual` carry. */
const [SERVER, CLIENT] = ['registry', 'registry-client']
/** How long a client waits for a server before it tries the next one. */
const SERVER_MS = 2500

/** Options of `serveRegistry()`: where to listen, and the proof that clients need. */
type ServeRegistryOptions = Pick<TcpOptions, 'port' | 'host' | 'bind' | 'tls' | 'secret' | 'insecure'> & {
  /** Gets what happens without a caller: new certificates that cannot be used, clients that are refused. Default: they are in the debug log. */
  onerror?: ((error: Error) => void) | undefined
}

/** A registry that is being served. */
interface ServedRegistry {
  /** The URL for clients: `mesh://10.0.0.5:4444`. */
  readonly url: string
  /** Ends the service, and closes the registry. Stages keep their links and their last view. */
  close(): Promise<void>
}

/**
 * Serves a registry with its store to stages on other machines, which use it by the URL `mesh://host:port`.
 * @param registry  as an object or as a URL: `local:/data`
 * @throws StageError BAD_ARGUMENT the port is taken · TypeError it would listen beyond this machine without a secret
 */
export async function serveRegistry(registry: Registry | string, { onerror, ...options }: ServeRegistryOptions = {}): Promise<ServedRegistry> {
  const parts = { clock: systemClock, random: systemRandom }
  const behind = opened(registry, parts)
  const served = new Served(behind, parts.clock)
  const { secret, insecure } = options
  const stage = new Stage(SERVER, { registry: 'none:', interfaces: new TcpInterface(options), namespace: REGISTRY_NAMESPACE, secret, insecure })
  if (onerror) stage.on('error', onerror).on('refused', onerror)
  const methods = ['about', 'publish', 'renew', 'withdraw', 'warning', 'claim', 'commit', 'release', 'look', 'due'] as const
  for (const method of methods) stage.to('*').provide(method, (...args: unknown[]) => (served[method] as (...args: unknown[]) => unknown)(...args))
  stage.to('*').provide('watch', function (namespace: unknown) { return served.watch(namespace, this.signal) })
  const release = retain(behind)
  const close = async (): Promise<void> => {
    served.leave()
    await stage.close()
    await served.close()
    await release()
  }
  try {
    const [[address]] = await Promise.all([once(stage, 'listening') as Promise<[string[]]>, stage.ready()])
    return { url: `mesh://${address[0].replace(/^tcps?:\/\//, '')}`, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Options of `meshRegistry()`. */
interface MeshOptions {
  /** `mesh://10.0.0.5:4444`; several hosts with ports, `mesh://a:4444,b:4444`, are tried in order. */
  url: string
  /** The secret of the server, or several while it is replaced, the newest first. */
  secret?: StageOptions['secret']
  /** As in `TcpInterface`, if the server has TLS. */
  tls?: TlsOptions | undefined
  /** The name that the certificate of this client carries, if the server has `tls.mutual`; default `registry-client`. */
  name?: string | undefined
}

/**
 * A registry that another process serves by `serveRegistry()`. The URL alone does as the `registry` of a stage, if the server has
 * the secret of the stage, and no TLS.
 * @throws StageError BAD_ARGUMENT
 */
export function meshRegistry(options: MeshOptions): Registry & Required<Pick<Registry, 'store'>> {
  knownOptions('meshRegistry()', options, ['url', 'secret', 'tls', 'name'])
  const { url, tls } = options
  return new MeshRegistry(url, systemClock, () => registryDialler(options), tls ? 'tcps' : 'tcp')
}

/** The stage by which a registry that another process serves is reached, without listening itself. */
function registryDialler({ secret, tls, name = CLIENT }: MeshOptions): Dialler {
  const tcp = new TcpInterface({ tls })
  const through: Interface = {
    scheme: tcp.scheme, listen: () => Promise.resolve([]), connect: (address, signal) => tcp.connect(address, signal), close: () => tcp.close(),
  }
  const stage = new Stage(name, { registry: 'none:', interfaces: through, namespace: REGISTRY_NAMESPACE, secret, timeoutMs: SERVER_MS })
  return {
    connect: async (address) => {
      const peer = await stage.connect(address)
      if (peer.name === SERVER) return peer
      // with tls.mutual the name is proven, and another stage of the mesh could wait at the address
      await stage.disconnect(peer)
      throw new StageError('WRONG_PEER', `${address}: the stage there is ${peer.name}: expected ${SERVER}, a registry that serveRegistry() serves`)
    },
    disconnect: (peer) => stage.disconnect(peer),
    call: (peer, method, args, timeoutMs, signal) => stage.to(peer, { timeoutMs, signal }).call(method, ...args),
    onunlink: (gone) => void stage.on('unlink', gone),
    close: () => stage.close(),
  }
}

/** framing → rpc → actors. */
const defaultChain = (): readonly ChainItem[] => [framing(), rpc(), actors()]

/** For a stage that names no registry, if `$STAGE_REGISTRY` is not set either. */
const DEFAULT_REGISTRY = 'redis://127.0.0.1:6379'

/** Interfaces for peers in this process, on this machine, and beyond it. */
function defaultInterfaces(registry: Registry, { insecure }: StageOptions, { clock, random }: Machine): Interface[] {
  const memory = new MemoryInterface(undefined, { clock })
  if (registry instanceof MemoryRegistry) return [memory]
  return [memory, new IpcInterface({ clock, random }), new TcpInterface({ clock, insecure })]
}

/** The second argument: a registry, or the options. */
type Second = Registry | string | (StageOptions & Injected)

const isRegistry = (value: unknown): value is Registry =>
  typeof value === 'object' && value !== null && typeof (value as Partial<Registry>).publish === 'function'

/** The options, with the positional arguments filled in. @throws TypeError an argument is given twice, or stands in the wrong place */
function arranged(second?: Second, interfaces?: StageOptions['interfaces'], fourth?: StageOptions & Injected): StageOptions & Injected {
  const leads = typeof second === 'object' && second !== null && !isRegistry(second)
  if (leads && fourth !== undefined) throw new TypeError('the options are given twice, as the second argument and as the fourth: pass all of them in one place')
  const options = (leads ? second : fourth) ?? {}
  const registry = leads ? undefined : second
  if (registry !== undefined && options.registry !== undefined) throw twice('registry', 'second')
  if (interfaces !== undefined && options.interfaces !== undefined) throw twice('interfaces', 'third')
  const all = { ...options, registry: registry ?? options.registry, interfaces: interfaces ?? options.interfaces }
  for (const one of all.interfaces === undefined ? [] : [all.interfaces].flat()) {
    if (typeof (one as Partial<Interface> | null)?.listen === 'function') continue
    throw new TypeError(`${describe(one)} is not an interface: expected an interface, or a list of them, as \`interfaces\` or as the third argument; options come second or fourth`)
  }
  return all
}

/** How a stage came to the default registry: most often by a variable that is not set. */
function unnamed(given: readonly unknown[]): string {
  const isOption = (one: unknown): boolean => typeof one === 'object' && one !== null && 'registry' in one
  const passed = (given.length > 0 && given[0] === undefined) || given.some(isOption)
  return `the default, as ${passed ? 'the registry that was passed is undefined' : 'no registry was passed'} and $STAGE_REGISTRY is not set`
}

const twice = (option: string, place: string): TypeError =>
  new TypeError(`${option} is given twice, as the ${place} argument and among the options: remove one of the two`)

/** A registry object as it is, or a registry by its URL, which stages of one process share if they run on the machine's clock. */
function opened(registry: Registry | string, parts: Machine, secret?: StageOptions['secret']): Registry {
  if (isRegistry(registry)) return registry
  if (typeof registry !== 'string') throw new TypeError(`${describe(registry)} is not a registry: expected a URL, or an object with publish() and watch()`)
  const made = byUrl(registry, parts, secret)
  const shareable = made.lists !== false && parts.clock === systemClock && parts.random === systemRandom
  // a server asks for the secret of the stage
  return shareable ? sharedRegistry(made instanceof MeshRegistry ? `${registry} ${JSON.stringify(secret)}` : registry, made) : made
}

/** A registry by its URL, whose driver is loaded on first use. */
function byUrl(registry: string, parts: Machine, secret: StageOptions['secret']): Registry {
  const scheme = /^([a-z+]+):/.exec(registry)?.[1]
  switch (scheme) {
    case 'redis': case 'rediss': case 'redis+sentinel': case 'rediss+sentinel': case 'redis+cluster': case 'rediss+cluster':
      return new RedisRegistry({ url: registry, ...parts })
    case 'postgres': case 'postgresql': case 'mysql': case 'mariadb': case 'sqlite': return new SqlRegistry({ url: registry, ...parts })
    case 'local':
      if (/^local:\/\/[^/]/.test(registry)) {
        const says = 'has two slashes, which introduce a host: expected local:/path, or local: for the default folder'
        throw new StageError('BAD_ARGUMENT', `${JSON.stringify(registry)} ${says}`)
      }
      return new LocalRegistry(registry.slice('local:'.length) || undefined, parts)
    case 'none':
      if (registry === 'none:') return new NoRegistry(parts)
      throw new StageError('BAD_ARGUMENT', `${JSON.stringify(registry)} has text behind none: a stage without a registry has no place to name, expected 'none:'`)
    case 'mesh': return meshRegistry({ url: registry, secret })
    case 'memory': return new MemoryRegistry(registry.slice('memory:'.length) || undefined, parts)
    default: {
      const shown = JSON.stringify(registry.replace(/\/\/.*@/, '//…@'))
      throw new StageError('BAD_ARGUMENT', `${shown} is not a known kind of registry: expected redis:, rediss:, redis+sentinel:, redis+cluster:, postgres:, mysql:, mariadb:, sqlite:, mesh:, local:, memory: or none:, or a registry object`)
    }
  }
}
