/** The services of a stage for its links. */
import type { Deadlines, Peer } from '../../src/types.js'
import type { Callable, Codec } from '../codec.js'
import type { DatagramCounts } from './wire/datagrams.js'
import type { Referring } from './wire/functions.js'
import type { Interception } from './interception.js'
import type { ShownNews } from './serving/methods.js'
import type { Handlers } from './serving/serving.js'
import type { Names } from './serving/standing.js'
import type { Handler } from './types.js'

/** State and callbacks that all links of one stage share. */
export interface RpcHost<Link = unknown> extends Handlers, Names {
  readonly deadlines: Deadlines
  readonly codec: Codec
  readonly references: Referring
  readonly timeoutMs: number
  readonly datagrams: DatagramCounts
  /** Undefined if the stage has no interceptors. */
  readonly interception: Interception | undefined
  /** Wraps a function of ours that was passed to a peer, for calls from there. */
  passed(fn: Callable, method: string): Handler
  /** Names of the methods that the peer can call, and whether each is idempotent. */
  visible(peer: Peer): ReadonlyMap<string, boolean>
  /** The peer has announced a change of the methods that it shows. */
  onmethods(peer: Peer, news: ShownNews): void
  onclose(link: Link): void
  /** A served call has ended. */
  onserved(): void
}

/** Resources that a link holds at the moment, for `stats()`. */
export type Counts = Readonly<Record<'calls' | 'serving' | 'streams' | 'functions' | 'heldBytes' | 'unreadBytes', number>>
