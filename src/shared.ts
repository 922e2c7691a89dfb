import type { Registry } from './types.js'

const users = new WeakMap<Registry, number>()
/** The registries in use that were opened by a URL. */
const byUrl = new Map<string, Registry>()

/**
 * The registry that stages of this process already use under the same URL, so that they share its connections and its watch;
 * else `made`. A URL may depend on the environment, so its address must be the same too.
 */
export function sharedRegistry(url: string, made: Registry): Registry {
  const key = `${url} ${made.address}`
  const present = byUrl.get(key)
  if (!present) {
    byUrl.set(key, made)
    return made
  }
  void made.close() // it has not connected to anything yet
  return present
}

/** Counts the stages that use one registry object; the last of them to close closes it. */
export function retain(registry: Registry): () => Promise<void> {
  users.set(registry, (users.get(registry) ?? 0) + 1)
  return async () => {
    const left = (users.get(registry) ?? 1) - 1
    users.set(registry, left)
    if (left > 0) return
    for (const [key, one] of byUrl) if (one === registry) byUrl.delete(key)
    await registry.close()
  }
}
