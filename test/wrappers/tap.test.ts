/** The wrapper tap: the suite of wrappers, and what it shows. */
import test from 'ava'
import { Duplex } from 'node:stream'
import { readAll } from '../suites/stream.js'
import { wrapperSuite } from '../suites/wrapper.js'
import { pair } from '../../src/pair.js'
import type { LinkEnd } from '../../src/types.js'
import { tap } from '../../wrappers/tap.js'

wrapperSuite(test, () => tap(() => {}), { name: 'tap' })

const end: LinkEnd = { peer: { id: 'id', name: 'peer', namespace: 'test', addresses: [], meta: {} }, dialled: true }

test('it is shown what passes, and from where', async (t) => {
  const [inner, far] = pair()
  const seen: [string, string][] = []
  const stream = tap((chunk, direction) => seen.push([direction, String(chunk)]))(inner, end)
  stream.end('question')
  t.is(Buffer.concat(await new Promise<Buffer[]>((resolve) => {
    const chunks: Buffer[] = []
    far.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(chunks))
  })).toString(), 'question')
  far.end('answer')
  t.is(Buffer.concat(await readAll(stream)).toString(), 'answer')
  t.deepEqual(seen, [['out', 'question'], ['in', 'answer']])
})

for (const direction of ['in', 'out'] as const) {
  test(`what it throws on the way ${direction} destroys the stream, on both sides`, async (t) => {
    const [inner, far] = pair()
    const bug = new Error('a bug of mine')
    const stream = tap((_chunk, way) => { if (way === direction) throw bug })(inner, end)
    const errors: unknown[] = []
    for (const one of [stream, inner]) one.on('error', (error) => errors.push(error)).resume()
    far.on('error', () => {})
    const closed = new Promise((resolve) => stream.on('close', resolve))
    ;(direction === 'in' ? far : stream).write('bytes')
    await closed
    t.is(errors.length, 2)
    t.true(errors.every((error) => error === bug))
    t.false(far.readableEnded)
  })
}

test('what it throws becomes an Error', async (t) => {
  const [inner, far] = pair()
  for (const one of [inner, far]) one.on('error', () => {})
  const stream = tap(() => { throw 'text' })(inner, end)
  const error = new Promise<Error>((resolve) => stream.on('error', resolve))
  stream.write('bytes')
  t.true((await error) instanceof Error)
})

test('when it has closed, what is below has', async (t) => {
  const inner = new Duplex({ read() {}, destroy: (error, done) => { setImmediate(done, error) } })
  const stream = tap(() => {})(inner, end)
  const below = new Promise<boolean>((resolve) => stream.on('close', () => resolve(inner.closed)))
  stream.destroy()
  t.true(await below)
})

test('it is called tap, or what it was told', (t) => {
  t.is(tap(() => {}).name, 'tap')
  t.is(tap(() => {}, 'counter').name, 'counter')
})
