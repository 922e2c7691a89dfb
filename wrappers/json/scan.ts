const QUOTE = 0x22
const BACKSLASH = 0x5c
/** After this many bytes of a string, the runtime's own search is faster than a loop. */
const LONG = 32

/** Size of the parsed value, judged by brackets and commas alone. Only parsing shows whether the text is JSON. */
export interface Scan {
  /** Elements and properties. */
  nodes: number
  depth: number
  containers: number
  /** Strings, including property names. */
  strings: number
}

/** Examines each byte once, allocates nothing, and stops as soon as a limit is exceeded. */
export function scan(bytes: Buffer, start: number, end: number, maxNodes: number, maxDepth: number): Scan {
  let nodes = 0
  let open = 0
  let depth = 0
  let containers = 0
  let strings = 0
  /** True directly after an opening bracket: the next byte shows whether the container is empty. */
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

/** The position of the closing quote of a string whose content begins at `at`. */
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
