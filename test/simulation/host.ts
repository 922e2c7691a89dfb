import type { Duplex } from 'node:stream'
import { MemoryInterface, Stage, type Interface, type Peer, type StageOptions } from '../../src/index.js'
import { seeded } from '../helpers/mesh.js'
import { provide, type Call } from './calls.js'
import { Client } from './registry.js'
import { HostClock } from './host-clock.js'
import { providePassed } from './passed.js'
import { hostRoles } from './roles.js'
import { StoreWay } from './store.js'
import { accept, type OpenEnd } from './streams.js'
import type { Watch } from './watching.js'
import type { World } from './world.js'

/** Dials to one address in 10 s: far more than the back-off allows, however often a link breaks in between. */
const DIALS_MAX = 100

/** The most that the framing writes at once; a shorter write ends with a whole frame. */
const WRITE_MAX = 256 * 1024
const CALL = 1

/** The first call among the frames that begin with this chunk, as it was sent. */
function callIn(chunk: Buffer): Buffer | undefined {
  for (let at = 0; at + 16 <= chunk.length && chunk[at] <= 2;) {
    const end = at + 4 + chunk.readUIntBE(at + 1, 3)
    if (end > chunk.length) return undefined
    if (chunk[at] === 0 && chunk[at + 4] === CALL) return chunk.subarray(at, end)
    at = end
  }
  return undefined
}

/** The interface of a process: once the process is gone, it sends nothing more. */
class Port implements Interface {
  readonly scheme = 'memory'
  dead = false
  /** The number of calls that are sent twice from now on, which no correct stage does. */
  stutters = 0
  readonly #inner: MemoryInterface
  /** When each address was dialled. */
  readonly #dials = new Map<string, number[]>()

  constructor(private readonly world: World, private readonly clock: HostClock) {
    this.#inner = new MemoryInterface(world.network, { clock })
  }

  get address(): string {
    return this.#inner.address
  }

  listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    return this.#inner.listen((stream) => onstream(this.#stuttering(stream)))
  }

  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    if (this.dead) return new Promise(() => {})
    this.#count(address)
    return this.#stuttering(await this.#inner.connect(address, signal))
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #stuttering(stream: Duplex): Duplex {
    const write = stream.write.bind(stream) as (chunk: Buffer, done: () => void) => boolean
    let whole = true
    stream.write = ((chunk: Buffer, done: () => void): boolean => {
      const again = whole && this.stutters > 0 ? callIn(chunk) : undefined
      whole = chunk.length < WRITE_MAX
      if (!again) return write(chunk, done)
      this.stutters--
      this.world.stuttered = true
      this.world.troubledAt = this.world.clock.now()
      return write(Buffer.concat([chunk, again]), done)
    }) as Duplex['write']
    return stream
  }

  #count(address: string): void {
    const now = this.clock.now()
    const dials = (this.#dials.get(address) ?? []).filter((at) => at > now - 10_000)
    this.#dials.set(address, [...dials, now])
    if (dials.length === DIALS_MAX) this.world.fail(`${this.address} dials ${address} ${DIALS_MAX} times in 10 s`)
  }
}

/** One process of the world: a stage, its clock, and its connections to other stages and to the registry. */
export class Host {
  readonly label: string
  readonly clock: HostClock
  readonly client: Client
  /** The connection to the store of actors. */
  readonly way: StoreWay
  readonly port: Port
  readonly stage: Stage
  alive = true
  closing: Promise<void> | undefined
  /**
   * Until then other stages may find this stage gone although it lives, because it was stopped or could not reach the
   * registry.
   */
  impairedUntil = -Infinity
  /** Until then callers may have got the answer that nobody is there. */
  refusedUntil = -Infinity
  /** When a link to another stage was lost, or the own id with all links. */
  unlinkedAt = -Infinity
  readonly pauses: { from: number; until: number }[] = []
  /** The work that the application here has begun and that has not ended: upper bounds of the stage's counters. */
  readonly open = { calls: 0, serving: 0, acts: 0 }
  /** For each actor, the last call that has begun. */
  readonly started = new Map<string, number>()
  readonly watches = new Set<Watch>()
  /** When former watches ended; the call that began such a watch may not have been answered yet. */
  unwatched: number[] = []
  /** When loops ended whose stream of changes another stage may still hold, because it was cut off and has not heard of it. */
  left: number[] = []
  readonly streams = new Set<OpenEnd>()
  /** Calls that wait for a link, by the id of their target. */
  readonly waiting = new Map<string, Call[]>()
  readonly keeps = new Set<string>()
  readonly #gone = new Set<string>()
  #id = ''

  constructor(readonly world: World, readonly name: string, index: number) {
    const { climate, clock, seed } = world
    const random = seeded(`host ${seed} ${index}`)
    this.label = `${name}${index}`
    this.clock = new HostClock(clock)
    this.way = new StoreWay(world.vault, this.clock)
    this.client = new Client(world.server, this.clock, random, world.climate.ttlMs / 3, this.way)
    this.port = new Port(world, this.clock)
    const { ttlMs, idleLinkMs, secret } = climate
    this.stage = new Stage(name, this.client, this.port, { ttlMs, idleLinkMs, secret, clock: this.clock, random } as StageOptions)
    provide(this)
    providePassed(this)
    hostRoles(this)
    this.#watch()
  }

