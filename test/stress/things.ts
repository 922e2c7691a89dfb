/** The actors that everybody calls: each changes two properties together, and remembers what was done to it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Self, Stage } from '../../src/index.js'

export interface Look {
  value: number
  check: number
  last: string
}

/** Two properties that belong together: any other pair was seen half done. */
export const checkOf = (value: number): number => value * 3
export const pairOf = (a: string): string => a && `${a}!`

/** What a reminder adds for an addition that asked for one. */
export const laterOf = (id: string): string => `${id}+`
export const isTwice = (id: string): boolean => id.endsWith('~')

export class Counter {
  declare readonly self: Self
  value = 0
  check = 0
  last = ''
  /** Every addition, in order. */
  ids: string[] = []

  /** @param ms  how long the turn takes, its work half done; 0: it does not wait at all */
  async add(id: string, ms: number): Promise<number> {
    this.ids.push(id)
    this.last = id
    this.value++
    if (ms > 0) await sleep(ms)
    this.check = checkOf(this.value)
    return this.value
  }

  /** Each addition as a value is asked for: a turn of its own. */
  async* adds(ids: readonly string[], ms: number): AsyncGenerator<number> {
    for (const id of ids) yield await this.add(id, ms)
  }

  /** Once now, and by a reminder of the same commit once more. */
  addTwice(id: string, afterMs: number): Promise<number> {
    this.self.remind(id, 'add', { afterMs, args: [laterOf(id), 0] })
    return this.add(id, 0)
  }

  /** Begins, and throws. */
  fail(id: string): void {
    this.ids.push(id)
    this.value++
    throw new Error('on purpose')
  }

  get(): Look {
    return { value: this.value, check: this.check, last: this.last }
  }

  list(): string[] {
    return this.ids
  }
}

export class Register {
  a = ''
  b = ''

  async write(value: string, ms: number): Promise<void> {
    this.a = value
    if (ms > 0) await sleep(ms)
    this.b = pairOf(value)
  }

  /** @returns what was there before */
  swap(value: string): string {
    const before = this.a
    this.a = value
    this.b = pairOf(value)
    return before
  }

  fail(value: string): void {
    this.a = value
    throw new Error('on purpose')
  }

  get(): { a: string; b: string } {
    return { a: this.a, b: this.b }
  }
}

/** The first half are counters, the others registers. */
export const addresses = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => i < count / 2 ? `counters.${i}` : `registers.${i}`)
export const isCounter = (address: string): boolean => address.startsWith('counters.')

/** @param idleMs  short, so that they come and go */
export function defineThings(stage: Stage, idleMs: number): void {
  stage.define({ pattern: 'counters.{id}', constructor: Counter, durable: true, readonly: ['get', 'list'], idleMs })
  stage.define({ pattern: 'registers.{id}', constructor: Register, durable: true, readonly: ['get'], idleMs })
}

/** Milliseconds that mean the same in all processes of the machine, and only go forward. */
export const clock = (): number => Number(process.hrtime.bigint()) / 1e6
