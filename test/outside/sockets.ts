import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex, Readable, Writable } from 'node:stream'
import { CONNECTS, UNFINISHED, broken, cut } from './differences.js'
import { closed, code, pause, text, type Program } from './program.js'

const METHODS = ['setTimeout', 'setKeepAlive', 'setNoDelay', 'ref', 'unref', 'destroySoon', 'resetAndDestroy', 'address', 'cork', 'uncork', 'setEncoding', 'compose', 'map', 'toArray', 'iterator'] as const
/**
 * Not compared are: `allowHalfOpen`, because a stream that dialled may write for another half second; `readableDidRead`,
 * `bytesRead` and `bytesWritten`, because a handshake has gone over the bare carrier, and a wrapper need not count; and
 * `writableObjectMode`, because `to()` accepts any value until it knows the chain.
 */
const CONNECTED = ['connecting', 'pending', 'readyState', 'timeout'] as const
const STATES = ['readable', 'writable', 'destroyed', 'closed', 'errored', 'readableEnded', 'readableAborted', 'readableFlowing', 'readableObjectMode', 'readableEncoding', 'readableLength',
  'writableEnded', 'writableFinished', 'writableAborted', 'writableNeedDrain', 'writableCorked', 'writableLength'] as const
const FACTS = ['remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'localFamily'] as const

/** One line for each group. */
const say = (who: string, stream: Socket, names: readonly (keyof Socket & string)[], what: (value: unknown) => string): string => `${who}: ${names.map((name) => `${name} ${what(stream[name])}`).join(', ')}`
const states = (who: string, stream: Socket): string => say(who, stream, STATES, String)
const told = (who: string, stream: Socket): string[] => [
  say(who, stream, CONNECTED, String), states(who, stream), say(who, stream, FACTS, (value) => typeof value),
]

function calls(who: string, stream: Socket): string[] {
  const chained = [stream.setTimeout(0), stream.setKeepAlive(true, 1000), stream.setNoDelay(true), stream.unref(), stream.ref()]
  return [
    `${who} is a ${[Duplex, Readable, Writable].filter((kind) => stream instanceof kind).map((kind) => kind.name).join(', ')}`,
    `${who} has ${METHODS.filter((name) => typeof stream[name] === 'function').join(', ')}`,
    `${who} chains: ${chained.map((it) => it === stream).join(', ')}`,
  ]
}

/** Members that a program may use without checking that it has a socket. */
const members: Program = {
  name: 'the members of a socket',
  run: async (ends) => {
    const lines: string[] = []
    const accepted = new Promise<Socket>((resolve) => { ends.onconnection(resolve) })
    const near = await ends.dial()
    lines.push(...calls('dialled', near))
    near.write('question')
    const far = await accepted
    await once(far, 'readable')
    lines.push(...calls('accepted', far), ...told('dialled', near), ...told('accepted', far))
    lines.push(String(far.read()))
    far.end('answer')
    near.on('data', (data) => lines.push(String(data)))
    await Promise.all([closed(near), closed(far.resume())])
    return [...lines, states('dialled, at the end', near), states('accepted, at the end', far)]
  },
}

/** Programs of Node wait for `connect` before they write, if a socket says that it is connecting. */
const connecting: Program = {
  name: 'connecting, and the events connect and ready',
  differs: CONNECTS,
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((far) => { far.resume() })
    const near = await ends.dial()
    const before = near.connecting
    for (const event of ['connect', 'ready']) near.on(event, () => lines.push(`${event}, connecting ${near.connecting}, pending ${near.pending}, ${near.readyState}`))
    near.write('x')
    lines.push(`connecting ${before}, after a write ${near.connecting}, pending ${near.pending}, ${near.readyState}`)
    await new Promise<void>((resolve) => { near.write('y', () => { resolve() }) })
    near.resume().end()
    await closed(near)
    return lines
  },
}

const IDLE_MS = 200
const OFTEN_MS = 40

/** The number of `fired` events in a phase; a phase in which the process was blocked proves nothing, and is repeated. */
async function undisturbed(count: () => number, phase: () => Promise<void>): Promise<number> {
  for (;;) {
    const before = count()
    let [longest, last] = [0, performance.now()]
    const watch = setInterval(() => { longest = Math.max(longest, performance.now() - last); last = performance.now() }, 5)
    await phase()
    clearInterval(watch)
    if (longest < IDLE_MS / 3) return count() - before
  }
}

