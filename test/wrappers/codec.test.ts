/** The codec msgpack: the suite of codecs, and its bytes. */
import { Duplex, PassThrough, Readable, Stream, Writable } from 'node:stream'
import test from 'ava'
import duplexify from 'duplexify'
import through from 'through2'
import { StageError } from '../../src/errors.js'
import { msgpack, streamKind, type Refs } from '../../wrappers/codec.js'
import { codecKit, noRefs } from '../suites/codec-kit.js'
import { codecSuite } from '../suites/codec.js'

codecSuite(test, msgpack, { name: 'msgpack' })

const { encode, decode, trip, malformed } = codecKit(msgpack)
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

// ── what it looks like ──────────────────────────────────────────────────────────────────────────────────────────

test('the codec says its name', (t) => {
  t.is(msgpack().name, 'msgpack')
})

test('integers are as short as msgpack has them', (t) => {
  const lengths = [127, 255, 65535, 2 ** 32 - 1, 2 ** 32, -32, -128, -32768, -(2 ** 31), -(2 ** 31) - 1].map((value) => encode(value).length)
  t.deepEqual(lengths, [1, 2, 3, 5, 9, 1, 2, 3, 5, 9])
})

test('elements are little-endian on the wire', (t) => {
  t.is(encode(new Uint16Array([0x1234])).toString('hex'), 'c70304063412')
})

// ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────

test('kinds of streams', (t) => {
  class Flow { // as streamx makes them: no class of Node's, and no object mode that could be asked for
    on(): void {}
    write(): void {}
    end(): void {}
  }
  class Old extends Stream { // legacy, as readable-stream before 1 had them
    readable = true
    write(): void {}
    end(): void {}
  }
  class Source {
    on(): void {}
    pipe(): void {}
    read(): void {}
    get _readableState() { return { objectMode: true } }
  }
  const sided = (options: { readable?: boolean; writable?: boolean }): Duplex => new Duplex(options as object)
  const kinds: [object, number][] = [
    [(async function* () {})(), 3], [{ async *[Symbol.asyncIterator]() {} }, 3], [Readable.from([]), 2], [new Readable({ read() {} }), 1],
    [new Writable(), 4], [new PassThrough(), 5], [duplexify(), 5], [through(), 5], [new Flow(), 4], [new Source(), 2],
    [new Writable({ objectMode: true }), 8], [new PassThrough({ objectMode: true }), 10], [new PassThrough({ readableObjectMode: true }), 6],
    [new PassThrough({ writableObjectMode: true }), 9], [new PassThrough().end(), 1], [sided({ writable: false }), 1],
    [sided({ readable: false }), 4], [sided({ readable: false, writable: false }), 5], [new Old(), 0],
    [new WritableStream(), 8], [new TransformStream(), 10], [new Blob([]).stream(), 3],
    [{}, 0], [[], 0], [new Map(), 0], [{ pipe() {} }, 0], [{ [Symbol.asyncIterator]: 5 }, 0], [new Blob([]), 0],
  ]
  for (const [value, kind] of kinds) t.is(streamKind(value), kind as 0)
})

test('streams travel as kind and number', (t) => {
  const codec = msgpack()
  const offered: unknown[] = []
  const refs: Refs = { ...noRefs, offer: (stream, kind) => offered.push([stream, kind]) + 0xffff_fff0, accept: (id, kind) => `${kind} of ${id}` }
  const values = (async function* () {})()
  const readable = new Readable({ read() {} })
  const bytes = encode({ values, list: [readable] }, codec, refs)
  t.deepEqual(offered, [[values, 3], [readable, 1]])
  t.deepEqual(codec.decode(bytes, 0, bytes.length, refs), { values: '3 of 4294967281', list: ['1 of 4294967282'] })
  t.is(encode(values, codec, { ...refs, offer: () => 7 }).toString('hex'), 'c705080300000007')
  malformed(t, hex('c7 05 08 01 00000007'), /where none is allowed/)
  for (const kind of ['00', '07', '0b', '0c', 'ff']) malformed(t, hex(`c7 05 08 ${kind} 00000007`), /of an unknown kind/)
  malformed(t, hex('c7 06 08 01 00000007 00'), /where none is allowed|wrong length/)
  t.throws(() => codec.decode(hex('c7 06 08 01 00000007 00'), 0, 9, refs), { message: /wrong length/ })
})

// ── what is refused on the way in ───────────────────────────────────────────────────────────────────────────────

