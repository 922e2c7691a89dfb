import type { Duplex, Writable } from 'node:stream'

/**
 * The subject of a measurement: a server and a client, each in its own process. To add a library, write these two functions
 * with its ordinary API in `adapters/`, name it in `adapters/index.ts`, and put that name into `peers` of `plan.ts`.
 */
export interface Adapter {
  /** Begins to answer every call with the call's argument; resolves with the text by which the other process finds it. */
  serve(place: Place): Promise<string>
  /** Resolves when a call can be made. */
  connect(where: string): Promise<Client>
}

/** The functions that a client offers to measurements; a function that a library lacks is absent, and not measured. */
export interface Client {
  /** One call; resolves with an equal value. */
  call?(value: unknown): Promise<unknown>
  /** A stream to the server, which reads it to its end and then sends the count of bytes as text. */
  stream?(): Duplex
  /** Sends the value to ten receivers that the server holds, without an answer. */
  cast?(value: unknown): void
  /** How many casts have been received so far, by all ten receivers together. */
  received?(): Promise<number>
  /** Other figures of the library, each under its description and unit. */
  figures?(): Promise<Figures>
}

export type Figures = Readonly<Record<string, number>>

/** Surroundings of a server; both ends of a measurement share them. */
export interface Place {
  /** A folder that is removed afterwards, for sockets and registries. */
  folder: string
}

/** How many receivers a cast has. */
export const RECEIVERS = 10

/** About 130 bytes in msgpack. */
export const SMALL = { id: 12345, name: 'bob miller', email: 'bob@example.com', tags: ['a', 'bb', 'ccc'], active: true, score: 12.5, nested: { x: 1, y: 2, z: 'hello world' } }

/** The values that are sent, by their names in the table. */
export const VALUES = {
  number: 7,
  small: SMALL,
  text: 'the quick brown fox jumps over the lazy dog; '.repeat(23).slice(0, 1024),
  bytes: Buffer.alloc(64 * 1024, 7),
} as const
export type Kind = keyof typeof VALUES

/** Answers a stream with the count of the bytes that were read. */
export function count(stream: Duplex): void {
  let bytes = 0
  stream.on('data', (chunk: Buffer) => { bytes += chunk.length })
  stream.on('end', () => (stream as Writable).end(String(bytes)))
  stream.on('error', () => {})
}
