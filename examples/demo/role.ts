/** Common parts of the demo's roles: each ends with the process that started it, and prints its checks. */
import type { Stage } from 'stagemesh'

/** Messages between a role and `main.ts`. */
export type Message = { ready: true } | { done: true } | { failed: string } | { kill: number } | { killed: number }

/** Sends a message to `main.ts`, which may have ended by then. */
export const tell = (message: Message): void => { if (process.connected) process.send?.(message, () => {}) }

/** Runs the work of a role once its stage is listed; any error is reported to `main.ts`, which ends the demo. */
export async function play(stage: Stage, work: () => Promise<void> = async () => {}): Promise<void> {
  process.once('disconnect', () => void stage.close())
  if (!process.connected) return stage.close() // `main.ts` had ended before
  try {
    await stage.ready()
    tell({ ready: true })
    await work()
    tell({ done: true })
  } catch (error) {
    tell({ failed: error instanceof Error ? error.message : String(error) })
  }
}

export const title = (text: string): void => console.log(`\n${text}`)
export const line = (text: string): void => console.log(`   ${text}`)

/** Prints a check that holds, or throws. */
export function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`this was expected and is not so: ${what}`)
  line(`ok: ${what}`)
}
