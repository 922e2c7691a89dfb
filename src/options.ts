import type { Duplex } from 'node:stream'
import type { PartReason } from './directory.js'
import { StageError, describe } from './errors.js'
import { headersOf } from './headers.js'
import { knownOptions } from './known-options.js'
import { checkSecret, type Secret } from './secret.js'
import type { PeerStream } from './socketlike.js'
import type { Clock, Delivery, FailedCall, Interface, Layer, Peer, Random, RefusedFrom, Registry, SelectOptions, TargetOptions, Wrapper } from './types.js'

/** One element of a chain: a wrapper named after its function, a named wrapper, or a layer. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- an item takes whatever the item below it returns
export type ChainItem = Wrapper<any, any> | { name: string; wrap: Wrapper<any, any> } | Layer<any, any>

/** Options that the stage itself reads, with `DEFAULTS` below; the layers of its chain may read more. */
export interface CoreOptions {
  /**
   * The name server, as an object or as a URL: `redis:`, `rediss:`, `local:`, `local:/path`, `memory:name`; default
   * `$STAGE_REGISTRY`, else `redis://127.0.0.1:6379`. Closed with the last stage that uses it.
   */
  registry?: Registry | string | undefined
  /**
   * The carriers of bytes, one or several; default memory within the process, a unix socket within the machine, and TCP on
   * loopback or on `$STAGE_HOST`; with `memory:` memory alone. Closed with the stage.
   */
  interfaces?: Interface | readonly Interface[] | undefined
  /** The wall between environments; default `$STAGE_NAMESPACE`, else `default`. */
  namespace?: string | undefined
  /** The wrappers in order; default framing → rpc → actors. `[]` is the bare socket. The chain must be the same on both ends. */
  chain?: readonly ChainItem[] | undefined
  /** Refuses to share the name: a second live stage of that name fails with `NAME_TAKEN`. */
  unique?: boolean | undefined
  /**
   * Proves both ends of every link: at least 16 bytes, the same on all stages. A list while it is replaced, the newest first: two
   * stages need one secret in common.
   */
  secret?: Secret | undefined
  /** Facts that other stages find in `peer.meta`: text to text, at most 2 KiB as JSON; default none. Later: `stage.setMeta()`. */
  meta?: Readonly<Record<string, string>> | undefined
  /** Allows listening beyond this machine without a secret. */
  insecure?: boolean | undefined
  /** The registry whose store keeps the actors, as an object or as a URL; default `registry`. Closed with the last stage that uses it. */
  store?: Registry | string | undefined
  /** Default deadline for everything done through `to()`, in milliseconds. */
  timeoutMs?: number | undefined
  /** How long a link may be unused before it closes, in milliseconds. */
  idleLinkMs?: number | undefined
  /** How long the entry outlives its last renewal, in milliseconds; at least 500. */
  ttlMs?: number | undefined
}

/** Values of options that a stage does not set. */
export const DEFAULTS = {
  timeoutMs: 10_000,
  idleLinkMs: 60_000,
  ttlMs: 15_000,
} as const satisfies CoreOptions

/** The parts of a stage. The public door fills them in, and tests replace them. */
export interface Parts {
  registry: Registry
  /** Why this registry, if nobody has named it; for messages. */
  byDefault?: string | undefined
  /** The registry whose store holds the actors; default `registry`. */
  store?: Registry | undefined
  interfaces: readonly Interface[]
  chain: readonly ChainItem[]
  /** The registry that a process serves at one of these hosts. */
  served?(hosts: readonly string[], options: CoreOptions): Registry
  clock: Clock
  random: Random
}

/** The events of a stage, with their arguments. */
export interface StageEvents {
  /** The addresses that peers can dial; emitted again after each change. */
  listening: [addresses: readonly string[]]
  /** A peer is listed now. */
  join: [peer: Peer]
  /** A peer is gone, for good: its id does not come back. */
  part: [peer: Peer, reason: PartReason]
  /** A present peer has new addresses, or a new `meta`. */
  update: [peer: Peer]
  /** Emitted just before the `part` of a peer whose lease expired. */
  timeout: [peer: Peer]
  /** A link to the peer stands. */
  link: [peer: Peer]
  /** A link has ended, and why if it did not end by itself. */
  unlink: [peer: Peer, error: StageError | undefined]
  /** The stage uses another server of its registry now. */
  registry: [address: string]
  /** The peer has sent a value by `send()`. */
  message: [peer: Peer, value: unknown]
  /** The peer has opened a stream to this stage. */
  stream: [stream: PeerStream, peer: Peer]
  /** A linked peer shows a method to this stage now. */
  methodAdded: [name: string, peer: Peer]
  /** A linked peer does not show that method any more. */
  methodRemoved: [name: string, peer: Peer]
  /**
   * A connection from outside was refused in its handshake: another secret, namespace, chain or version, or something that is
   * no stage. At most once every five seconds for each place and reason.
   */
  refused: [error: StageError, from: RefusedFrom]
  /**
   * Code that this stage runs for others has thrown: a method, a function, a rule, or a hook, a timer or a reminder of an actor.
   * Not for a StageError whose caller gets it. Without a listener it is a process warning with the stack, once a minute for each
   * method and message.
   */
  failed: [error: Error, call: FailedCall]
  /** Listening is optional: without a listener the error goes to the debug log. */
  error: [error: Error]
}

