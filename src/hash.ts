/**
 * FNV-1a with a final mix: for spread, not for secrecy. The places of stored data depend on it, so it must never change.
 * @returns a whole number below 2^32
 */
export function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  return (h ^ (h >>> 13)) >>> 0
}