test('a message is exactly one value', (t) => {
  malformed(t, hex(''), /ends in the middle/)
  malformed(t, hex('c0 c0'), /bytes after the value/)
  malformed(t, hex('93 01 02'), /ends in the middle/)
  malformed(t, hex('c1'), /0xc1/)
  t.throws(() => msgpack().decode(hex('c0'), 0, 2, noRefs), { message: /ends in the middle/ })
})

test('what others may send, though we never do', (t) => {
  t.is(decode(hex('ca 3fc00000')), 1.5)
  t.is(decode(hex('cf ffffffffffffffff')), 0xffff_ffff_ffff_ffffn)
  t.is(decode(hex('d3 8000000000000000')), -(2n ** 63n))
  t.is(decode(hex('d9 01 61')), 'a')
  t.deepEqual(decode(hex('81 d9 01 61 dd 00000001 d2 ffffffff')), { a: [-1] })
  t.is(decode(hex('a2 c3 28')), '\ufffd(')
  t.deepEqual(decode(hex('82 a1 61 01 a1 61 02')), { a: 2 })
})

test('P24: names of properties', (t) => {
  malformed(t, encode('__proto__').length === 10 ? Buffer.concat([hex('81'), encode('__proto__'), hex('80')]) : hex(''), /__proto__/)
  malformed(t, Buffer.concat([hex('81 d9 09'), Buffer.from('__proto__'), hex('80')]), /__proto__/)
  malformed(t, hex('81 01 01'), /not a string/)
  malformed(t, hex('81 c0 01'), /not a string/)
  malformed(t, hex('81 80 01'), /not a string/)
  t.deepEqual(trip(new Map([['__proto__', 1]])), new Map([['__proto__', 1]]))
  t.is(({} as { polluted?: unknown }).polluted, undefined)
})

test('extensions', (t) => {
  malformed(t, hex('d4 0a 00'), /unknown extension type 10/)
  malformed(t, hex('d6 ff 00000000'), /unknown extension type 255/)
  malformed(t, hex('d5 00 0000'), /wrong length/)
  malformed(t, hex('d5 01 0000'), /middle/)
  malformed(t, hex('d7 01 0000000000000000'), /wrong length/)
  malformed(t, hex('d6 03 00000000'), /middle/)
  malformed(t, hex('d4 02 00'), /bigint/)
  malformed(t, Buffer.concat([hex('c9 00100002 02 00'), Buffer.alloc(1024 * 1024 + 1, 1)]), /bigint is empty or too long/)
  malformed(t, hex('d5 04 0e00'), /of an unknown kind/)
  malformed(t, hex('d5 04 0500'), /whole number of elements/)
  malformed(t, hex('d4 05 80'), /contain an array/)
  malformed(t, hex('d5 05 9101'), /key without a value/)
  malformed(t, hex('d5 06 9101 01'), /bytes after the value/)
  malformed(t, hex('d5 06 9201 01'), /wrong length/)
  const refs = { ...noRefs, resolve: (text: string) => ({ text }) }
  t.deepEqual(msgpack().decode(hex('c7 02 09 61 62'), 0, 5, refs), { text: 'ab' })
  malformed(t, Buffer.concat([hex('c8 0401 09'), Buffer.alloc(1025, 'x')]), /reference is too long/, {}, refs)
  malformed(t, Buffer.concat([hex('c8 0400 09'), Buffer.alloc(1024, 0xff)]), /reference is too long/, {}, refs)
  malformed(t, hex('c7 05 09 61'), /middle/, {}, refs)
  malformed(t, hex('c7 01 09 61'), /where none is allowed/)
  malformed(t, hex('d4 07 90'), /two or three parts/)
  malformed(t, hex('c7 05 07 94 a0 a0 c0 c0'), /two or three parts/)
  malformed(t, hex(`c7 6f 07 dc 0049 a0 a0 00 ${'a1 61 01'.repeat(35)}`), /two or three parts/)
  malformed(t, hex('c7 06 07 95 a0 a0 00 01 01'), /a property of an Error has an invalid name/)
  for (const name of ['__proto__', 'stack', 'message', 'name', 'code', 'toString', 'toJSON', 'then']) {
    const stand = 'x'.repeat(name.length)
    const bytes = encode(Object.assign(new Error(''), { [stand]: 1 }))
    bytes.write(name, bytes.indexOf(stand))
    malformed(t, bytes, /a property of an Error has an invalid name/)
  }
  malformed(t, hex('c7 03 07 92 01 02'), /not strings/)
  malformed(t, hex('c7 05 07 93 a0 a0 90 c0'), /neither string nor number/)
  const error = t.throws(() => msgpack().decode(hex('d6 01 00000000'), 0, 6, { ...noRefs, take: () => { throw new Error('unknown') } }), { instanceOf: StageError })
  t.like(error, { code: 'PROTOCOL_ERROR', cause: { message: 'unknown' } })
})

