/** What programs that were written for a socket find on to() and on accepted streams. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import test from 'ava'
import type { Stage, StageOptions } from '../../src/index.js'
import type { PeerStream } from '../../src/socketlike.js'
import { handed, reached } from '../helpers/ends.js'
import { advance, realMesh, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import type { Assertions } from '../suites/test.js'

nothingUnhandled(test)

/** Each kind of stream that a program gets hold of, between the stages `near` and `far`: whose it is, and who its peer is. */
const streams: [title: string, own: string, peer: string, make: (near: Stage, far: Stage) => Promise<PeerStream>][] = [
  ['to()', 'near', 'far', async (near, far) => (await reached(near, far)).near as PeerStream],
  ['the stream of a callback', 'near', 'far', async (near, far) => (await handed(near, far)).near as PeerStream],
  ['an accepted stream', 'far', 'near', async (near, far) => (await reached(near, far)).far as PeerStream],
]
const chains: Record<string, StageOptions> = { 'default chain': {}, 'chain: []': { chain: [] }, 'a wrapper of its own': { chain: [function own(stream: Duplex) { return stream }] } }

for (const [title, own, peer, make] of streams) {
  for (const [chain, options] of Object.entries(chains)) {
    test(`${title} has what a socket has: ${chain}`, async (t) => {
      const { stage } = realMesh(t)
      const stream = await make(stage('near', options), stage('far', options))
      t.like(stream, { remoteAddress: peer, localAddress: own, connecting: false, pending: false, readyState: 'open', timeout: undefined, bufferSize: 0 })
      for (const same of [stream.setKeepAlive(true, 1000), stream.setNoDelay(true), stream.ref(), stream.unref(), stream.setTimeout(0)]) t.is(same, stream)
      t.is(typeof stream.remotePort, 'number')
      t.is(stream.address().address, stream.localAddress)
      const closed = once(stream, 'close')
      stream.resume().destroySoon()
      await closed
      t.is(stream.readyState, 'closed')
    })
  }
}

test('before it is used to() says whom it means, and builds nothing for a call', async (t) => {
  const { stage } = realMesh(t)
  const near = stage('near')
  t.like(near.to('far'), { remoteAddress: 'far', localAddress: undefined, connecting: false, pending: true, readyState: 'closed', bytesRead: 0, bytesWritten: 0 })
  t.is(near.to('f*').remoteAddress, undefined)
  t.is(near.to(['far', 'near']).remoteAddress, undefined)
  const target = near.to('far')
  t.deepEqual(Object.keys(target), ['selection'])
  await t.throwsAsync(target.call('nothing', 1).catch((error: unknown) => { t.deepEqual(Object.keys(target), ['selection']); throw error }))
})

test('whoever waits for connect or ready begins to connect', async (t) => {
  for (const event of ['connect', 'ready']) {
    const { stage } = realMesh(t)
    const [near, far] = [stage('near'), stage('far')]
    far.on('stream', (stream) => { stream.resume() })
    const target = near.to('far')
    const connected = once(target, event)
    t.true(target.connecting)
    t.is(target.readyState, 'opening')
    await connected
    t.false(target.connecting)
    target.end('x')
    t.is(target.bytesWritten + target.writableLength > 0, true)
  }
})

// ── timeouts ────────────────────────────────────────────────────────────────────────────────────────────────────

async function idle(t: Assertions, make: (near: Stage, far: Stage) => Promise<PeerStream>): Promise<{ clock: ReturnType<typeof virtualMesh>['clock']; stream: PeerStream; other: PeerStream }> {
  const { stage, clock } = virtualMesh(t)
  const [near, far] = [stage('near'), stage('far')]
  let other: PeerStream | undefined
  for (const one of [near, far]) one.on('stream', (stream) => { other ??= stream })
  const stream = await advance(clock, make(near, far))
  return { clock, stream, other: other as PeerStream }
}

