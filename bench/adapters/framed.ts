/** The least that calls need of a socket: a length, an id, and what was collected in a tick written at once. */
import type { Socket } from 'node:net'

/** Above this a payload is not copied into the batch. */
const COPIED_MAX = 16 * 1024

export class Batch {
  #buffer = Buffer.allocUnsafe(64 * 1024)
  #at = 0
  #scheduled = false

  constructor(private readonly socket: Socket) {}

  add(id: number, payload: Buffer): void {
    const copied = payload.length <= COPIED_MAX
    if (this.#at + 8 + (copied ? payload.length : 0) > this.#buffer.length) this.#flush()
    this.#buffer.writeUInt32BE(payload.length, this.#at)
    this.#buffer.writeUInt32BE(id, this.#at + 4)
    this.#at += 8
    if (copied) {
      payload.copy(this.#buffer, this.#at)
      this.#at += payload.length
    } else {
      this.socket.cork()
      this.#flush()
      this.socket.write(payload)
      this.socket.uncork()
    }
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(() => { this.#scheduled = false; this.#flush() })
  }

  #flush(): void {
    if (this.#at === 0) return
    this.socket.write(this.#buffer.subarray(0, this.#at))
    this.#buffer = Buffer.allocUnsafe(64 * 1024)
    this.#at = 0
  }
}

/** Calls `each` for every whole frame; a payload is only good until it returns. */
export function frames(socket: Socket, each: (id: number, payload: Buffer) => void): void {
  let parts: Buffer[] = []
  let held = 0
  let needed = 8
  socket.on('data', (chunk) => {
    held += chunk.length
    parts.push(chunk)
    if (held < needed) return // a large frame is joined once, when it is all there
    const all = parts.length === 1 ? chunk : Buffer.concat(parts)
    let at = 0
    for (needed = 8; all.length - at >= 8; needed = 8) {
      needed = 8 + all.readUInt32BE(at)
      if (all.length - at < needed) break
      each(all.readUInt32BE(at + 4), all.subarray(at + 8, at + needed))
      at += needed
    }
    held = all.length - at
    parts = held === 0 ? [] : [all.subarray(at)]
  })
}
