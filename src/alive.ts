import { refuses } from './dial.js'
import type { Directory } from './directory.js'
import type { StageError } from './errors.js'
import type { Links } from './links.js'

const DIALS = 3

/**
 * Whether the stage of that id lives. The registry learns of a crash only when the lease has expired; an open link, and
 * addresses that refuse connections, give the answer at once.
 */
export async function alive(directory: Directory, links: Links, id: string): Promise<boolean> {
  for (let dials = 0; ; dials++) {
    if (links.active(id)) return true
    const entry = directory.get(id)
    if (!entry) return !directory.isGone(id) && await directory.listed(id)
    if (directory.isSuspect(id) || dials === DIALS) return false
    const error = await new Promise<StageError | null>((resolve) => { links.need(entry, resolve) })
    if (error && !refuses(error)) return directory.get(id) !== undefined
  }
}