  get address(): string {
    return this.port.address
  }

  /** Ends the process at this point. `reset`: its machine still answers, and reports that the process is gone. */
  crash(reset: boolean): void {
    const { network } = this.world
    this.alive = false
    this.clock.die()
    this.port.dead = true
    this.client.cut('silent')
    this.way.cut('silent')
    void this.port.close()
    if (reset) network.cut(this.address)
    else network.hold(this.address)
  }

  pause(): void {
    this.clock.pause()
    this.pauses.push({ from: this.clock.now(), until: Infinity })
    this.impairedUntil = Infinity
    this.world.network.hold(this.#deaf)
  }

  resume(): void {
    this.pauses[this.pauses.length - 1].until = this.clock.now()
    this.impairedUntil = this.clock.now()
    this.clock.resume(() => this.world.network.release(this.#deaf))
  }

  /** Messages that arrive here wait; messages that were sent earlier are delivered. */
  readonly #deaf = (_from: string, to: string): boolean => to === this.address

  /** The time by which an event that is due at `at` must have happened: later if the process was stopped then. */
  due(at: number): number {
    let due = at
    for (const { from, until } of this.pauses) if (from <= due + 100 && until + 100 >= due) due = until + 100
    return due
  }

  close(): Promise<void> {
    this.closing ??= this.stage.close()
    return this.closing
  }

  linkTo(id: string): string | undefined {
    return this.stage.links().find((link) => link.peer.id === id)?.id
  }

  /**
   * P5: a stage that lives, runs and reaches the registry keeps its id; a registry that is up only for a moment between two
   * outages is not reached.
   */
  checkId(): void {
    const { world, stage } = this
    const { id } = stage
    this.client.noteDenied()
    if (this.#id !== id && this.#id !== '') {
      world.tell(this.label, `goes on as ${id}`)
      // a stage that another stage found gone learns of it when they meet, which may be much later
      if (Math.max(this.impairedUntil, this.client.deniedAt) + world.climate.ttlMs + 30_000 < world.clock.now()) world.fail(`P5: ${this.label} has lost its id, though it was well all the time`)
    }
    this.#id = id
  }

  #watch(): void {
    const { stage, world } = this
    const on = (what: string, peer: Peer): void => { if (this.alive) world.tell(this.label, `${what} ${peer.name} ${peer.id}`) }
    stage.on('join', (peer) => {
      on('join', peer)
      if (this.#gone.has(peer.id)) world.fail(`P1: ${this.label} sees ${peer.id} again, which it was told is gone`)
    })
    stage.on('part', (peer, reason) => {
      on(`part (${reason})`, peer)
      this.#gone.add(peer.id)
      this.waiting.delete(peer.id)
      this.#judge(peer)
    })
    stage.on('link', (peer) => {
      on('link', peer)
      this.#assign(peer)
    })
    stage.on('unlink', (peer, error) => {
      on(`unlink (${error?.message ?? 'goodbye'})`, peer)
      this.unlinkedAt = this.clock.now()
      if (error && /did not answer a ping/.test(error.message)) this.#acquit(peer)
    })
    stage.on('error', (error) => {
      if (this.alive) world.tell(this.label, `error: ${error.message}`)
      if (error.message.startsWith('the registry had removed')) this.unlinkedAt = this.clock.now()
    })
    stage.on('failed', () => {}) // handlers of this world throw on purpose
    stage.on('stream', (stream, peer) => accept(this, stream, peer))
  }

  /** P5: a stage that lives, runs and reaches the registry is not declared dead. */
  #judge(peer: Peer): void {
    const { world } = this
    if (!this.alive || this.closing) return
    const host = world.hosts.find((one) => one.alive && !one.closing && one.stage.id === peer.id)
    // the effect of a fault may show as late as its lease and the grace period end, and a view takes time to arrive
    host?.client.noteDenied()
    if (host && Math.max(host.impairedUntil, host.client.deniedAt) + world.climate.ttlMs + 5000 < world.clock.now()) world.fail(`P5: ${this.label} declares ${host.label} dead, which was well all the time`)
  }

  /**
   * P8: the link to a peer that can hear a ping, and whose answer can be heard, is not closed; that this stage itself was
   * stopped is no excuse.
   */
  #acquit(peer: Peer): void {
    const { world } = this
    const since = world.clock.now() - 16_000
    const other = world.hosts.find((one) => one.alive && one.stage.id === peer.id)
    if (!this.alive || !other || world.heldUntil >= since || other.pauses.some(({ until }) => until >= since)) return
    world.fail(`P8: ${this.label} gives up its link to ${other.label}, which was well all the time`)
  }

  /** Calls that waited for this link go over it, in the order in which they were made. */
  #assign(peer: Peer): void {
    const waiting = this.waiting.get(peer.id)
    this.waiting.delete(peer.id)
    const link = this.linkTo(peer.id)
    if (link && this.stage.lookup(peer.name).length === 1) for (const call of waiting ?? []) call.link = `${link} ${this.label}`
  }
}
