import type { Stage } from '../../src/index.js'

/** The events of one stage, in order. */
export interface Note {
  /** Milliseconds since 1970: the same clock for all processes of this machine. */
  at: number
  event: 'join' | 'part' | 'timeout' | 'link' | 'unlink' | 'error'
  /** The id of the peer, or the message of an error. */
  of: string
  reason?: string
}

/** Records the events of a stage from now on. */
export function journal(stage: Stage): Note[] {
  const notes: Note[] = []
  const note = (event: Note['event'], of: string, reason?: string) => void notes.push({ at: Date.now(), event, of, ...(reason === undefined ? {} : { reason }) })
  stage.on('join', ({ id }) => note('join', id))
  stage.on('part', ({ id }, reason) => note('part', id, reason))
  stage.on('timeout', ({ id }) => note('timeout', id))
  stage.on('link', ({ id }) => note('link', id))
  stage.on('unlink', ({ id }, error) => note('unlink', id, error?.message))
  stage.on('error', ({ message }) => note('error', message))
  return notes
}

/** The view that one stage has of the mesh. */
export interface Sight {
  id: string
  peers: { id: string; name: string; addresses: readonly string[] }[]
  links: { id: string; peer: string }[]
  notes: readonly Note[]
}

export const sight = (stage: Stage, notes: readonly Note[]): Sight => ({
  id: stage.id,
  peers: stage.peers().map(({ id, name, addresses }) => ({ id, name, addresses })),
  links: stage.links().map(({ id, peer }) => ({ id, peer: peer.id })),
  notes,
})
