/**
 * The contract of an interface, as tests. To run the suite on your own interface:
 *
 *     import test from 'ava'
 *     import { interfaceSuite } from 'stagemesh/test/suites/interface'
 *     interfaceSuite(test, () => ({ listener: new MyInterface(…), dialler: new MyInterface(…) }), { name: 'mine' })
 */
import { EventEmitter, getEventListeners, once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Interface } from '../../src/types.js'
import { Told, readAll, readAllOpen, streamSuite, type Ends, type StreamSuiteOptions } from './stream.js'
import type { Assertions, Test } from './test.js'

/** Two interfaces that reach each other; the suite closes them. */
export interface Reach {
  /** The interface that is dialled. */
  listener: Interface
  /** The interface that dials. */
  dialler: Interface
}
/** Options of the suite. */
export type InterfaceSuiteOptions = Omit<StreamSuiteOptions, 'objectMode'>

/** The contract of an interface, as tests: `factory` brings two interfaces of which one reaches the other. */
export function interfaceSuite(test: Test, factory: (t: Assertions) => Reach | Promise<Reach>, options: InterfaceSuiteOptions = {}): void {
  const { name = 'interface' } = options
  const check = (title: string, run: (t: Assertions, place: Place) => Promise<void>) =>
    test(`${name}: ${title}`, async (t) => {
      t.timeout(30_000)
      await run(t, await Place.open(t, await factory(t)))
    })

  streamSuite(test, async (t) => (await Place.open(t, await factory(t))).ends(), { ...options, name })

  check('its addresses can be dialled', async (t, place) => {
    const { addresses, listener } = place
    t.true(addresses.length > 0)
    for (const address of addresses) {
      t.true(address.startsWith(`${listener.scheme}://`), address)
      t.false(/:0$/.test(address), address)
      const { near, far } = await place.ends(address)
      far.end('hello')
      t.is(Buffer.concat(await readAll(near)).toString(), 'hello')
    }
  })

  check('carries many streams at once', async (t, place) => {
    const streams = await Promise.all(Array.from({ length: 50 }, () => place.dial()))
    await place.accept(50)
    for (const stream of place.accepted) stream.pipe(stream)
    const answers = await Promise.all(streams.map(async (stream, i) => {
      stream.end(`stream ${i}`)
      return Buffer.concat(await readAllOpen(stream)).toString()
    }))
    t.deepEqual(answers, streams.map((_, i) => `stream ${i}`))
  })

  check('destroy() without an error is a clean end', async (t, place) => {
    const { near, far } = await place.ends()
    const told = new Told(far)
    near.write('the last words')
    const words = readAllOpen(far)
    await once(far, 'readable')
    near.destroy()
    t.is(Buffer.concat(await words).toString(), 'the last words')
    far.end()
    await told.parted(t)
  })

  check('a dial where nobody listens is refused and names the address', async (t, { listener, dialler, addresses }) => {
    await listener.close()
    const address = addresses[0] as string
    const dial = async () => await t.throwsAsync(dialler.connect(address, new AbortController().signal)) as NodeJS.ErrnoException
    let error = await dial()
    // a process that is being spawned holds a copy of the socket until its program is loaded, then resets its connections
    for (let again = 0; again < 20 && error.code === 'ECONNRESET'; again++) error = await dial()
    t.is(error.code, 'ECONNREFUSED')
    t.true(error.message.includes(address.replace(/^.*\/\/|[[\]]/g, '')), error.message)
  })

  check('a dial is cancelled when its signal fires', async (t, place) => {
    const reason = new Error('changed my mind')
    t.is(await t.throwsAsync(place.dial(undefined, AbortSignal.abort(reason))), reason)
    const controller = new AbortController()
    const dial = t.throwsAsync(place.dial(undefined, controller.signal))
    controller.abort(reason)
    t.is(await dial, reason)
    t.is(getEventListeners(controller.signal, 'abort').length, 0)
  })

  check('an established stream ignores the signal of its dial', async (t, place) => {
    const controller = new AbortController()
    const { near, far } = await place.ends(undefined, controller.signal)
    t.is(getEventListeners(controller.signal, 'abort').length, 0)
    controller.abort()
    far.end('still here')
    t.is(Buffer.concat(await readAll(near)).toString(), 'still here')
  })

  check('an error of a stream before anybody has received it harms nothing', async (t, place) => {
    const { near, far } = await place.ends()
    const closed = once(far, 'close').catch(() => {})
    near.destroy(new Error('on purpose'))
    far.resume()
    await closed
    t.true(far.destroyed)
  })

  check('close() is idempotent, and leaves the streams to their owners', async (t, place) => {
    const { near, far } = await place.ends()
    await Promise.all([place.listener.close(), place.listener.close()])
    await place.listener.close()
    near.end('question')
    t.is(Buffer.concat(await readAllOpen(far)).toString(), 'question')
    far.end('answer')
    t.is(Buffer.concat(await readAllOpen(near)).toString(), 'answer')
  })

  check('an interface that was closed first refuses to listen', async (t, { dialler }) => {
    await dialler.close()
    t.truthy(await t.throwsAsync(dialler.listen(() => {})))
  })
}

/** A listening interface, an interface that dials, and the accepted streams. */
class Place {
  readonly accepted: Duplex[] = []
  readonly #dialled: Duplex[] = []
  readonly #news = new EventEmitter()

  private constructor(readonly listener: Interface, readonly dialler: Interface, public addresses: readonly string[] = []) {}

  static async open(t: Assertions, { listener, dialler }: Reach): Promise<Place> {
    const place = new Place(listener, dialler)
    t.teardown(async () => {
      for (const stream of [...place.#dialled, ...place.accepted]) stream.destroy()
      await Promise.all([listener.close(), dialler.close()])
    })
    place.addresses = await listener.listen((stream) => {
      place.accepted.push(stream)
      place.#news.emit('accepted')
    })
    return place
  }

  async dial(address = this.addresses[0] as string, signal = new AbortController().signal): Promise<Duplex> {
    const stream = await this.dialler.connect(address, signal)
    this.#dialled.push(stream)
    return stream
  }

  async accept(count: number): Promise<void> {
    while (this.accepted.length < count) await once(this.#news, 'accepted')
  }

  /** Dials and accepts one stream; not for concurrent use. */
  async ends(address?: string, signal?: AbortSignal): Promise<Ends> {
    const count = this.accepted.length
    const near = await this.dial(address, signal)
    await this.accept(count + 1)
    return { near, far: this.accepted[count] as Duplex }
  }
}
