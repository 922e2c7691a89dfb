/** The methods of an object, provided together. */
import { describe } from '../../../src/errors.js'
import { knownOptions } from '../../../src/known-options.js'
import type { Selection } from '../../../src/types.js'
import type { CallContext, Handler, ProvideOptions, ServeOptions } from '../types.js'
import { checkMethod, isReserved, rulesOf, type Provisions } from './provisions.js'
import { isLiteral, methodsOfClasses, type Method } from './public-methods.js'

/**
 * Provides all public methods of an object.
 * @returns removes them again
 * @throws StageError BAD_NAME; TypeError
 */
export function serve(provisions: Provisions, selection: Selection, object: object, options: ServeOptions = {}): () => void {
  knownOptions('serve()', options, ['withCall', 'authorize', 'methods'])
  if (typeof object !== 'object' || (object as unknown) === null) {
    throw new TypeError(`serve() got ${describe(object)}: expected an object with methods, such as an instance of a class`)
  }
  const { withCall = false, authorize, methods = {} } = options
  if (typeof withCall !== 'boolean') throw new TypeError(`withCall is ${describe(withCall)}: expected true or false`)
  const all = methodsOf(object, Object.keys(methods))
  if (all.size === 0) throw new TypeError('serve() got an object without public methods: a public method is a function whose name does not begin with "_"')
  const byName = methods as Readonly<Record<string, ProvideOptions>>
  knownOptions('methods in serve()', byName, [...all.keys()])
  const common = rulesOf('serve()', 'all methods', { authorize }).authorize
  // every option is checked before the first method is provided
  const made = [...all].map(([name, method]) => {
    checkMethod(name)
    const rules = rulesOf('serve()', name, byName[name] ?? {})
    return { name, handler: bound(object, method, withCall), rules: { ...rules, authorize: [...common, ...rules.authorize] } }
  })
  const removals = made.map(({ name, handler, rules }) => provisions.put(selection, name, handler, rules, byName[name]?.idempotent))
  return () => { for (const remove of removals) remove() }
}

/**
 * The methods of an object. Functions among the properties of an instance may be anything that was passed to its constructor,
 * so of those only the named ones count.
 */
function methodsOf(object: object, named: readonly string[]): ReadonlyMap<string, Method> {
  const isVisible = (name: string): boolean => name[0] !== '_' && !isReserved(name)
  const literal = isLiteral(object)
  const methods = literal ? new Map<string, Method>() : methodsOfClasses(Object.getPrototypeOf(object) as object, isVisible)
  for (const name of Object.keys(object)) {
    const value: unknown = Object.getOwnPropertyDescriptor(object, name)?.value
    if (typeof value !== 'function') methods.delete(name)
    else if (isVisible(name) && (literal || named.includes(name))) methods.set(name, value as Method)
  }
  return methods
}

const bound = (object: object, method: Method, withCall: boolean): Handler => withCall
  ? function (this: CallContext, ...args: unknown[]): unknown { return method.call(object, this, ...args) }
  : function (...args: unknown[]): unknown { return method.apply(object, args) }
