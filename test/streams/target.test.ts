/** What `to()` is, as a stream. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import test from 'ava'
import duplexify from 'duplexify'
import pump from 'pump'
import through2 from 'through2'
import { handed, reached, turned, two } from '../helpers/ends.js'
import { realMesh } from '../helpers/mesh.js'
import { Told, streamSuite } from '../suites/stream.js'

streamSuite(test, (t) => reached(...two(t)), { name: 'to() over tcp' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return reached(stage('near'), stage('far'))
}, { name: 'to() over memory' })
streamSuite(test, (t) => turned(reached(...two(t))), { name: 'an accepted stream over tcp' })
streamSuite(test, (t) => reached(...two(t, { chain: [] })), { name: 'to() over the bare socket' })

for (const [what, ends] of Object.entries({ 'to()': reached, 'its callback': handed })) {
  test(`P27: an end comes though nobody reads, where nothing is left to read, as on a socket: ${what}`, async (t) => {
    const { near, far } = await ends(...two(t))
    const told = [new Told(near), new Told(far)]
    near.end()
    far.end()
    for (const one of told) await one.parted(t)
  })
}


test('the callback of a write comes, also where nobody is reached', async (t) => {
  const [near] = two(t)
  for (const leave of [() => {}, (stream: Duplex) => { stream.destroy() }]) {
    const target = near.to('nobody', { timeoutMs: 100 })
    const error = await new Promise<Error | null | undefined>((resolve) => { target.write('x', resolve); leave(target) })
    t.truthy(error)
  }
})

/** A chain whose top carries objects: JSON, a line each. */
function lines(socket: Duplex): Duplex {
  let held = ''
  const parse = through2.obj(function (chunk: Buffer, _, done) {
    const all = (held + String(chunk)).split('\n')
    held = all.pop() ?? ''
    for (const line of all) this.push(JSON.parse(line))
    done()
  })
  const format = through2.obj((value: unknown, _, done) => { done(null, `${JSON.stringify(value)}\n`) })
  pump(socket, parse)
  pump(format, socket)
  return duplexify.obj(format, parse) as unknown as Duplex
}
const bytes = (socket: Duplex): Duplex => socket

for (const linked of [false, true]) {
  test(`with a chain of objects to() is of objects too, ${linked ? 'over a link that stands' : 'before there is a link'}`, async (t) => {
    const [near, far] = two(t, { chain: [lines] })
    far.on('stream', (stream) => { stream.on('data', (value: unknown) => { stream.write({ echo: value }) }) })
    if (linked) await new Promise<void>((resolve) => { near.to('far', () => { resolve() }) })
    const target = near.to('far')
    t.true(target.writableObjectMode && target.readableObjectMode)
    for (const value of [{ hello: 1 }, ['a', 2], 'text']) {
      target.write(value)
      t.deepEqual(await once(target, 'data'), [{ echo: value }])
    }
  })
}

test('with a chain of bytes to() is of bytes, as soon as that is known', async (t) => {
  const [near, far] = two(t, { chain: [bytes] })
  far.on('stream', (stream) => { stream.on('data', (chunk: Buffer) => { stream.write(String(chunk).toUpperCase()) }) })
  const first = near.to('far')
  first.write('first')
  t.is(String(await once(first, 'data')), 'FIRST')
  t.false(first.readableObjectMode)
  const next = near.to('far')
  t.false(next.readableObjectMode || next.writableObjectMode)
  t.throws(() => next.write({ not: 'bytes' }), { code: 'ERR_INVALID_ARG_TYPE' })
  t.false(two(t)[0].to('far').writableObjectMode, 'and in the default chain from the start')
})

test('an object that is written to a chain of bytes before that is known is an error of the stream', async (t) => {
  const [near, far] = two(t, { chain: [bytes] })
  far.on('stream', (stream) => { stream.resume() })
  const target = near.to('far')
  const failed = once(target, 'error')
  target.write({ not: 'bytes' })
  t.is(((await failed) as [NodeJS.ErrnoException])[0].code, 'ERR_INVALID_ARG_TYPE')
})
