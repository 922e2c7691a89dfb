import type { Registry } from './types.js'

const users = new WeakMap<Registry, number>()

/** Counts the stages that use one registry object; the last of them to close closes it. */
export function retain(registry: Registry): () => Promise<void> {
  users.set(registry, (users.get(registry) ?? 0) + 1)
  return async () => {
    const left = (users.get(registry) ?? 1) - 1
    users.set(registry, left)
    if (left === 0) await registry.close()
  }
}