/** `stream`: opened by the top of the chain; in a chain of one's own, the top itself. */
export type StreamCallback<Top extends Duplex = PeerStream> = (error: StageError | null, stream: Top, peer: Peer) => void

const MAX_MS = 86_400_000
/** The options of the stage itself. */
const STAGE_OPTIONS = [
  'registry', 'interfaces', 'namespace', 'chain', 'unique', 'meta', 'secret', 'insecure', 'timeoutMs', 'idleLinkMs', 'ttlMs', 'store', 'clock',
] as const satisfies readonly (keyof CoreOptions | keyof Parts)[]
/** For tests. */
const INJECTED = ['random'] as const satisfies readonly (keyof Parts)[]

/** For calls without options, which are not checked again. */
export const NO_OPTIONS = Object.freeze({})

/** @throws StageError BAD_ARGUMENT */
function checkFlag(option: string, flag: unknown): void {
  if (flag === undefined || typeof flag === 'boolean') return
  throw new StageError('BAD_ARGUMENT', `${option} is ${describe(flag)}: expected true or false`)
}

/** @throws StageError BAD_ARGUMENT */
export function checkMs(option: string, ms: unknown, least = 0, zero = false): void {
  if (ms === undefined || (zero && ms === 0) || (typeof ms === 'number' && ms > 0 && ms >= least && ms <= MAX_MS)) return
  const bounded = least ? `at least ${least}` : 'above 0'
  const from = zero ? '0 or more' : bounded
  throw new StageError('BAD_ARGUMENT', `${option} is ${describe(ms)}: expected a number of milliseconds, ${from}, at most ${MAX_MS} (a day)`)
}

/** The options of `to()`. */
const TARGET_OPTIONS = [
  'timeoutMs', 'waitMs', 'signal', 'key', 'self', 'idempotent', 'persist', 'headers', 'delivery',
] as const satisfies readonly (keyof TargetOptions)[]
const DELIVERIES: readonly Delivery[] = ['ordered', 'unordered', 'unreliable']
/** Set by layers that make calls. */
const INHERITED = ['inherited'] as const satisfies readonly (keyof SelectOptions)[]

/** @returns the options, with headers checked and in lower case @throws StageError BAD_ARGUMENT; TypeError for an unknown option */
export function checkOptions<O extends SelectOptions>(options: O): O {
  if (options === NO_OPTIONS) return options
  knownOptions('to()', options, TARGET_OPTIONS, INHERITED)
  const { timeoutMs, waitMs, key, signal, headers, idempotent, self, persist, delivery } = options
  checkMs('timeoutMs', timeoutMs)
  checkMs('waitMs', waitMs, 0, true)
  if (key !== undefined && typeof key !== 'string') throw new StageError('BAD_ARGUMENT', `key is ${describe(key)}: expected a string`)
  if (signal !== undefined && typeof (signal as AbortSignal | null)?.addEventListener !== 'function') {
    throw new StageError('BAD_ARGUMENT', `signal is ${describe(signal)}: expected an AbortSignal`)
  }
  if (delivery !== undefined && !DELIVERIES.includes(delivery)) {
    throw new StageError('BAD_ARGUMENT', `delivery is ${describe(delivery)}: expected ${DELIVERIES.map((one) => `'${one}'`).join(', ')}`)
  }
  checkFlag('idempotent', idempotent)
  checkFlag('self', self)
  checkFlag('persist', persist)
  return headers === undefined ? options : { ...options, headers: headersOf(headers) }
}

/** Names of the stage options that the layers of a chain read. */
export const optionsOf = (chain: readonly ChainItem[]): readonly string[] => chain.flatMap((item) => (item as Partial<Layer>).options ?? [])

/** @throws StageError BAD_ARGUMENT; TypeError for an unknown option, or if the stage would listen beyond this machine without a proof */
export function checkStageOptions(options: CoreOptions, interfaces: readonly Interface[], chain: readonly ChainItem[]): void {
  knownOptions('a stage with this chain', options, [...STAGE_OPTIONS, ...optionsOf(chain)], INJECTED)
  for (const item of chain) (item as Partial<Layer>).check?.(options as Readonly<Record<string, unknown>>)
  const { secret, insecure, timeoutMs, ttlMs, idleLinkMs } = options
  checkSecret(secret)
  for (const one of interfaces) {
    if (one.exposed && !(one.secret ?? secret) && !insecure) {
      const instead = 'pass a secret, tls with mutual: true, or insecure: true if everybody who can reach it may call it'
      throw new TypeError(`the interface ${one.scheme} can be reached from other machines, and peers are not authenticated: ${instead}`)
    }
  }
  checkMs('timeoutMs', timeoutMs)
  checkMs('ttlMs', ttlMs, 500)
  checkMs('idleLinkMs', idleLinkMs)
}
