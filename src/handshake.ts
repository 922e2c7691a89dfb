/**
 * The agreement of two stages on a bare stream, before the first byte of the application (P6):
 *
 *     dialler → HELLO  who I am, whom I expect, my chain, a nonce, the fate of our last link
 *     listener → HELLO the same
 *     dialler → PROOF  HMAC over both hellos, if there is a secret; and whether the other's id was reported gone
 *     listener → PROOF
 *     arbiter → READY | DUPLICATE
 *     both    → BUILT | the failure, if either has wrappers of its own
 *
 * Every message behind the hellos carries an HMAC over both hellos and over its own content.
 * The arbiter is the end with the greater id; it alone decides whether this connection becomes the link of the pair,
 * so two stages that dial each other at once cannot disagree. Every message is `STG1`, a 4-byte length and JSON; an end that
 * rejects a message sends `{ error: { code, message } }` and ends the connection.
 */
import type { Duplex } from 'node:stream'
import { StageError, describe } from './errors.js'
import { Exchange } from './exchange.js'
import { checkHello, hello, malformed, type Hello, type HelloOptions, type Identity, type LastLink } from './hello.js'
import { seal, unproven } from './seal.js'
import type { Introduction } from './introduction.js'
import { UNREACHABLE_CHARS } from './slots.js'
import type { Clock } from './types.js'

export type Verdict = { ready: number } | { duplicate: string }

export interface HandshakeOptions extends HelloOptions {
  stream: Duplex
  dialled: boolean
  /** See `Security`. */
  binding?: (() => Buffer) | undefined
  clock: Clock
  /** The chain has wrappers that are not the library's: they may fail, so neither end's link stands before both chains do. */
  own?: boolean | undefined
  /** Whether that id was reported gone: an id does not come back (P1), and a stage that still uses it is told so. */
  isGone(id: string): boolean
  /** The other end, proven if there is a secret, says that it has seen our id reported gone. */
  ongone(): void
  /** The secret is proven, if there is one. @throws StageError AUTH_FAILED the carrier does not prove the name of the peer; the peer is told */
  certify?(peer: Identity): void
  /** The dialler does not know whom it dials, so both ends describe themselves. */
  introduces?: boolean | undefined
  introduction?(): Introduction
  /** The other end, proven if there is a secret, has described itself. */
  onintroduced?(peer: Identity, introduction: unknown): void
  /** Which addresses of that stage could not be reached from here, and why: the stage is told. */
  unreachable?(peer: Identity): string | undefined
  /** The other end, proven if there is a secret, could not reach these addresses of ours. */
  onunreachable?(peer: Identity, why: string): void
  /** The other end has sent a well-formed HELLO with the identity that it claims. */
  onhello?(peer: Identity): void
  /**
   * The ends are proven now, but nothing is decided yet: the connection is under way under this id.
   * @throws StageError why this peer is refused; the peer is told
   */
  onproven(peer: Identity, link: string): void
  /** Called if this end is the arbiter: once, and the verdict takes effect at once. */
  decide(peer: Identity, link: string, last: LastLink | undefined): Verdict
  /**
   * Builds the chain while the other end builds its own; not called if neither end has wrappers of its own.
   * @throws StageError BAD_ARGUMENT why the chain cannot be built; the other end is told of every failure but DISCONNECTED
   */
  build?(greeting: Greeting): void
}

export interface Greeting {
  peer: Identity
  /** The id of this connection, the same on both ends. */
  link: string
  verdict: Verdict
  /** Why there is no link in spite of the verdict: `build` failed here (its error), or at the other end (CHAIN_MISMATCH). */
  failure?: StageError | undefined
}

/**
 * Runs the handshake, and reads not a byte behind it.
 * @throws StageError WRONG_PEER · WRONG_NAMESPACE · AUTH_FAILED · CHAIN_MISMATCH · VERSION_MISMATCH · PROTOCOL_ERROR ·
 *   DISCONNECTED · TIMEOUT; the stream is destroyed then
 */
export async function handshake(options: HandshakeOptions): Promise<Greeting> {
  const exchange = new Exchange(options.stream, options.clock)
  try {
    const [greeting, theirs] = await (options.dialled ? dial(exchange, options) : answer(exchange, options))
    const waits = options.build && theirs.own !== undefined && (options.own === true || theirs.own)
    return waits && 'ready' in greeting.verdict ? { ...greeting, failure: await confirm(exchange, options, greeting) } : greeting
  } catch (error) {
    exchange.fail(error)
    throw error
  } finally {
    exchange.release()
  }
}

/** @returns why there is no link @throws StageError if the other end does not say whether its chain stands */
async function confirm(exchange: Exchange, o: HandshakeOptions, greeting: Greeting): Promise<StageError | undefined> {
  try {
    o.build?.(greeting)
  } catch (thrown) {
    const error = thrown as StageError
    exchange.fail(error.code === 'BAD_ARGUMENT' ? new StageError('CHAIN_MISMATCH', error.message) : error)
    o.stream.resume() // closing a stream with unread bytes would be a reset, which may overtake the reason
    return error
  }
  exchange.send({ built: true })
  exchange.last()
  try {
    const { built } = await exchange.receive()
    if (built !== true) throw malformed('built', built)
  } catch (error) {
    if ((error as StageError).code !== 'CHAIN_MISMATCH') throw error
    o.stream.destroy()
    return error as StageError
  }
  return undefined
}

