import type { Growth } from './measure.js'

const SAMPLE_MS = 100
/** Each collection takes some milliseconds, in which nothing else runs. */
const COLLECT_MS = 1000

/** Bytes in use after garbage collection, on the heap and outside of it. */
export function used(): number {
  globalThis.gc?.()
  globalThis.gc?.() // without it, memory outside of the heap that the first collection released still counts: 30 MiB behind a fast stream
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The growth of this process's memory beyond its present size. */
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
