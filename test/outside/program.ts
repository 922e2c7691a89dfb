import { once, type EventEmitter } from 'node:events'
import type { Socket } from 'node:net'

/** A way from one end to the other, as a program sees it. */
export interface Ends {
  /** A new connection, possibly not connected yet: the result of `net.connect()` or `to()`. */
  dial(): Socket | Promise<Socket>
  /** Hands the other end of each connection to `handler`, as `net.createServer(handler)` does. */
  onconnection(handler: (stream: Socket) => void): void
}

/** A third-party program, and one conversation of it. */
export interface Program {
  readonly name: string
  /**
   * Has the conversation, ends everything that it began, and returns its lines, in an order that depends only on the
   * program. The table records the events of the streams themselves.
   */
  run(ends: Ends): Promise<readonly string[]>
  readonly differs?: readonly Difference[]
  /** The end whose events are random, over a bare socket too: they are not compared. */
  readonly chance?: { readonly end: 'accepted' | 'dialled'; readonly because: string }
}

/** An expected difference. A difference that no longer occurs is a failure. */
export interface Difference {
  /** Applies to every way whose name matches. */
  readonly way: RegExp
  /**
   * The line of the control, once for each time that it is replaced; `accepted`, `dialled` or `client`: a clean end there.
   */
  readonly line: string
  /** The replacement: one line, several lines, or none. */
  readonly instead?: string | readonly string[]
  readonly because: string
}

/** For programs that take a function which makes the connection, and call back if they get no stream. */
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

/** Resolves when the emitter has closed, even if an error came before that. */
export const closed = (emitter: EventEmitter): Promise<void> => new Promise((resolve) => { emitter.once('close', () => { resolve() }) })

export const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

/** Resolves when `condition` holds, and after two seconds in any case, so that the lines show that it does not hold. */
export async function until(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 2000; !condition() && performance.now() < end;) await pause(2)
}

/** The whole content of a stream, as text. */
export async function text(stream: AsyncIterable<Uint8Array | string>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as string))
  return Buffer.concat(chunks).toString()
}

/** The description of an error for a program. */
export const code = (error: unknown): string => {
  const { code, message } = error as { code?: string; message: string }
  return code ?? message
}
