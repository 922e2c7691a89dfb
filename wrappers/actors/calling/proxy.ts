import { inspect } from 'node:util'
import { printable, type StageError } from '../../../src/errors.js'
import { HANDLE, handleOf } from '../../../src/handle.js'
import type { Reference } from '../../../src/types.js'
import { isPublic } from '../members.js'
import { GET } from '../tasks.js'

/** Calls a method of one actor, or asks for something (`@…`). */
export type Invoke = (name: string, args: readonly unknown[], done: (error: StageError | null, value?: unknown) => void) => void

/** Of a method or property that is asked for from afar. */
export const NAME_MAX = 256

/** The address behind a proxy, for what takes one in place of an address. */
export function addressOf(value: unknown): unknown {
  const handle = typeof value === 'object' && value !== null ? handleOf(value) : undefined
  return typeof handle === 'object' ? handle.to : value
}

/** Nothing is in it, and yet what has it as its prototype is no plain object, which would be sent as its properties. */
const REMOTE = Object.freeze(Object.create(null) as object)

/**
 * An actor from afar. Each of its names is a function that calls the method, and a promise in waiting: awaiting it reads
 * the property. What promises, inspection and iteration look for is not there. As a value it travels by its address.
 */
export function remote(address: string, namespace: string, invoke: Invoke): object {
  const members = new Map<string, unknown>()
  // printing looks past the proxy
  const shown = Object.defineProperty(Object.create(REMOTE) as object, inspect.custom, { value: () => `actor ${address}` })
  return new Proxy(shown, {
    get(_, name) {
      if (name === Symbol.toPrimitive) return () => address
      if (name === HANDLE) return { namespace, to: address } satisfies Reference
      if (typeof name === 'symbol') return undefined
      const known = members.get(name)
      if (known || !isPublic(name) || name.length > NAME_MAX) return known
      const made = member(name, invoke)
      members.set(name, made)
      return made
    },
    set(_, name) {
      throw new TypeError(`${String(name)} of ${printable(address)} cannot be set from afar: call a method that does it`)
    },
  })
}

function member(name: string, invoke: Invoke): unknown {
  const ask = (what: string, args: readonly unknown[]): Promise<unknown> => new Promise((resolve, reject) => {
    invoke(what, args, (error, value) => { if (error) reject(error); else resolve(value) })
  })
  const method = (...args: unknown[]): Promise<unknown> => ask(name, args)
  return Object.assign(method, {
    then: (...then: Parameters<Promise<unknown>['then']>) => ask(GET, [name]).then(...then),
    catch: (...then: Parameters<Promise<unknown>['catch']>) => ask(GET, [name]).catch(...then),
    finally: (...then: Parameters<Promise<unknown>['finally']>) => ask(GET, [name]).finally(...then),
  })
}
