/**
 * Messages that a peer may send over a link, and messages that it may not: a table of messages, and random sequences of
 * them.
 */
import * as M from '../../wrappers/rpc/wire/messages.js'
import { Writer } from '../../src/writer.js'
import type { Codec } from '../../wrappers/codec.js'
import type { Chance } from './chance.js'
import { EDGES } from './mutate.js'
import { functionOf, standIns } from './stand-ins.js'
import { carried } from '../helpers/raw-peer.js'
import { value } from './values.js'

/** The peer's knowledge of the link so far. The peer dialled: its ids are odd, ours are even. */
interface Talk {
  readonly chance: Chance
  readonly codec: Codec
  next: number
  readonly calls: number[]
  readonly streams: number[]
}

type Field = (talk: Talk) => Buffer
type Id = (talk: Talk) => number

/** Methods that the other end provides, and some that it does not provide. */
export const METHODS = ['echo', 'later', 'fail', 'invoke', 'rows', 'read', 'hang', 'both'] as const

const u32 = (number: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(number >>> 0)
  return bytes
}
/** The context of a call: mostly empty. */
const context: Field = ({ chance }) => {
  if (!chance.once(3)) return Buffer.from([chance.once(20) ? chance.below(256) : 0])
  const text = (): string => chance.once(10) ? chance.pick(['__proto__', '', 'x'.repeat(1200), 'é\n', 'Big']) : chance.pick(['a', 'tenant', 'players.42#x.1'])
  const block = carried({
    depth: chance.once(8) ? chance.below(256) : chance.below(4),
    chain: Array.from({ length: chance.few(chance.once(10) ? 40 : 4) }, text),
    headers: Array.from({ length: chance.few(chance.once(10) ? 70 : 4) }, (_, i) => [chance.once(5) ? text() : `h${i}`, chance.once(20) ? 'x'.repeat(9000) : text()] as const),
  })
  return chance.once(10) ? block.subarray(0, chance.below(block.length)) : block
}
const ms: Field = ({ chance }) => u32(chance.once(6) ? chance.pick(EDGES) : 1 + chance.below(20_000))
const count: Field = ({ chance }) => u32(chance.once(3) ? chance.pick(EDGES) : chance.below(100_000))
const reference: Field = ({ chance }) => u32(chance.once(6) ? chance.pick(EDGES) : 1 + chance.below(3))
const method: Field = ({ chance }) => {
  const name = Buffer.from(chance.once(8) ? chance.pick(['then', '__proto__', 'constructor', '', 'x'.repeat(255), 'é']) : chance.pick(METHODS))
  return Buffer.concat([Buffer.from([name.length]), name])
}
const raw: Field = ({ chance }) => chance.bytes(chance.once(30) ? 20_000 : chance.few(200))

function encoded(talk: Talk, one: unknown): Buffer {
  const out = new Writer(64)
  talk.codec.encode(one, out, {
    ...standIns,
    offer: () => {
      const id = talk.chance.once(5) ? talk.chance.pick(talk.streams.length > 0 ? talk.streams : [0]) : fresh(talk)
      talk.streams.push(id)
      return id
    },
  })
  return out.bytes.subarray(0, out.at)
}
const any: Field = (talk) => encoded(talk, value(talk.chance, 3))
const args: Field = (talk) => encoded(talk, talk.chance.once(10) ? value(talk.chance, 2) : Array.from({ length: talk.chance.below(4) }, () => (talk.chance.once(6) ? functionOf(talk.chance.below(4)) : value(talk.chance, 3))))
const error: Field = (talk) => encoded(talk, talk.chance.once(4) ? value(talk.chance, 3) : { code: talk.chance.pick(['REMOTE_ERROR', 'NO_SUCH_METHOD', 'DISCONNECTED', 'nonsense', 5]), message: 'x', executed: talk.chance.pick(['no', 'yes', 'unknown', 5]), cause: value(talk.chance, 2) })
const names: Field = (talk) => encoded(talk, talk.chance.once(6) ? value(talk.chance, 2) : { added: [...METHODS].slice(talk.chance.below(8)), removed: ['echo'], ...(talk.chance.once(3) ? { idempotent: talk.chance.once(6) ? value(talk.chance, 2) : [...METHODS].slice(talk.chance.below(8)) } : {}) })
/** An item of an iterable or a stream of objects: kind, length, value. */
const item: Field = (talk) => {
  const body = talk.chance.once(4) ? talk.chance.bytes(talk.chance.few(20)) : encoded(talk, value(talk.chance, 2, false))
  return Buffer.concat([Buffer.from([talk.chance.once(6) ? talk.chance.below(256) : talk.chance.below(2)]), u32(talk.chance.once(10) ? talk.chance.pick(EDGES) : body.length), body])
}

