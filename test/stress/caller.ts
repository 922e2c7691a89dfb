/** Calls actors all the time and notes what it asked, when, and what came of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { StageError, asError } from '../../src/errors.js'
import type { Stage } from '../../src/index.js'
import type { CounterSeen, Operation } from '../helpers/linearizable.js'
import { Counter, Register, addresses, checkOf, clock, isCounter, pairOf, type Look } from './things.js'

export interface Calling {
  /** How many there are, and which part of them are called more often than the others. */
  actors: number
  /** Calls at a time. */
  lanes: number
  /** Calls a second at most, of all lanes together. */
  rate: number
  timeoutMs: number
  /** Which part of the changes take up to so long. */
  slow: { part: number; ms: number }
}

export interface Noted extends Operation {
  readonly address: string
}

interface Asked { kind: string; argument?: string; run(): PromiseLike<unknown> }

export class Caller {
  operations: Noted[] = []
  acknowledged = 0
  /** How many failed, by code and whether they had run. */
  readonly failed: Record<string, number> = {}
  /** What the first of each said. */
  readonly samples: Record<string, string> = {}
  /** What was seen half done. */
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

  /** Begins nothing new; resolves when all have ended. */
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
      await this.note(address, isCounter(address) ? this.#ofCounter(address) : this.#ofRegister(address))
    }
  }

  /** The last look at an actor: again until it answers. */
  async last(address: string): Promise<unknown> {
    for (const end = clock() + 20_000; ;) {
      const result = await this.note(address, isCounter(address)
        ? { kind: 'list', run: () => this.#counter(address).list() }
        : { kind: 'read', run: () => this.#look(address) })
      if (result !== undefined) return result
      if (clock() > end) throw new Error(`${address} does not answer in the end: ${JSON.stringify(this.failed)}`)
      await sleep(50)
    }
  }

  /** @returns what it answered; undefined: it failed */
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
      else {
        const key = error ? `${error.code} ${error.executed}` : String(thrown)
        this.failed[key] = (this.failed[key] ?? 0) + 1
        this.samples[key] ??= asError(thrown).message
      }
      // a turn that throws keeps nothing: its effect is never to be seen
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
