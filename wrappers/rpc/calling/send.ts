/** Values for peers to which a link stands, encoded once: the event `message` at the other end. */
import { StageError, describe } from '../../../src/errors.js'
import type { Mesh, Peer } from '../../../src/types.js'
import { NOTHING } from '../context.js'
import type { Encode } from '../streams/item-writer.js'
import type { Rpc } from '../rpc.js'
import { VALUE } from '../wire/messages.js'
import { encodeCast } from './cast.js'

/** @returns see `Stage.send` @throws StageError BAD_ARGUMENT */
export function send(mesh: Mesh<Rpc>, encode: Encode, to: unknown, value: unknown): boolean | number {
  const list = Array.isArray(to) ? to as readonly unknown[] : [to]
  const wanted = new Set(list.map(nameOf))
  const message = encodeCast(encode, NOTHING, VALUE, [value])
  let sent = 0
  for (const { peer, top } of mesh.links()) {
    // a peer's own word is no reason to take it for a name
    if (!wanted.has(peer.id) && (peer.claimed || !wanted.has(peer.name))) continue
    try {
      top.cast(message)
      sent++
    } catch {
      // the link is closing, or its peer reads too slowly: it cannot be reached now
    }
  }
  return Array.isArray(to) ? sent : sent > 0
}

function nameOf(one: unknown): string {
  if (typeof one === 'string') return one
  const { id } = (one ?? {}) as Partial<Peer>
  if (typeof id === 'string') return id
  throw new StageError('BAD_ARGUMENT', `send() got ${describe(one)}: expected a peer, an id or a name, or a list of them`)
}
