/** The methods through which all data of a Node stream passes, in either direction. */
const PASSES = ['push', '_write', '_writev'] as const

/** Calls `touch` at every activity of a stream: when data comes, when data is written, and when the write is done. */
export function watchActivity(stream: object, touch: () => void): void {
  for (const name of PASSES) {
    const method = (stream as Record<string, unknown>)[name]
    if (typeof method !== 'function') continue
    const watched = (...args: unknown[]): unknown => {
      touch()
      const done = args.at(-1)
      if (typeof done === 'function') {
        args[args.length - 1] = (...results: unknown[]): unknown => {
          touch()
          return (done as (...results: unknown[]) => unknown)(...results)
        }
      }
      return method.apply(stream, args) as unknown
    }
    Object.defineProperty(stream, name, { value: watched, writable: true, configurable: true })
  }
}
