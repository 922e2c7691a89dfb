/**
 * Controlled garbage collection. When V8 collects an object does not depend on the seed; in the simulated world, a function
 * that was passed is collected when the world decides so.
 */
const collected = new WeakSet<object>()

class DecreedRef<T extends object> {
  constructor(private readonly target: T) {}

  deref(): T | undefined {
    return collected.has(this.target) ? undefined : this.target
  }
}

let cells = new Map<object, (() => void)[]>()

class DecreedRegistry<T> {
  constructor(private readonly cleanup: (held: T) => void) {}

  register(target: object, held: T): void {
    const of = cells.get(target)
    const cell = (): void => this.cleanup(held)
    if (of) of.push(cell)
    else cells.set(target, [cell])
  }

  unregister(): boolean {
    return false
  }
}

/** Makes an object unreachable; calling the result notifies the code that registered for its collection. */
export function collect(target: object): () => void {
  collected.add(target)
  const of = cells.get(target) ?? []
  cells.delete(target)
  return () => { for (const cell of of) cell() }
}

/** Collects all remaining objects that never reached the application, as those of calls that were not begun. */
export function collectRest(): void {
  for (const target of [...cells.keys()]) collect(target)()
}

/** Runs `fn` in a world in which objects are collected only by `collect`. */
export async function withoutGarbage<T>(fn: () => Promise<T>): Promise<T> {
  const own = { WeakRef, FinalizationRegistry }
  cells = new Map()
  Object.assign(globalThis, { WeakRef: DecreedRef, FinalizationRegistry: DecreedRegistry })
  try {
    return await fn()
  } finally {
    Object.assign(globalThis, own)
  }
}
