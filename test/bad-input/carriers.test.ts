/** Strangers on the ports of TLS, WebSocket and UDP, who get as far as a stream of the carrier: the stage goes on. */
import test from 'ava'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { UdpInterface } from '../../interfaces/udp.js'
import { WebSocketInterface } from '../../interfaces/websocket.js'
import { handshake } from '../../src/handshake.js'
import { MemoryRegistry, Stage, TcpInterface, type Interface } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import { systemRandom } from '../../src/random.js'
import { authorityFor, needingOpenssl, pem } from '../helpers/authority.js'
import { seeded } from '../helpers/mesh.js'
import { CHAIN, hello, packet, u32 } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import type { Assertions } from '../suites/test.js'

nothingUnhandled(test)

const authority = authorityFor(test)
needingOpenssl(test)

const carriers: Record<string, () => Interface> = {
  ...(authority ? { tls: () => new TcpInterface({ tls: pem(authority.certify('IP:127.0.0.1')) }) } : {}),
  websocket: () => new WebSocketInterface(),
  udp: () => new UdpInterface(),
}

let count = 0
async function place(t: Assertions, make: () => Interface) {
  t.timeout(120_000)
  const registry = `strangers-${++count}`
  const api = new Stage('api', new MemoryRegistry(registry), make())
  const web = new Stage('web', new MemoryRegistry(registry), make())
  const dialler = make()
  t.teardown(async () => void await Promise.all([api.close(), web.close(), dialler.close()]))
  api.to('*').provide('greet', (name: string) => `hi there, ${name}`)
  const [[address]] = await Promise.all([once(api, 'listening') as Promise<[string[]]>, api.ready(), web.ready()])
  return {
    api,
    open: async (): Promise<Duplex> => {
      const stream = await dialler.connect(address[0], new AbortController().signal)
      stream.on('error', () => {}).resume()
      t.teardown(() => void stream.destroy())
      return stream
    },
    /** It holds nothing of the strangers any more, and serves as before. */
    unharmed: async (): Promise<boolean> => {
      await until(() => api.stats()['handshakes'] === 0)
      return await web.to('api').call('greet', 'bob') === 'hi there, bob'
    },
  }
}

const ended = (stream: Duplex): Promise<void> => until(() => stream.destroyed || stream.readableEnded)
const noise = seeded('carriers')
const head = (length: number): Buffer => Buffer.concat([Buffer.from('STG1'), u32(length)])

for (const [name, make] of Object.entries(carriers)) {
  test(`${name}: noise, other protocols and malformed handshakes`, async (t) => {
    const { open, unharmed } = await place(t, make)
    const bytes = [
      noise.bytes(4096), noise.bytes(1 << 20), Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), Buffer.from('160301', 'hex'), head(0xffffffff), head(4097), head(0),
      packet('{"protocol":'), packet('[]'), packet({}), packet(hello({ chain: 5 })), packet(hello({ from: { id: 'x' } })), packet(hello({ keys: 5 })), Buffer.concat([packet(hello()), noise.bytes(500)]),
    ]
    for (const one of bytes) {
      const stream = await open()
      stream.write(one)
      await ended(stream)
      stream.destroy()
    }
    t.true(await unharmed())
  })

  test(`${name}: halves, and streams that go away in the middle`, async (t) => {
    const { open, unharmed } = await place(t, make)
    const whole = packet(hello())
    for (const [size, leave] of [[1, 'end'], [8, 'end'], [100, 'end'], [whole.length, 'end'], [0, 'destroy'], [50, 'destroy'], [whole.length, 'destroy'], [50, 'break']] as const) {
      const stream = await open()
      if (size > 0) stream.write(whole.subarray(0, size))
      if (leave === 'end') stream.end()
      else if (leave === 'destroy') stream.destroy()
      else stream.destroy(new Error('on purpose'))
    }
    t.true(await unharmed())
  })

  test(`${name}: silence, and a byte now and then, end after 5 s, while others are served`, async (t) => {
    const { api, open, unharmed } = await place(t, make)
    const strangers = await Promise.all(Array.from({ length: 20 }, () => open()))
    const drip = packet(hello())
    let at = 0
    const dripping = setInterval(() => { for (const one of strangers.slice(0, 10)) if (!one.destroyed) one.write(drip.subarray(at, at + 1)); at++ }, 500)
    t.teardown(() => clearInterval(dripping))
    await until(() => api.stats()['handshakes'] > 10)
    await Promise.all(strangers.map(ended))
    t.true(await unharmed())
  })

  test(`${name}: a flood of strangers`, async (t) => {
    const { open, unharmed } = await place(t, make)
    for (let round = 0; round < 3; round++) {
      const streams = await Promise.allSettled(Array.from({ length: 150 }, () => open()))
      for (const one of streams) if (one.status === 'fulfilled') one.value.write(round === 0 ? noise.bytes(100) : packet(hello()).subarray(0, 20))
      for (const one of streams) if (one.status === 'fulfilled') one.value.destroy()
    }
    t.true(await unharmed())
  })

  test(`${name}: noise and floods of frames behind a good handshake`, async (t) => {
    const { api, open, unharmed } = await place(t, make)
    const frame = (payload: Buffer): Buffer => Buffer.concat([u32(payload.length), payload])
    const sent = [
      noise.bytes(10_000), Buffer.from('ffffffff', 'hex'), frame(noise.bytes(200)), frame(Buffer.alloc(0)), Buffer.concat(Array.from({ length: 2000 }, () => Buffer.from([1, 0, 0, 0]))),
      Buffer.concat(Array.from({ length: 3000 }, (_, i) => frame(Buffer.concat([Buffer.from([7]), u32(2 * i + 1)])))),
    ]
    for (const [i, one] of sent.entries()) {
      const stream = await open()
      stream.pause()
      await handshake({
        stream, dialled: true, clock: systemClock, random: systemRandom, namespace: 'default', self: { id: `mallory-${i}000`, name: 'mallory', addresses: [] }, chain: CHAIN,
        isGone: () => false, ongone: () => {}, onproven: () => {}, decide: () => ({ ready: 1 }), own: false, build: () => {},
      })
      stream.resume()
      stream.write(one)
      await Promise.race([ended(stream), new Promise((resolve) => setTimeout(resolve, 1000))])
      stream.destroy()
    }
    await until(() => api.links().every((link) => link.peer.name === 'web'))
    t.true(await unharmed())
  })
}
