/** The view that a layer has of its stage: its `Mesh`. */
import { alive } from './alive.js'
import { asked } from './asking.js'
import { NO_OPTIONS, checkOptions } from './options.js'
import { Picked, type Surroundings } from './selection.js'
import type { PeerStream } from './socketlike.js'
import type { Tenure } from './tenure.js'
import type { Mesh, Mounted, Random, Store, Deadlines } from './types.js'

export interface MeshParts {
  random: Random
  deadlines: Deadlines
  /** The options of the stage. */
  options: Readonly<Record<string, unknown>>
  tenure: Tenure
  surroundings: Surroundings
  /** The layers of the whole chain, once it is mounted. */
  mounted(): readonly Mounted[]
  /** The result of `to()` for the selection. */
  target(selection: Picked): PeerStream
  store(): Store | undefined
  verb(name: string): (...args: never[]) => unknown
  announce(key: string, value: unknown): void
  emit: Mesh['emit']
  error(error: Error): void
  failed: Mesh['failed']
}

/** @param layer  index of the layer in the chain; its output is the `top` of the links that it sees */
export function meshOf(parts: MeshParts, layer: number): Mesh {
  const { random, deadlines, options, tenure, surroundings, mounted, target, store, verb, announce, emit, error, failed } = parts
  const { clock, timeoutMs, directory, links, self } = surroundings
  return {
    clock, random, deadlines, timeoutMs, options, store, verb, announce, emit, error, failed,
    get self() { return self() },
    get id() { return tenure.id },
    peers: () => directory.lookup('*'),
    find: (id) => id === tenure.id ? self() : directory.live(id),
    look: () => asked(surroundings),
    alive: (id) => alive(directory, links, id),
    links: () => [...links.all()].map((link) => link.seenBy(layer)),
    select: (to, options = NO_OPTIONS) => new Picked(surroundings, to, checkOptions(options), layer),
    target: (to, options = NO_OPTIONS) => target(new Picked(surroundings, to, checkOptions(options))),
    references: () => mounted().find((one) => one.references)?.references,
    valid: (now) => tenure.valid(now),
    leaseMs: () => tenure.leftMs(),
  }
}
