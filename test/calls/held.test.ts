/** What waits for a peer that takes its time, over real sockets. */
import test from 'ava'
import { CALL, MIB, RESULT, call, frames, scene } from '../helpers/mallory.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

const LARGE = 4 * MIB - 64

test('P14: calls of a peer are served while it reads nothing of large arguments', async (t) => {
  const { api, raw, ends } = await scene(t)
  raw.reads = false
  const large = Array.from({ length: 3 }, () => api.to('mallory').call('f', Buffer.alloc(LARGE)).catch(() => {}))
  await until(() => Number(api.stats()['heldBytes']) > 11 * MIB)
  raw.call(1, 'greet')
  await until(() => raw.got(RESULT).length === 1)
  t.deepEqual(ends, [])
  await api.close()
  await Promise.all(large)
})

test('P14: calls are served while eight megabytes of answers wait for the same peer', async (t) => {
  const { api, raw, ends } = await scene(t)
  raw.reads = false
  api.to('*').provide('large', () => Buffer.alloc(LARGE))
  raw.socket.write(frames([call(1, 'large'), call(3, 'large'), call(5, 'greet')]))
  await until(() => raw.got(RESULT).length === 1)
  t.true(Number(api.stats()['heldBytes']) > 7 * MIB)
  t.deepEqual(ends, [])
})

test('a peer that takes its answers slowly is served no further, and goes on when it reads', async (t) => {
  const { api, raw, ends } = await scene(t)
  let begun = 0
  api.to('*').provide('large', () => { begun++; return Buffer.alloc(MIB) })
  raw.socket.pause()
  await until(() => { raw.socket.read(); return true })
  raw.socket.write(frames(Array.from({ length: 60 }, (_, i) => call(2 * i + 1, 'large'))))
  await until(() => Number(api.stats()['serving']) > 0)
  let before = -1
  await until(() => { const same = before === begun; before = begun; return new Promise((resolve) => setTimeout(() => { resolve(same) }, 30)) })
  t.true(begun < 30, `${begun} of 60 begun`)
  t.true(Number(api.stats()['heldBytes']) <= 14 * MIB)
  raw.socket.resume()
  await until(() => raw.got(RESULT).length === 60, 20_000)
  t.is(begun, 60)
  t.deepEqual(ends, [])
  t.is(raw.got(CALL).length, 0)
})
