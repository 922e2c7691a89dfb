import type { Host } from './host.js'
import { slowDown, storeTroubles } from './store-trouble.js'
import type { World } from './world.js'

/** The faults of a world, each for a while. */
export class Trouble {
  /** Functions that end the present faults. */
  readonly #ends = new Set<() => void>()
  /** The time until which the registry may recover before its next fault. */
  #registryFree = 0
  readonly #weights: readonly number[]

  constructor(private readonly world: World) {
    // every world has its own faults: some of them often, others not at all
    const { chance } = world
    this.#kinds.push(...storeTroubles(world, (ms, end) => this.#for(ms, end)))
    this.#weights = this.#kinds.map(() => chance.odds(0.4) ? 0 : chance.float() ** 2)
  }

  /** Begins one more fault. */
  strike(): void {
    const { chance, clock } = this.world
    let at = chance.float() * this.#weights.reduce((sum, one) => sum + one, 0)
    const kind = this.#kinds[Math.max(0, this.#weights.findIndex((weight) => (at -= weight) < 0))]
    kind()
    this.world.troubledAt = clock.now()
  }

  /** Ends all faults. */
  end(): void {
    for (const end of [...this.#ends]) end()
  }

  readonly #kinds: (() => void)[] = [
    () => this.#cut(),
    () => this.#silence(),
    () => this.#part(),
    () => this.#refuse(),
    () => this.#pause(),
    () => this.#crash(),
    () => this.#leave(),
    () => this.#fail(),
    () => this.#empty(),
    () => this.#slow(),
    () => this.#cutOff(),
  ]

  #for(ms: number, end: () => void): void {
    const { clock } = this.world
    this.world.troubles++
    const once = (): void => { timer.cancel(); this.#ends.delete(once); this.world.troubles--; this.world.troubledAt = clock.now(); end() }
    const timer = clock.setTimeout(once, ms)
    this.#ends.add(once)
  }

  #holds = 0

  #holdFor(ms: number, end: () => void): void {
    const { world } = this
    this.#holds++
    world.heldUntil = Infinity
    this.#for(ms, () => {
      if (--this.#holds === 0) world.heldUntil = world.clock.now()
      end()
    })
  }

  #pair(): [Host, Host] | undefined {
    const { chance, up } = this.world
    if (up.length < 2) return undefined
    const one = chance.one(up)
    return [one, chance.one(up.filter((other) => other !== one))]
  }

  /** Connections break: all of them, or those of a pair or of one process. */
  #cut(): void {
    const { world } = this
    const { chance, network } = world
    const pair = this.#pair()
    if (!pair) return
    const [one, two] = pair
    const part = chance.float()
    world.tell('*', part < 0.2 ? 'cuts everything' : part < 0.6 ? `cuts ${one.label} and ${two.label}` : `cuts ${one.label} off from some`)
    if (part < 0.2) network.cut()
    else if (part < 0.6) network.cut((from, to) => [from, to].every((end) => end === one.address || end === two.address))
    else network.cut((from, to) => (from === one.address || to === one.address) && chance.odds(0.5))
  }

  /** One direction goes silent, sometimes for longer than a ping waits. */
  #silence(): void {
    const { world } = this
    const { chance, network, clock } = world
    const pair = this.#pair()
    if (!pair) return
    const [one, two] = pair
    const ms = chance.odds(0.4) ? chance.between(16_500, 25_000) : chance.between(100, 4000)
    world.tell('*', `${two.label} hears nothing of ${one.label} for ${ms} ms`)
    const silent = (from: string, to: string): boolean => from === one.address && to === two.address
    network.hold(silent)
    const since = clock.now()
    const before = new Map([one, two].map((host) => [host, host.linkTo((host === one ? two : one).stage.id)]))
    let over = false
    this.#holdFor(ms, () => { over = true; network.release(silent) })
    // P8: within 15 s both ends know, unless they were stopped themselves
    for (const [host, link] of before) {
      if (!link) continue
      clock.setTimeout(() => {
        if (over || !world.running.includes(host) || host.due(since) > since || host.pauses.some(({ from }) => from >= since)) return
        if (host.stage.links().some(({ id }) => id === link)) world.fail(`P8: ${host.label} has not noticed in 16 s that its link to ${(host === one ? two : one).label} is half open`)
      }, 16_000)
    }
  }

  /** The network splits into two parts. */
  #part(): void {
    const { world } = this
    const { chance, network } = world
    const island = new Set(world.up.filter(() => chance.odds(0.4)).map((host) => host.address))
    const ms = chance.between(500, 12_000)
    world.tell('*', `an island of ${island.size} for ${ms} ms`)
    const apart = (from: string, to: string): boolean => island.has(from) !== island.has(to)
    network.hold(apart)
    this.#holdFor(ms, () => network.release(apart))
  }

  #refuse(): void {
    const { world } = this
    const { chance, network, up } = world
    if (up.length === 0) return
    const host = chance.one(up)
    world.tell('*', `${host.label} refuses to be dialled`)
    const refused = (_from: string, to: string): boolean => to === host.address
    network.refuse(refused)
    if (chance.odds(0.7)) network.cut(host.address)
    host.refusedUntil = Infinity
    this.#for(chance.between(500, 8000), () => {
      network.release(refused)
      host.refusedUntil = world.clock.now()
    })
  }

  #pause(): void {
    const { world } = this
    const { chance, running, climate } = world
    if (running.length === 0) return
    const host = chance.one(running)
    const ms = chance.odds(0.2) ? climate.ttlMs + chance.between(0, 5000) : chance.between(50, 3000)
    world.tell('*', `${host.label} stands still for ${ms} ms`)
    host.pause()
    this.#for(ms, () => { if (host.alive) { world.tell('*', `${host.label} goes on`); host.resume() } })
  }

  #crash(): void {
    const { world } = this
    const { chance, up } = world
    if (up.length < 3) return
    const host = chance.one(up)
    const reset = chance.odds(0.6)
    world.tell('*', `${host.label} crashes${reset ? '' : ', silently'}`)
    host.crash(reset)
    this.#again(host.name)
  }

  #leave(): void {
    const { world } = this
    const { chance, running } = world
    if (running.length < 3) return
    const host = chance.one(running)
    world.tell('*', `${host.label} leaves`)
    void host.close()
    this.#again(host.name)
  }

  #again(name: string): void {
    const { world } = this
    if (world.chance.odds(0.8)) this.#for(world.chance.between(0, 6000), () => void world.start(name))
  }

  /** @returns whether the registry may have a fault now, for at most `ms` */
  #registry(ms: number, rest = 0): boolean {
    const { clock } = this.world
    if (clock.now() < this.#registryFree) return false
    this.#registryFree = clock.now() + ms + rest
    return true
  }

  #fail(): void {
    const { world } = this
    const ms = world.chance.odds(0.3) ? world.climate.ttlMs + world.chance.between(0, 8000) : world.chance.between(100, 4000)
    if (!this.#registry(ms)) return
    world.tell('*', `the registry is away for ${ms} ms`)
    world.server.fail(true)
    if (!world.play.apart) world.vault.failing = true
    this.#for(ms, () => this.#calm())
  }

  #empty(): void {
    const { world } = this
    // a registry that loses its data, and fails before all stages are listed again, has lost them: no promise covers this
    if (!this.#registry(0, world.climate.ttlMs + 5000)) return
    world.tell('*', 'the registry forgets everything')
    world.server.empty()
    world.emptiedAt = world.clock.now()
    if (!world.play.apart) world.vault.forget()
  }

  /** Writes are slow, views come late, and answers get lost. */
  #slow(): void {
    const { world } = this
    const { chance, server, climate } = world
    const ms = chance.between(2000, 15_000)
    if (!this.#registry(ms)) return
    const [request, answer, view] = [climate.ttlMs / 10, climate.ttlMs / 10, 3000]
    world.tell('*', `the registry is slow for ${ms} ms`)
    server.requestMs = () => server.chance.between(0, request)
    server.answerMs = () => server.chance.between(0, answer)
    server.viewMs = () => server.chance.between(0, view)
    server.lossy = chance.odds(0.3)
    if (!world.play.apart) slowDown(world.vault, request, answer, server.lossy)
    this.#for(ms, () => this.#calm())
  }

  /** Ends the fault of the registry, and of the store that is part of it. */
  #calm(): void {
    const { world } = this
    if (world.play.apart) world.calmRegistry()
    else world.calm()
  }

  #cutOff(): void {
    const { world } = this
    const { chance, up } = world
    if (up.length === 0) return
    const host = chance.one(up)
    const how = chance.one(['refused', 'silent'] as const)
    const ms = chance.odds(0.3) ? world.climate.ttlMs + chance.between(0, 6000) : chance.between(100, 4000)
    world.tell('*', `${host.label} cannot reach the registry for ${ms} ms (${how})`)
    const ways = world.play.apart ? [host.client] : [host.client, host.way]
    for (const way of ways) way.cut(how)
    host.impairedUntil = Infinity
    this.#for(ms, () => {
      if (!host.alive) return
      for (const way of ways) way.cut(undefined)
      host.impairedUntil = world.clock.now()
    })
  }
}
