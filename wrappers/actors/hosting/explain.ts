import type { StageError } from '../../../src/errors.js'
import type { Link, Mesh } from '../../../src/types.js'
import type { Rpc } from '../../rpc/rpc.js'
import type { Hosting } from './hosting.js'
import { EXPLAIN } from '../tasks.js'
import type { Explained } from '../types.js'

const WAIT_MS = 5000

/** Describes an actor without activating it: the store tells the owner, and the owner tells the rest. */
export async function explain(mesh: Mesh<Rpc>, hosting: Hosting, address: string): Promise<Explained> {
  const known = await hosting.store.look(address)
  const id = known?.owner?.stage
  if (id !== undefined && !mesh.find(id)) await mesh.look()
  const peer = id === undefined ? undefined : mesh.find(id)
  const owner = known?.owner && id !== undefined ? { id, name: peer?.name ?? 'a stage that is gone' } : undefined
  const kept = { address, owner, ...(known ? { version: known.version } : {}) }
  if (!peer || !known?.owner) return kept
  const { epoch, activation } = known.owner
  const told = id === mesh.id ? hosting.described(address) : await ask(mesh, peer.id, address).catch(() => undefined)
  return { ...kept, fence: { epoch, activation }, ...told }
}

function ask(mesh: Mesh<Rpc>, id: string, address: string): Promise<Partial<Explained> | undefined> {
  return new Promise((resolve, reject) => {
    const peer = mesh.find(id)
    if (!peer) return resolve(undefined)
    const settle = (error: StageError | null, link?: Link<Rpc>): void => {
      timer.cancel()
      if (!link) return reject(error!)
      const asked = link.top.request(EXPLAIN, [address], { endsAt: mesh.clock.now() + WAIT_MS }, `explaining ${address}`)
      resolve(asked as Promise<Partial<Explained> | undefined>)
    }
    const timer = mesh.clock.setTimeout(() => { giveUp(); resolve(undefined) }, WAIT_MS)
    const giveUp = mesh.select(peer).reach(peer, settle)
  })
}
