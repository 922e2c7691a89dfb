/** One secret, or several while one replaces the other. */
import test, { type ExecutionContext } from 'ava'
import { Stage, StageError, TcpInterface, type StageOptions } from '../../src/index.js'
import { keyIds } from '../../src/secret.js'
import { hello, packet, plain, tcpMesh } from '../helpers/raw-peer.js'
import { until } from '../helpers/until.js'

const [OLD, NEW, THIRD] = ['the old secret of the mesh', 'the new secret of the mesh', 'the secret of another mesh']
type Secret = StageOptions['secret']
let count = 0

function started(t: ExecutionContext, registry: string, name: string, secret: Secret): Stage {
  const stage = new Stage(name, { registry, interfaces: new TcpInterface(), secret, timeoutMs: 5000 })
  t.teardown(() => stage.close())
  stage.to('*').provide('who', () => stage.id)
  return stage
}

const pairs: [one: Secret, other: Secret, good: boolean][] = [
  [OLD, OLD, true], [OLD, [NEW, OLD], true], [[NEW, OLD], [OLD, NEW], true], [[NEW, OLD], NEW, true], [[NEW], NEW, true],
  [OLD, NEW, false], [[NEW, OLD], THIRD, false], [[NEW, OLD], undefined, false], [undefined, undefined, true],
]
for (const [one, other, good] of pairs) {
  test(`${JSON.stringify(one)} and ${JSON.stringify(other)} ${good ? 'agree' : 'do not agree'}`, async (t) => {
    const registry = `memory:secrets-${++count}`
    const [a, b] = [started(t, registry, 'a', one), started(t, registry, 'b', other)]
    for (const [from, to] of [[a, b], [b, a]]) {
      const call = from.to(to.name, { timeoutMs: good ? 5000 : 500 }).call('who')
      if (good) t.is(await call, to.id)
      else t.is((await t.throwsAsync(call, { instanceOf: StageError }) as StageError).code, 'AUTH_FAILED')
    }
  })
}

test('P6: a secret is replaced in two rounds of restarts under load, and no call fails', async (t) => {
  t.timeout(60_000)
  const registry = `memory:secrets-${++count}`
  const client = started(t, registry, 'client', [NEW, OLD])
  const replicas = [0, 1, 2].map(() => started(t, registry, 'api', OLD))
  await Promise.all([client, ...replicas].map((one) => one.ready()))
  let going = true
  const answered = new Set<string>()
  const load = Promise.all([0, 1, 2, 3].map(async () => {
    while (going) answered.add(await client.to('api').call('who'))
  }))
  for (const secret of [[NEW, OLD], NEW]) {
    for (const [index, before] of replicas.entries()) {
      const next = replicas[index] = started(t, registry, 'api', secret)
      await next.ready()
      await before.close()
      // stages of both rounds reach each other
      t.is(await next.to('client').call('who'), client.id)
    }
  }
  while (replicas.some((one) => !answered.has(one.id))) await new Promise((resolve) => setImmediate(resolve))
  going = false
  await load
  t.true(answered.size >= 6, `${answered.size} replicas answered`)
})

test('a secret is a text of 16 bytes or more, or a list of such texts', (t) => {
  for (const secret of ['short', [], [NEW, 'short'], [NEW, 1], 17, Array<string>(5).fill(NEW)]) {
    t.throws(() => new Stage('a', { registry: 'memory:', secret: secret as never }), { instanceOf: TypeError }, JSON.stringify(secret))
    t.throws(() => new TcpInterface({ secret: secret as never }), { instanceOf: TypeError }, JSON.stringify(secret))
  }
})

test('a port gives away nothing by which guesses of its secret can be tested', async (t) => {
  const api = await tcpMesh(t).stage('api', { secret: [NEW, OLD] })
  const nonce = 'n'.repeat(43)
  const [mine] = keyIds({ secret: OLD, namespace: 'default' }, nonce)!
  for (const [keys, answer] of [[undefined, undefined], [[], []], [['twelve chars', mine], [mine]]] as const) {
    const stranger = await plain(t, api.address)
    stranger.write(packet(hello({ secret: true, nonce, keys })))
    await until(() => stranger.packets.length > 0)
    const { keys: said } = stranger.packets[0]
    t.deepEqual(said ?? [], answer ?? [], 'none, but those that the dialler has named')
    stranger.socket.destroy()
  }
  t.notDeepEqual(keyIds({ secret: OLD, namespace: 'default' }, nonce), keyIds({ secret: OLD, namespace: 'default' }, 'm'.repeat(43)))
})
