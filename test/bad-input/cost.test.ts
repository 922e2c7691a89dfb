/** The work for a message is that of its bytes, whatever else its peer, or anybody, has open: many of each type, where they are as dear as they can be made. */
import test, { type ExecutionContext } from 'ava'
import { msgpack, type Refs } from '../../wrappers/codec.js'
import { Writer } from '../../src/writer.js'
import { DATA, CALL, CANCEL, END, ENDED, ERROR, METHODS, OPEN, RELEASE, RESET, RESULT, START, call, frames, scene } from '../helpers/mallory.js'
import { carried, u32, type Raw } from '../helpers/raw-peer.js'
import { until } from '../helpers/until.js'

const REF = 2, CAST = 3, GOAWAY = 9, CREDIT = 14, PART = 15, READ = 18, TOOK = 19, UNWANTED = 20
/** Messages of each type, and the time that they get: what is not sent by then was slow enough to be seen. */
const MESSAGES = 100_000
const BATCH = 1000
const ENOUGH_MS = 400
/** How much more a byte may cost than one of a message that does next to nothing. */
const RATIO = 60
const LONGEST_MS = 400

/** What is in `held` ends the turns that wait, so that the stage can be closed. */
type Setting = Awaited<ReturnType<typeof scene>> & { readonly held: { over: boolean; readonly turns: (() => void)[] } }
interface Flood {
  /** Some messages, which together leave everything as it was; `id` is the next of at least 64 new ids of the peer. */
  readonly send: (id: number) => Buffer[]
  /** How many new ids they take. */
  readonly ids?: number
  /** Where a message has a reason to cost more, or is so large that less must do. */
  readonly ratio?: number
}

const codec = msgpack()
const none: Refs = { give: () => 0, take: () => undefined }
function encode(value: unknown): Buffer {
  const writer = new Writer(256)
  codec.encode(value, writer, none)
  return writer.bytes.subarray(0, writer.at)
}
const message = (type: number, id: number, ...rest: Buffer[]): Buffer => Buffer.concat([Buffer.from([type]), u32(id), ...rest])
const ask = (id: number, method: string, args: unknown[] = [], ms = 3_600_000): Buffer =>
  message(CALL, id, u32(ms), Buffer.from([0, method.length]), Buffer.from(method), encode(args))
const chained = (id: number, method: string, args: unknown[], chain: string[]): Buffer =>
  message(CALL, id, u32(5000), carried({ chain }), Buffer.from([method.length]), Buffer.from(method), encode(args))
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)
const many = <T>(count: number, one: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => one(i))

/** Sends, and waits until a call behind it was answered. What comes is not kept, which would cost more than what is measured. */
class Sender {
  /** Ids below are used. */
  id = 1
  #wanted = 0
  #come: (() => void) | undefined
  #rest: Uint8Array = Buffer.alloc(0)
  /** Bytes that have come. */
  came = 0

