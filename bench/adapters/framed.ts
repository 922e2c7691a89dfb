/** The minimum that calls need on a socket: a length, an id, and one write for all data of a tick. */
import type { Duplex } from 'node:stream'

/** Payloads above this size are not copied into the batch. */
const COPIED_MAX = 16 * 1024

export class Batch {
  #buffer = Buffer.allocUnsafe(64 * 1024)
  #at = 0
  #scheduled = false

  constructor(private readonly socket: Duplex) {}

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

/** Calls `each` for every whole frame; a payload is only valid until `each` returns. */
export function frames(socket: Duplex, each: (id: number, payload: Buffer) => void): void {
  let parts: Buffer[] = []
  let held = 0
  let needed = 8
  socket.on('data', (chunk: Buffer) => {
    held += chunk.length
    parts.push(chunk)
    if (held < needed) return // a large frame is joined once, when all of it has come
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
