import { createHash } from 'node:crypto'

/** A script that Redis runs as one atomic step. */
export interface Script {
  readonly text: string
  readonly sha: string
  /** The same script without flags, for a Redis before 7.0. */
  readonly plain: Omit<Script, 'plain'>
}

/** @param flags  as in `#!lua flags=…`; '' for none */
export function script(flags: string, text: string): Script {
  return { ...hashed(`#!lua${flags && ` flags=${flags}`}\n${text}`), plain: hashed(text) }
}

function hashed(text: string): Omit<Script, 'plain'> {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}
