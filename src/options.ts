import type { Duplex } from 'node:stream'
import type { PartReason } from './directory.js'
import { StageError, describe } from './errors.js'
import { headersOf } from './headers.js'
import { SECRET_MIN_BYTES } from './seal.js'
import type { PeerStream } from './socketlike.js'
import type { Clock, Interface, Layer, Peer, Random, Registry, SelectOptions, Wrapper } from './types.js'

/** One element of a chain: a wrapper by its function's name, a named wrapper, or a layer. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what one item takes is what the one below it returns
export type ChainItem = Wrapper<any, any> | { name: string; wrap: Wrapper<any, any> } | Layer<any, any>

/** Those that the stage itself reads, with `DEFAULTS` below; the layers of its chain may read more. */
export interface CoreOptions {
  /**
   * The name server, as an object or as a URL: `redis:`, `rediss:`, `local:`, `local:/path`, `memory:name`; default
   * `$STAGE_REGISTRY`, else `redis://127.0.0.1:6379`. Closed with the last stage that uses it.
   */
  registry?: Registry | string | undefined
  /**
   * What carries the bytes, one or several; default memory within the process, a unix socket within the machine, and TCP on
   * loopback or on `$STAGE_HOST`; with `memory:` memory alone. Closed with the stage.
   */
  interfaces?: Interface | readonly Interface[] | undefined
  /** The wall between environments; default `$STAGE_NAMESPACE`, else `default`. */
  namespace?: string | undefined
  /** The wrappers in order; default framing → rpc → actors. `[]` is the bare socket. Both ends need the same. */
  chain?: readonly ChainItem[] | undefined
  /** Refuses to share the name: a second live stage of it fails with `NAME_TAKEN`. */
  unique?: boolean | undefined
  /** At least 16 bytes, the same on all stages: proves both ends of every link. */
  secret?: string | undefined
  /** Facts that other stages find in `peer.meta`: text to text, at most 2 KiB as JSON; default none. Later: `stage.setMeta()`. */
  meta?: Readonly<Record<string, string>> | undefined
  /** Allows to listen beyond this machine without a secret. */
  insecure?: boolean | undefined
  /** Whose store keeps the actors, as an object or as a URL; default that of the registry. Closed with the last stage that uses it. */
  store?: Registry | string | undefined
  /** Default deadline of what is done through `to()`, in milliseconds. */
  timeoutMs?: number | undefined
  /** A link unused for this long closes, in milliseconds. */
  idleLinkMs?: number | undefined
  /** How long the entry outlives its last renewal, in milliseconds; at least 500. */
  ttlMs?: number | undefined
}

/** Of a stage that does not say. */
export const DEFAULTS = {
  timeoutMs: 10_000,
  idleLinkMs: 60_000,
  ttlMs: 15_000,
} as const satisfies CoreOptions

/** What the public door fills in, and what tests put in its place. */
export interface Parts {
  registry: Registry
  /** Whose store holds the actors; default the registry's own. */
  store?: Registry | undefined
  interfaces: readonly Interface[]
  chain: readonly ChainItem[]
  clock: Clock
  random: Random
}

export interface StageEvents {
  /** The addresses that peers can dial; again when they changed. */
  listening: [addresses: readonly string[]]
  join: [peer: Peer]
  part: [peer: Peer, reason: PartReason]
  /** A peer that is there has other addresses, or other `meta`. */
  update: [peer: Peer]
  /** Just before the `part` of a peer whose lease lapsed. */
  timeout: [peer: Peer]
  link: [peer: Peer]
  unlink: [peer: Peer, error: StageError | undefined]
  stream: [stream: PeerStream, peer: Peer]
  methodAdded: [name: string, peer: Peer]
  methodRemoved: [name: string, peer: Peer]
  /** Nobody need listen: unheard it goes to the debug log. */
  error: [error: Error]
}

/** `stream`: what the chain's top yields; in a chain of one's own, its top. */
export type StreamCallback<Top extends Duplex = PeerStream> = (error: StageError | null, stream: Top, peer: Peer) => void

const MAX_MS = 86_400_000
/** The last two are for tests. */
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

/** @returns them, with headers that are checked and in lower case @throws StageError BAD_ARGUMENT */
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

/** Options of a stage that the layers of a chain read. */
export const optionsOf = (chain: readonly ChainItem[]): readonly string[] => chain.flatMap((item) => (item as Partial<Layer>).options ?? [])

/** @throws StageError BAD_ARGUMENT; TypeError for an option that is none, or when it would listen beyond this machine without a proof */
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
