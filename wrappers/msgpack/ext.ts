/** Our extension types and their content. Integers are big-endian; elements of binary data are little-endian. */
export const Ext = {
  /** One byte without meaning. */
  undefined: 0,
  /** u32: the number by which its owner knows a function. */
  function: 1,
  /** A byte (1 for negative), then the magnitude, big-endian. */
  bigint: 2,
  /** float64: milliseconds since 1970; NaN is an invalid Date. */
  date: 3,
  /** A byte (an index into `binaryKinds`), then the data. */
  binary: 4,
  /** An array of keys and values, alternating. */
  map: 5,
  /** An array of the members. */
  set: 6,
  /** An array: name, message, then if present code (string, number or undefined), then names and values of further properties. */
  error: 7,
  /** A byte (its kind), then u32: the number by which its owner knows the stream. */
  stream: 8,
  /** Text in UTF-8 that the layer of the handle resolves. */
  reference: 9,
} as const
