import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

/** Messages as lines of JSON or text, as programs that need a channel of messages send them over a stream. */
export class Lines {
  readonly #waiting: ((line: string | undefined) => void)[] = []
  readonly #come: (string | undefined)[] = []

  constructor(readonly stream: Socket) {
    const lines = createInterface({ input: stream, crlfDelay: Infinity })
    lines.on('error', () => {}).on('line', (line) => { this.#take(line) }).on('close', () => { this.#take(undefined) })
    stream.on('error', () => {}).on('close', () => { this.#take(undefined) })
  }

  #take(line: string | undefined): void {
    const first = this.#waiting.shift()
    if (first) first(line)
    else this.#come.push(line)
  }

  send(message: string): void {
    if (this.stream.writable) this.stream.write(`${message}\n`)
  }

  /** Rejects at the end of the stream. */
  receive = async (): Promise<string> => {
    const line = this.#come.length > 0 ? this.#come.shift() : await new Promise<string | undefined>((resolve) => { this.#waiting.push(resolve) })
    if (line === undefined) throw new Error('the stream ended')
    return line
  }
}
