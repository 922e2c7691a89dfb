import { once, type EventEmitter } from 'node:events'
import type { Socket } from 'node:net'

/** A way from one end to another, as a program sees it. */
export interface Ends {
  /** A new connection, perhaps not connected yet: what `net.connect()` or `to()` returns. */
  dial(): Socket | Promise<Socket>
  /** Hands the other end of each connection to `handler`, as `net.createServer(handler)` does. */
  onconnection(handler: (stream: Socket) => void): void
}

/** A program that nobody here wrote, and one conversation of it. */
export interface Program {
  readonly name: string
  /**
   * Has the conversation, ends what it began, and tells what happened, in an order that only the program decides.
   * The events of the streams themselves are written down by the table.
   */
  run(ends: Ends): Promise<readonly string[]>
  readonly differs?: readonly Difference[]
  /** The end of which the events are chance, over a bare socket too: they are not compared. */
  readonly chance?: { readonly end: 'accepted' | 'dialled'; readonly because: string }
}

/** A difference that is right. One that is not there any more fails. */
export interface Difference {
  /** On every way whose name matches. */
  readonly way: RegExp
  /** The line as the control has it, once for each time that it is replaced; `accepted`, `dialled` or `client`: a clean end there. */
  readonly line: string
  /** What is there instead: a line, several, or none. */
  readonly instead?: string | readonly string[]
  readonly because: string
}

/** For programs that take a function which makes the connection, and call back when they are given none. */
export function connector(ends: Ends): (options: unknown, done: (error: Error | null, stream: Socket) => void) => Socket | undefined {
  return (_, done) => {
    const stream = ends.dial()
    if (!(stream instanceof Promise)) return stream
    stream.then((it) => { done(null, it) }, (error: Error) => { done(error, undefined as never) })
    return undefined
  }
}

/** The first argument of the next event. */
export async function next<T>(emitter: EventEmitter, event: string): Promise<T> {
  const [first] = await once(emitter, event) as [T]
  return first
}

/** When it has closed, also where an error came before that. */
export const closed = (emitter: EventEmitter): Promise<void> => new Promise((resolve) => { emitter.once('close', () => { resolve() }) })

export const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

/** When `condition` holds; after two seconds in any case, so that the lines tell that it does not. */
export async function until(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 2000; !condition() && performance.now() < end;) await pause(2)
}

/** All that a stream gives, as text. */
export async function text(stream: AsyncIterable<Uint8Array | string>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as string))
  return Buffer.concat(chunks).toString()
}

/** What an error says to a program. */
export const code = (error: unknown): string => {
  const { code, message } = error as { code?: string; message: string }
  return code ?? message
}
