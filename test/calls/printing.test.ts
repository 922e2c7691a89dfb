/** What came from outside and is printed, in an error or in the log, cannot steer the terminal that it is printed on. */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { StageError, type Self, type Stage } from '../../src/index.js'
import { asError, describe, printable, printableLines } from '../../src/errors.js'
import { HOSTILE, STEERING, STEERING_BUT_LINES } from '../helpers/hostile-text.js'
import { realMesh } from '../helpers/mesh.js'
import { compiled } from '../helpers/own-process.js'
import { listener, packet, hello, tcpMesh } from '../helpers/raw-peer.js'

const caught = (promise: Promise<unknown>): Promise<StageError> => promise.then(() => { throw new Error('it did not fail') }, (error: StageError) => error)

test('a text that is not printable stands in a message as escapes', (t) => {
  for (const make of [printable, describe, (one: string) => new StageError('CLOSED', one).message, (one: string) => describe({ [one]: one }), (one: string) => asError(one).message, (one: string) => describe(Symbol(one))]) t.notRegex(make(HOSTILE), STEERING)
  t.notRegex(printableLines(HOSTILE), STEERING_BUT_LINES)
  t.is(printable('a\x1b[0m\nb\u202e'), 'a\\u001b[0m\\nb\\u202e')
  t.is(printableLines('a\n\tb\r\x9b'), 'a\n\tb\\u000d\\u009b')
  for (const one of ['', 'plain', 'ünï', '日本', '😀', '👩‍👩‍👧', 'עברית', 'a\u00a0b']) t.is(printable(one), one)
  const error = new StageError('CLOSED', HOSTILE)
  t.is(error.stack?.split('\n')[0], `StageError: ${error.message}`)
})

test('what a handler threw: the message of the error, and the texts of its cause', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  const thrown: Record<string, unknown> = {
    error: Object.assign(new Error(HOSTILE), { name: HOSTILE, code: HOSTILE }),
    text: HOSTILE,
    object: { [HOSTILE]: HOSTILE },
    ours: new StageError('REFUSED', HOSTILE, { cause: new Error(HOSTILE) }),
  }
  for (const [name, value] of Object.entries(thrown)) api.to('*').provide(name, () => { throw value })
  api.to('*').provide('later', async function* () { yield 1; throw new Error(HOSTILE) })
  for (const name of [...Object.keys(thrown), HOSTILE]) {
    const error = await caught(web.to('api').call(name))
    t.notRegex(error.message, STEERING, name)
    if (!(error.cause instanceof Error)) continue
    t.notRegex(error.cause.stack ?? '', STEERING_BUT_LINES)
    t.notRegex(`${error.cause.name}${(error.cause as { code?: string }).code}`, STEERING)
  }
  t.is((await caught(web.to('api').call('text'))).cause, HOSTILE.replace('\ud800', '\ufffd'), 'a value is data')
  const items = await web.to('api').call<AsyncIterable<number>>('later')
  const error = await caught((async () => { for await (const item of items) t.is(item, 1) })())
  t.notRegex(error.message, STEERING)
  t.notRegex((error.cause as Error).stack ?? '', STEERING_BUT_LINES)
})

test('an Error that is a value is as it was sent', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  api.to('*').provide('same', (error: Error) => error)
  const text = HOSTILE.replace('\ud800', '')
  t.is((await web.to('api').call<Error>('same', new Error(text))).message, text)
})

test('why the other end destroyed a stream', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  api.on('stream', (stream) => void stream.destroy(new Error(HOSTILE)))
  const stream = web.to('api')
  const error = await new Promise<Error>((resolve) => { stream.on('error', resolve).resume() })
  t.notRegex(error.message, STEERING)
})