const fresh: Id = (talk) => (talk.next += 2) - 2
const call: Id = (talk) => { const id = fresh(talk); talk.calls.push(id); return id }
const opened: Id = (talk) => { const id = fresh(talk); talk.streams.push(id); return id }
const ofOurs: Id = ({ chance, calls }) => (calls.length > 0 && !chance.once(4) ? chance.pick(calls) : chance.below(12))
/** Small even numbers are ids that the other end used for its own calls and streams. */
const ofTheirs: Id = ({ chance }) => 2 * (1 + chance.below(5))
const stream: Id = ({ chance, streams }) => (chance.once(2) ? chance.pick([0, 2, 4, 6, 8, 10]) : streams.length > 0 ? chance.pick(streams) : chance.below(12))
const none: Id = ({ chance }) => (chance.once(5) ? chance.pick(EDGES) : 0)

/** A message type of the protocol: its number, the owner of its id, and its fields. A new type is one more line here. */
const table: readonly { type: number; id: Id; rest: readonly Field[]; weight?: number }[] = [
  { type: M.CALL, id: call, rest: [ms, context, method, args], weight: 6 },
  { type: M.REF, id: call, rest: [ms, context, reference, args], weight: 2 },
  { type: M.CAST, id: none, rest: [context, method, args] },
  { type: M.RESULT, id: ofTheirs, rest: [any], weight: 2 },
  { type: M.ERROR, id: ofTheirs, rest: [error] },
  { type: M.CANCEL, id: ofOurs, rest: [] },
  { type: M.RELEASE, id: ofFunction, rest: [count] },
  { type: M.METHODS, id: none, rest: [names] },
  { type: M.GOAWAY, id: ({ chance }) => chance.below(2), rest: [] },
  { type: M.OPEN, id: opened, rest: [], weight: 2 },
  { type: M.DATA, id: stream, rest: [raw], weight: 4 },
  { type: M.DATA, id: stream, rest: [item, item], weight: 3 },
  { type: M.END, id: stream, rest: [] },
  { type: M.RESET, id: stream, rest: [error] },
  { type: M.UNWANTED, id: stream, rest: [] },
  { type: M.TOOK, id: stream, rest: [count] },
  { type: M.CREDIT, id: stream, rest: [count], weight: 2 },
  { type: M.PART, id: ofOurs, rest: [raw] },
  { type: M.ENDED, id: stream, rest: [] },
  { type: M.READ, id: none, rest: [count] },
  { type: M.START, id: stream, rest: [], weight: 2 },
]
const drawn = table.flatMap((row) => new Array<typeof row>(row.weight ?? 1).fill(row))

function ofFunction({ chance }: Talk): number {
  return chance.once(6) ? chance.pick(EDGES) : 1 + chance.below(3)
}

function message(talk: Talk): Buffer[] {
  const { chance } = talk
  const { type, id, rest } = chance.pick(drawn)
  const parts = [Buffer.from([chance.once(60) ? chance.below(256) : type]), u32(chance.once(40) ? chance.pick(EDGES) : id(talk)), ...rest.map((field) => field(talk))]
  const whole = Buffer.concat(chance.once(40) ? parts.slice(0, chance.below(parts.length)) : parts)
  if (!chance.once(12) || whole.length < M.HEAD + 3) return [whole]
  // the message is cut into parts, regardless of its size
  const cut = M.HEAD + 1 + chance.below(whole.length - M.HEAD)
  return [Buffer.concat([Buffer.from([M.PART]), whole.subarray(1, cut)]), Buffer.concat([whole.subarray(0, M.HEAD), whole.subarray(cut)])]
}

function framed(chance: Chance, payload: Buffer): Buffer {
  const head = u32(chance.once(150) ? chance.pick(EDGES) : payload.length)
  if (chance.once(100)) head[0] = chance.below(5)
  return Buffer.concat([head, payload])
}

const PING = Buffer.from([1, 0, 0, 0])
const PONG = Buffer.from([2, 0, 0, 0])

/** The messages of one peer on one link. */
export function conversation(chance: Chance, codec: Codec): Buffer {
  const talk: Talk = { chance, codec, next: 1, calls: [], streams: [] }
  const frames: Buffer[] = []
  for (let n = 1 + chance.few(12); n > 0; n--) {
    if (chance.once(15)) frames.push(chance.once(2) ? PING : PONG)
    else for (const one of message(talk)) frames.push(framed(chance, one))
  }
  return Buffer.concat(frames)
}
