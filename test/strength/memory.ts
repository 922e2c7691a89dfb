import type { Growth } from './measure.js'

const SAMPLE_MS = 100
/** Each costs some milliseconds, in which nothing else happens. */
const COLLECT_MS = 1000

/** Bytes in use after garbage collection, on the heap and beside it. */
export function used(): number {
  globalThis.gc?.()
  globalThis.gc?.() // or what the first one let go of beside the heap is still counted: 30 MiB behind a fast stream
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** How far the memory of this process goes beyond what it is now. */
export class Watch {
  readonly #start = { used: used(), rss: process.memoryUsage.rss() }
  readonly #most: Growth = { rss: 0, used: 0 }
  readonly #timers = [
    setInterval(() => { this.#most.rss = Math.max(this.#most.rss, process.memoryUsage.rss() - this.#start.rss) }, SAMPLE_MS),
    setInterval(() => this.#collect(), COLLECT_MS),
  ]

  end(): Growth {
    for (const timer of this.#timers) clearInterval(timer)
    this.#collect()
    return this.#most
  }

  #collect(): void {
    this.#most.used = Math.max(this.#most.used, used() - this.#start.used)
  }
}
