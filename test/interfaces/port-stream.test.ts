/** A stream over a channel of messages, whose other end does not keep to the rules. */
import test from 'ava'
import { PortStream, type Port, type PortMessage } from '../../interfaces/shared/port-stream.js'

/** A port whose messages the test makes, and those that the stream has posted. */
function scene() {
  let onmessage: (message: PortMessage) => void = () => {}
  const posted: PortMessage[] = []
  const port: Port = { post: (message) => posted.push(message), open: (receive) => { onmessage = receive }, close: () => {} }
  const stream = new PortStream(port, { window: 100_000 })
  return { stream, posted, receive: (message: PortMessage) => onmessage(message) }
}

test('credits for what was not sent break the stream', (t) => {
  for (const credit of [1, 0, -5, NaN, 2 ** 32 - 1]) {
    const { stream, receive } = scene()
    receive(credit)
    t.is((stream.errored as NodeJS.ErrnoException | null)?.code, 'PROTOCOL_ERROR', String(credit))
  }
})

test('more data than was admitted breaks the stream, and is not held', (t) => {
  const { stream, receive } = scene()
  let sent = 0
  while (!stream.destroyed && sent < 10_000_000) {
    receive(Buffer.alloc(10_000))
    sent += 10_000
  }
  t.is((stream.errored as NodeJS.ErrnoException | null)?.code, 'PROTOCOL_ERROR')
  // the stream itself holds 64 KiB, for which it has given credit
  t.true(sent < 300_000, `${sent} bytes`)
})

test('a large chunk is sent as the other end admits it', (t) => {
  const { stream, posted, receive } = scene()
  const bytes = (): number => posted.reduce<number>((sum, one) => sum + (typeof one === 'object' ? one.byteLength : 0), 0)
  let done = false
  stream.write(Buffer.alloc(1_000_000), () => { done = true })
  t.true(bytes() < 200_000, `${bytes()} bytes without any credit`)
  for (let told = 0; told < 1_000_000;) {
    const more = bytes() - told
    receive(more)
    told += more
  }
  t.is(bytes(), 1_000_000)
  return new Promise<void>((resolve) => setImmediate(() => { t.true(done); resolve() }))
})

test('what was read to the end counts as consumed, so a regular end is none of a broken stream', async (t) => {
  const { stream, posted, receive } = scene()
  for (let i = 0; i < 9; i++) receive(Buffer.alloc(10_000))
  receive('end')
  let size = 0
  stream.on('data', (chunk: Buffer) => { size += chunk.length })
  await new Promise<void>((resolve) => stream.once('end', resolve))
  t.is(size, 90_000)
  stream.end()
  await new Promise<void>((resolve) => stream.once('close', resolve))
  const credits = posted.filter((one) => typeof one === 'number')
  t.is(credits.reduce((sum, one) => sum + one, 0), 90_000)
  t.is(posted.at(-1), 'gone')
})
