import type { ListenOptions } from 'node:net'
import { LocalRegistry, Stage, TcpInterface, type Interface } from '../../src/index.js'
import type { StageOptions } from '../../src/index.js'
import type { Here } from './measure.js'

/** The carrier of the bytes between two processes: an interface of ours, and the bare socket that it is compared with. */
export interface Carrier {
  make(): Interface
  bare(place: string): ListenOptions
}

/** By the value of `--interface`. */
export const carriers: Readonly<Record<string, Carrier>> = {
  tcp: { make: () => new TcpInterface(), bare: () => ({ host: '127.0.0.1', port: 0 }) },
}

export const carrier = (here: Here): Carrier => carriers[here.carrier] as Carrier

/** A stage with default options. */
export function stageOf(here: Here, name: string, around: (one: Interface) => Interface = (one) => one, options: StageOptions = {}): Stage {
  return new Stage(name, new LocalRegistry(here.place), around(carrier(here).make()), options)
}
