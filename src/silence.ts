import { printable } from './errors.js'
import type { Clock, Timer } from './types.js'

/** How long a stage may be unlisted before that is said. */
const SILENT_MS = 3000

export interface SilenceOptions {
  clock: Clock
  /** Name of the stage. */
  name: string
  /** Address of the registry, and where it comes from if nobody has named it. */
  registry: string
  listed(): boolean
  /** Whether somebody listens to `error`. */
  hears(): boolean
}

/** Says once, as a process warning, that a stage is not listed: without a listener to `error` nothing else would say so. */
export class Silence {
  readonly #timer: Timer
  #last: Error | undefined

  constructor({ clock, name, registry, listed, hears }: SilenceOptions) {
    this.#timer = clock.setTimeout(() => {
      if (listed() || hears()) return
      const why = this.#last?.message ?? 'its registry has not answered'
      const then = 'The stage keeps trying. A listener of the event `error` receives such errors instead of this warning'
      const text = `the stage ${name} is not listed after ${SILENT_MS / 1000} s, so other stages cannot find it: ${why}. Its registry is ${registry}. ${then}`
      process.emitWarning(printable(text), {
        type: 'StagemeshWarning', code: 'STAGEMESH_NOT_LISTED',
      })
    }, SILENT_MS)
  }

  /** An error of the stage, which may be the reason. */
  note(error: Error): void {
    this.#last = error
  }

  close(): void {
    this.#timer.cancel()
  }
}
