/** What must hold under load, small enough for every day; `npm run strength` is the whole of it. */
import { Duplex } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { Processes } from '../strength/room.js'
import { MIB, wait, type Child, type Common, type Here, type Orders } from '../strength/measure.js'
import type * as stopped from '../strength/stopped.js'
import type * as streams from '../strength/stream.js'
import { framing, rpc, type Stage } from '../../src/index.js'
import { realMesh } from '../helpers/mesh.js'
import { tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'

type Of<Part extends { orders: (here: Here) => Orders }> = Child<ReturnType<Part['orders']> & Common>

/** Processes with the orders of one measure. */
async function processes<P extends Of<typeof stopped> | Of<typeof streams>>(t: ExecutionContext, measure: string, count: number): Promise<P[]> {
  const room = new Processes(measure, 'tcp', await tempFolder(t), true)
  t.teardown(() => room.end())
  return Array.from({ length: count }, () => room.start() as unknown as P)
}

test('a stream between processes is what was sent, and its reader may be slow: nobody holds it', async (t) => {
  const size = 96 * MIB
  const [near, far] = await processes<Of<typeof streams>>(t, 'stream', 2)
  await Promise.all([near.ask('stage', 'near'), far.ask('stage', 'far')])
  await far.ask('expect')
  await Promise.all([near.ask('watch'), far.ask('watch')])
  const [, { bytes }] = await Promise.all([near.ask('send', 'far', size), far.ask('check', { burstBytes: 4 * MIB, pauseMs: 100 })])
  t.is(bytes, size)
  for (const one of [near, far]) {
    const { used } = await one.ask('grown')
    t.true(used < 32 * MIB, `${used} bytes more were in use`)
  }
})

test('a reader that stops holds up no call and no other stream, costs its sender little, and gets everything later', async (t) => {
  const size = 64 * MIB
  const [near, far, other] = await processes<Of<typeof stopped>>(t, 'stopped', 3)
  await Promise.all([near.ask('stage', 'near', ''), far.ask('stage', 'far', ''), other.ask('stage', 'other', '')])
  await Promise.all([near.ask('watch'), far.ask('watch')])
  await near.ask('send', size)
  await wait(500)
  await near.ask('open')
  for (const work of ['calls on the same link', 'another stream of the same link', 'calls on another link'] as const) {
    for (let i = 0; i < 3; i++) {
      const { calls, failed } = await near.ask('measure', work)
      t.is(failed, 0)
      t.true(calls > 3, `${calls} of ${work}`)
    }
  }
  for (const one of [near, far]) {
    const { used } = await one.ask('grown')
    t.true(used < 32 * MIB, `${used} bytes more were in use`)
  }
  const [whole] = await Promise.all([far.ask('goOn'), near.ask('sent')])
  t.is(whole, size)
})

/** A wrapper below framing that can keep what is written, and knows what came out of it since. */
class Gate {
  readonly passed: Buffer[] = []
  #open: (() => void) | undefined
  #closed: Promise<void> | undefined

  close(): void {
    this.passed.length = 0
    this.#closed = new Promise((resolve) => { this.#open = resolve })
  }

  open(): void {
    this.#open?.()
    this.#closed = undefined
  }

  readonly wrapper = (): ((inner: Duplex) => Duplex) => {
    const write = async (inner: Duplex, chunk: Buffer, done: () => void): Promise<void> => {
      await this.#closed
      this.passed.push(Buffer.from(chunk))
      inner.write(chunk, done)
    }
    return function gate(inner) {
      const outer = new Duplex({
        read: () => void inner.resume(),
        write: (chunk: Buffer, _encoding, done) => void write(inner, chunk, done),
        final: (done) => void inner.end(done),
        destroy: (error, done) => { inner.destroy(error ?? undefined); done(error) },
      })
      inner.on('data', (chunk: Buffer) => { if (!outer.push(chunk)) inner.pause() })
      inner.on('end', () => outer.push(null)).on('error', (error) => outer.destroy(error)).on('close', () => outer.destroy())
      return outer
    }
  }
}

/** Two stages, and a gate for what the first one sends. */
async function gated(t: ExecutionContext): Promise<{ near: Stage; far: Stage; gate: Gate }> {
  const { stage } = realMesh(t)
  const gate = new Gate()
  const [near, far] = [stage('near', { chain: [gate.wrapper(), framing(), rpc()] }), stage('far', { chain: [new Gate().wrapper(), framing(), rpc()] })]
  far.on('stream', (stream) => stream.resume())
  far.to('*').provide('echo', (value: unknown) => value)
  near.to('*').provide('large', (size: number) => Buffer.alloc(size))
  await near.to('far').call('echo')
  return { near, far, gate }
}

test('P14: a call finds little in front of it, however many streams have much to send', async (t) => {
  const { near, gate } = await gated(t)
  const all = Array.from({ length: 20 }, () => near.to('far'))
  for (const one of all) one.write('begins')
  await until(() => near.stats()['heldBytes'] === 0)
  gate.close()
  for (const one of all) one.write(Buffer.alloc(MIB))
  await wait(50)
  const answer = near.to('far').call('echo', 'here it is')
  gate.open()
  await answer
  const ahead = Buffer.concat(gate.passed).indexOf('here it is')
  t.true(ahead > 0 && ahead < 160 * 1024, `${ahead} bytes went first`)
  for (const one of all) one.destroy()
})

test('P14: an answer finds little in front of it, however large others are', async (t) => {
  const { near, far, gate } = await gated(t)
  let answers = 0
  near.to('*').provide('small', () => {
    answers++
    return 'here it is'
  })
  await far.to('near').call('small')
  gate.close()
  const large = Array.from({ length: 3 }, () => far.to('near').call<Buffer>('large', MIB))
  await until(() => (near.stats()['heldBytes'] as number) > 2 * MIB)
  const answer = far.to('near').call('small')
  await until(() => answers === 2)
  await wait(50)
  gate.open()
  await answer
  const ahead = Buffer.concat(gate.passed).indexOf('here it is')
  t.true(ahead >= 0 && ahead < 200 * 1024, `${ahead} bytes went first`)
  for (const one of await Promise.all(large)) t.is(one.length, MIB)
})
