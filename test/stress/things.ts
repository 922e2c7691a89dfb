/** The actors that are called: each call changes two properties together, and the actor remembers its changes. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Self, Stage } from '../../src/index.js'

export interface Look {
  value: number
  check: number
  last: string
}

/** Two properties that belong together: any other pair is a state that was seen half done. */
export const checkOf = (value: number): number => value * 3
export const pairOf = (a: string): string => a && `${a}!`

/** The id that a reminder adds for an addition that requested one. */
export const laterOf = (id: string): string => `${id}+`
export const isTwice = (id: string): boolean => id.endsWith('~')

export class Counter {
  declare readonly self: Self
  value = 0
  check = 0
  last = ''
  /** All additions, in order. */
  ids: string[] = []

  /** @param ms  how long the turn takes with its work half done; 0: it does not wait at all */
  async add(id: string, ms: number): Promise<number> {
    this.ids.push(id)
    this.last = id
    this.value++
    if (ms > 0) await sleep(ms)
    this.check = checkOf(this.value)
    return this.value
  }

  /** Makes each addition when its value is requested, as a turn of its own. */
  async* adds(ids: readonly string[], ms: number): AsyncGenerator<number> {
    for (const id of ids) yield await this.add(id, ms)
  }

  /** Adds once now, and once more by a reminder of the same commit. */
  addTwice(id: string, afterMs: number): Promise<number> {
    this.self.remind(id, 'add', { afterMs, args: [laterOf(id), 0] })
    return this.add(id, 0)
  }

  /** Begins a change, and throws. */
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

  /** @returns the value before */
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

/** The first half are counters, the others are registers. */
export const addresses = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => i < count / 2 ? `counters.${i}` : `registers.${i}`)
export const isCounter = (address: string): boolean => address.startsWith('counters.')

/** @param idleMs  short, so that actors are deactivated and activated often */
export function defineThings(stage: Stage, idleMs: number): void {
  stage.define({ pattern: 'counters.{id}', constructor: Counter, durable: true, readonly: ['get', 'list'], idleMs })
  stage.define({ pattern: 'registers.{id}', constructor: Register, durable: true, readonly: ['get'], idleMs })
}

/** Milliseconds on a monotonic clock that all processes of the machine share. */
export const clock = (): number => Number(process.hrtime.bigint()) / 1e6
