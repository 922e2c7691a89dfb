/**
 * Garbage collection by decree. What V8 collects, and when, is no function of a seed; in the simulated world a function
 * that was passed is collected when the world says so.
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

/** From now on nothing can reach it; whoever registered for that is told by calling the result. */
export function collect(target: object): () => void {
  collected.add(target)
  const of = cells.get(target) ?? []
  cells.delete(target)
  return () => { for (const cell of of) cell() }
}

/** Nobody holds anything any more: takes what never came to the application, as with calls that were not begun. */
export function collectRest(): void {
  for (const target of [...cells.keys()]) collect(target)()
}

/** Runs `fn` in a world where only `collect` collects. */
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
