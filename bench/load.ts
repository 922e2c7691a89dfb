/** The work of a client while it is measured. */
import { once } from 'node:events'
import { RECEIVERS, VALUES, type Client, type Figures, type Kind } from './adapter.js'

export type Load =
  | { kind: 'calls'; value: Kind; inFlight: number }
  | { kind: 'stream' }
  | { kind: 'casts'; value: Kind }
  | { kind: 'beside' }
  | { kind: 'figures' }

/** `count`: calls, bytes or deliveries. `p50`, `p99`: µs, if one call is in flight. */
export interface Done { count: number; seconds: number; p50?: number; p99?: number; figures?: Figures }

/** How many casts are in flight before the receivers are asked for their count. */
const BURST = 200
const CHUNK = Buffer.alloc(64 * 1024, 7)

/** @returns undefined if the client does not offer this kind of load */
export function work(client: Client, load: Load): ((ms: number) => Promise<Done>) | undefined {
  if (load.kind === 'calls' && client.call) return load.inFlight === 1 ? latency(client.call, load.value) : calls(client.call, load)
  if (load.kind === 'stream' && client.stream) return stream(client.stream)
  if (load.kind === 'casts' && client.cast && client.received) return casts(client.cast, client.received, load.value)
  if (load.kind === 'beside' && client.call && client.stream) return beside(client.call, client.stream)
  if (load.kind === 'figures' && client.figures) return figures(client.figures)
  return undefined
}

const seconds = (since: number): number => (performance.now() - since) / 1000

const calls = (call: NonNullable<Client['call']>, { value, inFlight }: { value: Kind; inFlight: number }) => async (ms: number): Promise<Done> => {
  const given = VALUES[value]
  const started = performance.now()
  const end = started + ms
  let count = 0
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (performance.now() < end) {
      await call(given)
      count++
    }
  }))
  return { count, seconds: seconds(started) }
}

const latency = (call: NonNullable<Client['call']>, value: Kind) => async (ms: number): Promise<Done> => {
  const given = VALUES[value]
  const took: number[] = []
  const started = performance.now()
  for (let at = started; at < started + ms;) {
    await call(given)
    const now = performance.now()
    took.push(now - at)
    at = now
  }
  took.sort((a, b) => a - b)
  const at = (part: number): number => 1000 * (took[Math.floor(part * took.length)] as number)
  return { count: took.length, seconds: seconds(started), p50: at(0.5), p99: at(0.99) }
}

/** One stream, written as fast as it accepts data; the measurement ends when the server says how much it has read. */
const stream = (open: NonNullable<Client['stream']>) => async (ms: number): Promise<Done> => {
  const one = open()
  let answer = ''
  one.on('data', (chunk: Buffer) => { answer += chunk.toString() })
  const started = performance.now()
  let sent = 0
  while (performance.now() < started + ms) {
    sent += CHUNK.length
    if (!one.write(CHUNK)) await once(one, 'drain')
  }
  one.end()
  await once(one, 'end')
  if (Number(answer) !== sent) throw new Error(`the server read ${answer} bytes of ${sent}`)
  return { count: sent, seconds: seconds(started) }
}

const casts = (cast: NonNullable<Client['cast']>, received: NonNullable<Client['received']>, value: Kind) => async (ms: number): Promise<Done> => {
  const given = VALUES[value]
  const before = await received()
  const started = performance.now()
  let count = 0
  while (performance.now() < started + ms) {
    for (let i = 0; i < BURST; i++) cast(given)
    count += BURST * RECEIVERS
    while (await received() < before + count);
  }
  return { count, seconds: seconds(started) }
}

/** One call at a time, alone and then while a stream to the same peer uses the whole capacity of the link. */
const beside = (call: NonNullable<Client['call']>, open: NonNullable<Client['stream']>) => async (ms: number): Promise<Done> => {
  const one = latency(call, 'small')
  const alone = await one(ms)
  const poured = stream(open)(ms + 500)
  await new Promise((resolve) => { setTimeout(resolve, 250) })
  const busy = await one(ms)
  const { count, seconds: took } = await poured
  return { ...busy, figures: { 'p99 alone, µs': alone.p99 ?? 0, 'p99 beside a stream, µs': busy.p99 ?? 0, 'p99, times its own': (busy.p99 ?? 0) / (alone.p99 ?? 1), 'the stream meanwhile, MB/s': count / took / 1e6 } }
}

const figures = (ask: NonNullable<Client['figures']>) => async (): Promise<Done> => ({ count: 1, seconds: 1, figures: await ask() })
