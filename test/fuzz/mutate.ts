import type { Chance } from './chance.js'

/** Lengths, counts and ids at which the behaviour changes. */
export const EDGES = [0, 1, 2, 4, 15, 16, 31, 32, 63, 64, 65, 127, 128, 255, 256, 4095, 4096, 65_535, 65_536, 65_537, 250_000, 250_001, 2 ** 22, 2 ** 24 - 1, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1]

type Mutation = (bytes: Buffer, chance: Chance, others: readonly Buffer[]) => Buffer

const at = (bytes: Buffer, chance: Chance): number => chance.below(bytes.length + 1)
const splice = (bytes: Buffer, from: number, to: number, between: Buffer): Buffer => Buffer.concat([bytes.subarray(0, from), between, bytes.subarray(to)])

const mutations: readonly Mutation[] = [
  (bytes, chance) => { if (bytes.length > 0) bytes[chance.below(bytes.length)] ^= 1 << chance.below(8); return bytes },
  (bytes, chance) => { if (bytes.length > 0) bytes[chance.below(bytes.length)] = chance.below(256); return bytes },
  (bytes, chance) => { if (bytes.length > 0) bytes[chance.below(bytes.length)] = chance.pick([0, 1, 0x7f, 0x80, 0x90, 0xc1, 0xc4, 0xc7, 0xc9, 0xd4, 0xdc, 0xdd, 0xdf, 0xff, 0x22, 0x5b, 0x7b, 0x5c, 0x24, 0x2c]); return bytes },
  (bytes, chance) => { if (bytes.length >= 4) bytes.writeUInt32BE(chance.pick(EDGES), chance.below(bytes.length - 3)); return bytes },
  (bytes, chance) => { if (bytes.length >= 2) bytes.writeUInt16BE(chance.pick(EDGES) & 0xffff, chance.below(bytes.length - 1)); return bytes },
  (bytes, chance) => bytes.subarray(0, at(bytes, chance)),
  (bytes, chance) => bytes.subarray(at(bytes, chance)),
  (bytes, chance) => { const from = at(bytes, chance); return splice(bytes, from, from, chance.bytes(chance.few(8))) },
  (bytes, chance) => { const from = at(bytes, chance); return splice(bytes, from, Math.min(bytes.length, from + 1 + chance.few(8)), Buffer.alloc(0)) },
  (bytes, chance) => { const from = at(bytes, chance); const piece = bytes.subarray(from, from + 1 + chance.few(32)); return splice(bytes, from, from, Buffer.concat(new Array<Buffer>(1 + chance.few(6)).fill(piece))) },
  (bytes, chance, others) => { const other = chance.pick(others); const from = at(other, chance); return splice(bytes, at(bytes, chance), bytes.length, other.subarray(from)) },
  (bytes, chance, others) => { const other = chance.pick(others); const place = at(bytes, chance); const from = at(other, chance); return splice(bytes, place, place, other.subarray(from, from + chance.few(64))) },
]

/** @param others  inputs from which pieces are taken; not empty */
export function mutated(bytes: Buffer, chance: Chance, others: readonly Buffer[]): Buffer {
  let result: Buffer = Buffer.from(bytes)
  for (let n = chance.below(4); n >= 0; n--) result = Buffer.from(chance.pick(mutations)(result, chance, others))
  return result
}
