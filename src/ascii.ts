const char = String.fromCharCode

/** The longest string for which this beats a call into the runtime. */
export const SHORT = 12

/**
 * One call with all characters is twice as fast as any loop. The runtime joins up to 12 characters flat; a longer string
 * becomes a tree of pieces, so it is better made in one go.
 */
export function shortAscii(b: Uint8Array, at: number, size: number): string {
  switch (size) {
    case 0: return ''
    case 1: return char(b[at])
    case 2: return char(b[at], b[at + 1])
    case 3: return char(b[at], b[at + 1], b[at + 2])
    case 4: return char(b[at], b[at + 1], b[at + 2], b[at + 3])
    case 5: return char(b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4])
    case 6: return char(b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5])
    case 7: return char(b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5], b[at + 6])
    default: return char(b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5], b[at + 6], b[at + 7]) + shortAscii(b, at + 8, size - 8)
  }
}
