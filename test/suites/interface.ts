/**
 * What every interface must do, as tests. To run it on your own:
 *
 *     import test from 'ava'
 *     import { interfaceSuite } from 'stagemesh/test/suites/interface'
 *     interfaceSuite(test, () => ({ listener: new MyInterface(…), dialler: new MyInterface(…) }), { name: 'mine' })
 */
import { getEventListeners, once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Interface } from '../../src/types.js'
import { Told, readAll, readAllOpen, streamSuite, type Ends, type StreamSuiteOptions } from './stream.js'
import type { Assertions, Test } from './test.js'

/** Two interfaces that reach each other; the suite closes them. */
export interface Reach {
  listener: Interface
  dialler: Interface
}
export type InterfaceSuiteOptions = Omit<StreamSuiteOptions, 'objectMode'>

export function interfaceSuite(test: Test, factory: (t: Assertions) => Reach | Promise<Reach>, options: InterfaceSuiteOptions = {}): void {
  const { name = 'interface' } = options
  const check = (title: string, run: (t: Assertions, place: Place) => Promise<void>) =>
    test(`${name}: ${title}`, async (t) => {
      t.timeout(30_000)
      await run(t, await Place.open(t, await factory(t)))
    })

  streamSuite(test, async (t) => (await Place.open(t, await factory(t))).ends(), { ...options, name })

  check('its addresses can be dialled', async (t, { addresses, listener, dial }) => {
    t.true(addresses.length > 0)
    for (const address of addresses) {
      t.true(address.startsWith(`${listener.scheme}://`), address)
      t.false(/:0$/.test(address), address)
      const { near, far } = await dial(address)
      far.end('hello')
      t.is(Buffer.concat(await readAll(near)).toString(), 'hello')
    }
  })

  check('carries many streams at once', async (t, place) => {
    const pairs = await Promise.all(Array.from({ length: 50 }, () => place.connect()))
    for (const stream of place.accepted) stream.pipe(stream)
    const answers = await Promise.all(pairs.map(async (stream, i) => {
      stream.end(`stream ${i}`)
      return Buffer.concat(await readAllOpen(stream)).toString()
    }))
    t.deepEqual(answers, pairs.map((_, i) => `stream ${i}`))
  })

  check('a bare destroy is a goodbye', async (t, place) => {
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
    const error = await t.throwsAsync(dialler.connect(address, new AbortController().signal)) as NodeJS.ErrnoException
    t.is(error.code, 'ECONNREFUSED')
    t.true(error.message.includes(address.slice(address.indexOf('//') + 2)), error.message)
  })

  check('a dial obeys its signal, and lets go of it', async (t, place) => {
    const reason = new Error('changed my mind')
    const address = place.addresses[0] as string
    t.is(await t.throwsAsync(place.dialler.connect(address, AbortSignal.abort(reason))), reason)
    const during = new AbortController()
    const dial = t.throwsAsync(place.dialler.connect(address, during.signal))
    during.abort(reason)
    t.is(await dial, reason)
    t.is(getEventListeners(during.signal, 'abort').length, 0)

    const after = new AbortController()
    const { near, far } = await place.dial(address, after.signal)
    t.is(getEventListeners(after.signal, 'abort').length, 0)
    after.abort(reason)
    far.end('still here')
    t.is(Buffer.concat(await readAll(near)).toString(), 'still here')
  })

  check('an error of a stream that nobody has got hold of yet harms nobody', async (t, place) => {
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

  check('one that was closed before it listened does not', async (t, { dialler }) => {
    await dialler.close()
    t.truthy(await t.throwsAsync(dialler.listen(() => {})))
  })
}

/** A listening interface, one to dial with, and what was accepted. */
class Place {
  readonly accepted: Duplex[] = []
  readonly listener: Interface
  readonly dialler: Interface
  addresses: readonly string[] = []
  #dialled: Duplex[] = []

  private constructor({ listener, dialler }: Reach) {
    this.listener = listener
    this.dialler = dialler
  }

  static async open(t: Assertions, reach: Reach): Promise<Place> {
    const place = new Place(reach)
    t.teardown(async () => {
      for (const stream of [...place.#dialled, ...place.accepted]) stream.destroy()
      await Promise.all([reach.listener.close(), reach.dialler.close()])
    })
    place.addresses = await reach.listener.listen((stream) => {
      place.accepted.push(stream)
      place.#onaccepted()
    })
    return place
  }

  #onaccepted = (): void => {}

  /** The dialling end only, once the other was accepted too. */
  connect = async (): Promise<Duplex> => (await this.dial(this.addresses[0] as string)).near

  ends = (): Promise<Ends> => this.dial(this.addresses[0] as string)

  /** `far` is the one that belongs to `near` only where one stream is dialled at a time. */
  dial = async (address: string, signal = new AbortController().signal): Promise<Ends> => {
    const count = this.accepted.length
    const near = await this.dialler.connect(address, signal)
    this.#dialled.push(near)
    while (this.accepted.length === count) await new Promise<void>((resolve) => { this.#onaccepted = resolve })
    return { near, far: this.accepted[count] as Duplex }
  }
}
