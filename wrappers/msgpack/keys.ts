const SLOTS = 1024
/** Bytes of a slot: the length, then the name itself. */
const WIDTH = 32

/**
 * Property names seen before, found by their bytes: objects of one kind come again and again, and making the same
 * string each time would be half the work of decoding them. It has a fixed number of slots, two for each hash, and a
 * new name takes the place of an old one: a peer that invents names makes it useless, never large.
 */
export class KeyCache {
  private readonly names = new Array<string>(SLOTS).fill('')
  private readonly table = new Uint8Array(SLOTS * WIDTH)

  /** @returns undefined if it was not added, or not lately */
  find(bytes: Uint8Array, start: number, size: number): string | undefined {
    const slot = hash(bytes, start, size)
    if (this.holds(slot, bytes, start, size)) return this.names[slot]
    if (this.holds(slot ^ 1, bytes, start, size)) return this.names[slot ^ 1]
    return undefined
  }

  /** Adds the name whose bytes these are, if it is neither empty nor too long. */
  add(bytes: Uint8Array, start: number, size: number, name: string): void {
    if (size === 0 || size >= WIDTH) return
    const slot = hash(bytes, start, size)
    const older = slot ^ 1
    this.names[older] = this.names[slot]!
    this.table.copyWithin(older * WIDTH, slot * WIDTH, (slot + 1) * WIDTH)
    this.names[slot] = name
    this.table[slot * WIDTH] = size
    this.table.set(bytes.subarray(start, start + size), slot * WIDTH + 1)
  }

  private holds(slot: number, bytes: Uint8Array, start: number, size: number): boolean {
    const table = this.table
    let at = slot * WIDTH
    if (table[at] !== size) return false
    for (const end = start + size; start < end; start++) if (table[++at] !== bytes[start]) return false
    return true
  }
}

/** The length and three of the bytes: names that agree in them share the two slots. */
function hash(bytes: Uint8Array, start: number, size: number): number {
  const sum = size + bytes[start] * 7 + bytes[start + (size >> 1)] * 61 + bytes[start + size - 1] * 421
  return (sum ^ (sum >> 10)) & (SLOTS - 1)
}
