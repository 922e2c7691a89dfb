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

/** The parameters that differ from seed to seed, beside the events themselves. */
export interface Climate {
  readonly names: readonly string[]
  readonly ttlMs: number
  readonly idleLinkMs: number
  readonly secret: string | undefined
  /** The longest time that a message takes without faults. */
  readonly latencyMs: number
}

/** A simulated mesh: its time, its network, its name server and its processes, all from one seed. */
export class World {
  readonly clock = new VirtualClock()
  readonly chance: Chance
  /** The choices for streams in calls, separate so that the rest of the world is the same with and without them. */
  readonly passing: Chance
  /** The choices for actors, likewise. */
  readonly acting: Chance
  readonly network: MemoryNetwork
  readonly server: Server
  /** The store of the actors. */
  readonly vault: Vault
  readonly truth: Truth
  readonly climate: Climate
  readonly play: Play
  /** All processes that ever existed. */
  readonly hosts: Host[] = []
  readonly calls = new Map<number, Call>()
  /** The failures that were found. */
  readonly broken: string[] = []
  readonly #signals = new Map<AbortSignal, Host>()
  /** The last moment of any fault. */
  troubledAt = 0
  /** When the registry last lost all of its data. */
  emptiedAt = -Infinity
  /** The time until which messages between processes were held back; Infinity while they are. */
  heldUntil = -Infinity
  /** The number of present faults. */
  troubles = 0
  /** There are no more faults. */
  quiet = false
  /** A stage has sent a call twice, and loses its link for it. */
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

  /** The processes that live and are not about to leave. */
  get up(): Host[] {
    return this.hosts.filter((host) => host.alive && !host.closing)
  }

  /** The processes among them that are not stopped. */
  get running(): Host[] {
    return this.up.filter((host) => !host.clock.paused)
  }

  start(name: string): Host {
    const host = new Host(this, name, this.hosts.length + 1)
    this.hosts.push(host)
    this.tell(host.label, 'starts')
    return host
  }

  /** Restores the normal behaviour of the registry and the store. */
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

  /** The number of listeners on signals that were used. */
  listeners(): number {
    let count = 0
    for (const [signal, host] of this.#signals) if (host.alive) count += getEventListeners(signal, 'abort').length
    return count
  }

  /** Records one event. The effects of the seed show only here, so two runs of a seed must record the same events. */
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

  /** A hash of all events so far; ends the record. */
  trace(): { hash: string; events: number } {
    return { hash: this.#hash.digest('hex'), events: this.#events }
  }
}
