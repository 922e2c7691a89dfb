import type { Duplex } from 'node:stream'
import type { PartReason } from './directory.js'
import { StageError, describe } from './errors.js'
import { headersOf } from './headers.js'
import { SECRET_MIN_BYTES } from './seal.js'
import type { PeerStream } from './socketlike.js'
import type { Clock, Interface, Layer, Peer, Random, Registry, SelectOptions, Wrapper } from './types.js'

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
  /** Proves both ends of every link: at least 16 bytes, the same on all stages. */
  secret?: string | undefined
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
  /** The registry whose store holds the actors; default `registry`. */
  store?: Registry | undefined
  interfaces: readonly Interface[]
  chain: readonly ChainItem[]
  clock: Clock
  random: Random
}

export interface StageEvents {
  /** The addresses that peers can dial; emitted again after each change. */
  listening: [addresses: readonly string[]]
  join: [peer: Peer]
  part: [peer: Peer, reason: PartReason]
  /** A present peer has new addresses, or a new `meta`. */
  update: [peer: Peer]
  /** Emitted just before the `part` of a peer whose lease expired. */
  timeout: [peer: Peer]
  link: [peer: Peer]
  unlink: [peer: Peer, error: StageError | undefined]
  stream: [stream: PeerStream, peer: Peer]
  methodAdded: [name: string, peer: Peer]
  methodRemoved: [name: string, peer: Peer]
  /** Listening is optional: without a listener the error goes to the debug log. */
  error: [error: Error]
}

/** `stream`: opened by the top of the chain; in a chain of one's own, the top itself. */
export type StreamCallback<Top extends Duplex = PeerStream> = (error: StageError | null, stream: Top, peer: Peer) => void

const MAX_MS = 86_400_000
/** The options of the stage itself; the last two are for tests. */
const STAGE_OPTIONS = [
  'registry', 'interfaces', 'namespace', 'chain', 'unique', 'meta', 'secret', 'insecure', 'timeoutMs', 'idleLinkMs', 'ttlMs', 'store',
  'clock', 'random',
]

/** @throws StageError BAD_ARGUMENT */
export function checkMs(option: string, ms: unknown, least = 0): void {
  if (ms === undefined || (typeof ms === 'number' && ms > 0 && ms >= least && ms <= MAX_MS)) return
  const from = least ? `of at least ${least}` : 'above 0'
  throw new StageError('BAD_ARGUMENT', `${option} is ${describe(ms)}: expected a number of milliseconds ${from}, at most ${MAX_MS} (a day)`)
}

/** @returns the options, with headers checked and in lower case @throws StageError BAD_ARGUMENT */
export function checkOptions<O extends SelectOptions>(options: O): O {
  const { timeoutMs, key, signal, headers, idempotent } = options
  checkMs('timeoutMs', timeoutMs)
  if (key !== undefined && typeof key !== 'string') throw new StageError('BAD_ARGUMENT', `key is ${describe(key)}: expected a string`)
  if (signal !== undefined && typeof (signal as AbortSignal | null)?.addEventListener !== 'function') {
    throw new StageError('BAD_ARGUMENT', `signal is ${describe(signal)}: expected an AbortSignal`)
  }
  if (idempotent !== undefined && typeof idempotent !== 'boolean') {
    throw new StageError('BAD_ARGUMENT', `idempotent is ${describe(idempotent)}: expected true or false`)
  }
  return headers === undefined ? options : { ...options, headers: headersOf(headers) }
}

/** Names of the stage options that the layers of a chain read. */
export const optionsOf = (chain: readonly ChainItem[]): readonly string[] => chain.flatMap((item) => (item as Partial<Layer>).options ?? [])

/** @throws StageError BAD_ARGUMENT; TypeError for an unknown option, or if the stage would listen beyond this machine without a proof */
export function checkStageOptions(options: CoreOptions, interfaces: readonly Interface[], chain: readonly ChainItem[]): void {
  const ofLayers = optionsOf(chain)
  const unknown = Object.keys(options).find((name) => !STAGE_OPTIONS.includes(name) && !ofLayers.includes(name))
  if (unknown !== undefined) {
    const there = [...STAGE_OPTIONS.slice(0, -2), ...ofLayers].join(', ')
    throw new TypeError(`${JSON.stringify(unknown)} is no option of a stage with this chain; there are ${there}`)
  }
  const { secret, insecure, timeoutMs, ttlMs, idleLinkMs } = options
  if (secret !== undefined && Buffer.byteLength(secret) < SECRET_MIN_BYTES) {
    throw new TypeError(`the secret is shorter than ${SECRET_MIN_BYTES} bytes, which can be guessed: take a longer one`)
  }
  for (const one of interfaces) {
    if (one.exposed && !(one.secret ?? secret) && !insecure) {
      const instead = 'pass a secret, or insecure: true if everybody who reaches it may call it'
      throw new TypeError(`the interface ${one.scheme} listens beyond this machine and nothing proves who connects: ${instead}`)
    }
  }
  checkMs('timeoutMs', timeoutMs)
  checkMs('ttlMs', ttlMs, 500)
  checkMs('idleLinkMs', idleLinkMs)
}
