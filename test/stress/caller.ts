/** Calls actors continuously and records each call, its time and its outcome. */
import { setTimeout as sleep } from 'node:timers/promises'
import { StageError, asError } from '../../src/errors.js'
import type { Stage } from '../../src/index.js'
import type { CounterSeen, Operation } from '../helpers/linearizable.js'
import { Counter, Register, addresses, checkOf, clock, isCounter, isTwice, laterOf, pairOf, type Look } from './things.js'

export interface Calling {
  /** The number of actors. */
  actors: number
  /** Concurrent calls. */
  lanes: number
  /** The maximum of calls a second, for all lanes together. */
  rate: number
  timeoutMs: number
  /** The share of changes that take up to that many milliseconds. */
  slow: { part: number; ms: number }
}

export interface Noted extends Operation {
  readonly address: string
}

interface Asked { kind: string; argument?: string; run(): PromiseLike<unknown> }

/** The number of additions that one loop reads. */
const ADDS = 4
const REMIND_MS = 1000
/** Time for a reminder to ring whose actor was lost with its host. */
const RUNG_MS = 45_000

export class Caller {
  operations: Noted[] = []
  acknowledged = 0
  /** The number of failures, by code and `executed`. */
  readonly failed: Record<string, number> = {}
  /** The first message for each. */
  readonly samples: Record<string, string> = {}
  /** States that were seen half done. */
  readonly torn: string[] = []
  #lanes: Promise<unknown> | undefined
  #going = false
  #count = 0

  constructor(private readonly stage: Stage, private readonly name: string, private readonly calling: Calling) {}

  start(): void {
    const { lanes } = this.calling
    this.#going = true
    this.#lanes = Promise.all(Array.from({ length: lanes }, () => this.#lane()))
  }

  /** Begins no new calls; resolves when all calls have ended. */
  async stop(): Promise<void> {
    this.#going = false
    await this.#lanes
  }

  async #lane(): Promise<void> {
    const { actors, lanes, rate } = this.calling
    const all = addresses(actors)
    const pause = lanes / rate * 2000
    while (this.#going) {
      await sleep(Math.random() * pause)
      const address = all[Math.floor(Math.random() * all.length)]!
      const drawn = isCounter(address) ? Math.random() : 1
      if (drawn < 0.05) await this.#adds(address)
      else if (drawn < 0.1) await this.#addTwice(address)
      else await this.note(address, isCounter(address) ? this.#ofCounter(address) : this.#ofRegister(address))
    }
  }

  /**
   * Additions in a loop: over a link the iterable is read ahead, so each may have taken effect at any time since the loop
   * began.
   */
  async #adds(address: string): Promise<void> {
    const ids = Array.from({ length: ADDS }, () => `${this.name}.${this.#count++}`)
    const invoked = clock()
    const note = (argument: string, result?: unknown): void => {
      this.operations.push({ address, kind: 'add', argument, invoked, ...(result === undefined ? { returned: Infinity, outcome: 'unknown' } : { returned: clock(), outcome: 'ok', result }) })
    }
    let read = 0
    try {
      for await (const value of await this.#counter(address).adds(ids, this.#ms())) {
        note(ids[read++]!, value)
        this.acknowledged++
      }
    } catch (thrown) {
      this.#failed(thrown)
    }
    for (const id of ids.slice(read)) note(id)
  }

  async #addTwice(address: string): Promise<void> {
    const id = `${this.name}.${this.#count++}~`
    const invoked = clock()
    await this.note(address, { kind: 'add', argument: id, run: () => this.#counter(address).addTwice(id, Math.random() * REMIND_MS) })
    this.operations.push({ address, kind: 'add', argument: laterOf(id), invoked, returned: Infinity, outcome: 'unknown' })
  }

  #failed(thrown: unknown): void {
    const key = thrown instanceof StageError ? `${thrown.code} ${thrown.executed}` : String(thrown)
    this.failed[key] = (this.failed[key] ?? 0) + 1
    this.samples[key] ??= asError(thrown).message
  }

  /** The last look at an actor: repeated until it answers, and until its reminders have rung. */
  async last(address: string): Promise<unknown> {
    for (const end = clock() + RUNG_MS; ;) {
      const result = await this.note(address, isCounter(address)
        ? { kind: 'list', run: () => this.#counter(address).list() }
        : { kind: 'read', run: () => this.#look(address) })
      if (result !== undefined && (clock() > end || !isCounter(address) || waits(result as string[]) === undefined)) return result
      if (clock() > end) throw new Error(`${address} does not answer in the end: ${JSON.stringify(this.failed)}`)
      await sleep(50)
    }
  }

  /** @returns the answer; undefined if the call failed */
  async note(address: string, { kind, argument, run }: Asked): Promise<unknown> {
    const given = { address, kind, ...(argument === undefined ? {} : { argument }), invoked: clock() }
    try {
      const result = await run()
      this.acknowledged++
      this.operations.push({ ...given, returned: clock(), outcome: 'ok', result })
      return result
    } catch (thrown) {
      const error = thrown instanceof StageError ? thrown : undefined
      if (kind === 'fail' && error?.code === 'REMOTE_ERROR' && error.message.includes('on purpose')) this.acknowledged++
      else this.#failed(thrown)
      // a turn that throws commits nothing: its effect must never be visible
      this.operations.push({ ...given, kind: kind !== 'fail' ? kind : isCounter(address) ? 'add' : 'write', returned: Infinity, outcome: error?.executed === 'no' || kind === 'fail' ? 'no' : 'unknown' })
      return undefined
    }
  }

  #counter(address: string) {
    return this.stage.actor<Counter>(address, { timeoutMs: this.calling.timeoutMs })
  }

  #register(address: string) {
    return this.stage.actor<Register>(address, { timeoutMs: this.calling.timeoutMs })
  }

  #ofCounter(address: string): Asked {
    const drawn = Math.random()
    const counter = this.#counter(address)
    const argument = `${this.name}.${this.#count++}`
    if (drawn < 0.6) return { kind: 'add', argument, run: () => counter.add(argument, this.#ms()) }
    if (drawn < 0.65) return { kind: 'fail', argument, run: () => counter.fail(argument) }
    if (drawn < 0.7) return { kind: 'read', run: () => counter.value.then((value): CounterSeen => ({ value })) }
    return { kind: 'read', run: () => counter.get().then((seen: Look): CounterSeen => {
      const { value, check, last } = seen
      if (check !== checkOf(value)) this.torn.push(`${address}: ${JSON.stringify(seen)}`)
      return { value, last }
    }) }
  }

  #ofRegister(address: string): Asked {
    const drawn = Math.random()
    const register = this.#register(address)
    const argument = `${this.name}.${this.#count++}`
    if (drawn < 0.35) return { kind: 'write', argument, run: () => register.write(argument, this.#ms()) }
    if (drawn < 0.6) return { kind: 'swap', argument, run: () => register.swap(argument) }
    if (drawn < 0.65) return { kind: 'fail', argument, run: () => register.fail(argument) }
    return { kind: 'read', run: () => this.#look(address) }
  }

  async #look(address: string): Promise<string> {
    const { a, b } = await this.#register(address).get()
    if (b !== pairOf(a)) this.torn.push(`${address}: ${JSON.stringify([a, b])}`)
    return a
  }

  #ms(): number {
    const { part, ms } = this.calling.slow
    return Math.random() < part ? Math.ceil(Math.random() * ms) : 0
  }
}

/** An addition whose reminder has not rung. */
export function waits(ids: readonly string[]): string | undefined {
  const all = new Set(ids)
  return ids.find((id) => isTwice(id) && !all.has(laterOf(id)))
}
