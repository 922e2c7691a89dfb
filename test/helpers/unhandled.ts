import type { TestFn } from 'ava'

/** Adds a last test to a file: no other test left an unhandled rejection or an uncaught exception. */
export function nothingUnhandled(test: TestFn): void {
  const seen: unknown[] = []
  process.on('unhandledRejection', (reason) => { seen.push(reason) })
  process.on('uncaughtExceptionMonitor', (error) => { seen.push(error) })
  test.after.always('nothing was left unhandled', async (t) => {
    await new Promise((resolve) => setImmediate(resolve))
    t.deepEqual(seen, [])
  })
}
