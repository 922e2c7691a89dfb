import type { Stage } from '../../src/index.js'
import { StageError } from '../../src/errors.js'

/** Waits for `ready()`, and repeats it: on a busy machine one attempt may take too long, and the next one succeeds. */
export async function listed(stage: Stage): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await stage.ready()
    } catch (error) {
      if (tries === 3 || !(error instanceof StageError) || error.code !== 'REGISTRY_UNAVAILABLE') throw error
    }
  }
}