test('P24: lengths that lie allocate nothing', (t) => {
  const before = process.memoryUsage()
  for (const head of ['db', 'c6', 'dd', 'df', 'c9', 'd6 05 dd', 'd6 06 dd']) malformed(t, Buffer.concat([hex(`${head} ffffffff`), hex('00 01 02 03')]), /middle|wrong length|elements/)
  malformed(t, Buffer.concat([hex('dd 0003d091'), Buffer.alloc(300_000, 0xc0)]), /more than 250000 elements/)
  // nor where so many elements would be allowed
  for (const head of ['dd', 'df', 'd6 05 dd', 'd6 06 dd']) malformed(t, Buffer.concat([hex(`${head} 05f5e100`), hex('00 01 02 03')]), /middle|wrong length/, { maxNodes: 2 ** 40 })
  const after = process.memoryUsage()
  t.true(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers < 50e6)
})

test('P24: 4 MiB of empty maps are refused at 250 000 nodes', (t) => {
  // an array of arrays that each seem modest, so that only counting while decoding finds out
  const size = 4 * 1024 * 1024
  const bytes = Buffer.alloc(size, 0x80)
  const row = 60_000
  bytes.writeUInt32BE(hex('dc 0041 00').readUInt32BE(), 0)
  for (let i = 0; i < 65; i++) {
    bytes[3 + i * (row + 3)] = 0xdc
    bytes.writeUInt16BE(row, 4 + i * (row + 3))
  }
  const started = performance.now()
  malformed(t, bytes, /more than 250000 elements/)
  t.true(performance.now() - started < 500, `${performance.now() - started} ms`)
})

test('nesting 200 000 deep does not reach the stack', (t) => {
  malformed(t, Buffer.alloc(200_000, 0x91), /nested deeper than 64/)
  malformed(t, Buffer.from('81a161'.repeat(66_000), 'hex'), /nested deeper than 64/)
  malformed(t, Buffer.concat(Array.from({ length: 20_000 }, () => hex('c9 00000100 06 91'))), /nested deeper than 64|middle/)
  t.deepEqual(decode(Buffer.concat([Buffer.alloc(64, 0x91), hex('c0')])), trip(decode(Buffer.concat([Buffer.alloc(64, 0x91), hex('c0')]))))
  malformed(t, Buffer.concat([Buffer.alloc(65, 0x91), hex('c0')]), /nested deeper/)
  const causes = (count: number): Buffer => {
    let error = hex('c0')
    for (let i = 0; i < count; i++) {
      const head = Buffer.concat([hex('c9 00000000 07 95 a0 a0 00 a5'), Buffer.from('cause')])
      head.writeUInt32BE(error.length + 10, 1)
      error = Buffer.concat([head, error])
    }
    return error
  }
  t.notThrows(() => decode(causes(64)))
  malformed(t, causes(65), /nested deeper/)
})

test('many small things of the dear kinds stay cheap', (t) => {
  const kinds = { errors: hex('d5 07 92a0').toString('hex') + 'a0', empty: 'd40490', sets: 'd40690', views: 'd40401' }
  for (const [kind, one] of Object.entries(kinds)) {
    const count = kind === 'errors' ? 80_000 : 240_000
    const head = Buffer.alloc(5)
    head[0] = 0xdd
    head.writeUInt32BE(count, 1)
    const bytes = Buffer.concat([head, Buffer.from(one.repeat(count), 'hex')])
    // the best of three: the machine may be busy with something else
    let tookMs = Infinity
    for (let i = 0; i < 3; i++) {
      const started = performance.now()
      try {
        decode(bytes)
      } catch (error) {
        t.is((error as StageError).code, 'PROTOCOL_ERROR')
      }
      tookMs = Math.min(tookMs, performance.now() - started)
    }
    t.true(tookMs < 3000, `${kind}: ${tookMs} ms`)
  }
})
