import { createHash } from 'node:crypto'
import { getEventListeners } from 'node:events'
import { MemoryNetwork } from '../../src/index.js'
import { seeded } from '../helpers/mesh.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { Chance } from './chance.js'
import type { Call } from './calls.js'
import { Host } from './host.js'
import { choosePlay, type Play } from './play.js'
import { Server } from './registry.js'
import { Vault } from './store.js'
import { Truth } from './truth.js'

/** What is different from seed to seed beside the events themselves. */
export interface Climate {
  readonly names: readonly string[]
  readonly ttlMs: number
  readonly idleLinkMs: number
  readonly secret: string | undefined
  /** The longest that a message is under way when nothing is broken. */
  readonly latencyMs: number
}

/** A mesh in a bottle: its time, its network, its name server and the processes in it, all out of one seed. */
export class World {
  readonly clock = new VirtualClock()
  readonly chance: Chance
  /** For streams in calls, so that the rest of the world is the same with and without them. */
  readonly passing: Chance
  /** For actors, likewise. */
  readonly acting: Chance
  readonly network: MemoryNetwork
  readonly server: Server
  /** What keeps the actors. */
  readonly vault: Vault
  readonly truth: Truth
  readonly climate: Climate
  readonly play: Play
  /** Every process there ever was. */
  readonly hosts: Host[] = []
  readonly calls = new Map<number, Call>()
  /** What was found to be wrong. */
  readonly broken: string[] = []
  readonly #signals = new Map<AbortSignal, Host>()
  /** The last moment at which anything was disturbed. */
  troubledAt = 0
  /** When the registry last forgot everything. */
  emptiedAt = -Infinity
  /** Until when something kept what one process said from another; Infinity while it goes on. */
  heldUntil = -Infinity
  /** How much is wrong just now. */
  troubles = 0
  /** Nothing goes wrong any more. */
  quiet = false
  /** Somebody has sent a call twice, which costs him his link. */
  stuttered = false
  readonly #hash = createHash('sha1')
  #events = 0

  constructor(readonly seed: number, private readonly print?: (line: string) => void) {
    this.chance = new Chance(`world ${seed}`)
    this.passing = new Chance(`passed ${seed}`)
    this.acting = new Chance(`actors ${seed}`)
    const { chance } = this
    this.climate = {
      names: ['a', 'b', 'c', 'd', 'e', 'f'].slice(0, chance.between(3, 7)).map((name, i) => i === 2 && chance.odds(0.3) ? 'b' : name),
      ttlMs: chance.one([3000, 6000, 15_000]),
      idleLinkMs: chance.one([1500, 5000, 60_000]),
      secret: chance.odds(0.1) ? 'a secret of this world' : undefined,
      latencyMs: chance.one([0, 2, 10, 40]),
    }
    const weather = new Chance(`weather ${seed}`)
    const { latencyMs } = this.climate
    this.network = new MemoryNetwork({ clock: this.clock, random: seeded(`network ${seed}`), latencyMs: () => weather.between(0, latencyMs + 1) })
    this.server = new Server(this.clock, seeded(`server ${seed}`), new Chance(`server ${seed}`))
    this.truth = new Truth(this)
    this.vault = new Vault(this.clock, new Chance(`store ${seed}`), this.truth)
    this.play = choosePlay(this.acting, this.climate.names)
    this.calm()
  }

  /** The processes that are there and not about to leave. */
  get up(): Host[] {
    return this.hosts.filter((host) => host.alive && !host.closing)
  }

  /** Those of them that do not stand still. */
  get running(): Host[] {
    return this.up.filter((host) => !host.clock.paused)
  }

  start(name: string): Host {
    const host = new Host(this, name, this.hosts.length + 1)
    this.hosts.push(host)
    this.tell(host.label, 'starts')
    return host
  }

  /** The registry and the store as they are when nothing is wrong with them. */
  calm(): void {
    this.calmRegistry()
    this.calmStore()
  }

  calmStore(): void {
    const { vault } = this
    vault.requestMs = vault.answerMs = () => vault.chance.between(0, 4)
    vault.lossy = vault.failing = false
  }

  calmRegistry(): void {
    const { server } = this
    server.requestMs = server.answerMs = () => server.chance.between(0, 4)
    server.viewMs = () => server.chance.between(0, 8)
    server.lossy = false
    if (server.failing) server.fail(false)
  }

  signal(host: Host): AbortController {
    const controller = new AbortController()
    this.#signals.set(controller.signal, host)
    return controller
  }

  /** Whoever still listens to a signal that was used. */
  listeners(): number {
    let count = 0
    for (const [signal, host] of this.#signals) if (host.alive) count += getEventListeners(signal, 'abort').length
    return count
  }

  /** One event. What the seed says shows only here, so two runs of a seed must tell the same. */
  tell(who: string, what: string): void {
    const line = `${this.clock.now().toFixed(3).padStart(11)}  ${who.padEnd(4)} ${what}`
    this.#events++
    this.#hash.update(line)
    this.print?.(line)
  }

  fail(what: string): void {
    this.tell('!', what)
    this.broken.push(`${what} (at ${this.clock.now().toFixed(0)} ms)`)
  }

  /** Of all events so far; ends the telling. */
  trace(): { hash: string; events: number } {
    return { hash: this.#hash.digest('hex'), events: this.#events }
  }
}