test('names of peers, wherever an error tells one', async (t) => {
  const mesh = realMesh(t)
  const name = 'x\u202etxt.exe\u2066'
  const [web, one] = [mesh.stage('web', { timeoutMs: 200 }), mesh.stage(name)]
  await Promise.all([web.ready(), one.ready()])
  const [peer] = web.lookup(name)
  const errors = [
    await caught(web.to('nobody').call('f')),
    await caught(web.to('nobody\u202e').call('f')),
    await caught(web.to(peer).call('f')),
    await caught(web.to({ ...peer, id: HOSTILE, name: HOSTILE }).call('f')),
    await caught(web.call(`default://${encodeURIComponent(name)}/f`)),
    await caught(web.call(`default://${name}/${HOSTILE}`)),
    await caught(web.call(HOSTILE)),
  ]
  one.to('*').provide('hang', () => new Promise(() => {}))
  await web.to(name).methods()
  errors.push(await caught(web.to(name).call('hang')))
  mesh.network.hold()
  errors.push(await caught(web.to(name).call('hang')))
  mesh.network.release()
  for (const { message } of errors) t.notRegex(message, STEERING)
  t.true(errors.some(({ message }) => message.includes('x\\u202etxt.exe\\u2066')))
})

test('what a stranger says in a handshake', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api', { timeoutMs: 500 })
  const answers: Record<string, object> = {
    error: { error: { code: 'AUTH_FAILED', message: HOSTILE } },
    chain: hello({ from: { id: 'a-mallory-chain', name: 'mallory', addresses: [] }, chain: [HOSTILE] }),
    name: hello({ from: { id: 'a-mallory-other', name: 'mal\u202elory', addresses: [] } }),
    wrong: hello({ nonce: HOSTILE }),
    namespace: hello({ namespace: HOSTILE }),
  }
  for (const [kind, answer] of Object.entries(answers)) {
    const address = await listener(t, (one) => {
      one.write(packet(answer))
      if (kind === 'chain') one.write(packet({ proof: '' }))
    })
    mesh.list({ id: `a-mallory-${kind}`, name: kind, addresses: [address] })
    const error = await caught(api.to(kind).call('f'))
    t.not(error.code, 'NO_SUCH_PEER', kind)
    t.notRegex(error.message, STEERING, kind)
  }
})

test('addresses of actors, wherever an error tells one', async (t) => {
  const mesh = realMesh(t)
  const [a, b] = ['a\u202e', 'b'].map((name) => mesh.stage(name, { store: mesh.registry, timeoutMs: 1000 })) as [Stage, Stage]
  const address = 'things.\u202etxt\u2066'
  class Thing {
    self!: Self
    fail() { throw new Error(HOSTILE) }
    get broken(): number { throw new Error(HOSTILE) }
    save() { return this.self.save() }
  }
  for (const one of [a, b]) one.define({ pattern: 'things.{id}', constructor: Thing })
  const told: Error[] = []
  for (const one of [a, b]) one.on('error', (error) => told.push(error))
  await Promise.all([a.ready(), b.ready()])
  for (const one of [a, b]) {
    for (const call of [() => one.actor(address)['fail']!(), () => one.actor(address)['missing']!(), () => one.actor(address)['save']!(), () => one.actor('nothing.\u202e')['f']!(), () => one.actor(address)[HOSTILE]!()]) told.push(await caught(Promise.resolve(call())))
    told.push(t.throws(() => { (one.actor(address) as Record<string, unknown>)['x'] = 5 })!)
  }
  const object = {}
  await a.host('one.\u202e', object)
  told.push(await caught(a.host('one.\u202e', {})), await caught(a.host('two.\u202e', object)), await caught(a.host(address, {})), await caught(b.host('one.\u202e', {})), t.throws(() => { void a.host(HOSTILE, {}) })!)
  told.push(t.throws(() => a.define({ pattern: 'one.{id}', constructor: Thing }))!)
  t.true(told.length > 15)
  for (const error of told) t.notRegex(error.message, STEERING)
})

test('the debug log', async (t) => {
  const child = spawn(process.execPath, [compiled('test/helpers/logging-child.js')], { env: { ...process.env, NODE_DEBUG: 'stagemesh' }, stdio: ['ignore', 'ignore', 'pipe'] })
  t.teardown(() => void child.kill('SIGKILL'))
  const said = await text(child.stderr)
  const lines = said.split('\n')
  t.true(lines.length > 15, said)
  for (const line of lines) t.notRegex(line, STEERING)
  for (const line of lines.slice(0, -1)) t.regex(line, /^STAGEMESH \d+: /, 'a line an event')
  for (const about of [/is not a valid entry/, /ignored the meta of "ghost"/, /fail failed/, /cannot reach ghost/, /was dropped/]) t.true(lines.some((line) => about.test(line)), String(about))
})