async function dial(exchange: Exchange, o: HandshakeOptions): Promise<[Greeting, Hello]> {
  const mine = hello(o, saysOwn(o))
  exchange.send(mine)
  const theirs = checkHello(await exchange.receive(), o)
  o.onhello?.(theirs.from)
  if (o.expect !== undefined && theirs.from.id !== o.expect) {
    throw new StageError('WRONG_PEER', `expected the stage ${o.expect} at this address, found ${theirs.from.name} (${theirs.from.id})`)
  }
  exchange.seal(seal(o, mine, theirs))
  const gone = o.isGone(theirs.from.id)
  exchange.send({ ...(gone ? { gone } : {}), ...notice(o, theirs.from), ...introduces(o, o.introduces === true) })
  if (o.self.id < theirs.from.id) exchange.last()
  const reply = await exchange.receive()
  if (reply['proof'] === undefined) throw unproven()
  o.certify?.(theirs.from)
  checkGone(o, theirs.from, gone, reply['gone'])
  noticed(o, theirs.from, reply['unreachable'])
  if (o.introduces) o.onintroduced?.(theirs.from, reply['introduction'])
  checkChain(o.self, o.chain, theirs.from, theirs.chain)
  const link = mine.nonce
  o.onproven(theirs.from, link)
  if (o.self.id < theirs.from.id) {
    const { verdict } = reply['verdict'] === undefined ? await exchange.receive() : reply
    return [{ peer: theirs.from, link, verdict: checkVerdict(verdict) }, theirs]
  }
  const verdict = o.decide(theirs.from, link, undefined)
  exchange.send({ verdict })
  return [{ peer: theirs.from, link, verdict }, theirs]
}

async function answer(exchange: Exchange, o: HandshakeOptions): Promise<[Greeting, Hello]> {
  const theirs = checkHello(await exchange.receive(), o)
  o.onhello?.(theirs.from)
  if (theirs.expect !== undefined && theirs.expect !== o.self.id) {
    throw new StageError('WRONG_PEER', `expected the stage ${theirs.expect} here, found ${o.self.name} (${o.self.id})`)
  }
  const mine = hello(o, saysOwn(o), theirs)
  exchange.send(mine)
  exchange.seal(seal(o, theirs, mine))
  const proof = await exchange.receive()
  if (proof['proof'] === undefined) throw unproven()
  o.certify?.(theirs.from)
  const gone = o.isGone(theirs.from.id)
  if (gone) exchange.send({ gone })
  checkGone(o, theirs.from, gone, proof['gone'])
  noticed(o, theirs.from, proof['unreachable'])
  const asked = proof['introduction'] !== undefined
  if (asked) o.onintroduced?.(theirs.from, proof['introduction'])
  checkChain(o.self, o.chain, theirs.from, theirs.chain)
  const link = theirs.nonce
  o.onproven(theirs.from, link)
  if (o.self.id > theirs.from.id) {
    const verdict = o.decide(theirs.from, link, theirs.last)
    exchange.send({ verdict, ...notice(o, theirs.from), ...introduces(o, asked) })
    return [{ peer: theirs.from, link, verdict }, theirs]
  }
  exchange.send({ ...notice(o, theirs.from), ...introduces(o, asked) })
  exchange.last()
  return [{ peer: theirs.from, link, verdict: checkVerdict((await exchange.receive())['verdict']) }, theirs]
}

/** Whether the chain has wrappers that may fail; undefined if this end builds no chain during the handshake. */
const saysOwn = (o: HandshakeOptions): boolean | undefined => o.build && (o.own ?? false)

function checkChain(self: Identity, mine: readonly string[], other: Identity, theirs: readonly string[]): void {
  if (mine.length === theirs.length && mine.every((name, i) => name === theirs[i])) return
  const show = (chain: readonly string[]) => chain.length ? chain.join(' → ') : 'the bare stream'
  throw new StageError('CHAIN_MISMATCH', `both ends need the same chain: ${self.name} has ${show(mine)}, ${other.name} has ${show(theirs)}`)
}

/** An id that either end has seen reported gone is no identity any more. Only the registry says whether the report is right. */
function checkGone(o: HandshakeOptions, other: Identity, gone: boolean, told: unknown): void {
  if (told === true) {
    o.ongone()
    throw new StageError('WRONG_PEER', `${other.name} (${other.id}) says that this stage's id ${o.self.id} was reported gone: asking the registry whether it is`)
  }
  if (gone) throw new StageError('WRONG_PEER', `the stage ${other.name} (${other.id}) was reported gone; it must rejoin with a new id`)
}

function notice(o: HandshakeOptions, peer: Identity): { unreachable?: string } {
  const unreachable = o.unreachable?.(peer)
  return unreachable === undefined ? {} : { unreachable }
}

function introduces(o: HandshakeOptions, asked: boolean): { introduction?: Introduction } {
  return asked && o.introduction ? { introduction: o.introduction() } : {}
}

function noticed(o: HandshakeOptions, peer: Identity, why: unknown): void {
  if (typeof why === 'string' && why.length > 0) o.onunreachable?.(peer, describe(why.slice(0, UNREACHABLE_CHARS)))
}

function checkVerdict(value: unknown): Verdict {
  const verdict = value as { ready?: unknown; duplicate?: unknown } | undefined
  if (typeof verdict?.ready === 'number') return { ready: verdict.ready }
  if (typeof verdict?.duplicate === 'string') return { duplicate: verdict.duplicate }
  throw malformed('verdict', value)
}
