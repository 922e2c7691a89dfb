import { inspect } from 'node:util'
import { printable, type StageError } from '../../../src/errors.js'
import { HANDLE, handleOf } from '../../../src/handle.js'
import type { Reference } from '../../../src/types.js'
import { isPublic } from '../members.js'
import { GET } from '../tasks.js'

/** Calls a method of one actor, or makes a request of the library (`@…`). */
export type Invoke = (name: string, args: readonly unknown[], done: (error: StageError | null, value?: unknown) => void) => void

/** Longest name of a remote method or property, in characters. */
export const NAME_MAX = 256

/** The address of a proxy; any other value is returned as it is. */
export function addressOf(value: unknown): unknown {
  const handle = typeof value === 'object' && value !== null ? handleOf(value) : undefined
  return typeof handle === 'object' ? handle.to : value
}

/** Empty prototype of proxies, so that they are not plain objects, which would be sent as their properties. */
const REMOTE = Object.freeze(Object.create(null) as object)

/**
 * A proxy of a remote actor. Each member is both a function that calls the method and a lazy thenable: awaiting it reads
 * the property. Names that promises, inspection and iteration look up are absent. A proxy in a value is sent as its address.
 */
export function remote(address: string, namespace: string, invoke: Invoke): object {
  const members = new Map<string, unknown>()
  // `inspect` looks past the proxy at its target
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
      throw new TypeError(`${String(name)} of ${printable(address)} cannot be set remotely: call a method that sets it`)
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
