const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Behind so many bytes of a string the runtime's own search is quicker than a loop. */
const LONG = 32

/** What a text would become, by its brackets and commas alone. Whether it is JSON shows when it is parsed. */
export interface Scan {
  /** Elements and properties. */
  nodes: number
  depth: number
  containers: number
  /** Names of properties among them. */
  strings: number
}

/** Looks at each byte once, keeps nothing, and stops as soon as a limit is passed. */
export function scan(bytes: Buffer, start: number, end: number, maxNodes: number, maxDepth: number): Scan {
  let nodes = 0
  let open = 0
  let depth = 0
  let containers = 0
  let strings = 0
  /** Just behind an opening bracket: the next byte shows whether something is in it. */
  let fresh = false
  for (let at = start; at < end; at++) {
    const byte = bytes[at]
    if (fresh) {
      fresh = false
      if (byte !== 0x5d && byte !== 0x7d) nodes++
    }
    if (byte === QUOTE) {
      strings++
      at = closing(bytes, at + 1, end)
    } else if (byte === 0x2c) nodes++
    else if (byte === 0x5b || byte === 0x7b) {
      fresh = true
      containers++
      if (++open > depth) depth = open
    } else if (byte === 0x5d || byte === 0x7d) open--
    if (nodes > maxNodes || depth > maxDepth) break
  }
  return { nodes, depth, containers, strings }
}

/** Where the string ends whose first byte is at `at`. */
function closing(bytes: Buffer, at: number, end: number): number {
  for (;;) {
    for (const near = Math.min(at + LONG, end); at < near; at++) {
      if (bytes[at] === QUOTE) return at
      if (bytes[at] === BACKSLASH) at++
    }
    if (at >= end) return end
    const from = at
    at = bytes.indexOf(QUOTE, from)
    if (at < 0 || at >= end) return end
    let escapes = 0
    while (at - escapes > from && bytes[at - escapes - 1] === BACKSLASH) escapes++
    if (escapes % 2 === 0) return at
    at++
  }
}