  constructor(readonly raw: Raw, private readonly ends: readonly (Error | undefined)[]) {
    raw.socket.removeAllListeners('data')
    raw.socket.on('data', (chunk: Buffer) => { this.#take(chunk) })
  }

  ids(count: number): number {
    const first = this.id
    this.id += 2 * count
    return first
  }

  async send(payloads: Buffer[]): Promise<void> {
    await this.write(this.framed(payloads))
  }

  framed(payloads: Buffer[]): Buffer {
    this.#wanted = this.ids(1)
    return frames([...payloads, call(this.#wanted, 'greet')])
  }

  async write(bytes: Buffer): Promise<void> {
    const come = new Promise<void>((resolve, reject) => {
      this.#come = resolve
      this.raw.socket.once('close', () => { reject(new Error(`the link was closed: ${this.ends.map((one) => one?.message).join()}`)) })
    })
    this.raw.socket.write(bytes)
    await come
    this.raw.socket.removeAllListeners('close')
  }

  #take(chunk: Buffer): void {
    this.came += chunk.length
    const bytes = Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 4 && bytes.length - at >= 4 + bytes.readUIntBE(at + 1, 3)) {
      const type = bytes[at + 4]
      if (bytes[at] === 1) this.raw.frame(Buffer.alloc(0), 2)
      if (bytes[at] === 0 && (type === RESULT || type === ERROR) && bytes.readUInt32BE(at + 5) === this.#wanted) this.#come?.()
      at += 4 + bytes.readUIntBE(at + 1, 3)
    }
    this.#rest = bytes.subarray(at)
  }
}

/** Microseconds of this process for each byte, and the longest that one turn of the event loop took of it, in milliseconds. */
async function measure(sender: Sender, { send, ids = 0 }: Flood): Promise<{ usPerByte: number; longestMs: number; sent: number }> {
  const each = send(1).length
  const rounds = Math.ceil(BATCH / each)
  let bytes = 0
  let spent = 0
  let sent = 0
  let longest = 0
  let looking = true
  let last = process.cpuUsage()
  const used = (): number => { const { user, system } = process.cpuUsage(last); return user + system }
  const look = (): void => {
    const now = used()
    last = process.cpuUsage()
    spent += now
    longest = Math.max(longest, now)
    if (looking) setImmediate(look)
  }
  for (let round = 0; round * rounds * each < MESSAGES && spent < ENOUGH_MS * 1000; round++) {
    const payloads = many(rounds, () => send(ids > 0 ? sender.ids(ids) : 1)).flat()
    const written = sender.framed(payloads)
    last = process.cpuUsage()
    looking = true
    setImmediate(look)
    await sender.write(written)
    looking = false
    spent += used()
    bytes += written.length
    sent += payloads.length
  }
  return { usPerByte: spent / bytes, longestMs: longest / 1000, sent }
}

/** Opens many streams, and fills the credit of all of them. */
async function starved({ api }: Setting, sender: Sender): Promise<number[]> {
  api.on('stream', (stream) => { stream.write(Buffer.alloc(64 * 1024)) })
  const ids = many(1000, () => sender.ids(1))
  await sender.send(ids.map((id) => message(OPEN, id)))
  await until(() => Number(api.stats()['streams']) === 1000 && sender.came > 4 * 1024 * 1024, 10_000)
  return ids
}

const define = ({ api, held }: Setting): void => {
  class Thing {
    hot = 0
    bump(): number { return ++this.hot }
    wait(): Promise<void> { return new Promise((resolve) => { if (held.over) resolve(); else held.turns.push(resolve) }) }
    look(): Promise<void> { return this.wait() }
  }
  api.define({ pattern: 'things.{id}', create: () => new Thing(), readonly: ['look'], maxActors: 9000 })
}

/** What next to nothing is done for but to answer it. */
const cheap: Flood = { ids: 50, send: (id) => many(50, (i) => call(id + 2 * i, 'greet')) }

const floods: Record<string, (scene: Setting, sender: Sender) => Flood | Promise<Flood>> = {
  'METHODS with 10 000 known': async (_, sender) => {
    for (let at = 0; at < 9990; at += 999) await sender.send([message(METHODS, 0, encode({ added: names(9990).slice(at, at + 999), removed: [] }))])
    return { send: () => [message(METHODS, 0, encode({ added: ['z'], removed: [], idempotent: ['z'] })), message(METHODS, 0, encode({ added: [], removed: ['z'] }))] }
  },
  'CALL of what is not there': () => ({ ids: 1, send: (id) => [ask(id, 'missing')] }),
  'CALL where 10 000 are being served': async ({ api }, sender) => {
    api.to('*').provide('never', () => new Promise(() => {}))
    for (let i = 0; i < 9990; i += 999) await sender.send(many(999, () => ask(sender.ids(1), 'never')))
    return { ids: 1, send: (id) => [ask(id, 'missing')] }
  },
  'CANCEL where 10 000 are being served': async ({ api }, sender) => {
    api.to('*').provide('never', () => new Promise(() => {}))
    for (let i = 0; i < 9990; i += 999) await sender.send(many(999, () => ask(sender.ids(1), 'never')))
    return { send: () => [message(CANCEL, 1)] }
  },
  CAST: () => ({ send: () => [message(CAST, 0, Buffer.from([0, 5]), Buffer.from('greet'), Buffer.from([0x90]))] }),
  'CAST of what is not there': () => ({ send: () => [message(CAST, 0, Buffer.from([0, 1]), Buffer.from('x'), Buffer.from([0x90]))] }),
  'REF of what was never passed': () => ({ ids: 1, send: (id) => [message(REF, id, u32(1000), Buffer.from([0]), u32(7), Buffer.from([0x90]))] }),
  'RELEASE where 10 000 functions are held': async ({ api }, sender) => {
    api.to('*').provide('give', () => many(900, (i) => () => i))
    for (let i = 0; i < 11; i++) await sender.send([ask(sender.ids(1), 'give')])
    return { send: () => [message(RELEASE, 1, u32(0))] }
  },
  'RESULT and ERROR for nobody, where 10 000 wait': async ({ api }, sender) => {
    for (let i = 0; i < 9900; i++) void api.to('mallory', { timeoutMs: 600_000 }).call('x').catch(() => {})
    await sender.send([message(RESULT, 2, Buffer.from([0xc0]))])
    return { send: () => [message(RESULT, 2, Buffer.from([0xc0])), message(ERROR, 2, Buffer.from([0x80]))] }
  },
  GOAWAY: () => ({ send: () => [message(GOAWAY, 0)] }),
  'OPEN where 1000 streams are open': async ({ api }, sender) => {
    api.on('stream', () => {})
    for (let i = 0; i < 1000; i += 500) await sender.send(many(500, () => message(OPEN, sender.ids(1))))
    return { ids: 1, send: (id) => [message(OPEN, id)] }
  },
  'OPEN and RESET': ({ api }) => {
    api.on('stream', () => {})
    // Node takes a while to make a stream and to end it
    return { ratio: 250, ids: 1, send: (id) => [message(OPEN, id), message(RESET, id, Buffer.from([0x80]))] }
  },
  'DATA of one byte': async ({ api }, sender) => {
    api.on('stream', (stream) => { stream.resume() })
    const id = sender.ids(1)
    await sender.send([message(OPEN, id)])
    return { send: () => [message(DATA, id, Buffer.from([1]))] }
  },
  'START, END, ENDED, CREDIT, TOOK and UNWANTED of streams that are over': async ({ api }, sender) => {
    api.on('stream', (stream) => { stream.destroy() })
    const id = sender.ids(1)
    await sender.send([message(OPEN, id), message(RESET, id, Buffer.from([0x80]))])
    return { send: () => [message(START, id), message(END, id), message(ENDED, id), message(CREDIT, id, u32(1)), message(TOOK, id, u32(1)), message(UNWANTED, id)] }
  },
  'CREDIT of one byte, where 1000 streams wait for it': async (scene, sender) => {
    const ids = await starved(scene, sender)
    let next = 0
    // one byte more may be sent for each, so that there is always one to give back
    return { send: () => [message(CREDIT, ids[next++ % 60], u32(1))] }
  },
  'READ of one byte, where large answers wait for it': async ({ api }, sender) => {
    api.to('*').provide('large', () => Buffer.alloc(4_000_000))
    await sender.send(many(2, () => ask(sender.ids(1), 'large')))
    await until(() => sender.came > 128 * 1024)
    return { send: () => [message(READ, 0, u32(1))] }
  },
  'PART of one byte, where 5000 messages are unfinished': async (_, sender) => {
    const first = sender.id
    for (let i = 0; i < 5000; i += 1000) await sender.send(many(1000, () => message(PART, sender.ids(1), Buffer.from([1]))))
    let next = 0
    return { send: () => [message(PART, first + 2 * (next++ % 900), Buffer.from([1]))] }
  },
  'a call with a chain, where 1000 turns of the actor run': async (scene, sender) => {
    define(scene)
    for (let i = 0; i < 1000; i += 250) await sender.send(many(250, () => ask(sender.ids(1), '@call', ['things.1', 'look', []])))
    const chain = many(33, (i) => String(i))
    return { ratio: 12, ids: 1, send: (id) => [chained(id, '@call', ['things.1', 'look', []], chain)] }
  },
  'a call of an actor whose mailbox is full, and its end': async (scene, sender) => {
    define(scene)
    for (let i = 0; i < 999; i += 333) await sender.send(many(333, () => ask(sender.ids(1), '@call', ['things.1', 'wait', []])))
    return { ids: 1, send: (id) => [ask(id, '@call', ['things.1', 'wait', []]), message(CANCEL, id)] }
  },
  'calls of new actors, where none that is active is idle': async (scene, sender) => {
    define(scene)
    for (let i = 0; i < 9000; i += 500) await sender.send(many(500, (n) => ask(sender.ids(1), '@call', [`things.${i + n}`, 'wait', []])))
    return { ids: 1, send: (id) => [ask(id, '@locate', [`things.x${id}`])] }
  },
  '@deposed of 500 actors': async (scene, sender) => {
    define(scene)
    const addresses = many(500, (i) => `things.${i}`)
    await sender.send(addresses.map((address) => ask(sender.ids(1), '@call', [address, 'bump', []])))
    return { ratio: 2.5, ids: 1, send: (id) => [ask(id, '@deposed', [addresses])] }
  },
  '@explain, where 1000 turns of the actor run': async (scene, sender) => {
    define(scene)
    for (let i = 0; i < 1000; i += 250) await sender.send(many(250, () => ask(sender.ids(1), '@call', ['things.1', 'look', []])))
    return { ids: 1, send: (id) => [ask(id, '@explain', ['things.1'])] }
  },
  'a watch and its end, where 20 000 stand': async (scene, sender) => {
    define(scene)
    await sender.send([ask(sender.ids(1), '@changes')])
    for (let i = 0; i < 20_000; i += 1000) await sender.send(many(1000, (n) => ask(sender.ids(1), '@call', ['things.1', '@watch', [['hot'], 'latest', undefined, i + n]])))
    return { ids: 2, send: (id) => [ask(id, '@call', ['things.1', '@watch', [['hot'], 'latest', undefined, 900_000]]), ask(id + 2, '@unwatch', [[900_000]])] }
  },
  'a change, where 20 000 watch and read nothing of it': async (scene, sender) => {
    define(scene)
    await sender.send([ask(sender.ids(1), '@changes')])
    for (let i = 0; i < 20_000; i += 1000) await sender.send(many(1000, (n) => ask(sender.ids(1), '@call', ['things.1', '@watch', [['hot'], 'latest', undefined, i + n]])))
    return { ids: 1, send: (id) => [ask(id, '@call', ['things.1', 'bump', []])] }
  },
  '@changes again and again': (scene) => {
    define(scene)
    return { ids: 1, send: (id) => [ask(id, '@changes')] }
  },
}

for (const [title, prepare] of Object.entries(floods)) {
  test.serial(`P12: a byte of a flood costs no more than others do: ${title}`, async (t) => { await check(t, prepare) })
}

async function check(t: ExecutionContext, prepare: (typeof floods)[string]): Promise<void> {
  const one: Setting = { ...await scene(t), held: { over: false, turns: [] } }
  t.teardown(() => {
    one.held.over = true
    for (const release of one.held.turns) release()
  })
  const sender = new Sender(one.raw, one.ends)
  await sender.send([call(sender.ids(1), 'greet')])
  await measure(sender, cheap) // so that it is compiled
  const base = await measure(sender, cheap)
  const flood = await prepare(one, sender)
  const found = await measure(sender, flood)
  const ratio = found.usPerByte / base.usPerByte
  t.log(`${found.sent} messages, ${(found.usPerByte * 1000).toFixed(0)} ns a byte, ${ratio.toFixed(1)} times as much as a call; at most ${found.longestMs.toFixed(0)} ms in one turn`)
  t.true(ratio < (flood.ratio ?? RATIO), `${ratio.toFixed(1)} times as much for a byte as of a call`)
  t.true(found.longestMs < LONGEST_MS, `${found.longestMs.toFixed(0)} ms in one turn of the event loop`)
  t.deepEqual(one.ends, [])
}