for (const [title, , , make] of streams.slice(0, 2)) {
  test(`setTimeout(): nothing in either direction for so long is a timeout, and leaves the stream open: ${title}`, async (t) => {
    const { clock, stream, other } = await idle(t, make)
    const heard: string[] = []
    t.is(stream.setTimeout(1000, () => heard.push('once')), stream)
    stream.on('timeout', () => heard.push('timeout'))
    t.is(stream.timeout, 1000)
    stream.resume()
    for (let i = 0; i < 5; i++) {
      await clock.advance(900)
      if (i % 2) stream.write('x')
      else other.write('x')
      await clock.advance(50)
    }
    t.deepEqual(heard, [])
    await clock.advance(940)
    t.deepEqual(heard, [])
    await clock.advance(100)
    t.deepEqual(heard, ['once', 'timeout'])
    t.false(stream.destroyed)
    await clock.advance(5000)
    t.deepEqual(heard, ['once', 'timeout'], 'once for each time of silence')
    stream.write('x')
    await clock.advance(1100)
    t.deepEqual(heard, ['once', 'timeout', 'timeout'])
    stream.setTimeout(0)
    stream.write('x')
    await clock.advance(5000)
    t.is(heard.length, 3)
    stream.setTimeout(1000)
    stream.destroy()
    await clock.advance(5000)
    t.is(heard.length, 3)
  })
}

test('setTimeout() refuses what a socket refuses, with the same codes', async (t) => {
  const { stage } = realMesh(t)
  const target = stage('near').to('far')
  for (const [ms, listener, code] of [['soon', undefined, 'ERR_INVALID_ARG_TYPE'], [undefined, undefined, 'ERR_INVALID_ARG_TYPE'], [-1, undefined, 'ERR_OUT_OF_RANGE'], [NaN, undefined, 'ERR_OUT_OF_RANGE'], [Infinity, undefined, 'ERR_OUT_OF_RANGE'], [1, 'fn', 'ERR_INVALID_ARG_TYPE']] as const) {
    t.throws(() => target.setTimeout(ms as number, listener as never), { code })
  }
})

// ── half open ───────────────────────────────────────────────────────────────────────────────────────────────────

for (const [title, , , make] of streams.slice(0, 2)) {
  test(`${title} ends half a second after its peer, as a socket does at once, unless it is written to`, async (t) => {
    const { clock, stream, other } = await idle(t, make)
    other.allowHalfOpen = true
    const events: string[] = []
    for (const event of ['end', 'finish', 'close']) stream.on(event, () => events.push(event))
    let got = ''
    other.on('data', (chunk: Buffer) => { got += String(chunk) })
    stream.resume()
    other.end()
    for (const word of ['still ', 'writing']) {
      await clock.advance(450)
      stream.write(word)
    }
    await clock.advance(450)
    t.deepEqual([events, got, stream.writable], [['end'], 'still writing', true])
    await clock.advance(200)
    t.deepEqual(events, ['end', 'finish', 'close'])
  })

  for (const allow of [true, false]) {
    test(`${title} with allowHalfOpen = ${allow} ${allow ? 'stays open' : 'ends at once'}`, async (t) => {
      const { clock, stream, other } = await idle(t, make)
      t.true(stream.allowHalfOpen)
      stream.allowHalfOpen = allow
      t.is(stream.allowHalfOpen, allow)
      stream.resume()
      other.allowHalfOpen = true
      other.resume().end()
      await clock.advance(allow ? 60_000 : 100)
      t.is(stream.writable, allow)
    })
  }
}

test('allowHalfOpen = false ends a stream whose peer has ended already', async (t) => {
  const { clock, stream, other } = await idle(t, streams[0][3])
  stream.resume()
  other.allowHalfOpen = true
  other.resume().end()
  await clock.advance(100)
  stream.allowHalfOpen = false
  await clock.advance(10)
  t.false(stream.writable)
})

test('allowHalfOpen may be set on to() before it is used', async (t) => {
  for (const allow of [true, false]) {
    const { stage, clock } = virtualMesh(t)
    const [near, far] = [stage('near'), stage('far')]
    far.on('stream', (stream) => { stream.allowHalfOpen = true; stream.resume().end() })
    const target = near.to('far')
    target.allowHalfOpen = allow
    target.resume()
    await clock.advance(5000)
    t.is(target.allowHalfOpen, allow)
    t.is(target.writable, allow)
  }
})
