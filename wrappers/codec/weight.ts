// What is slow to build counts as more than one element, so that no message within the limits keeps the loop for long.

/** Date, BigInt, Buffer, Map, Set: beside what they are as an element, and beside what is in them. */
export const SLOW = 2
/** Typed arrays, ArrayBuffer, DataView, Error, references. */
export const SLOWEST = 8

/** What a decoded value takes in memory beside its encoded bytes. */
export const BYTES = {
  /** An element, a property or an entry: its place, and a number there. */
  slot: 16,
  /** Any list or object. */
  container: 48,
  string: 24,
  /** A name of a property that was not seen lately: of objects of which no two are alike V8 keeps the shape of each. */
  key: 150,
  /** In a JSON text, where a string may be a name: between the two. */
  name: 64,
  /** For each of the nodes that it counts as more: see above. */
  tag: 64,
  function: 512,
  stream: 4096,
}
