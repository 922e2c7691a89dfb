/** What a peer can make a stage hold, in a process of its own with a small heap: little, whatever the bytes say, and nothing once it is gone. */
import test, { type ExecutionContext } from 'ava'
import { ERROR, OPEN, RESET, RESULT, frames, DATA, PART, START } from '../helpers/mallory.js'
import { Raw, u32 } from '../helpers/raw-peer.js'
import { Process } from '../helpers/process.js'
import type { HostileOrders, Told } from '../helpers/hostile-child.js'
import { until } from '../helpers/until.js'

const MIB = 1024 * 1024
const CALL = 1, METHODS = 8, CREDIT = 14
const HEAP_MIB = 256
const FRAME = 65_536

const message = (type: number, id: number, ...rest: Buffer[]): Buffer => Buffer.concat([Buffer.from([type]), u32(id), ...rest])
const list = (count: number, one: Buffer): Buffer => Buffer.concat([Buffer.from([0xdd]), u32(count), Buffer.concat(new Array<Buffer>(count).fill(one))])
const bytes = (...all: number[]): Buffer => Buffer.from(all)
const text = (value: string): Buffer => Buffer.concat([bytes(0xa0 + value.length), Buffer.from(value)])
const numbered = (count: number, one: (i: number) => Buffer): Buffer => Buffer.concat([bytes(0xdd), u32(count), ...Array.from({ length: count }, (_, i) => one(i))])
const call = (id: number, method: string, ...args: Buffer[]): Buffer => message(CALL, id, u32(3_600_000), bytes(0, method.length), Buffer.from(method), bytes(0x90 + args.length), ...args)

/** In parts where it is larger than a frame. */
function parts(payload: Buffer): Buffer[] {
  const [head, all] = [payload.subarray(0, 5), [] as Buffer[]]
  let at = 5
  for (; payload.length - at > FRAME; at += FRAME) all.push(Buffer.concat([bytes(PART), head.subarray(1), payload.subarray(at, at + FRAME)]))
  return [...all, Buffer.concat([head, payload.subarray(at)])]
}

/** Values that take many times as much in memory as on the wire. */
const values: Record<string, Buffer> = {
  'empty objects': list(249_000, bytes(0x80)),
  'empty lists': list(249_000, bytes(0x90)),
  'objects of names that no other has': numbered(120_000, (i) => Buffer.concat([bytes(0x81), text(`n${i}`), bytes(1)])),
  'objects with a name that is a number': list(120_000, Buffer.concat([bytes(0x81), text('900'), bytes(1)])),
  'short strings': list(249_000, text('ab')),
  'numbers': list(249_000, Buffer.concat([bytes(0xcb), Buffer.from([0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a])])),
  'Maps': list(80_000, bytes(0xc7, 1, 5, 0x90)),
  'Sets': list(80_000, bytes(0xc7, 1, 6, 0x90)),
  'Dates': list(80_000, bytes(0xc7, 8, 3, 0, 0, 0, 0, 0, 0, 0, 0)),
  'typed arrays': list(27_000, bytes(0xc7, 2, 4, 3, 1)),
  'Buffers': list(80_000, bytes(0xc4, 1, 1)),
  'bigints': list(80_000, bytes(0xc7, 2, 2, 0, 1)),
}

/** A stage in a process of its own, what it held before, and the peers that it has got since. */
interface Setting {
  readonly t: ExecutionContext
  readonly child: Process<HostileOrders>
  readonly before: Told
  readonly peers: Raw[]
}

async function started(t: ExecutionContext): Promise<Setting> {
  const child = Process.start<HostileOrders>(t, { execArgv: ['--expose-gc', `--max-old-space-size=${HEAP_MIB}`] }, 'test/helpers/hostile-child.js')
  const { address } = await child.ask('tell')
  const first = await Raw.join(t, address) // what is made once
  first.socket.write(frames([call(1, 'greet')]))
  await until(() => first.got(RESULT, 1).length === 1)
  first.socket.destroy()
  await until(async () => (await child.ask('count')).stats['links'] === 0)
  return { t, child, before: await child.ask('tell'), peers: [] }
}

/** Memory is what it was, within five seconds. */
async function freed({ t, child, before }: Setting): Promise<void> {
  let now = await child.ask('tell')
  const free = async (): Promise<boolean> => {
    now = await child.ask('tell')
    return now.heap < before.heap + 4 * MIB && now.held === 0 && now.answers === 0 && now.stats['serving'] === 0
  }
  await until(free, 5000).catch(() => {})
  t.true(await free(), `${((now.heap - before.heap) / MIB).toFixed(1)} MiB more than before, ${now.held} and ${now.answers} bytes counted, ${now.stats['serving']} calls served`)
}

