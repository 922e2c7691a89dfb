const SLOTS = 1024
/** Bytes of a slot: the length, then the name. */
const WIDTH = 32

/**
 * A cache of property names, found by their bytes: similar objects arrive again and again, and creating the same strings
 * each time would be half the work of decoding. The cache has a fixed number of slots, two for each hash, and a new name
 * replaces an old one, so a peer that invents names can make the cache useless but never large.
 */
export class KeyCache {
  private readonly names = new Array<string>(SLOTS).fill('')
  private readonly table = new Uint8Array(SLOTS * WIDTH)

  /** @returns undefined if the name was not added recently */
  find(bytes: Uint8Array, start: number, size: number): string | undefined {
    const slot = hash(bytes, start, size)
    if (this.holds(slot, bytes, start, size)) return this.names[slot]
    if (this.holds(slot ^ 1, bytes, start, size)) return this.names[slot ^ 1]
    return undefined
  }

  /** Adds a name with its bytes, unless it is empty or too long. */
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

/** Hashes the length and three of the bytes; names with the same hash share two slots. */
function hash(bytes: Uint8Array, start: number, size: number): number {
  const sum = size + bytes[start] * 7 + bytes[start + (size >> 1)] * 61 + bytes[start + size - 1] * 421
  return (sum ^ (sum >> 10)) & (SLOTS - 1)
}
