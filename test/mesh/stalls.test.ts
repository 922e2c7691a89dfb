/** What this process does while its event loop stands still does not count against others: an answer that waits is read first. */
import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as round } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { RedisRegistry } from '../../registries/redis/registry.js'
import { systemClock } from '../../src/clock.js'
import { Exchange, HANDSHAKE_MS } from '../../src/exchange.js'
import { within } from '../../src/within.js'
import { onRedis } from '../helpers/redis.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { sampleEntry } from '../suites/registry.js'

/** As long code of an application. */
function stall(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

/** A socket that is being connected to somebody who sends `bytes` at once. */
async function dialled(t: ExecutionContext, bytes: Buffer): Promise<Socket> {
  const server = createServer((socket) => socket.end(bytes)).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  return socket
}

test.serial('an answer that came during a stall is in time', async (t) => {
  const socket = await dialled(t, Buffer.from('answer'))
  const answer = within(systemClock, 1000, once(socket.resume(), 'end'), () => new Error('too late'))
  stall(1500)
  await t.notThrowsAsync(answer)
})

test.serial('so is a message of a handshake', async (t) => {
  const body = Buffer.from('{"a":1}')
  const head = Buffer.from('STG1\0\0\0\0')
  head.writeUInt32BE(body.length, 4)
  const socket = await dialled(t, Buffer.concat([head, body]))
  const exchange = new Exchange(socket, systemClock)
  const message = exchange.receive()
  stall(HANDSHAKE_MS + 300)
  t.deepEqual(await message, { a: 1 })
})

for (const { ms, steps } of [
  { ms: 1200, steps: [1199, 1] }, { ms: 500, steps: [499, 1] }, { ms: 20, steps: [19, 1] }, { ms: 10_000, steps: [3000, 3000, 3999, 1] },
]) {
  test.serial(`without a stall ${ms} ms are ${ms} ms`, async (t) => {
    const clock = new VirtualClock()
    let late = false
    within(clock, ms, new Promise(() => {}), () => new Error('late')).catch(() => { late = true })
    for (const step of steps) {
      t.false(late)
      await clock.advance(step)
    }
    t.true(late)
    t.is(clock.pending, 0)
  })
}

onRedis('a stall does not break with Redis', async (t, { url }) => {
  // one after the other: a stall of one would be one of all
  for (const { what, listed, rounds } of [
    { what: 'a connection that is being made', listed: false, rounds: 1 },
    { what: 'a connection that is being checked', listed: false, rounds: 20 },
    { what: 'a command', listed: true, rounds: 0 },
  ]) {
    const registry = new RedisRegistry(url)
    t.teardown(() => registry.close())
    if (listed) await registry.publish(sampleEntry(), 15_000)
    const published = registry.publish(sampleEntry(), 15_000)
    for (let i = 0; i < 20; i++) await Promise.resolve() // so that what is begun has been begun
    for (let i = 0; i < rounds; i++) await round()
    stall(3500)
    await t.notThrowsAsync(published, what)
  }
})
