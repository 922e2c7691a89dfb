import type { Duplex } from 'node:stream'
import { StageError, type Peer } from '../../src/index.js'
import { seeded } from '../helpers/mesh.js'
import type { Host } from './host.js'
import type { World } from './world.js'

export const PERIOD = 65_536
const noise = seeded('bytes of streams').bytes(PERIOD)
const doubled = Buffer.concat([noise, noise])
const HEAD = 16

/** The data of a stream, in both directions; each direction has its own bytes. */
export interface Cargo {
  /** Bytes from the end that opened the stream, without the head, and from the other end. */
  readonly up: number
  readonly down: number
  /** Milliseconds that a reader waits after each piece. */
  readonly slowMs: number
  /** The opener destroys the stream after that time. */
  readonly cutMs?: number | undefined
}

/** One direction, as seen by its two ends. */
interface Way {
  readonly direction: number
  readonly size: number
  read: number
  ended: boolean
}

export interface Flow {
  readonly id: number
  readonly slowMs: number
  readonly up: Way
  readonly down: Way
  /** The opener has destroyed the stream. */
  abandoned: boolean
}

/** One open end, at one process. */
export interface OpenEnd {
  /** Unknown before the head has come. */
  flow?: Flow
}

const flows = new WeakMap<World, Map<number, Flow>>()

function known(world: World): Map<number, Flow> {
  let all = flows.get(world)
  if (!all) flows.set(world, all = new Map())
  return all
}

/** `size` bytes of the direction from `at` on, at most `PERIOD`. */
export const bytes = (direction: number, at: number, size: number): Buffer => {
  const from = (direction * 7919 + at) % PERIOD
  return doubled.subarray(from, from + size)
}

/** Opens a stream and writes all of its data. Resolves when it is over: whether everything arrived on both ends. */
export async function openFlow(host: Host, to: string, { up, down, slowMs, cutMs }: Cargo, timeoutMs: number): Promise<boolean> {
  const { world } = host
  const id = known(world).size + 1
  const way = (direction: number, size: number): Way => ({ direction, size, read: 0, ended: false })
  const flow: Flow = { id, slowMs, up: way(id * 2, up), down: way(id * 2 + 1, down), abandoned: false }
  known(world).set(id, flow)
  world.tell(host.label, `opens the stream ${id} to ${to}: ${up} up, ${down} down${slowMs ? ', slowly' : ''}`)
  const stream = host.stage.to(to, { timeoutMs })
  const head = Buffer.alloc(HEAD)
  head.writeUInt32BE(id, 0)
  stream.write(head)
  const over = follow(host, stream, { flow }, `stream ${id} from ${host.label}`)
  write(host, stream, flow.up)
  read(host, stream, flow.down, slowMs)
  const cut = cutMs === undefined ? undefined : host.clock.setTimeout(() => {
    world.tell(host.label, `gives up the stream ${id}`)
    flow.abandoned = true
    stream.destroy()
  }, cutMs)
  await over
  cut?.cancel()
  return flow.up.ended && flow.down.ended
}

/** Serves the other end of a stream. */
export function accept(host: Host, stream: Duplex, peer: Peer): void {
  const { world } = host
  if (!host.alive) return
  stream.allowHalfOpen = true
  const end: OpenEnd = {}
  void follow(host, stream, end, `a stream of ${peer.name} at ${host.label}`)
  const onend = (): void => { if (host.alive) world.fail(`P13: a stream of ${peer.name} ended cleanly at ${host.label} without a byte`) }
  let head = Buffer.alloc(0)
  const ondata = (piece: Buffer): void => {
    head = Buffer.concat([head, piece])
    if (head.length < HEAD) return
    stream.off('data', ondata)
    stream.off('end', onend)
    const flow = known(world).get(head.readUInt32BE(0))
    if (!flow) return world.fail(`P13: a stream with a foreign head at ${host.label}`)
    end.flow = flow
    world.tell(host.label, `gets the stream ${flow.id}`)
    const take = read(host, stream, flow.up, flow.slowMs)
    if (head.length > HEAD) take(head.subarray(HEAD))
    write(host, stream, flow.down)
  }
  stream.on('data', ondata)
  stream.on('end', onend)
}

/** How long a stage holds data that nobody reads. */
const LINGERS_MS = 61_000

/**
 * Follows a stream until it is over; the stream that `to()` returns need not close itself when both of its directions have
 * ended.
 */
function follow(host: Host, stream: Duplex, end: OpenEnd, what: string): Promise<void> {
  const { world } = host
  host.streams.add(end)
  let told = false
  stream.on('end', () => { told = true })
  stream.on('error', (error) => {
    told = true
    if (!host.alive) return
    world.tell(host.label, `${what}: ${error.message}`)
    if (error instanceof StageError && error.code === 'PROTOCOL_ERROR' && !world.stuttered) world.fail(`${what}: ${error.message}`)
  })
  return new Promise((resolve) => {
    const over = (): void => {
      // the stage holds a stream that was ended until the peer has read it
      if (stream.writableEnded && !stream.writableFinished && !stream.errored) host.clock.setTimeout(() => host.streams.delete(end), LINGERS_MS)
      else host.streams.delete(end)
      resolve()
    }
    let halves = 0
    const half = (): void => { if (++halves === 2) over() }
    stream.once('end', half).once('finish', half).once('close', () => {
      if (!told && host.alive && !end.flow?.abandoned) world.fail(`P13: ${what} is closed, and its reader was told neither an end nor an error`)
      over()
    })
  })
}

function write(host: Host, stream: Duplex, way: Way): void {
  const { direction, size } = way
  let at = 0
  const more = (): void => {
    while (at < size && !stream.destroyed) {
      const piece = bytes(direction, at, Math.min(size - at, 16_384))
      at += piece.length
      if (!stream.write(piece)) return void stream.once('drain', more)
    }
    if (!stream.destroyed) stream.end()
  }
  stream.once('finish', () => {
    // in the direction to the opener, the stream that `to()` returned has a buffer behind the one that reports reads
    if (direction % 2 === 0 && host.alive && way.read !== size) host.world.fail(`P13: ${name(way)} is finished at ${host.label}, and ${way.read} of ${size} bytes were read`)
  })
  more()
}

/** @returns a function that takes a piece */
function read(host: Host, stream: Duplex, way: Way, slowMs: number): (piece: Buffer) => void {
  const { world } = host
  const take = (piece: Buffer): void => {
    if (!host.alive) return
    for (let at = 0; at < piece.length; at += PERIOD) {
      const part = piece.subarray(at, at + PERIOD)
      if (way.read + part.length > way.size || !part.equals(bytes(way.direction, way.read, part.length))) {
        stream.destroy(new Error('not what was written'))
        return world.fail(`P13: ${name(way)} is not what was written`)
      }
      way.read += part.length
    }
    if (slowMs === 0) return
    stream.pause()
    host.clock.setTimeout(() => stream.resume(), slowMs)
  }
  stream.on('data', take)
  stream.on('end', () => {
    if (!host.alive) return
    way.ended = true
    world.tell(host.label, `${name(way)} has ended`)
    if (way.read !== way.size) world.fail(`P13: ${name(way)} ended cleanly after ${way.read} of ${way.size} bytes`)
  })
  return take
}

const name = ({ direction }: Way): string => `the way ${direction % 2 ? 'down' : 'up'} of stream ${direction >> 1}`
