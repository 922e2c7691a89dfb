/** The steps by which a stage closes: each has its time limit, and a step that hangs or fails does not prevent the others. */
import { asError } from './errors.js'
import { within } from './within.js'
import type { Clock } from './types.js'

export class Steps {
  constructor(private readonly clock: Clock, private readonly onerror: (error: Error) => void) {}

  /** @param what  for the message: `closing: … took more than … ms` */
  async take(ms: number, what: string, begin: () => Promise<unknown>): Promise<void> {
    const slow = (): Error => new Error(`closing: ${what} took more than ${ms} ms`)
    try {
      await within(this.clock, ms, begin(), slow)
    } catch (error) {
      this.onerror(asError(error))
    }
  }
}
