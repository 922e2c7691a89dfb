import type { Duplex } from 'node:stream'
import type { Clock, Timer } from './types.js'

/** How long a stream stays open for writing after the end of its peer, and after each write. */
const OPEN_MS = 500

/**
 * Ends a dialled stream after its peer has ended, unless it is still written to. Programs for sockets wait for the `close`
 * that follows; other programs go on writing after the peer's end, as each direction of a stream ends separately. Setting
 * `allowHalfOpen` decides: `false` ends the stream at once, `true` never.
 * @param writes  the amount written so far
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
