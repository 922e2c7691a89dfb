/** The measurements, in the order of the table. */
import type { Kind } from './adapter.js'
import { adapters } from './adapters/index.js'
import type { Load } from './load.js'

export interface Section {
  name: string
  title: string
  load: Load
  /** The adapter that all others are measured against. */
  floor: string
  adapters: readonly string[]
  /** The unit that is counted, and the figure whose ratio is shown. */
  unit: 'calls' | 'bytes' | 'deliveries'
  by: 'rate' | 'p50'
}

const peers = ['ws', 'deepkit', 'moleculer-tcp', 'moleculer-redis', 'grpc-bidi', 'grpc', 'capnweb']
const floors = ['raw-msgpack', 'raw-json', 'raw-ipc']
const ours = ['stagemesh', 'stagemesh-json', 'stagemesh-ipc']
const actors = ['actor', 'actor-durable']
/** Carriers beside TCP, which is the floor of the first two tables; each has a floor of its own after them. */
const carried = ['stagemesh', 'stagemesh-ipc', 'stagemesh-worker', 'stagemesh-child', 'stagemesh-tls', 'stagemesh-ws', 'stagemesh-udp']
const carriers = [['tls', 'raw-tls', 'TLS'], ['ws', 'raw-ws', 'a WebSocket'], ['worker', 'raw-port', 'a thread']] as const
const calls = (value: Kind, inFlight: number): Load => ({ kind: 'calls', value, inFlight })

export const sections: readonly Section[] = [
  { name: 'small-100', title: 'A small object of about 130 bytes, 100 calls in flight', load: calls('small', 100), floor: 'raw', adapters: [...floors, ...ours, 'stagemesh-intercepted', ...actors, ...peers, 'comedy-forked'], unit: 'calls', by: 'rate' },
  { name: 'small-1', title: 'The same, one call in flight', load: calls('small', 1), floor: 'raw', adapters: [...floors, ...ours, ...actors, ...peers, 'comedy-forked'], unit: 'calls', by: 'p50' },
  { name: 'small-10', title: 'The same, 10 in flight', load: calls('small', 10), floor: 'raw', adapters: [...floors, ...ours, 'actor', ...peers], unit: 'calls', by: 'rate' },
  { name: 'small-1000', title: 'The same, 1 000 in flight', load: calls('small', 1000), floor: 'raw', adapters: [...floors, ...ours, 'actor', ...peers], unit: 'calls', by: 'rate' },
  { name: 'text-100', title: 'A text of 1 KiB, 100 in flight', load: calls('text', 100), floor: 'raw', adapters: [...floors, ...ours, 'actor', ...peers], unit: 'calls', by: 'rate' },
  { name: 'bytes-16', title: 'A buffer of 64 KiB, 16 in flight (only libraries that carry bytes)', load: calls('bytes', 16), floor: 'raw', adapters: ['raw-msgpack', ...ours, 'raw-holding', 'stagemesh-holding', 'actor', 'deepkit', 'grpc-bidi', 'grpc', 'capnweb'], unit: 'calls', by: 'rate' },
  { name: 'cast-10', title: 'A small object sent to ten receivers, without an answer', load: { kind: 'casts', value: 'small' }, floor: 'raw', adapters: [...floors, ...ours], unit: 'deliveries', by: 'rate' },
  { name: 'within', title: 'Calls within one process, a number as argument, 100 in flight', load: calls('number', 100), floor: 'promise', adapters: ['within-actor', 'within-actor-intercepted', 'within-actor-durable', 'within-rpc', 'within-memory', 'nact', 'comedy', 'moleculer-local'], unit: 'calls', by: 'rate' },
  { name: 'carriers-100', title: 'Carriers: a small object, 100 calls in flight', load: calls('small', 100), floor: 'raw', adapters: carried, unit: 'calls', by: 'rate' },
  { name: 'carriers-stream', title: 'Carriers: one stream of bytes', load: { kind: 'stream' }, floor: 'raw', adapters: carried, unit: 'bytes', by: 'rate' },
  ...carriers.flatMap(([name, floor, words]): Section[] => [
    { name: `${name}-100`, title: `Over ${words}: a small object, 100 calls in flight`, load: calls('small', 100), floor, adapters: [`stagemesh-${name}`], unit: 'calls', by: 'rate' },
    { name: `${name}-stream`, title: `Over ${words}: one stream of bytes`, load: { kind: 'stream' }, floor, adapters: [`stagemesh-${name}`], unit: 'bytes', by: 'rate' },
  ]),
  { name: 'stream', title: 'One stream of bytes', load: { kind: 'stream' }, floor: 'raw', adapters: ['raw-beside', 'raw-ipc', 'stagemesh', 'stagemesh-empty', 'stagemesh-ipc', 'raw-holding', 'stagemesh-holding', 'stagemesh-empty-holding'], unit: 'bytes', by: 'rate' },
]

/** Figures of one adapter that have no floor to compare with. */
export interface Sheet { name: string; title: string; adapters: readonly string[]; load: Load }
const FIGURES: Load = { kind: 'figures' }
/** The adapters of that measurement, one for each registry and number of stages. */
const namesOf = (what: string): string[] => Object.keys(adapters).filter((name) => name.startsWith(`${what}-`))
export const sheets: readonly Sheet[] = [
  { name: 'beside', title: 'Small calls, one in flight, while a stream uses the whole capacity of the same link', adapters: ['stagemesh'], load: { kind: 'beside' } },
  { name: 'memory', title: 'Memory', adapters: ['links', 'actors'], load: FIGURES },
  { name: 'observers', title: 'A property of 1 KiB that 1 000 loops watch, 100 on each of 10 links', adapters: ['observers'], load: FIGURES },
  { name: 'startup', title: 'Start', adapters: ['startup'], load: FIGURES },
  { name: 'idle', title: 'Idle stages on one registry', adapters: namesOf('idle'), load: FIGURES },
  { name: 'churn', title: 'Stages that come and go among others on one registry', adapters: namesOf('churn'), load: FIGURES },
]

/** The measurements that fit into two minutes. */
export const quick = new Map([
  ['small-100', ['raw-msgpack', 'stagemesh', 'actor', 'ws', 'moleculer-tcp', 'grpc']],
  ['small-1', ['stagemesh', 'grpc']],
  ['text-100', ['stagemesh']],
  ['bytes-16', ['raw-msgpack', 'stagemesh']],
  ['cast-10', ['stagemesh']],
  ['stream', ['stagemesh', 'stagemesh-empty']],
])

/**
 * The limits at which a change is refused: at least `least` calls a second and at most `cpu` for a call, as ratios to the
 * floor of the section. `heap`: bytes that one call makes on both heaps together, with Node 20. They hardly differ from run
 * to run (2 564), so they show costs that the noise of the others hides: a closure for each frame is 200 more, a timer for
 * each call 230.
 */
export interface Gate { section: string; adapter: string; least: number; cpu: number; heap: number }
export const gates: readonly Gate[] = [
  { section: 'small-100', adapter: 'stagemesh', least: 0.15, cpu: 6, heap: 2640 },
]
