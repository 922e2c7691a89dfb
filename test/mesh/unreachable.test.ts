/** A stage whose published address others cannot reach is told by the first peer that tried. */
import test from 'ava'
import { once } from 'node:events'
import { MemoryRegistry, Stage, StageError, TcpInterface, type Interface } from '../../src/index.js'
import { until } from '../helpers/until.js'
import type { Assertions } from '../suites/test.js'

let count = 0

async function place(t: Assertions, published: string, secret?: string) {
  const registry = `memory:unreachable-${++count}`
  const keep = new MemoryRegistry(registry.slice('memory:'.length))
  t.teardown(() => keep.close())
  const hidden = new Stage('hidden', { registry, secret, interfaces: new TcpInterface({ bind: '127.0.0.1', host: published }) })
  const peer = new Stage('peer', { registry, secret, interfaces: new TcpInterface() })
  t.teardown(async () => void await Promise.all([hidden.close(), peer.close()]))
  for (const stage of [hidden, peer]) stage.to('*').provide('name', () => stage.name)
  await Promise.all([hidden.ready(), peer.ready()])
  return { hidden, peer }
}

for (const [title, secret] of [['', undefined], [', with a secret', 'sixteen bytes or more']] as const) {
  test(`a peer that could not dial it tells it over the link that it dials itself${title}`, async (t) => {
    t.timeout(60_000)
    // a host name of the invalid domain, which no resolver knows (RFC 6761)
    const { hidden, peer } = await place(t, 'nowhere.invalid', secret)
    const error = await t.throwsAsync(peer.to('hidden', { timeoutMs: 2000 }).call('name'), { instanceOf: StageError })
    t.regex(error.message, /nowhere\.invalid/)
    const told = once(hidden, 'error') as Promise<[StageError]>
    t.is(await hidden.to('peer').call('name'), 'peer')
    const [one] = await told
    t.is(one.code, 'DISCONNECTED')
    t.regex(one.message, /^peer \(.*\) could not reach this stage: .*ENOTFOUND nowhere\.invalid.*\([2-9]\d* times\).*STAGE_HOST/s)
    t.is(one.peer?.name, 'peer')
    // the link that stands now serves both
    t.is(await peer.to('hidden').call('name'), 'hidden')
  })
}

test('a stage that was away for a while is not told, over the address at which it is there again', async (t) => {
  t.timeout(60_000)
  const registry = `memory:unreachable-${++count}`
  const tcp = new TcpInterface()
  let failing = 3
  const unsteady: Interface = {
    scheme: 'tcp',
    listen: (onstream) => tcp.listen(onstream),
    connect: (address, signal) => failing-- > 0 ? Promise.reject(new Error('connect EHOSTUNREACH')) : tcp.connect(address, signal),
    close: () => tcp.close(),
  }
  const [away, peer] = [new Stage('away', { registry, interfaces: new TcpInterface() }), new Stage('peer', { registry, interfaces: unsteady })]
  t.teardown(async () => void await Promise.all([away.close(), peer.close()]))
  const errors: Error[] = []
  away.on('error', (error) => errors.push(error))
  for (const stage of [away, peer]) stage.to('*').provide('name', () => stage.name)
  await Promise.all([away.ready(), peer.ready()])
  t.is(await peer.to('away').call('name'), 'away')
  t.true(failing < 0, 'the dials before have failed')
  t.is(await away.to('peer').call('name'), 'peer')
  // the failures of then do not count with one of now
  await peer.disconnect(peer.peers('away')[0])
  failing = 1
  const dialled = peer.to('away').call('name')
  await until(() => failing === 0)
  t.is(await away.to('peer').call('name'), 'peer')
  t.is(await dialled, 'away')
  t.deepEqual(errors, [])
  // but those of now do, also at an address that was good before
  await peer.disconnect(peer.peers('away')[0])
  failing = 1000
  const told = once(away, 'error') as Promise<[StageError]>
  const late = peer.to('away').call('name')
  await until(() => failing < 998)
  t.is(await away.to('peer').call('name'), 'peer')
  t.regex((await told)[0].message, /could not reach this stage: .*EHOSTUNREACH/)
  t.is(await late, 'away')
})
