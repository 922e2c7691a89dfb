/** The first message of a handshake: the identity of a stage, the peer that it expects, and the state of their last link. */
import { isAddress } from './entry.js'
import { StageError, describe } from './errors.js'
import { isName } from './pattern.js'
import { keyIds, type Secret } from './secret.js'
import type { Random } from './types.js'

const PROTOCOL = 1

export interface Identity {
  id: string
  name: string
  addresses: readonly string[]
}

/** The state of the last link, as one end knows it: the arbiter takes the link `of` for a live one until told otherwise. */
export interface LastLink {
  of: string
  state: 'closed' | 'draining'
}

/** The facts about a stage that its HELLO contains. */
export interface HelloOptions {
  random: Random
  namespace: string
  self: Identity
  chain: readonly string[]
  secret?: Secret | undefined
  /** Dialler only: the id that the registry lists at that address. */
  expect?: string | undefined
  /** Dialler only. */
  last?: LastLink | undefined
}

export interface Hello {
  protocol: [number, number]
  namespace: string
  from: Identity
  expect?: string
  nonce: string
  chain: string[]
  /** Absent in versions that cannot wait for the other chain. */
  own?: boolean
  secret: boolean
  /** Of the dialler: names of its secrets, the newest first. Of the listener: those among them that it has too. */
  keys?: string[]
  last?: LastLink
}

/**
 * @param own      whether the chain has wrappers that may fail; undefined if no chain is built during the handshake
 * @param dialler  the hello that is answered
 */
export function hello(o: HelloOptions, own: boolean | undefined, dialler?: Hello): Hello {
  const nonce = o.random.bytes(32).toString('base64url')
  const keys = keyIds(o, dialler?.nonce ?? nonce)?.filter((id) => !dialler || dialler.keys?.includes(id))
  return {
    protocol: [PROTOCOL, PROTOCOL],
    namespace: o.namespace,
    from: { id: o.self.id, name: o.self.name, addresses: o.self.addresses },
    nonce,
    chain: [...o.chain],
    ...(own === undefined ? {} : { own }),
    secret: o.secret !== undefined,
    ...(keys === undefined ? {} : { keys }),
    ...(o.expect === undefined ? {} : { expect: o.expect }),
    ...(o.last === undefined ? {} : { last: o.last }),
  }
}

/** @throws StageError the defect of the message; the other end is told */
export function checkHello(message: Record<string, unknown>, o: HelloOptions): Hello {
  const { protocol, namespace, from, nonce, chain, own, secret, keys, expect, last } = message as Partial<Hello>
  checkProtocol(protocol)
  if (namespace !== o.namespace) {
    const [here, there] = [describe(o.namespace), describe(namespace)]
    throw new StageError('WRONG_NAMESPACE', `${o.self.name} is in the namespace ${here}, the other stage in ${there}`)
  }
  if (!isIdentity(from)) throw malformed('from', from)
  if (typeof nonce !== 'string' || nonce.length !== 43) throw malformed('nonce', nonce)
  if (!isStrings(chain)) throw malformed('chain', chain)
  if (own !== undefined && typeof own !== 'boolean') throw malformed('own', own)
  if (keys !== undefined && (!isStrings(keys) || keys.length > 4)) throw malformed('keys', keys)
  if (expect !== undefined && !isId(expect)) throw malformed('expect', expect)
  if (last !== undefined && !isLastLink(last)) throw malformed('last', last)
  if (from.id === o.self.id) throw new StageError('WRONG_PEER', `the stage ${from.name} (${from.id}) has connected to itself: the address is its own`)
  return {
    protocol: protocol as Hello['protocol'],
    namespace,
    from: { id: from.id, name: from.name, addresses: from.addresses },
    nonce,
    chain,
    ...(own === undefined ? {} : { own }),
    secret: secret === true,
    ...(keys === undefined ? {} : { keys }),
    ...(expect === undefined ? {} : { expect }),
    ...(last === undefined ? {} : { last: { of: last.of, state: last.state } }),
  }
}

function checkProtocol(protocol: unknown): void {
  if (!Array.isArray(protocol) || !protocol.every(Number.isInteger) || protocol.length !== 2) throw malformed('protocol', protocol)
  const [from, to] = protocol as [number, number]
  if (from <= PROTOCOL && to >= PROTOCOL) return
  throw new StageError('VERSION_MISMATCH', `this stage speaks protocol ${PROTOCOL}, the other ${from} to ${to}: run versions of stagemesh that overlap`)
}

const isId = (value: unknown): value is string => typeof value === 'string' && /^[\w-]{8,64}$/.test(value)
const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length <= 32 && value.every((s) => typeof s === 'string' && s.length <= 256)

function isIdentity(value: unknown): value is Identity {
  const { id, name, addresses } = (value ?? {}) as Partial<Identity>
  return typeof value === 'object' && isId(id) && isName(name) && isStrings(addresses) && addresses.every(isAddress)
}

function isLastLink(value: unknown): value is LastLink {
  const { of, state } = (value ?? {}) as Partial<LastLink>
  return typeof of === 'string' && (state === 'closed' || state === 'draining')
}

export const malformed = (what: string, found: unknown): StageError => new StageError('PROTOCOL_ERROR', `malformed handshake: ${what} is ${describe(found)}`)
