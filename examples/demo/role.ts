/** What every role of the demo does beside its work: it ends with the process that started it, and prints what it checks. */
import type { Stage } from 'stagemesh'

/** What a role and `main.ts` tell each other. */
export type Message = { ready: true } | { done: true } | { failed: string } | { kill: number } | { killed: number }

/** Whoever listens may be gone by then. */
export const tell = (message: Message): void => { if (process.connected) process.send?.(message, () => {}) }

/** Runs the work of a role once its stage is listed; whatever goes wrong is told to `main.ts`, which ends the demo. */
export async function play(stage: Stage, work: () => Promise<void> = async () => {}): Promise<void> {
  process.once('disconnect', () => void stage.close())
  if (!process.connected) return stage.close() // it had ended before
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

/** Prints what was expected, or fails with it. */
export function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`this was expected and is not so: ${what}`)
  line(`ok: ${what}`)
}
