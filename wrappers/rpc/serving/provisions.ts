import { StageError, describe } from '../../../src/errors.js'
import { knownOptions } from '../../../src/known-options.js'
import { isIdentifier } from '../../../src/pattern.js'
import type { Peer, Selection } from '../../../src/types.js'
import type { Interception } from '../interception.js'
import type { Rules } from '../interceptor.js'
import { validation, type Schema, type Schemas } from './schema.js'
import type { CheckedHandler, Handler, ProvideOptions, ProvidedMethod } from '../types.js'

/** Names that proxies, promises and debuggers look up on any object: never methods. */
const RESERVED: ReadonlySet<string> = new Set([
  'then', 'catch', 'finally', 'constructor', 'prototype', 'toString', 'toLocaleString', 'toJSON', 'valueOf', 'hasOwnProperty',
  'isPrototypeOf', 'propertyIsEnumerable', 'inspect', '__proto__',
])

export const isReserved = (name: string): boolean => RESERVED.has(name)

/** Names that passed the check, which runs for every call; a stage calls few different names. */
const passed = new Set<unknown>()

/** Whether a name can be a method at all. */
export function isMethod(name: unknown): name is string {
  if (passed.has(name)) return true
  if (!isIdentifier(name) || RESERVED.has(name)) return false
  if (passed.size >= 1000) passed.clear() // names come from callers: bounded
  passed.add(name)
  return true
}

export function noSuch(method: unknown): StageError {
  const names = 'names begin with a letter or a digit, and names that every object has are reserved'
  return new StageError('NO_SUCH_METHOD', `${describe(method)} cannot be a method: ${names}`)
}

/** @throws StageError BAD_NAME */
export function checkMethod(name: unknown): void {
  if (isMethod(name)) return
  const letters = 'a letter or a digit, then up to 127 letters, digits or one of "_ . : -"'
  const expected = `${letters}, and not a name that every object has`
  throw new StageError('BAD_NAME', `a method cannot be named ${describe(name)}: expected ${expected}`)
}

interface Provision {
  selection: Selection
  /** The handler behind the interceptors of its stage and its own rules, if there are any. */
  handler: Handler
  rules: Rules | undefined
  idempotent: boolean
}

/** Options of one method, whether it is provided or an actor's. */
const OPTIONS = ['authorize', 'input', 'output', 'idempotent']

/**
 * Checks the options of one method.
 * @param where  for messages: `provide()`, or the type of actors
 * @throws TypeError
 */
export function rulesOf(where: string, method: string, options: unknown): Rules {
  knownOptions(`${method} in ${where}`, options, OPTIONS)
  const { authorize, input, output, idempotent } = options as ProvideOptions
  if (idempotent !== undefined && typeof idempotent !== 'boolean') {
    throw new TypeError(`idempotent of ${method} is ${describe(idempotent)}: expected true or false`)
  }
  if (authorize !== undefined && typeof authorize !== 'function') {
    throw new TypeError(`authorize of ${method} is ${describe(authorize)}: expected a function (call) => boolean`)
  }
  return { authorize: authorize ? [authorize] : [], validation: validation(method, input, output), options: options as object }
}

/**
 * Types a handler by its schemas where TypeScript cannot by itself, in `provide` of a stage or of `rpc()`:
 * `provide: { greet: method({ input: z.string(), handler: (name) => `hi there, ${name}` }) }`.
 * @returns its argument
 */
export function method<const Input extends Schemas | undefined = undefined, Output extends Schema | undefined = undefined>(
  given: ProvideOptions<Input, Output> & { readonly handler: CheckedHandler<Input, Output> },
): ProvidedMethod {
  return given
}

/** A method as it is provided, checked. @throws StageError BAD_NAME; TypeError */
export function checkProvided(name: string, given: Handler | ProvideOptions, behind?: Handler): { handler: Handler; rules: Rules | undefined; idempotent: boolean | undefined } {
  const handler = (behind ?? given) as Handler
  const options = behind === undefined ? undefined : given as ProvideOptions
  checkMethod(name)
  if (typeof handler !== 'function') throw new TypeError(`provide(${describe(name)}) needs a function, not ${describe(handler)}`)
  return { handler, rules: options && rulesOf('provide()', name, options), idempotent: options?.idempotent }
}

/** The methods of one stage, and the peers that they are provided to. A name from the wire is only ever looked up in this Map. */
export class Provisions {
  readonly #byName = new Map<string, Provision[]>()
  /** Counts changes, so that links can cache their look-ups. */
  version = 0

  /** @param who  the name of this stage, for rules that ask */
  constructor(private readonly interception: Interception, private readonly who: string, private readonly onchange: () => void) {}

  /**
   * @param given   the handler, or options in front of it
   * @throws StageError BAD_NAME; TypeError
   */
  add(selection: Selection, name: string, given: Handler | ProvideOptions, behind?: Handler): void {
    const { handler, rules, idempotent } = checkProvided(name, given, behind)
    this.put(selection, name, handler, rules, idempotent)
  }

  /** @param name  checked by the caller @returns removes the method again, unless another has taken its place */
  put(selection: Selection, name: string, handler: Handler, rules: Rules | undefined, idempotent = false): () => void {
    // a method provided again to the same selection replaces the earlier handler, so that nothing piles up
    const list = (this.#byName.get(name) ?? []).filter((one) => one.selection.label !== selection.label)
    const served = this.interception.serving(handler, name, this.who, rules)
    const provision = { selection, handler: served, rules, idempotent }
    list.push(provision)
    this.#byName.set(name, list)
    this.#changed()
    return () => void this.#remove(name, (one) => one !== provision)
  }

  /** Removes the method that was provided to the same selection under that name. */
  remove(selection: Selection, name: string): boolean {
    return this.#remove(name, (one) => one.selection.label !== selection.label)
  }

  /** @returns whether anything was removed */
  #remove(name: string, stays: (one: Provision) => boolean): boolean {
    const list = this.#byName.get(name)
    const left = list?.filter(stays) ?? []
    if (left.length === (list?.length ?? 0)) return false
    if (left.length > 0) this.#byName.set(name, left)
    else this.#byName.delete(name)
    this.#changed()
    return true
  }

  /** The handler that this peer gets under that name; if several patterns match, the latest. */
  find(name: string, peer: Peer): Handler | undefined {
    return this.#find(name, peer)?.handler
  }

  #find(name: string, peer: Peer): Provision | undefined {
    const list = this.#byName.get(name)
    if (!list) return undefined
    for (let i = list.length - 1; i >= 0; i--) {
      const one = list[i]
      if (one.selection.includes(peer)) return one
    }
    return undefined
  }

  /** Every name that this peer can call, and whether it is idempotent; without names that the rules hide from the peer for any call. */
  visible(peer: Peer): Map<string, boolean> {
    const names = new Map<string, boolean>()
    for (const name of this.#byName.keys()) {
      const one = this.#find(name, peer)
      if (one && !this.interception.hides(peer, name, this.who, one.rules)) names.set(name, one.idempotent)
    }
    return names
  }

  /** Whether the peer would get another handler, under that name or any, if it were listed as it claims to be. */
  depends(peer: Peer, name?: string): boolean {
    if (!peer.claimed) return false
    const listed = { ...peer, claimed: false }
    return (name === undefined ? [...this.#byName.keys()] : [name]).some((one) => this.find(one, listed) !== this.find(one, peer))
  }

  #changed(): void {
    this.version++
    this.onchange()
  }
}
