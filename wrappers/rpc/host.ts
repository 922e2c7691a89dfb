/** What a link asks of its stage. */
import type { Deadlines, Peer } from '../../src/types.js'
import type { Callable, Codec } from '../codec.js'
import type { Referring } from './wire/functions.js'
import type { Interception } from './interception.js'
import type { ShownNews } from './serving/methods.js'
import type { Handlers } from './serving/serving.js'
import type { Names } from './serving/standing.js'
import type { Handler } from './types.js'

/** What all links of one stage share. */
export interface RpcHost<Link = unknown> extends Handlers, Names {
  readonly deadlines: Deadlines
  readonly codec: Codec
  readonly references: Referring
  readonly timeoutMs: number
  /** Undefined where no interceptor stands around the calls of this stage. */
  readonly interception: Interception | undefined
  /** A function of ours that went to a peer, as it is called from there. */
  passed(fn: Callable, method: string): Handler
  /** The names that the peer can call, and whether each is idempotent. */
  visible(peer: Peer): ReadonlyMap<string, boolean>
  /** The peer has said what it shows from now on. */
  onmethods(peer: Peer, news: ShownNews): void
  onclose(link: Link): void
  /** A call that was served has ended. */
  onserved(): void
}
