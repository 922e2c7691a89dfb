/** One property that must hold under load, and the steps that check it. */
export interface Measure {
  /** The property, in one line. */
  readonly title: string
  /** The time limit in seconds: of a whole run, and with --quick. */
  readonly seconds: readonly [whole: number, quick: number]
  run(room: Room): Promise<void>
}

/** The functions that run in a separate process, by name; each can be called from the measuring process. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each measure has its own arguments
export type Orders = Record<string, (...args: any[]) => unknown>

/** The surroundings of a process. */
export interface Here {
  /** The carrier of the bytes: a key of `carriers`. */
  readonly carrier: string
  /** The folder of the registry and of other files. */
  readonly place: string
}

/** A process, seen from the process that measures. */
export interface Child<O extends Orders> {
  ask<K extends keyof O>(order: K, ...args: Parameters<O[K]>): Promise<Awaited<ReturnType<O[K]>>>
  /** Lets the process end by itself, so that it can write its profile. */
  end(): Promise<void>
}

/** The environment of a measure: its processes, and the place for its results. */
export interface Room extends Here {
  readonly quick: boolean
  /** Starts a process with the orders of this measure and the common ones; it ends with the measure at the latest. */
  start<O extends Orders>(): Child<O & Common>
  say(line: string): void
  /** Reports a figure without a bound. */
  note(what: string, value: number | string, unit?: string): void
  atMost(what: string, value: number, bound: number, unit?: string): void
  atLeast(what: string, value: number, bound: number, unit?: string): void
  /** The value must equal the expected one exactly. */
  same(what: string, value: unknown, expected: unknown): void
}

/** The growth of a process's memory since the start, in bytes. */
export interface Growth {
  rss: number
  /** On the heap and outside of it, after garbage collection. */
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
/** Milliseconds on a clock that all processes of the machine share. */
export const clock = (): number => performance.timeOrigin + performance.now()

export const median = (all: readonly number[]): number => quantile(all, 0.5)
export function quantile(all: readonly number[], q: number): number {
  const sorted = [...all].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] as number
}
