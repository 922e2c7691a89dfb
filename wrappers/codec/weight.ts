// What is slow to build counts as more than one element, so that no message within the limits keeps the loop for long.

/** Date, BigInt, Buffer, Map, Set: beside what they are as an element, and beside what is in them. */
export const SLOW = 2
/** Typed arrays, ArrayBuffer, DataView, Error, references. */
export const SLOWEST = 8
