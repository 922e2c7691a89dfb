/**
 * Writes the stored inputs: `node dist/test/fuzz/write-corpus.js`. An input that was found once is added here, under a name
 * that describes it.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hello, packet } from '../helpers/raw-peer.js'
import { Writer } from '../../src/writer.js'
import { msgpack, type Codec } from '../../wrappers/codec.js'
import { json } from '../../wrappers/json.js'
import { Chance } from './chance.js'
import { folder } from './corpus.js'
import { conversation } from './messages.js'
import { functionOf, handleOf, standIns, streamOf } from './stand-ins.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

const values: Record<string, unknown> = {
  'a-usual-object': { id: 12345, name: 'bob miller', tags: ['a', 'b'], on: true, nested: { x: 1.5, y: null, z: undefined } },
  'every-kind-of-leaf': [null, undefined, true, NaN, -0, 2 ** 53, -40_000, 2n ** 70n, -1n, 'é', '😀', Buffer.from('abc'), new Float64Array(2), new DataView(new ArrayBuffer(3)), new Date(1e12), new Date(NaN)],
  'map-and-set-in-each-other': new Map<unknown, unknown>([[{ a: 1 }, new Set([1, new Map([[null, []]])])], ['__proto__', 1]]),
  'errors-with-causes': Object.assign(new Error('x', { cause: new TypeError('y', { cause: 'z' }) }), { code: 'E' }),
  'errors-with-properties': Object.assign(new AggregateError([new Error('a', { cause: 1 }), 2], 'many'), { code: 5, errno: -2, at: { line: 3 }, inner: Object.assign(new RangeError('b'), { x: [1] }) }),
  'references': [handleOf('players.1'), { a: handleOf('') }, new Map([[handleOf('ünï'), handleOf('x'.repeat(512))]])],
  'functions-and-streams': [functionOf(1), { f: functionOf(2) }, streamOf(3, 1), streamOf(5, 2), streamOf(7, 5)],
  'names-that-every-object-has': { constructor: 1, prototype: 2, toString: 3, hasOwnProperty: 4, valueOf: 5, then: 6 },
  'names-that-look-like-tags': [{ $date: 1 }, { $$date: 1 }, { $: 1 }, { $map: [], more: 1 }],
  'names-of-31-and-32-bytes': { ['k'.repeat(31)]: 1, ['k'.repeat(32)]: 2, '': 3 },
  'a-wide-object': Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i])),
  'nested-64-deep': JSON.parse('['.repeat(64) + ']'.repeat(64)),
  'typed-arrays': [new Int8Array(3), new Uint8ClampedArray(3), new Int16Array(3), new Uint32Array(3), new Float32Array(3), new BigInt64Array(3), new ArrayBuffer(5)],
  'strings-of-every-width': ['', 'a'.repeat(31), 'a'.repeat(32), 'a'.repeat(255), 'a'.repeat(256), '\0"\\\u2028'],
}

const msgpacks: Record<string, Buffer> = {
  'lengths-that-lie': hex('96 db ffffffff dc ffff dd ffffffff df ffffffff c9 ffffffff c6 ffffffff'),
  'extensions-that-lie': hex('94 d6 05 dd ffffffff d6 06 dd 0003d090 d4 07 9f c7 ff 02'),
  'a-key-that-is-proto': Buffer.concat([hex('81 a9'), Buffer.from('__proto__'), hex('81 a1 78 01')]),
  'a-key-that-is-no-string': hex('82 01 02 90 03'),
  'a-key-twice': hex('82 a1 61 01 a1 61 02'),
  'nested-65-deep': Buffer.concat([Buffer.alloc(65, 0x91), hex('c0')]),
  'extension-of-msgpacks-own': hex('92 d6 ff 00000000 d7 ff 0000000000000000'),
  'a-stream-of-no-kind': hex('92 c7 05 08 00 00000007 c7 05 08 07 00000007'),
  'bytes-that-are-not-whole-elements': hex('d5 04 05 00'),
  'utf8-cut-short': hex('92 a2 c328 a3 f09f98'),
  'references-that-lie': hex('93 d4 09 ff c7 02 09 61 c8 ffff 09 61'),
  'properties-that-forge': Buffer.concat([hex('c7 11 07 95 a0 a0 c0 a9'), Buffer.from('__proto__'), hex('80')]),
  'an-empty-bigint': hex('92 d4 02 00 c7 01 02 01'),
}

const jsons: Record<string, string> = {
  'a-key-that-is-proto': '{"a":{"__proto__":{"x":1}},"\\u005f_proto__":1}',
  'tags-that-are-wrong': '[{"$later":1},{"$map":[1]},{"$set":{}},{"$error":["x"]},{"$date":"5"},{"$bigint":"0x1"},{"$buffer":"a"},{"$binary":["Object",""]}]',
  'tags-in-tags': '{"$map":[{"$set":[{"$error":["a","b",null,{"$date":null}]}]},{"$buffer":"YWJj"}]}',
  'tags-of-tags': '{"$date":{"$number":"NaN"}}',
  'lone-surrogates': '["\\ud800",{"\\udc00":"\\ud83d\\ude00"}]',
  'backslashes-and-quotes': '["\\\\\\"[{,","\\\\\\\\",",,,[[["]',
  'numbers-at-the-edge': '[1e999,-1e999,-0,0.1e-400,9007199254740993,123456789012345678901234567890]',
  'keys-that-are-numbers': '{"4294967295":1,"0":2,"-1":3,"1e3":4}',
  'nested-65-deep': '['.repeat(65) + ']'.repeat(65),
  'brackets-that-do-not-match': '[{]}',
  'white-space': ' \n\t[ 1 , { "a" : [ ] } ] \r\n',
}

const frame = (body: string): Buffer => {
  const payload = hex(body)
  const head = Buffer.alloc(4)
  head.writeUInt32BE(payload.length)
  return Buffer.concat([head, payload])
}
const echo = '04 6563686f'

const links: Record<string, Buffer> = {
  'a-call': frame(`01 00000001 00001388 00 ${echo} 91 01`),
  'a-call-that-carries': frame(`01 00000001 00001388 01 000d 01 01 0003 612331 01 01 61 0001 62 ${echo} 90`),
  'a-call-that-carries-too-much': frame(`01 00000001 00001388 01 ffff 01 00 01 01 61 ffff ${echo} 90`),
  'a-call-twice': Buffer.concat([frame(`01 00000001 00001388 00 ${echo} 90`), frame(`01 00000001 00001388 00 ${echo} 90`)]),
  'a-call-with-one-of-our-ids': frame(`01 00000002 00001388 00 ${echo} 90`),
  'a-call-in-two-parts': Buffer.concat([frame('0f 00000001 00001388 00'), frame(`01 00000001 ${echo} 90`)]),
  'a-call-of-no-deadline': frame(`01 00000001 00000000 00 ${echo} 90`),
  'arguments-that-are-no-list': frame(`01 00000001 00001388 00 ${echo} 80`),
  'answers-to-nobody': Buffer.concat([frame('04 00000064 c0'), frame('05 00000002 80'), frame('06 00000063')]),
  'a-stream-and-its-end': Buffer.concat([frame('0a 00000001'), frame('0b 00000001 616263'), frame('0c 00000001')]),
  'data-behind-the-end': Buffer.concat([frame('0a 00000001'), frame('0c 00000001'), frame('0b 00000001 616263')]),
  'more-credit-than-was-used': Buffer.concat([frame('0a 00000001'), frame('0e 00000001 ffffffff'), frame('0e 00000000 ffffffff')]),
  'a-stream-in-arguments': Buffer.concat([frame('01 00000001 00001388 00 04 72656164 91 c7 05 08 02 00000003'), frame('0b 00000003 616263'), frame('0c 00000003')]),
  'one-stream-twice-in-arguments': frame('01 00000001 00001388 00 04 72656164 92 c7 05 08 02 00000003 c7 05 08 05 00000003'),
  'goodbye-and-more': Buffer.concat([frame('09 00000001'), frame(`01 00000001 00001388 00 ${echo} 90`)]),
  'methods-that-are-none': frame('08 00000000 82 a5 6164646564 91 01 a7 72656d6f766564 90'),
  'a-frame-too-large': hex('00 010001'),
  'frames-of-unknown-kinds': hex('03 000000 ff 000000'),
  'a-ping-with-a-payload': hex('01 000001 00'),
  'pongs-that-nobody-asked-for': hex('02000000 02000000 01000000'),
  'an-empty-message': hex('00 000000'),
}

const handshakes: Record<string, Buffer> = {
  'hello-proof-verdict': Buffer.concat([packet(hello()), packet({ proof: '' }), packet({ verdict: { ready: 1 } })]),
  'a-chain-of-its-own': Buffer.concat([packet(hello({ own: true })), packet({ proof: '' }), packet({ verdict: { ready: 1 } }), packet({ built: true }), Buffer.from('and more')]),
  'a-chain-that-failed': Buffer.concat([packet(hello({ own: true })), packet({ proof: '' }), packet({ error: { code: 'CHAIN_MISMATCH', message: 'no' } })]),
  'an-error': packet({ error: { code: 'WRONG_PEER', message: 'no' } }),
  'another-version': packet(hello({ protocol: [2, 3] })),
  'another-namespace': packet(hello({ namespace: 'other' })),
  'another-chain': Buffer.concat([packet(hello({ chain: [] })), packet({ proof: '' })]),
  'a-secret': Buffer.concat([packet(hello({ secret: true })), packet({ proof: 'p'.repeat(43) })]),
  'gone': Buffer.concat([packet(hello()), packet({ proof: '', gone: true })]),
  'of-a-web-browser': Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
  'of-tls': hex('16 03 01 00 05 01 00 00 01 00'),
  'a-length-that-lies': hex('53544731 ffffffff'),
  'an-empty-one': hex('53544731 00000000'),
  'a-list': packet('[]'),
  'proto': packet('{"__proto__":{"ready":1},"constructor":{"prototype":1}}'),
}

function encoded(codec: Codec, one: unknown): Buffer {
  const out = new Writer(64)
  codec.encode(one, out, standIns)
  return Buffer.from(out.bytes.subarray(0, out.at))
}

function write(subject: string, ending: string, files: Record<string, Buffer | string>): void {
  rmSync(join(folder, subject), { recursive: true, force: true })
  mkdirSync(join(folder, subject), { recursive: true })
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, subject, `${name}.${ending}`), content)
}

const all = (codec: Codec): Record<string, Buffer> => Object.fromEntries(Object.entries(values).map(([name, one]) => [name, encoded(codec, one)]))
const talks = (codec: Codec): Record<string, Buffer> => Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`a-conversation-${i}`, conversation(new Chance(99, i), codec)]))

write('msgpack', 'bin', { ...all(msgpack()), ...msgpacks })
write('json', 'json', { ...all(json()), ...jsons })
write('link', 'bin', { ...links, ...talks(msgpack()) })
write('link-json', 'bin', talks(json()))
write('handshake', 'bin', handshakes)
