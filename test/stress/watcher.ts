/** Watches actors in one of the two modes, and records each update. */
import { setTimeout as sleep } from 'node:timers/promises'
import { asError } from '../../src/errors.js'
import type { Stage } from '../../src/index.js'
import { checkOf, isCounter, pairOf, type Counter, type Register } from './things.js'

export type Mode = 'every' | 'latest'

/** An update: the version, a text that identifies the state, and whether it was marked `reset`. */
export type Seen = [version: number, text: string, reset: boolean]

export interface Sighting {
  address: string
  mode: Mode
  seen: Seen[]
  /** Updates that were half done, and the reason if the watch ended early. */
  wrong: string[]
}

export class Watcher {
  readonly seen: Seen[] = []
  readonly wrong: string[] = []
  readonly #end = new AbortController()
  readonly #done: Promise<void>

  /** @param slowMs  the time that the watcher spends on each update */
  constructor(stage: Stage, readonly address: string, readonly mode: Mode, slowMs: number) {
    this.#done = this.#run(stage, slowMs).catch((thrown: unknown) => {
      if (!this.#end.signal.aborted) this.wrong.push(`watching ${address} ended: ${asError(thrown).message}`)
    })
  }

  get sighting(): Sighting {
    const { address, mode, seen, wrong } = this
    return { address, mode, seen, wrong }
  }

  async stop(): Promise<void> {
    this.#end.abort()
    await this.#done
  }

  async #run(stage: Stage, slowMs: number): Promise<void> {
    const { address, mode } = this
    const options = { mode, signal: this.#end.signal, timeoutMs: 30_000 }
    if (isCounter(address)) {
      for await (const { version, value, check, last, reset } of stage.observe(stage.actor<Counter>(address), ['value', 'check', 'last'], options)) {
        if (check !== checkOf(value) || version !== value) this.wrong.push(`${address} at ${version}: ${JSON.stringify({ value, check, last })}`)
        this.seen.push([version, last, reset === true])
        if (slowMs > 0) await sleep(slowMs)
      }
    } else {
      for await (const { version, a, b, reset } of stage.observe(stage.actor<Register>(address), ['a', 'b'], options)) {
        if (b !== pairOf(a)) this.wrong.push(`${address} at ${version}: ${JSON.stringify({ a, b })}`)
        this.seen.push([version, a, reset === true])
        if (slowMs > 0) await sleep(slowMs)
      }
    }
    if (!this.#end.signal.aborted) this.wrong.push(`watching ${address} ended`)
  }
}
