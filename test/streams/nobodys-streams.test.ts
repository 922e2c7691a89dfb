/** A stream that is refused where no call comes to be, or lies where none can be sent, ends; one that waits loses nothing. */
import { PassThrough, Readable } from 'node:stream'
import test from 'ava'
import { framing, type Stage, type StageError } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { realMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { all, pair } from '../helpers/ways.js'

nothingUnhandled(test)

const broken = (): Readable => {
  const stream = new Readable({ objectMode: true, read() {} })
  setImmediate(() => { stream.destroy(new Error('it broke')) })
  return stream
}
const code = async (run: () => unknown): Promise<string> => {
  try {
    await run()
    return 'none'
  } catch (error) {
    return (error as StageError).code
  }
}

const refused: Record<string, readonly [code: string, run: (stage: Stage, stream: Readable) => unknown]> = {
  'a cast of a stream': ['BAD_ARGUMENT', (stage, stream) => { stage.to('far').cast('hello', { stream }) }],
  'a cast to what is no method': ['NO_SUCH_METHOD', (stage, stream) => { stage.to('far').cast('no method', stream) }],
  'a call of what is no method': ['NO_SUCH_METHOD', (stage, stream) => stage.to('far').call('no method', [stream])],
  'a callAll of what is no method': ['NO_SUCH_METHOD', (stage, stream) => stage.to('far').callAll('no method', stream).next()],
  'a callAll that is left before anybody was asked': ['none', (stage, stream) => stage.to('nobody').callAll('hello', stream).return?.()],
  'a callAll without a match': ['none|BAD_ARGUMENT', (stage, stream) => stage.to('nobody', { timeoutMs: 200 }).callAll('hello', stream).next()],
  'an address without a method': ['BAD_ARGUMENT', (stage, stream) => stage.call('nowhere', stream)],
  'an address in another namespace': ['WRONG_NAMESPACE', (stage, stream) => stage.call('x://far/hello', stream)],
}
for (const [what, [expected, run]] of Object.entries(refused)) {
  test(`ends with what refused it: ${what}`, async (t) => {
    const [near] = await pair(t)
    const stream = broken()
    t.true(expected.split('|').includes(await code(() => run(near, stream))))
    await until(() => stream.destroyed)
  })
}

test('ends with what refused it: arguments of a reminder, an item of a stream, what a function that was passed is given', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const streams: Readable[] = []
  const make = (): Readable => (streams.push(broken()), streams.at(-1)!)
  const { stage: b } = await add('b', (stage) => {
    stage.define({
      pattern: 'x.{id}', create: (_params, self) => ({
        remind() { self.remind('later', 'remind', { afterMs: 1000, args: [make()] }) },
        async run(fn: (...args: unknown[]) => Promise<unknown>) { return code(() => fn(make(), Symbol('no'))) },
        async answer(fn: () => Promise<unknown>) { return code(fn) },
      }),
    })
    stage.to('*').provide('read', async (values: AsyncIterable<unknown>) => (await all(values)).length)
    stage.to('*').provide('items', () => (async function* () { yield await Promise.resolve({ in: make() }) })())
  })
  const { stage: a } = await add('a')
  await fails(b.actor('x.1')['remind'](), 'REMOTE_ERROR')
  for (const stage of [a, b]) {
    t.not(await go(stage.actor('x.1')['run'](() => 1)), 'none')
    t.not(await go(stage.actor('x.1')['answer'](() => [make(), Symbol('no')])), 'none')
    await fails(stage.to('b').call('read', (async function* () { yield await Promise.resolve([make()]) })()), 'REMOTE_ERROR')
    t.not(await code(async () => go(all(await go(stage.to('b').call<AsyncIterable<unknown>>('items'))))), 'none')
  }
  await clock.advance(100)
  t.deepEqual(streams.map((one) => one.destroyed), streams.map(() => true))
})

test('a call within one stage that waited hands over what was read ahead of a socket, and takes what is written to it', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({
    pattern: 'ports.{id}', create: () => ({
      async talk(socket: PassThrough & { write(text: string): void }) {
        socket.write('answer')
        return Buffer.concat(await all(socket as AsyncIterable<Buffer>)).toString()
      },
    }),
  }))
  const written: string[] = []
  const socket = Object.assign(new PassThrough(), { setKeepAlive() {}, _write(chunk: Buffer, _encoding: string, done: () => void) { written.push(chunk.toString()); done() } })
  socket.push('first ')
  const call = stage.actor('ports.1')['talk'](socket)
  socket.push('second')
  socket.push(null)
  t.is(await go(call), 'first second')
  t.deepEqual(written, ['answer'])
})

test('a stream that breaks while it waits for the link of a chain of one\'s own ends no process', async (t) => {
  const { stage } = realMesh(t)
  const near = stage('near', { chain: [framing()] })
  const stream = broken()
  const call = near.to('nobody', { timeoutMs: 300 }).as<{ send(stream: Readable): void }>().send(stream)
  t.is(((await t.throwsAsync(Promise.resolve(call)))?.cause as Error | undefined)?.message, 'it broke')
})
