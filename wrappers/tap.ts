import type { TransformCallback } from 'node:stream'
import through2 from 'through2'
import { around } from '../src/around.js'
import { asError } from '../src/errors.js'
import type { Wrapper } from '../src/types.js'

/**
 * A wrapper that changes nothing and shows every chunk to `see`, for logs and counters.
 * @param see  called with each chunk before it is passed on, `'in'` from the peer or `'out'` to the peer; `see` must not
 *             change or keep the chunk. An error thrown by `see` destroys the stream, as a silent failure would hide traffic
 * @param name the wrapper's name in the chain, which both ends compare
 */
export function tap(see: (chunk: Buffer, direction: 'in' | 'out') => void, name = 'tap'): Wrapper {
  const through = (direction: 'in' | 'out') =>
    through2((chunk: Buffer, _encoding: string, done: TransformCallback) => {
      try {
        see(chunk, direction)
      } catch (thrown) {
        return done(asError(thrown))
      }
      done(null, chunk)
    })
  const wrap: Wrapper = (stream) => around(stream, through('in'), through('out'))
  return Object.defineProperty(wrap, 'name', { value: name })
}
