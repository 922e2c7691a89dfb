import { fork, type ChildProcess } from 'node:child_process'
import { isDeepStrictEqual } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { Child, Common, Orders, Room } from './measure.js'
import type { Question, Reply } from './process.js'

/** One line of the table. */
export interface Row { measure: string; what: string; value: string; bound: string; ok: boolean }

const program = fileURLToPath(new URL('./process.js', import.meta.url))
const END_MS = 3000

class Forked {
  readonly ended: Promise<void>
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  readonly #child: ChildProcess
  #count = 0

  constructor(args: string[]) {
    this.#child = fork(program, args, { execArgv: ['--expose-gc', ...process.execArgv] })
    this.#child.on('message', ({ n, value, error }: Reply) => {
      const waiting = this.#waiting.get(n)
      this.#waiting.delete(n)
      if (error === undefined) waiting?.resolve(value)
      else waiting?.reject(new Error(`in another process: ${error}`))
    })
    this.ended = new Promise((resolve) => this.#child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`a process ended with ${code ?? signal}`))
      resolve()
    }))
  }

  ask(order: string, ...args: unknown[]): Promise<unknown> {
    const n = ++this.#count
    return new Promise((resolve, reject) => {
      this.#waiting.set(n, { resolve, reject })
      this.#child.send({ n, order, args } satisfies Question, (error) => { if (error) reject(error) })
    })
  }

  async end(): Promise<void> {
    const late = setTimeout(() => this.#child.kill('SIGKILL'), END_MS)
    if (this.#child.connected) this.#child.disconnect()
    await this.ended
    clearTimeout(late)
  }
}

/** The processes of one measure, and its lines of the table. */
export class Processes implements Room {
  readonly rows: Row[] = []
  readonly #children: Forked[] = []

  constructor(private readonly measure: string, readonly carrier: string, readonly place: string, readonly quick: boolean) {}

  start<O extends Orders>(): Child<O & Common> {
    const child = new Forked([this.measure, this.carrier, this.place])
    this.#children.push(child)
    return child as unknown as Child<O & Common>
  }

  async end(): Promise<void> {
    await Promise.all(this.#children.map((one) => one.end()))
  }

  say(line: string): void {
    console.log(`  ${line}`)
  }

  note(what: string, value: number | string, unit = ''): void {
    this.#row(what, `${typeof value === 'number' ? short(value) : value} ${unit}`, '', true)
  }

  atMost(what: string, value: number, bound: number, unit = ''): void {
    this.#row(what, `${short(value)} ${unit}`, `≤ ${short(bound)}`, value <= bound)
  }

  atLeast(what: string, value: number, bound: number, unit = ''): void {
    this.#row(what, `${short(value)} ${unit}`, `≥ ${short(bound)}`, value >= bound)
  }

  same(what: string, value: unknown, expected: unknown): void {
    this.#row(what, JSON.stringify(value), JSON.stringify(expected), isDeepStrictEqual(value, expected))
  }

  broken(what: string): void {
    this.#row(what, 'failed', 'ends', false)
  }

  #row(what: string, value: string, bound: string, ok: boolean): void {
    const row = { measure: this.measure, what, value: value.trim(), bound, ok }
    this.rows.push(row)
    this.say(line(row))
  }
}

export const line = ({ what, value, bound, ok }: Row): string => `${ok ? ' ' : '✗'} ${what}: ${value}${bound && ` (${bound})`}`

const short = (value: number): string => Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 })
