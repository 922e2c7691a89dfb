import type { Assertions } from '../suites/test.js'

export type Warning = Error & { code?: string; detail?: string }

/** Collects the warnings of this process whose message has that text, until the end of the test. */
export function warningsWith(t: Pick<Assertions, 'teardown'>, text: string): Warning[] {
  const all: Warning[] = []
  const see = (warning: Error): void => { if (warning.message.includes(text)) all.push(warning) }
  process.on('warning', see)
  t.teardown(() => void process.off('warning', see))
  return all
}