/** `timeout` comes once for each period without data in either direction. */
const idle: Program = {
  name: 'a socket\'s idle timeout',
  run: async (ends) => {
    const lines: string[] = []
    const often = async (stream: Socket): Promise<void> => {
      for (let at = 0; at < IDLE_MS * 1.5; at += OFTEN_MS) {
        stream.write('.')
        await pause(OFTEN_MS)
      }
    }
    const accepted = new Promise<Socket>((resolve) => { ends.onconnection((far) => { resolve(far.resume()) }) })
    const near = (await ends.dial()).resume()
    for (const args of [['soon'], [-1], [IDLE_MS, 'no function']] ) {
      try {
        Reflect.apply(near.setTimeout, near, args)
        lines.push(`setTimeout(${args.join(', ')}) returns`)
      } catch (error) {
        lines.push(`setTimeout(${args.join(', ')}) throws ${code(error)}`)
      }
    }
    let [fired, called] = [0, 0]
    near.on('timeout', () => { fired++ })
    near.write('x')
    const far = await accepted
    near.setTimeout(IDLE_MS, () => { called++ })
    lines.push(`timeout is ${near.timeout}`)
    const phase = async (name: string, run: () => Promise<void>): Promise<void> => { lines.push(`${name}: ${await undisturbed(() => fired, run)}`) }
    await phase('while it writes', () => often(near))
    await phase('while it reads', () => often(far))
    await phase('after that', async () => { near.write('x'); await pause(IDLE_MS * 2) })
    lines.push(`its function was called: ${called}`)
    await phase('without anything new', () => pause(IDLE_MS * 1.5))
    await phase('after one more write', async () => { near.write('x'); await pause(IDLE_MS * 2) })
    near.setTimeout(0)
    await phase('switched off', async () => { near.write('x'); await pause(IDLE_MS * 1.5) })
    near.end()
    return lines
  },
}

/** Neither end reads or writes before its timeout has come. */
const silent: Program = {
  name: 'the idle timeout of a socket that says nothing',
  differs: cut('dialled'),
  run: async (ends) => {
    const lines: string[] = []
    const gone = new Promise((resolve) => {
      ends.onconnection((far) => {
        far.resume().setTimeout(IDLE_MS, () => { lines.push('accepted: timeout'); far.destroy() }).once('close', resolve)
      })
    })
    const near = await ends.dial()
    near.resume().write('x')
    await gone
    return lines
  },
}

/** A clean end in either order, an end without data, and a destroy with unread bytes. */
const endings: readonly Program[] = [
  {
    name: 'who dialled ends first',
    run: async (ends) => {
      ends.onconnection((far) => { far.resume() })
      const near = await ends.dial()
      near.resume().end('bye')
      await closed(near)
      return []
    },
  },
  {
    name: 'who accepted ends first',
    differs: UNFINISHED,
    run: async (ends) => {
      ends.onconnection((far) => { far.resume().end('welcome, and bye') })
      const near = await ends.dial()
      near.write('x')
      await closed(near.resume())
      return []
    },
  },
  {
    name: 'an end without a word',
    run: async (ends) => {
      ends.onconnection((far) => { far.resume() })
      const near = await ends.dial()
      near.resume().end()
      await closed(near)
      return []
    },
  },
  {
    name: 'half open: the answer follows the end of the question',
    run: async (ends) => {
      ends.onconnection((far) => {
        far.allowHalfOpen = true
        let question = ''
        far.on('data', (data) => { question += String(data) }).on('end', () => { setTimeout(() => far.end(`${question}?`), 20) })
      })
      const near = await ends.dial()
      near.end('question')
      return [await text(near)]
    },
  },
  {
    name: 'for await ends with the other end, though ours is open',
      run: async (ends) => {
      ends.onconnection((far) => { far.resume().end('answer') })
      const near = await ends.dial()
      near.write('question')
      return [await text(near)]
    },
  },
  {
    name: 'who dialled is destroyed',
    differs: cut('accepted'),
    run: async (ends) => {
      const gone = new Promise((resolve) => { ends.onconnection((far) => { far.resume().once('data', () => { far.write('x') }).once('close', resolve) }) })
      const near = await ends.dial()
      near.write('x')
      await once(near, 'data')
      near.destroy()
      await gone
      return []
    },
  },
  {
    name: 'who accepted is destroyed with an error',
    differs: broken('dialled'),
    run: async (ends) => {
      ends.onconnection((far) => { far.on('error', () => {}).once('data', () => { far.destroy(new Error('a bug')) }) })
      const near = await ends.dial()
      near.on('error', () => {}).resume().write('x')
      await closed(near)
      return []
    },
  },
  {
    name: 'destroySoon() is an end that destroys',
    run: async (ends) => {
      ends.onconnection((far) => { far.once('data', () => { far.write('answer'); far.destroySoon() }) })
      const near = await ends.dial()
      near.write('x')
      return [await text(near)]
    },
  },
]

export default [members, connecting, idle, silent, ...endings]
