import { HANDLE } from '../../../src/handle.js'
import { isMethod } from '../serving/provisions.js'

const WHY = 'is a proxy that as() returned, for methods of another stage: send the name of that stage, and let the other end call to(name).as()'
const AS = Object.freeze(Object.assign(Object.create(null) as object, { [HANDLE]: WHY }))

/** A proxy whose every method is a call; names that promises, inspection and iteration look up are undefined. */
export function remote(invoke: (method: string, args: unknown[]) => Promise<unknown>): object {
  const methods = new Map<string, (...args: unknown[]) => Promise<unknown>>()
  return new Proxy(Object.create(AS) as object, {
    get(_, name) {
      if (name === HANDLE) return AS[HANDLE]
      if (typeof name === 'symbol' || !isMethod(name)) return undefined
      let method = methods.get(name)
      if (!method) methods.set(name, method = (...args) => invoke(name, args))
      return method
    },
  })
}
