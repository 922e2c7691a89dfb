import type { Stage } from '../../src/index.js'
import { StageError } from '../../src/errors.js'

/** `ready()` says why the last try failed; on a busy machine, where one may take too long, the next does better. */
export async function listed(stage: Stage): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await stage.ready()
    } catch (error) {
      if (tries === 3 || !(error instanceof StageError) || error.code !== 'REGISTRY_UNAVAILABLE') throw error
    }
  }
}
