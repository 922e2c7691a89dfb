import type { Duplex, Writable } from 'node:stream'

/**
 * What is measured: a server and a client, each in a process of its own. To add one, write these two functions with
 * the ordinary API of the library in `adapters/`, name it in `adapters/index.ts`, and put that name into `peers` of `plan.ts`.
 */
export interface Adapter {
  /** Begins to answer every call with what it was given; resolves with the text by which the other process finds it. */
  serve(place: Place): Promise<string>
  /** Resolves when a call can be made. */
  connect(where: string): Promise<Client>
}

/** What the measures need of a client; what a library does not offer is left out, and is not measured. */
export interface Client {
  /** One call; resolves with an equal value. */
  call?(value: unknown): Promise<unknown>
  /** A stream to the server, which reads it to its end and then sends the count of bytes as text. */
  stream?(): Duplex
  /** Says it to ten receivers that the server holds; no answer. */
  cast?(value: unknown): void
  /** How many of those have been received so far, all ten together. */
  received?(): Promise<number>
  /** Anything else that can be said of it in figures, each by what it is and its unit. */
  figures?(): Promise<Figures>
}

export type Figures = Readonly<Record<string, number>>

/** What a server may need around it; both ends of a measure have the same. */
export interface Place {
  /** A folder that is removed afterwards, for sockets and registries. */
  folder: string
}

/** How many receivers a cast has. */
export const RECEIVERS = 10

/** About 130 bytes in msgpack. */
export const SMALL = { id: 12345, name: 'bob miller', email: 'bob@example.com', tags: ['a', 'bb', 'ccc'], active: true, score: 12.5, nested: { x: 1, y: 2, z: 'hello world' } }

/** What is sent, by the name that the table has for it. */
export const VALUES = {
  number: 7,
  small: SMALL,
  text: 'the quick brown fox jumps over the lazy dog; '.repeat(23).slice(0, 1024),
  bytes: Buffer.alloc(64 * 1024, 7),
} as const
export type Kind = keyof typeof VALUES

/** How a server answers a stream: with the count of what it read. */
export function count(stream: Duplex): void {
  let bytes = 0
  stream.on('data', (chunk: Buffer) => { bytes += chunk.length })
  stream.on('end', () => (stream as Writable).end(String(bytes)))
  stream.on('error', () => {})
}