async function joined({ t, before, peers }: Setting): Promise<Raw> {
  const raw = await Raw.join(t, before.address, { id: `mallory-${String(peers.length).padStart(4, '0')}` })
  peers.push(raw)
  return raw
}

/** Answers that have come to these calls. */
const answered = (raw: Raw): number => raw.got(ERROR).length + raw.got(RESULT).length

for (const [title, value] of Object.entries(values)) {
  test.serial(`P12: what a peer sends counts for the memory that it takes: ${title}`, async (t) => {
    const setting = await started(t)
    const { child, before } = setting
    const raw = await joined(setting)
    let id = 1
    // one is held to see what it takes, then as many as nobody could hold
    raw.socket.write(frames(parts(call(id, 'hold', value))))
    await until(async () => (await child.ask('count')).stats['serving'] === 1)
    const one = await child.ask('tell')
    const taken = one.heap - before.heap
    t.true(one.held > taken / 2 && one.held < taken * 8 + MIB, `${one.held} bytes are counted for ${taken}`)
    const most = Math.min(100, Math.ceil(2 * HEAP_MIB * MIB / one.held))
    for (let n = 0; n < most; n++) {
      raw.socket.write(frames(parts(call(id += 2, 'hold', value))))
      if (n % 4 === 0) await until(async () => { const { stats } = await child.ask('count'); return stats['serving'] + answered(raw) >= n - 3 }, 20_000)
    }
    await until(() => raw.got(ERROR).length > 0, 20_000)
    t.regex(raw.got(ERROR)[0].body.toString('latin1'), /OVERLOADED[^]*bytes of memory[^]*no/)
    const { heap } = await child.ask('tell')
    t.true(heap < before.heap + HEAP_MIB * MIB / 2, `${((heap - before.heap) / MIB).toFixed(0)} MiB`)
    await until(async () => { // more of them may still be on their way
      await child.ask('release')
      return (await child.ask('count')).held === 0 && answered(raw) === (id + 1) / 2
    }, 20_000)
    raw.socket.write(frames([call(id += 2, 'greet')]))
    await until(() => raw.got(RESULT, id).length === 1)
    raw.socket.destroy()
    await freed(setting)
    t.is(child.code, null)
  })
}

const empty = values['empty objects']
/** Of a stream of values. */
const item = (value: Buffer): Buffer => Buffer.concat([bytes(0), u32(value.length), value])
const data = (stream: number, all: Buffer): Buffer[] => Array.from({ length: Math.ceil(all.length / 32_768) }, (_, i) => message(DATA, stream, all.subarray(i * 32_768, (i + 1) * 32_768)))

