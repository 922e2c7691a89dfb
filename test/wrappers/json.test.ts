/** The codec JSON: the suite of codecs, and its texts. */
import { Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { StageError, framing, msgpack, rpc, type StageOptions } from '../../src/index.js'
import { json } from '../../wrappers/json.js'
import type { CodecLimits, Refs } from '../../wrappers/codec.js'
import { realMesh } from '../helpers/mesh.js'
import { codecKit, noRefs } from '../suites/codec-kit.js'
import { codecSuite } from '../suites/codec.js'

codecSuite(test, json, { name: 'json' })

const { encode, decode, trip, malformed } = codecKit(json)
const text = (value: unknown): string => encode(value).toString()
const bad = (t: ExecutionContext, what: string | Buffer, message: RegExp, limits?: Partial<CodecLimits>, refs?: Refs) => malformed(t, Buffer.from(what as string), message, limits, refs)

// ── what it looks like ──────────────────────────────────────────────────────────────────────────────────────────

test('the codec says its name', (t) => {
  t.is(json().name, 'json')
  t.is(rpc({ codec: json() }).name, 'rpc:json')
})

test('what JSON can say is plain JSON', (t) => {
  const value = { id: 5, name: 'bob', list: [1.5, true, null, 'é'], inner: { '': {} } }
  t.is(text(value), JSON.stringify(value))
})

test('what it cannot say is an object with one property', (t) => {
  const forms: [unknown, string][] = [
    [undefined, '{"$undefined":0}'], [NaN, '{"$number":"NaN"}'], [-0, '{"$number":"-0"}'], [-Infinity, '{"$number":"-Infinity"}'],
    [-255n, '{"$bigint":"-ff"}'], [new Date(5), '{"$date":5}'], [new Date(NaN), '{"$date":null}'], [Buffer.from('abc'), '{"$buffer":"YWJj"}'],
    [new Uint16Array([0x1234]), '{"$binary":["Uint16Array","NBI="]}'], [new Map([['a', 1]]), '{"$map":["a",1]}'], [new Set([1]), '{"$set":[1]}'],
    [new RangeError('x'), '{"$error":["RangeError","x"]}'], [new Error('x', { cause: 1 }), '{"$error":["Error","x",null,"cause",1]}'], [() => {}, '{"$function":0}'],
  ]
  for (const [value, form] of forms) t.is(text(value), form)
})

test('an object that looks like a tag stays what it is', (t) => {
  for (const value of [{ $date: 5 }, { $: 1 }, { $$date: 5 }, { $$$: { $map: [] } }, { $date: 5, more: 1 }, { $unknown: undefined }, new Map([[{ $set: 1 }, 1]])]) t.deepEqual(trip<unknown>(value), value)
  t.is(text({ $date: 5 }), '{"$$date":5}')
  t.is(text({ $date: 5, more: 1 }), '{"$date":5,"more":1}')
})

test('names that become one when they are made well-formed are one, and no tag', (t) => {
  t.is(text({ '$\ud800': 1, '$\ud801': 2 }), '{"$$\ufffd":2}')
  t.deepEqual(trip<unknown>({ '$\ud800': 1, '$\ud801': 2 }), { '$\ufffd': 2 })
  t.deepEqual(trip<unknown>({ $a: 1, '$\ud800': 1, '$\ufffd': 2 }), { $a: 1, '$\ufffd': 2 })
})

test('no toJSON is asked', (t) => {
  const one = Object.assign(Object.create({ toJSON: () => 'never' }) as object, { a: 1 })
  t.is(text(one), '{"a":1}')
  t.is(text({ toJSON: () => 'never' }), '{"toJSON":{"$function":0}}')
})

test('streams travel as kind and number', (t) => {
  const refs: Refs = { ...noRefs, offer: () => 0xffff_ffff, accept: (id, kind) => `${kind} of ${id}` }
  const bytes = encode([Readable.from([])], json(), refs)
  t.is(bytes.toString(), '[{"$stream":[2,4294967295]}]')
  t.deepEqual(json().decode(bytes, 0, bytes.length, refs), ['2 of 4294967295'])
  bad(t, '{"$stream":[3,7]}', /where none is allowed/)
  for (const content of ['[0,7]', '[7,7]', '[11,7]', '[1.5,7]', '["1",7]', '[1,7,7]', '[]']) bad(t, `{"$stream":${content}}`, /of an unknown kind/, {}, refs)
  for (const id of ['-1', '1.5', '4294967296', '"7"', 'null']) bad(t, `{"$stream":[1,${id}]}`, /is not a non-negative integer/, {}, refs)
})

// ── what is refused on the way in ───────────────────────────────────────────────────────────────────────────────

test('lone surrogates are replaced on the way out and on the way in', (t) => {
  t.is(text(['\ud800', { '\udc00': 1 }]), '["\ufffd",{"\ufffd":1}]')
  t.deepEqual(decode(Buffer.from('["\\ud800",{"\\udc00":"\\ud83d\\ude00"}]')), ['\ufffd', { '\ufffd': '😀' }])
})

test('what would be too long is not written first', (t) => {
  const stringify = JSON.stringify
  let written = 0
  JSON.stringify = ((...args: Parameters<typeof stringify>) => { written++; return stringify(...args) }) as typeof stringify
  t.teardown(() => { JSON.stringify = stringify })
  for (const big of ['x'.repeat(10_000), Buffer.alloc(10_000), new Uint8Array(10_000)]) t.throws(() => encode(new Array(1000).fill(big)), { code: 'BAD_ARGUMENT', message: /more than 4194304 bytes/ })
  t.is(written, 0)
})

test('what is not JSON', (t) => {
  for (const one of ['', '{', '[1,]', '1 2', 'NaN', "{'a':1}", '\ufeff1', '"\n"', ']', '[[]', Buffer.from([0xff])]) bad(t, one, /not JSON/)
  t.deepEqual(decode(Buffer.from(' { "a" : [ 1 , 2 ] } ')), { a: [1, 2] })
  t.is(decode(Buffer.from('"\xc3("', 'latin1')), '\ufffd(')
})

test('names of properties', (t) => {
  bad(t, '{"__proto__":{"polluted":1}}', /__proto__/)
  bad(t, '[{"a":1,"\\u005f_proto__":{}}]', /__proto__/)
  bad(t, '{"$__proto__":1}', /an unknown tag/)
  t.deepEqual(Object.keys(decode(Buffer.from('{"constructor":1,"prototype":2,"toString":3}')) as object), ['constructor', 'prototype', 'toString'])
  t.is(({} as { polluted?: unknown }).polluted, undefined)
})

test('tags', (t) => {
  bad(t, '{"$later":1}', /an unknown tag/)
  bad(t, '{"$":1}', /an unknown tag/)
  bad(t, '{"$number":"1"}', /an invalid number/)
  bad(t, '{"$number":"toString"}', /an invalid number/)
  bad(t, '{"$number":5}', /not a string/)
  for (const one of ['', '-', '0x1', 'g', '--1']) bad(t, `{"$bigint":"${one}"}`, /bigint/)
  bad(t, `{"$bigint":"${'f'.repeat(2 * 1024 * 1024 + 2)}"}`, /bigint is too long/)
  bad(t, '{"$date":"5"}', /not a number/)
  for (const one of ['a', 'abc', '####', 'ab=c', 'YWJj=', '====', 'Y===']) bad(t, `{"$buffer":"${one}"}`, /not base64/)
  bad(t, '{"$binary":["Object","YWJj"]}', /of an unknown kind/)
  bad(t, '{"$binary":["Uint16Array","YWJj"]}', /whole number of elements/)
  bad(t, '{"$map":[1]}', /key without a value/)
  bad(t, '{"$map":{}}', /not a list/)
  for (const parts of ['["x"]', '["x","y",null,"cause"]', `["x","y",null${',"a",1'.repeat(35)}]`]) bad(t, `{"$error":${parts}}`, /two or three parts/)
  for (const name of ['__proto__', 'stack', 'message', 'name', 'code', 'toString', 'toJSON', 'then']) bad(t, `{"$error":["x","y",null,"${name}",1]}`, /a property of an Error has an invalid name/)
  bad(t, '{"$error":["x","y",null,1,1]}', /a property of an Error has an invalid name/)
  bad(t, '{"$error":[1,2]}', /not strings/)
  bad(t, '{"$error":["x","y",[]]}', /neither string nor number/)
  bad(t, '{"$function":-1}', /is not a non-negative integer/)
  const refs: Refs = { ...noRefs, resolve: (name) => ({ name }) }
  t.deepEqual(json().decode(Buffer.from('{"$reference":"a\\ud800"}'), 0, 24, refs), { name: 'a\ufffd' })
  bad(t, '{"$reference":5}', /not a string/, {}, refs)
  bad(t, `{"$reference":"${'x'.repeat(1025)}"}`, /reference is too long/, {}, refs)
  bad(t, `{"$reference":"${'\\ud800'.repeat(342)}"}`, /reference is too long/, {}, refs)
  bad(t, '{"$reference":"x"}', /where none is allowed/)
  const error = bad(t, '{"$function":0}', /cannot be built/, {}, { ...noRefs, take: () => { throw new Error('unknown') } })
  t.is((error?.cause as Error).message, 'unknown')
})

test('limits hold before anything is parsed', (t) => {
  const parse = JSON.parse
  let parsed = 0
  JSON.parse = (...args: Parameters<typeof parse>) => { parsed++; return parse(...args) as unknown }
  t.teardown(() => { JSON.parse = parse })
  bad(t, `[${'1,'.repeat(250_000)}1]`, /more than 250000 elements/)
  bad(t, `[${'[],'.repeat(250_000)}1]`, /more than 250000 elements/)
  bad(t, '[1]'.padEnd(5_000_000), /more than 4194304 bytes/)
  bad(t, '['.repeat(200_000), /deeper than 64/)
  bad(t, '{"a":'.repeat(200_000), /deeper than 64/)
  bad(t, '[1,2,3]', /more than 2 elements/, { maxNodes: 2 })
  t.is(parsed, 0)
  bad(t, `${'['.repeat(65)}${']'.repeat(65)}`, /deeper than 64/)
  t.notThrows(() => decode(Buffer.from(`${'['.repeat(64)}${']'.repeat(64)}`)))
  t.notThrows(() => decode(Buffer.from('[1,2]'), json({ maxNodes: 2 })))
})

test('brackets, commas and quotes within a string count for nothing', (t) => {
  const one = json({ maxNodes: 2, maxDepth: 1 })
  for (let length = 0; length < 120; length++) {
    for (const tail of ['"', '\\', '\\"', '[[[{{{,,,,', '\\\\"[[[[']) {
      const value = ['x'.repeat(length) + tail, tail]
      t.deepEqual(trip(value, one), value)
    }
  }
  bad(t, `["${'x'.repeat(100)}\\\\",1,2]`, /more than 2/, { maxNodes: 2 })
  bad(t, `["${'x'.repeat(100)}\\\\\\"",1,2]`, /more than 2/, { maxNodes: 2 })
})

test('strings made of quotes alone do not take long', (t) => {
  for (const unit of ['\\"', '"', '\\', '\\\\\\"', `${'x'.repeat(31)}\\"`, `${'x'.repeat(33)}\\"`]) {
    const bytes = Buffer.from(`["${unit.repeat(Math.floor(4_000_000 / unit.length))}"]`)
    const started = performance.now()
    try {
      decode(bytes)
    } catch (error) {
      t.is((error as StageError).code, 'PROTOCOL_ERROR')
    }
    t.true(performance.now() - started < 500, `${unit}: ${performance.now() - started} ms`)
  }
})

// ── between stages ──────────────────────────────────────────────────────────────────────────────────────────────

const chain = { chain: [framing(), rpc({ codec: json() })] } as unknown as StageOptions

test('two stages whose rpc speaks JSON', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api', chain), mesh.stage('web', chain)]
  api.to('*').provide('echo', (value: unknown) => value)
  api.to('*').provide('twice', async (fn: (n: number) => Promise<number>) => (await fn(1)) + (await fn(2)))
  api.to('*').provide('fail', () => { throw new RangeError('no') })
  const value = { when: new Date(5), big: 5n, bytes: Buffer.alloc(100_000, 1), map: new Map([[1, undefined]]) }
  t.deepEqual(await web.to('api').call('echo', value), value)
  t.is(await web.to('api').call('twice', (n: number) => n * 10), 30)
  t.like(await t.throwsAsync(web.to('api').call('fail')), { code: 'REMOTE_ERROR', cause: { name: 'RangeError', message: 'no' } })
})

test('one that speaks JSON and one that speaks msgpack do not', async (t) => {
  const mesh = realMesh(t)
  mesh.stage('api', { chain: [framing(), rpc({ codec: msgpack() })] } as unknown as StageOptions).to('*').provide('echo', () => 1)
  const error = await t.throwsAsync<StageError>(mesh.stage('web', chain).to('api', { timeoutMs: 2000 }).call('echo'))
  t.is(error.code, 'CHAIN_MISMATCH')
})
