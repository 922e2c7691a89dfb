/** What was ended is whole, also when its writer is gone right after. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import test from 'ava'
import { handed, reached, turned, two } from '../helpers/ends.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { Told, readAllOpen, type Ends } from '../suites/stream.js'
import type { Stage } from '../../src/index.js'

nothingUnhandled(test)

const MIB = 1024 * 1024
const ways: [title: string, ends: (near: Stage, far: Stage) => Promise<Ends>][] = [
  ['to()', reached],
  ['its callback', handed],
  ['an accepted stream', (near, far) => turned(reached(near, far))],
]
const leaving: [title: string, leave: (stream: Duplex) => unknown][] = [
  ['destroySoon()', (stream) => { (stream as Duplex & { destroySoon(): void }).destroySoon() }],
  ['end(), then destroy() at finish', (stream) => { stream.end(); stream.once('finish', () => { stream.destroy() }) }],
]

for (const [title, ends] of ways) {
  for (const [how, leave] of leaving) {
    test(`P27: ${title}: ${how} loses nothing, and is an error for nobody`, async (t) => {
      const stages = two(t)
      const { near, far } = await ends(...stages)
      const told = new Told(far)
      near.write(Buffer.alloc(MIB, 'x'))
      leave(near)
      t.is((await Promise.all([readAllOpen(far)])).flat().reduce((sum, { length }) => sum + length, 0), MIB)
      await told.parted(t)
      await until(() => stages.every((one) => one.stats()['streams'] === 0))
    })
  }

  test(`${title}: who still writes to one that is gone learns that nobody reads it`, async (t) => {
    const { near, far } = await ends(...two(t))
    near.end('question')
    t.is(Buffer.concat(await readAllOpen(far)).toString(), 'question')
    near.destroy()
    const told = new Told(far)
    // one write for each round of the event loop: a loop of callbacks alone would starve the sockets of the whole file
    while (!told.error) await new Promise((resolve) => { far.write('x', () => setImmediate(resolve)) })
    await told.closed
    t.is(told.events.at(-1), 'close')
  })

  test(`${title}: destroy() after one's own end while the answer is unread tells the other end that it is lost`, async (t) => {
    const { near, far } = await ends(...two(t))
    const told = new Told(far)
    near.end('question')
    await readAllOpen(far)
    far.write(Buffer.alloc(100_000))
    far.end('answer')
    await once(near, 'readable')
    near.destroy()
    await told.closed
    t.is(told.events.at(-1), 'close')
    t.false(told.events.includes('finish'), 'not all of it was read')
    t.truthy(told.error)
  })

  for (const [consumer, read] of Object.entries({ text, buffer, 'for await': async (stream: Duplex) => { for await (const chunk of stream) void chunk } })) {
    test(`P27: ${title}: what was written is whole at the other end when ${consumer} has let go of it`, async (t) => {
      const { near, far } = await ends(...two(t))
      const told = [new Told(near), new Told(far)] as const
      near.write('question')
      const got = readAllOpen(far)
      far.write('answer')
      far.end()
      await read(near as never)
      if (!near.destroyed) near.end() // from Node 24 on a stream that can still be written is not destroyed by who has read it
      t.is(Buffer.concat(await got).toString(), 'question')
      for (const one of told) await one.parted(t)
    })
  }
}

test('P13: destroy() before the end is an error at the other end', async (t) => {
  const { near, far } = await reached(...two(t))
  const told = new Told(far)
  near.write('half')
  await once(far, 'readable')
  far.resume()
  near.destroy()
  await told.failed(t)
})
