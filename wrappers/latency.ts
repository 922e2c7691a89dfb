import type { Transform, TransformCallback } from 'node:stream'
import through2 from 'through2'
import { around } from '../src/around.js'
import { systemClock } from '../src/clock.js'
import { knownOptions } from '../src/known-options.js'
import type { Clock, Timer, Wrapper } from '../src/types.js'

/** Bytes in flight in one direction before the writer has to wait. */
const MAX_BYTES = 1024 * 1024

interface Parcel {
  readonly due: number
  readonly bytes: number
  hand(): void
}

/**
 * A wrapper that delivers everything `ms` later in both directions, like a longer cable: order and spacing stay, the end is
 * delayed like the data, and up to 1 MiB is in flight at a time.
 * @param ms  milliseconds, or a function called for each chunk; a chunk never overtakes another
 */
export function latency(ms: number | (() => number), options: { clock?: Clock | undefined } = {}): Wrapper {
  knownOptions('latency()', options, ['clock'])
  const { clock = systemClock } = options
  if (typeof ms !== 'function' && !(Number.isFinite(ms) && ms >= 0)) {
    throw new TypeError(`ms must be a number of milliseconds, not ${String(ms)}`)
  }
  const delay = typeof ms === 'function' ? ms : () => ms
  const wrap: Wrapper = (stream) => around(stream, delayed(delay, clock), delayed(delay, clock))
  return Object.defineProperty(wrap, 'name', { value: 'latency' })
}

/** The delay line for one direction. */
function delayed(delay: () => number, clock: Clock): Transform {
  const parcels: Parcel[] = []
  let bytes = 0
  /** False while the reader's buffer is full; nothing is delivered then. */
  let wanted = true
  let timer: Timer | undefined
  let stalled: (() => void) | undefined

  const send = (size: number, hand: () => void): void => {
    parcels.push({ due: clock.now() + delay(), bytes: size, hand })
    bytes += size
    deliver()
  }
  const deliver = (): void => {
    if (timer) return
    // a chunk due earlier than its predecessor waits for the predecessor
    while (parcels[0] && wanted) {
      const wait = parcels[0].due - clock.now()
      if (wait > 0) {
        timer = clock.setTimeout(() => { timer = undefined; deliver() }, wait, true)
        break
      }
      const parcel = parcels.shift() as Parcel
      bytes -= parcel.bytes
      parcel.hand()
    }
    if (stalled && bytes < MAX_BYTES) {
      const go = stalled
      stalled = undefined
      go()
    }
  }
  const line = through2(
    (chunk: Buffer, _encoding: string, done: TransformCallback) => {
      send(chunk.length, () => { wanted = line.push(chunk) })
      if (bytes < MAX_BYTES) done()
      else stalled = () => done()
    },
    (done: TransformCallback) => send(0, done),
  )

  const read = line._read
  line._read = function (size) {
    wanted = true
    deliver()
    read.call(this, size)
  }
  line.once('close', () => timer?.cancel())
  return line
}
