/** One thing that is measured: both ends of an echo, each in a process of its own. */
export interface Contender {
  /** Starts the server; resolves with what the client needs to find it. */
  serve(): Promise<string>
  /** Connects; resolves with one call of a small object of about 130 bytes. */
  connect(place: string): Promise<() => Promise<unknown>>
}

export const SMALL = { id: 12345, name: 'bob miller', email: 'bob@example.com', tags: ['a', 'bb', 'ccc'], active: true, score: 12.5, nested: { x: 1, y: 2, z: 'hello world' } }
