/** A stage says what keeps others from finding it, and whom it has refused, also to those who listen to nothing. */
import { once } from 'node:events'
import { connect } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { Stage, TcpInterface, framing, rpc, type Clock, type StageError, type StageOptions } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import type { RefusedFrom } from '../../src/types.js'
import { freePort } from '../helpers/free-port.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { warningsWith, type Warning } from '../helpers/warnings.js'

nothingUnhandled(test)

/** Warnings that name this stage. */
const warnings = (t: ExecutionContext, name: string): Warning[] => warningsWith(t, `the stage ${name} `)

const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })

test('a stage that is not listed after three seconds warns once, with the reason', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  const said = warnings(t, 'silent')
  registry.fail(true)
  stage('silent')
  await clock.advance(2900)
  await turn()
  t.is(said.length, 0)
  await clock.advance(200)
  await turn()
  t.is(said.length, 1)
  t.like(said[0], { name: 'StagemeshWarning', code: 'STAGEMESH_NOT_LISTED' })
  t.regex(said[0].message, /is not listed after 3 s, .*: the registry .* was set to fail.*Its registry is memory:.*event `error`/)
  await clock.advance(60_000)
  await turn()
  t.is(said.length, 1)
})

const QUIET: [title: string, run: (mesh: ReturnType<typeof virtualMesh>) => unknown][] = [
  ['somebody listens to `error`', ({ stage, registry }) => { registry.fail(true); stage('heard').on('error', () => {}) }],
  ['it is listed', ({ stage }) => stage('heard')],
  ['it was closed', ({ stage, registry }) => { registry.fail(true); void stage('heard').close() }],
]
for (const [title, run] of QUIET) {
  test(`no warning where ${title}`, async (t) => {
    const mesh = virtualMesh(t)
    const said = warnings(t, 'heard')
    run(mesh)
    await mesh.clock.advance(10_000)
    await turn()
    t.deepEqual(said, [])
  })
}

test.serial('the default registry is named as such, and a variable that was not set', async (t) => {
  const set = process.env['STAGE_REGISTRY']
  delete process.env['STAGE_REGISTRY']
  t.teardown(() => { if (set !== undefined) process.env['STAGE_REGISTRY'] = set })
  const { clock } = virtualMesh(t)
  const hush = { clock, interfaces: [] }
  const made: [name: string, stage: Stage, why: RegExp][] = [
    ['no-registry', new Stage('no-registry', hush), /redis:\/\/127\.0\.0\.1:6379, the default, as no registry was passed and \$STAGE_REGISTRY is not set/],
    ['undefined-option', new Stage('undefined-option', { ...hush, registry: process.env['NOT_SET_HERE'] }), /the registry that was passed is undefined/],
    ['undefined-position', new Stage('undefined-position', process.env['NOT_SET_HERE'], undefined, hush as StageOptions), /the registry that was passed is undefined/],
  ]
  const said = made.map(([name]) => warnings(t, name))
  t.teardown(() => Promise.all(made.map(([, stage]) => advance(clock, stage.close(), 30_000))))
  await clock.advance(3100)
  await turn()
  const busy = await new Promise<boolean>((resolve) => { connect(6379, '127.0.0.1').on('connect', () => resolve(true)).on('error', () => resolve(false)) })
  if (busy) return t.pass('a Redis runs on the default port of this machine')
  made.forEach(([name, , why], i) => { t.regex(said[i][0]?.message ?? '', why, name) })
})

const REFUSALS: [title: string, other: StageOptions, code: StageError['code']][] = [
  ['another secret', { secret: 'another secret of ours' }, 'AUTH_FAILED'],
  ['another chain', { chain: [framing(), rpc()] }, 'CHAIN_MISMATCH'],
  ['no secret', { secret: undefined }, 'AUTH_FAILED'],
]
for (const [title, other, code] of REFUSALS) {
  test(`a stage is told of a connection that it refused: ${title}`, async (t) => {
    const { clock, stage } = virtualMesh(t)
    const secret = 'a secret of this test'
    const [api, web] = [stage('api', { secret }), stage('web', { secret, ...other })]
    const refused: [StageError, RefusedFrom][] = []
    api.on('refused', (...one) => { refused.push(one) })
    await advance(clock, Promise.all([api.ready(), web.ready()]))
    await advance(clock, web.to('api', { timeoutMs: 4000 }).call('x').catch(() => {}))
    t.is(refused.length, 1, 'rate-limited')
    t.like(refused[0][0], { code })
    t.like(refused[0][1], { scheme: 'memory', more: 0 })
  })
}

test('over TCP the event says from where, and counts the others', async (t) => {
  const port = await freePort()
  let ahead = 0
  const clock: Clock = { now: () => systemClock.now() + ahead, wall: () => systemClock.wall(), setTimeout: (...args) => systemClock.setTimeout(...args) }
  const api = new Stage('api', { registry: `memory:refused-${port}`, interfaces: new TcpInterface({ port }), clock })
  t.teardown(() => api.close())
  const refused: [StageError, RefusedFrom][] = []
  api.on('refused', (...one) => { refused.push(one) })
  await api.ready()
  const knock = async (): Promise<void> => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(socket, 'close')
  }
  for (let i = 0; i < 3; i++) await knock()
  t.is(refused.length, 1)
  t.is(refused[0][0].code, 'PROTOCOL_ERROR')
  t.deepEqual(refused[0][1], { scheme: 'tcp', address: '127.0.0.1', more: 0 })
  ahead = 5100 // the pause between two events of one kind
  await knock()
  t.is(refused.length, 2)
  t.is(refused[1][1].more, 2)
})
