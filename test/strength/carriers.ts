import type { ListenOptions } from 'node:net'
import { LocalRegistry, Stage, TcpInterface, type Interface } from '../../src/index.js'
import type { StageOptions } from '../../src/index.js'
import type { Here } from './measure.js'

/** What carries the bytes between two processes: ours, and the bare socket that it is measured against. */
export interface Carrier {
  make(): Interface
  bare(place: string): ListenOptions
}

/** By what `--interface` says. */
export const carriers: Readonly<Record<string, Carrier>> = {
  tcp: { make: () => new TcpInterface(), bare: () => ({ host: '127.0.0.1', port: 0 }) },
}

export const carrier = (here: Here): Carrier => carriers[here.carrier] as Carrier

/** A stage with its defaults, as a user gets it. */
export function stageOf(here: Here, name: string, around: (one: Interface) => Interface = (one) => one, options: StageOptions = {}): Stage {
  return new Stage(name, new LocalRegistry(here.place), around(carrier(here).make()), options)
}
