import { onAbort } from '../../src/abort.js'
import type { Seen } from './ledger.js'
import type { View } from '../../src/types.js'

/** The present view of one namespace and its watchers. Each watcher gets the newest view, not every view. */
export class Views {
  #view: View | undefined
  #version = 0
  #ended: { error?: unknown } | undefined
  readonly #waiting = new Set<() => void>()
  #looking: Promise<void> = Promise.resolve()
  watchers = 0

  /** @param read  pushes the present view if it differs from the last; without `read` the last pushed view is the present one */
  constructor(private readonly read?: () => Promise<void>) {}

  /** Reads again, after any read in progress, so that the result is newer than this call. */
  look(): Promise<void> {
    const looking = this.#looking.then(async () => { if (!this.#ended) await this.read?.() })
    this.#looking = looking.catch(() => {})
    return looking
  }

  push(view: View): void {
    this.#view = view
    this.#version++
    this.#wake()
  }

  /** Makes every watch throw `error`, or end quietly without an error. Views pushed later reach nobody. */
  end(error?: unknown): void {
    this.#ended ??= error === undefined ? {} : { error }
    this.#wake()
  }

  get ended(): boolean {
    return this.#ended !== undefined
  }

  async* watch(signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    let seen = 0
    if (this.watchers > 1) await this.look() // the present view was read for earlier watchers
    while (!signal.aborted) {
      if (this.#ended) {
        if ('error' in this.#ended) throw this.#ended.error
        return
      }
      if (this.#view && seen !== this.#version) {
        seen = this.#version
        yield this.#view
      } else await this.#change(signal)
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done)
        release()
        resolve()
      }
      const release = onAbort(signal, done)
      this.#waiting.add(done)
    })
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

/** Detects that a registry's history was reset, and gives all later views a new generation. */
export class Witness {
  #seen: Seen | undefined
  #breaks = 0

  get seen(): Seen | undefined {
    return this.#seen
  }

  /**
   * @param continuous  false if the registry does not (or no longer) know the state seen last
   * @returns           the `View.generation` of this state
   */
  see(state: Seen, continuous = true): string {
    const before = this.#seen
    const sameGeneration = before?.generation === state.generation
    const back = before !== undefined && sameGeneration &&
      (!continuous || state.revision < before.revision || (state.revision === before.revision && state.mark !== before.mark))
    if (back) this.#breaks++
    this.#seen = { generation: state.generation, revision: state.revision, mark: state.mark }
    return this.#breaks > 0 ? `${state.generation}+${this.#breaks}` : state.generation
  }
}
