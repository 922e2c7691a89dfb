import type { Vault } from './store.js'
import type { World } from './world.js'

export function slowDown(vault: Vault, requestMs: number, answerMs: number, lossy: boolean): void {
  vault.requestMs = () => vault.chance.between(0, requestMs)
  vault.answerMs = () => vault.chance.between(0, answerMs)
  vault.lossy = lossy
}

/**
 * The faults of a store that is a separate server; a store that is part of the registry has the registry's faults.
 * @param during  keeps a fault going for that long
 */
export function storeTroubles(world: World, during: (ms: number, end: () => void) => void): readonly (() => void)[] {
  const { chance, clock, vault, play } = world
  if (!play.apart || play.addresses.length === 0) return []
  let free = 0
  const busy = (ms: number): boolean => {
    if (clock.now() < free) return true
    free = clock.now() + ms
    return false
  }

  function fail(): void {
    const ms = chance.odds(0.3) ? chance.between(4000, 15_000) : chance.between(100, 4000)
    if (busy(ms)) return
    world.tell('*', `the store is away for ${ms} ms`)
    vault.failing = true
    during(ms, () => world.calmStore())
  }

  function slow(): void {
    const ms = chance.between(2000, 15_000)
    if (busy(ms)) return
    world.tell('*', `the store is slow for ${ms} ms`)
    slowDown(vault, chance.one([50, 500, 3000]), chance.one([50, 500, 3000]), chance.odds(0.5))
    during(ms, () => world.calmStore())
  }

  /** The store loses all actors, or one, as if somebody had removed a row by hand. */
  function forget(): void {
    const actor = chance.odds(0.5) ? chance.one(play.addresses) : undefined
    world.tell('*', `the store forgets ${actor ?? 'everything'}`)
    vault.forget(actor)
  }

  function cutOff(): void {
    if (world.up.length === 0) return
    const host = chance.one(world.up)
    const how = chance.one(['refused', 'silent'] as const)
    const ms = chance.between(100, 8000)
    world.tell('*', `${host.label} cannot reach the store for ${ms} ms (${how})`)
    host.way.cut(how)
    during(ms, () => { if (host.alive) host.way.cut(undefined) })
  }

  return [fail, slow, forget, cutOff]
}
