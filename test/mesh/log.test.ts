/** The debug log says each kind of thing once in a while. */
import { fork } from 'node:child_process'
import test, { type ExecutionContext } from 'ava'
import { OftenLog } from '../../src/log.js'
import { OPEN, frames } from '../helpers/mallory.js'
import type { Told } from '../helpers/hostile-child.js'
import { compiled } from '../helpers/own-process.js'
import { Raw, plain, u32 } from '../helpers/raw-peer.js'
import { until } from '../helpers/until.js'

test('of one kind a line is said every five seconds, with the count of the others; kinds are bounded', (t) => {
  const said: string[] = []
  let now = 0
  const often = new OftenLog({ now: () => now }, 'api', (_, what) => said.push(what))
  for (let i = 0; i < 1000; i++, now += 10) often.note('a', () => `a ${i}`)
  often.note('b', () => 'b')
  t.deepEqual(said, ['a 0', 'a 500 (and 499 more since the last report)', 'b'])
  for (let i = 0; i < 1000; i++) often.note(`kind ${i}`, () => `kind ${i}`)
  said.length = 0
  often.note('a', () => 'a again')
  t.deepEqual(said, ['a again'], 'the oldest one made room')
})

/** A stage whose log is read. */
async function logged(t: ExecutionContext) {
  const child = fork(compiled('test/helpers/hostile-child.js'), [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, NODE_DEBUG: 'stagemesh' } })
  t.teardown(() => void child.kill('SIGKILL'))
  let text = ''
  child.stderr!.on('data', (chunk: Buffer) => { text += chunk.toString() })
  const told = new Promise<Told>((resolve) => { child.once('message', ({ value }: { value: Told }) => resolve(value)) })
  child.send({ n: 1, order: 'tell', args: [] })
  const { address } = await told
  return { address, lines: (pattern: RegExp): string[] => text.split('\n').filter((line) => pattern.test(line)) }
}

test('P12: whoever connects and is refused again and again fills no log, and stands in it with the address', async (t) => {
  const { address, lines } = await logged(t)
  for (let n = 0; n < 60; n++) {
    const one = await plain(t, address)
    one.write('GET / HTTP/1.1\r\n\r\n')
    await until(() => one.closed)
  }
  for (const [id, code] of [['mallory-0001', 'CHAIN_MISMATCH'], ['mallory-0002', 'CHAIN_MISMATCH']]) await t.throwsAsync(Raw.join(t, address, { id, chain: [] }), { code })
  await until(() => lines(/refused .* both ends need the same chain/).length > 0)
  const found = lines(/refused a connection over tcp from \S*127\.0\.0\.1: .* HTTP/)
  t.true(found.length > 0 && found.length < 5, `${found.length} lines`)
})

test('P12: a peer that is refused and cut off again and again fills no log, and stands in it with its address', async (t) => {
  const { address, lines } = await logged(t)
  for (let n = 0; n < 20; n++) {
    const raw = await Raw.join(t, address, { id: `mallory-${n}000` })
    const call = (id: number): Buffer => Buffer.concat([Buffer.from([1]), u32(id), u32(5000), Buffer.from([0, 5]), Buffer.from('never'), Buffer.from([0x90])])
    if (n === 0) raw.socket.write(frames(Array.from({ length: 10_500 }, (_, i) => call(2 * i + 1))))
    raw.socket.write(frames([Buffer.concat([Buffer.from([OPEN]), u32(2)])])) // an id of the other end's
    await until(() => raw.closed)
  }
  await until(() => lines(/ended: the id 2/).length > 0)
  t.is(lines(/ended: the id 2/).length, 1)
  t.regex(lines(/ended: the id 2/)[0], /mallory \(mallory-0000\) at \S*127\.0\.0\.1 \d+ ended/)
  t.is(lines(/was refused/).length, 1)
  t.regex(lines(/was refused/)[0], /mallory \(mallory-0000\): never was refused: 10000 calls are being served/)
})