/** What else is held, and by whom; afterwards the peer is gone. */
const attacks: Record<string, (setting: Setting) => Promise<void>> = {
  'forty links hold no more than one': async (setting) => {
    const { t, child, before } = setting
    for (let n = 0; n < 40; n++) {
      const raw = await joined(setting)
      raw.socket.write(frames([1, 3].flatMap((id) => parts(call(id, 'hold', empty)))))
      await until(async () => answered(raw) + (await child.ask('count')).stats['serving'] > 0)
      raw.socket.write(frames([call(5, 'greet')]))
      await until(() => raw.got(RESULT, 5).length === 1, 10_000)
    }
    const { held, heap } = await child.ask('tell')
    t.true(held < HEAP_MIB * MIB / 3 && heap < before.heap + HEAP_MIB * MIB / 2, `${held} bytes held, ${heap} of heap`)
    await child.ask('release')
  },
  'a link that ends again and again while its handlers run': async (setting) => {
    const { t, child } = setting
    for (let n = 0; n < 40; n++) {
      const raw = await joined(setting)
      raw.socket.write(frames([...parts(call(1, 'hold', empty)), call(3, 'greet')]))
      await until(() => raw.got(RESULT, 3).length === 1, 10_000)
      raw.socket.destroy()
    }
    const { held } = await child.ask('tell')
    t.true(held > 0 && held < HEAP_MIB * MIB / 3, `${held}`)
    await child.ask('release')
  },
  'handlers that never settle are not counted for ever': async (setting) => {
    const { t, child } = setting
    const raw = await joined(setting)
    raw.socket.write(frames([...parts(call(1, 'never', empty)), call(3, 'greet')]))
    await until(() => raw.got(RESULT, 3).length === 1, 10_000)
    t.true((await child.ask('count')).held > 10 * MIB)
  },
  'turns of actors that were cancelled run on, and count': async (setting) => {
    const { t, child, before } = setting
    const raw = await joined(setting)
    for (let n = 0; n < 20; n++) {
      const id = 4 * n + 1
      raw.socket.write(frames([...parts(call(id, '@call', text(`things.${n}`), text('hold'), Buffer.concat([bytes(0x91), empty]))), call(id + 2, 'greet')]))
      await until(() => raw.got(RESULT, id + 2).length === 1, 10_000)
      raw.socket.write(frames([message(6, id)]))
    }
    const { held, heap } = await child.ask('tell')
    t.true(held > 10 * MIB && heap < before.heap + HEAP_MIB * MIB / 2, `${held} bytes held, ${heap} of heap`)
    await child.ask('release')
  },
  'items of streams, each in the hands of a reader': async (setting) => {
    const { t, child, before } = setting
    const raw = await joined(setting)
    let id = 1
    for (let n = 0; n < 30; n++, id += 4) {
      const stream = id + 2
      raw.socket.write(frames([call(id, 'each', Buffer.concat([bytes(0xc7, 5, 8, 3), u32(stream)]))]))
      await until(() => raw.got(START, stream).length === 1, 10_000)
      const item = Buffer.concat([bytes(0), u32(empty.length), empty])
      for (let at = 0; at < item.length; at += 32_768) raw.socket.write(frames([message(DATA, stream, item.subarray(at, at + 32_768))]))
    }
    await until(() => raw.got(ERROR).length + raw.got(13).length > 0, 10_000)
    const { held, heap } = await child.ask('tell')
    t.true(held > 10 * MIB && heap < before.heap + HEAP_MIB * MIB / 2, `${held} bytes held, ${heap} of heap`)
    raw.socket.destroy()
    await until(async () => (await child.ask('count')).stats['links'] === 0)
    await child.ask('release')
  },
  'items in the hands of readers, on links that end again and again': async (setting) => {
    const { t, child, before } = setting
    for (let n = 0; n < 12; n++) {
      const raw = await joined(setting)
      for (let id = 1; id < 20 && !raw.closed; id += 6) {
        const stream = id + 2
        raw.socket.write(frames([call(id, 'each', Buffer.concat([bytes(0xc7, 5, 8, 3), u32(stream)]))]))
        await until(() => raw.got(START, stream).length + raw.got(ERROR, id).length > 0, 10_000)
        if (raw.got(START, stream).length > 0) raw.socket.write(frames([...data(stream, item(empty)), call(id + 4, 'greet')]))
        await until(() => raw.got(ERROR, id).length + raw.got(RESULT, id + 4).length > 0, 10_000)
      }
      raw.socket.destroy()
      await until(async () => (await child.ask('count')).stats['links'] === 0)
    }
    const { held, heap } = await child.ask('tell')
    t.true(held > 10 * MIB && heap < before.heap + HEAP_MIB * MIB / 2, `${held} bytes held, ${heap} of heap`)
    await child.ask('release')
  },
  'items that are read behind the end of the link': async (setting) => {
    const { child } = setting
    const raw = await joined(setting)
    raw.socket.write(frames([call(1, 'each', Buffer.concat([bytes(0xc7, 5, 8, 3), u32(3)]))]))
    await until(() => raw.got(START, 3).length === 1)
    const one = item(list(2000, bytes(0x80)))
    raw.socket.write(frames([message(DATA, 3, Buffer.concat([one, one, one])), call(5, 'greet')]))
    await until(() => raw.got(RESULT, 5).length === 1)
    raw.socket.destroy()
    await until(async () => (await child.ask('count')).stats['links'] === 0)
    let read = 0
    await until(async () => (read += await child.ask('release') as number) === 3)
  },
  'errors of streams whose handlers run on': async (setting) => {
    const { t, child, before } = setting
    const raw = await joined(setting)
    const error = Buffer.concat([bytes(0x82), text('code'), text('TIMEOUT'), text('cause'), list(65_000, bytes(0x80))])
    for (let n = 0; n < 60; n++) {
      const id = 6 * n + 1
      raw.socket.write(frames([call(id, 'hold', Buffer.concat([bytes(0xc7, 5, 8, 1), u32(id + 2)])), message(RESET, id + 2, error), call(id + 4, 'greet')]))
      await until(() => raw.got(RESULT, id + 4).length === 1, 10_000)
    }
    const { held, heap } = await child.ask('tell')
    t.true(held > 10 * MIB && heap < before.heap + HEAP_MIB * MIB / 2, `${held} bytes held, ${heap} of heap`)
    await child.ask('release')
  },
  'parts of messages that never end, over forty links': async (setting) => {
    const { t, child, before, peers } = setting
    for (let n = 0; n < 40; n++) {
      const raw = await joined(setting)
      for (let id = 1; id < 8; id += 2) for (let at = 0; at < 63; at++) raw.socket.write(frames([message(PART, id, Buffer.alloc(FRAME))]))
      raw.socket.write(frames([message(1, 9, u32(5000), bytes(0, 5), Buffer.from('greet'), bytes(0x90))]))
      await until(() => raw.closed || raw.got(RESULT, 9).length === 1, 10_000)
    }
    const { external } = await child.ask('tell')
    t.true(external < before.external + HEAP_MIB * MIB / 2, `${Math.round((external - before.external) / MIB)} MiB`)
    t.true(peers[0].closed && !peers[39].closed, 'those who began first make room')
    const last = peers[39]
    last.socket.write(frames(parts(call(11, 'hold', list(60_000, text('abc'))))))
    await until(async () => (await child.ask('count')).stats['serving'] === 1, 10_000)
    await child.ask('release')
  },
  'items of streams that never come whole, over forty links': async (setting) => {
    const { t, child, before, peers } = setting
    const size = 4 * MIB - 100
    for (let n = 0; n < 40; n++) {
      const raw = await joined(setting)
      for (let id = 1; id < 9; id += 4) raw.socket.write(frames([call(id, 'each', bytes(0xc7, 5, 8, 3, 0, 0, 0, id + 2))]))
      await until(() => raw.got(START).length === 2)
      for (let id = 1; id < 9; id += 4) {
        let granted = 256 * 1024 - 5
        raw.socket.write(frames([message(DATA, id + 2, bytes(0), u32(size)), ...Array.from({ length: 8 }, (_, i) => message(DATA, id + 2, Buffer.alloc(i < 7 ? 32_768 : 32_763)))]))
        for (let seen = 0; granted < size - 256 * 1024 && raw.got(RESET, id + 2).length === 0;) {
          await until(() => raw.got(CREDIT, id + 2).length > seen || raw.got(RESET, id + 2).length > 0)
          for (const { body } of raw.got(CREDIT, id + 2).slice(seen)) {
            seen++
            granted += body.readUInt32BE()
            raw.socket.write(frames(Array.from({ length: Math.ceil(body.readUInt32BE() / 32_768) }, (_, i) => message(DATA, id + 2, Buffer.alloc(Math.min(32_768, body.readUInt32BE() - i * 32_768))))))
          }
        }
      }
    }
    const { external } = await child.ask('tell')
    t.true(external < before.external + HEAP_MIB * MIB / 2, `${Math.round((external - before.external) / MIB)} MiB`)
    t.true(peers[0].got(RESET).length === 2 && peers[39].got(RESET).length === 0, 'those who began first make room')
    t.false(peers[0].closed)
  },
  'names of methods, streams that nobody reads, parts of messages, and answers that nobody reads': async (setting) => {
    const { t, child } = setting
    const raw = await joined(setting)
    raw.reads = false
    for (let n = 0; n < 9; n++) raw.socket.write(frames(parts(message(METHODS, 0, bytes(0x82), text('added'), numbered(1000, (i) => Buffer.concat([bytes(0xd9, 120), Buffer.from(`m${n}-${i}`.padEnd(120, 'x'))])), text('removed'), bytes(0x90)))))
    for (let n = 0; n < 900; n++) raw.socket.write(frames([message(OPEN, 2 * n + 1), message(DATA, 2 * n + 1, Buffer.alloc(4000))]))
    for (let n = 0; n < 3; n++) for (let at = 0; at < 60; at++) raw.socket.write(frames([message(PART, 10_001 + 2 * n, Buffer.alloc(FRAME))]))
    for (let n = 0; n < 5; n++) raw.socket.write(frames([call(20_001 + 2 * n, 'large')]))
    raw.socket.write(frames([call(30_001, 'greet')]))
    await until(() => raw.got(RESULT, 30_001).length === 1, 20_000)
    const { stats, answers } = await child.ask('tell')
    t.true(stats['streams'] === 900 && answers > 2 * MIB, `${stats['streams']} streams, ${answers} bytes of answers`)
  },
}

for (const [title, attack] of Object.entries(attacks)) {
  test.serial(`P12: the end of a link frees what it cost: ${title}`, async (t) => {
    const setting = await started(t)
    await attack(setting)
    for (const { socket } of setting.peers) socket.destroy()
    await freed(setting)
    t.is(setting.child.code, null)
  })
}
