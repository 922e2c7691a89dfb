import { MemoryInterface, MemoryNetwork } from '../../interfaces/memory.js'
import type { Duplex } from 'node:stream'
import { StageError } from '../../src/errors.js'
import { handshake, type HandshakeOptions } from '../../src/handshake.js'
import type { Random } from '../../src/types.js'
import { CHAIN, hello, packet } from '../helpers/raw-peer.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'
import { Chance } from './chance.js'
import { EDGES, mutated } from './mutate.js'
import type { Input, Subject } from './subject.js'
import { text, value } from './values.js'

const SECRET = 'a secret of more than sixteen bytes'
/** The longest time that a handshake and its last messages take. */
const LONG_MS = 8000

/** Gives bytes to either end of a handshake. */
export function handshakeSubject(weight: number): Subject {
  return {
    name: 'handshake', weight,
    make: (chance, corpus) => ({ bytes: chance.once(3) ? mutated(chance.pick(corpus), chance, corpus) : chance.once(3) ? mutated(greeting(chance), chance, corpus) : greeting(chance) }),
    run,
  }
}

/** HELLO, PROOF, verdict and BUILT, each with one or two fields that are wrong. */
function greeting(chance: Chance): Buffer {
  const spoiled = (message: Record<string, unknown>): Record<string, unknown> => {
    if (!chance.once(3)) return message
    const field = chance.pick([...Object.keys(message), 'expect', 'last', 'error', 'gone', 'own', '__proto__'])
    const given = chance.once(2) ? plain(chance, 3) : chance.pick<unknown>([null, '', 0, -1, [], {}, [1], 'x'.repeat(5000), { of: 'x', state: 'closed' }, { id: 'x' }, [[[[]]]], true])
    return Object.defineProperty({ ...message }, field, { value: given, enumerable: true })
  }
  const said = [
    hello({ ...(chance.once(4) ? { expect: 'victim-0001' } : {}), ...(chance.once(4) ? { last: { of: 'n'.repeat(43), state: chance.pick(['closed', 'draining']) } } : {}), secret: chance.once(4), ...(chance.once(2) ? { own: chance.once(2) } : {}) }),
    { proof: chance.once(3) ? 'p'.repeat(43) : '', ...(chance.once(8) ? { gone: true } : {}) },
    { verdict: chance.pick<unknown>([{ ready: 1 }, { ready: NaN }, { duplicate: 'x' }, {}, null]) },
    ...(chance.once(2) ? [{ built: chance.pick<unknown>([true, true, true, false, 'true', null]) }] : []),
    ...(chance.once(6) ? [{ error: { code: chance.pick<unknown>(['WRONG_PEER', 'CHAIN_MISMATCH', 'CLOSED', '__proto__', 5, null]), message: plain(chance, 2) } }] : []),
  ]
  return Buffer.concat(said.slice(0, 1 + chance.below(said.length)).map((one) => {
    const bytes = chance.once(12) ? packet(chance.pick(['', '[]', 'null', '5', '"x"', '{', '['.repeat(4000), '{"a":'.repeat(800), text(chance)])) : packet(spoiled(one))
    if (chance.once(20)) bytes.writeUInt32BE(chance.pick(EDGES), 4)
    return bytes
  }))
}

function plain(chance: Chance, depth: number): unknown {
  const one = value(chance, depth, false)
  try {
    return JSON.parse(JSON.stringify(one) ?? 'null')
  } catch {
    return text(chance) // a bigint
  }
}

async function run({ bytes }: Input): Promise<string | undefined> {
  const chance = new Chance(bytes.length, bytes[bytes.length >> 1] ?? 0)
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock })
  const listener = new MemoryInterface(network)
  let accepted: Duplex | undefined
  await listener.listen((stream) => { accepted = stream })
  const dialled = await new MemoryInterface(network).connect(listener.address, new AbortController().signal)
  const [ours, theirs] = chance.once(2) ? [dialled, accepted!] : [accepted!, dialled]
  for (const one of [ours, theirs]) one.on('error', () => {})
  theirs.resume()
  let settled = false
  let broken: string | undefined
  handshake(options(ours, ours === dialled, chance, clock)).then(() => { settled = true }, (error: unknown) => {
    settled = true
    if (!(error instanceof StageError)) broken = `it failed with ${String(error)}`
    else if (!error.message.length || error.message.length > 3000) broken = `an error of ${error.message.length} characters`
  })
  for (let at = 0; at < bytes.length;) {
    const size = chance.once(2) ? bytes.length : 1 + chance.below(60)
    theirs.write(bytes.subarray(at, at += size))
    if (chance.once(8)) await settle(1)
  }
  await settle(2)
  if (chance.once(2)) theirs.end()
  await clock.run(LONG_MS)
  await settle(2)
  if (!settled) broken ??= 'it did not settle'
  ours.destroy()
  theirs.destroy()
  await settle(1)
  return broken
}

function options(stream: Duplex, dialled: boolean, chance: Chance, clock: VirtualClock): HandshakeOptions {
  const random: Random = { bytes: (size) => chance.bytes(size), float: () => chance.float() }
  return {
    stream, dialled, clock, random, namespace: 'default', chain: CHAIN, own: chance.once(2),
    self: { id: chance.pick(['victim-0001', 'aaaaaaaa']), name: 'victim', addresses: [] },
    secret: chance.once(4) ? SECRET : undefined, expect: chance.once(4) ? 'mallory-0001' : undefined,
    isGone: () => chance.once(20), ongone: () => {}, onproven: () => {}, decide: () => ({ ready: 1 }),
    build: () => { if (chance.once(4)) throw new StageError('BAD_ARGUMENT', 'victim could not build its chain') },
  }
}
