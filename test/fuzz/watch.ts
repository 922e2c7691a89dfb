/**
 * State that no input may change: the prototypes and globals of this process. No input may cause an unhandled rejection
 * either.
 */
const watched: Record<string, object> = {
  Object, Function, Array, Promise, Map, Set, Error, Date, Buffer, JSON, Reflect, Symbol,
  'Object.prototype': Object.prototype, 'Function.prototype': Function.prototype, 'Array.prototype': Array.prototype, 'Promise.prototype': Promise.prototype,
  'Map.prototype': Map.prototype, 'Set.prototype': Set.prototype, 'Error.prototype': Error.prototype, 'String.prototype': String.prototype, 'Number.prototype': Number.prototype,
  'Date.prototype': Date.prototype, 'Buffer.prototype': Buffer.prototype, 'RegExp.prototype': RegExp.prototype, 'Symbol.prototype': Symbol.prototype,
}

export class Watch {
  readonly #before = Object.entries(watched).map(([name, object]) => ({ name, object, keys: Reflect.ownKeys(object), own: Object.getOwnPropertyDescriptors(object) as Record<PropertyKey, PropertyDescriptor>, parent: Object.getPrototypeOf(object) as unknown }))
  readonly #first = this.#before.filter(({ name }) => /^(Object|Array|Function)\.prototype$/.test(name))
  readonly #globals = Reflect.ownKeys(globalThis).length
  readonly #limit = Error.stackTraceLimit
  readonly #left: string[] = []
  readonly #onleft = (reason: unknown) => { this.#left.push(reason instanceof Error ? (reason.stack ?? String(reason)) : String(reason)) }

  constructor() {
    process.on('unhandledRejection', this.#onleft)
    process.on('uncaughtException', this.#onleft)
  }

  close(): void {
    process.off('unhandledRejection', this.#onleft)
    process.off('uncaughtException', this.#onleft)
  }

  /** A cheap check, after every input. */
  changed(): string | undefined {
    if (this.#left.length > 0) return `left to nobody: ${this.#left.splice(0).join(' · ')}`
    for (const { name, object, keys } of this.#first) if (Reflect.ownKeys(object).length !== keys.length) return `${name} has other properties`
    if (Error.stackTraceLimit !== this.#limit) return 'Error.stackTraceLimit is another'
    return undefined
  }

  /** A thorough check, from time to time. */
  replaced(): string | undefined {
    for (const { name, object, keys, own, parent } of this.#before) {
      if (Reflect.ownKeys(object).length !== keys.length) return `${name} has other properties`
      if (Object.getPrototypeOf(object) !== parent) return `${name} has another prototype`
      for (const key of keys) {
        const { value, get, set } = own[key]
        const now = Object.getOwnPropertyDescriptor(object, key)
        if (!now || now.get !== get || now.set !== set || !Object.is(now.value, value)) return `${name}.${String(key)} is another`
      }
    }
    return Reflect.ownKeys(globalThis).length > this.#globals + 5 ? 'there are other globals' : undefined
  }
}
