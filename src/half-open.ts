import type { Duplex } from 'node:stream'
import type { Clock, Timer } from './types.js'

/** How long a stream whose peer has ended stays open for writing, after the end and after each write. */
const OPEN_MS = 500

/**
 * Ends a dialled stream when its peer has, unless it is written to. Programs that were written for sockets wait for the
 * `close` that follows; others go on writing after the peer's end, as each direction of a stream is its own. Setting
 * `allowHalfOpen` decides: `false` ends it at once, `true` never.
 * @param writes  how much was written so far
 */
export function endWithPeer(stream: Duplex, clock: Clock, writes: () => number, decided?: boolean): void {
  Object.defineProperty(stream, 'allowHalfOpen', {
    configurable: true,
    enumerable: true,
    get: () => decided ?? true,
    set: (value: boolean) => {
      decided = value
      if (!value && stream.readableEnded && !stream.writableEnded) stream.end()
    },
  })
  const look = (before: number): void => {
    if (decided !== undefined || stream.writableEnded || stream.destroyed) return
    if (writes() === before && stream.writableLength === 0) stream.end()
    else wait()
  }
  let timer: Timer | undefined
  const wait = (): void => {
    const before = writes()
    timer = clock.setTimeout(() => look(before), OPEN_MS)
  }
  stream.once('end', () => {
    wait()
    stream.once('close', () => timer?.cancel())
  })
}
