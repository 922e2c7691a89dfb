// Values that are slow to build count as more than one element, so that no message within the limits blocks the event loop for long.

/** Extra nodes for a Date, BigInt, Buffer, Map or Set, besides the element itself and its content. */
export const SLOW = 2
/** Extra nodes for a typed array, ArrayBuffer, DataView, Error or reference. */
export const SLOWEST = 8

/** Memory of a decoded value in addition to its encoded bytes. */
export const BYTES = {
  /** An element, property or entry: its slot, with a number in it. */
  slot: 16,
  /** Any list or object. */
  container: 48,
  string: 24,
  /** A property name not seen recently: if no two objects are alike, V8 keeps a hidden class for each. */
  key: 150,
  /** A string in a JSON text, which may be a value or a name: between `string` and `key`. */
  name: 64,
  /** For each extra node by `SLOW` or `SLOWEST`. */
  tag: 64,
  function: 512,
  stream: 4096,
}
