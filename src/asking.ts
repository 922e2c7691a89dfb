import { StageError } from './errors.js'
import type { Surroundings } from './selection.js'

/** How long a registry may take to show an entry that it lists. */
const SHOWN_MS = 5000

/** Resolves when a view newer than this call was applied, or when the registry does not answer. */
export function asked({ directory, waiting }: Surroundings): Promise<void> {
  const number = directory.look()
  return new Promise((resolve) => {
    const look = (): void => { if (number <= directory.looked) resolve(); else waiting.add(look) }
    look()
  })
}

/**
 * Resolves when a view has contained this stage's own entry. Publishing and watching are two ways to the registry, and one
 * may work where the other does not.
 * @param id  the id of the entry, which changes after a lost lease
 * @throws StageError why the entry was not shown, or CLOSED
 */
export function shown({ clock, directory, registryAddress, waiting, closed, self }: Surroundings, id: () => string): Promise<void> {
  if (directory.shows(id())) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const number = directory.look()
    const unavailable = (why: string, cause?: Error): StageError => cause instanceof StageError ? cause
      : new StageError('REGISTRY_UNAVAILABLE', `the registry ${registryAddress} lists ${self().name}, but ${why}`, { cause })
    const look = (): void => {
      const { failure } = directory
      if (directory.shows(id())) resolve()
      else if (closed()) reject(new StageError('CLOSED', 'this stage is closed'))
      else if (failure && number <= directory.looked) reject(unavailable(`cannot be watched: ${failure.message}`, failure))
      else return void waiting.add(look)
      timer.cancel()
    }
    const timer = clock.setTimeout(() => {
      waiting.delete(look)
      reject(unavailable(`its watch has not shown that entry within ${SHOWN_MS} ms`))
    }, SHOWN_MS)
    look()
  })
}
