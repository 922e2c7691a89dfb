/** One thing that must hold under load, and what it takes to find out. */
export interface Measure {
  /** What it shows, in a line. */
  readonly title: string
  /** It is given up after so many seconds: whole, and with --quick. */
  readonly seconds: readonly [whole: number, quick: number]
  run(room: Room): Promise<void>
}

/** What runs in a process of its own, by name; each may be asked from outside. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each measure has its own
export type Orders = Record<string, (...args: any[]) => unknown>

/** Where a process is. */
export interface Here {
  /** What carries the bytes: a key of `carriers`. */
  readonly carrier: string
  /** The folder of the registry, and for files. */
  readonly place: string
}

/** A process, seen from the one that measures. */
export interface Child<O extends Orders> {
  ask<K extends keyof O>(order: K, ...args: Parameters<O[K]>): Promise<Awaited<ReturnType<O[K]>>>
  /** Lets it end by itself, so that it may write its profile. */
  end(): Promise<void>
}

/** What a measure gets: processes, and where its results go. */
export interface Room extends Here {
  readonly quick: boolean
  /** A process with the orders of this measure and the common ones; it ends with the measure at the latest. */
  start<O extends Orders>(): Child<O & Common>
  say(line: string): void
  /** A figure without a bound. */
  note(what: string, value: number | string, unit?: string): void
  atMost(what: string, value: number, bound: number, unit?: string): void
  atLeast(what: string, value: number, bound: number, unit?: string): void
  /** Must be as expected, to the letter. */
  same(what: string, value: unknown, expected: unknown): void
}

/** How far the memory of a process went beyond what it was at the start, in bytes. */
export interface Growth {
  rss: number
  /** On the heap and beside it, after garbage collection. */
  used: number
}

export type Common = {
  /** Samples memory from now on. */
  watch(): void
  grown(): Growth
  /** Microseconds of CPU time so far. */
  cpu(): number
}

export const MIB = 1024 * 1024
export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
/** Milliseconds that mean the same in all processes of the machine. */
export const clock = (): number => performance.timeOrigin + performance.now()

export const median = (all: readonly number[]): number => quantile(all, 0.5)
export function quantile(all: readonly number[], q: number): number {
  const sorted = [...all].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] as number
}
