/** The extension types that are ours, and what is in each. All integers are big-endian; elements are little-endian. */
export const Ext = {
  /** One byte, of no meaning. */
  undefined: 0,
  /** u32: the number by which its owner knows a function. */
  function: 1,
  /** A byte that is 1 for negative, then the magnitude, big-endian. */
  bigint: 2,
  /** float64: milliseconds since 1970; NaN is an invalid Date. */
  date: 3,
  /** A byte that is an index into `binaryKinds`, then the bytes. */
  binary: 4,
  /** An array of keys and values in turn. */
  map: 5,
  /** An array of the members. */
  set: 6,
  /** An array: name, message, then code (string, number or undefined), then names and values of further properties in turn, if there are any. */
  error: 7,
  /** A byte that is its kind, then u32: the number by which its owner knows it. */
  stream: 8,
  /** Text in UTF-8: by which the layer that has such handles knows what one refers to. */
  reference: 9,
} as const
