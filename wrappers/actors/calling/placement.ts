/** Placement: the stage on which an unclaimed actor is activated, which is also the stage to ask for its owner. */
import { byKey } from '../../../src/rendezvous.js'
import type { Mesh, Peer } from '../../../src/types.js'
import { within } from '../../../src/within.js'
import type { Rpc } from '../../rpc/rpc.js'
import { STORE_MS } from '../hosting/activation.js'
import type { Hosting } from '../hosting/hosting.js'

/**
 * Chooses the stage to ask. The choice depends on the address alone, so that all stages ask the same one.
 * @param tried  ids of stages that have been asked already
 */
export async function place(
  mesh: Mesh<Rpc>, hosting: Pick<Hosting, 'hosts' | 'typeOf' | 'announcements'>, address: string, tried: ReadonlySet<string>,
): Promise<Peer | undefined> {
  if (hosting.hosts(address) && hosting.typeOf(address)?.local && !tried.has(mesh.id)) return mesh.self
  const { announcements } = hosting
  const hosts = announcements.hostsOf(address)
  if (hosting.hosts(address)) hosts.push(mesh.self)
  const found = byKey(hosts, address, tried)
  if (found || hosts.length > 0) return found
  // no type matches: the address may be a single hosted object, and only the store knows its owner
  if (!announcements.objects) return undefined
  const store = mesh.store()
  if (!store) return undefined
  const answer = (async () => store.look(address))() // a custom store may throw synchronously
  const known = await within(mesh.clock, STORE_MS, answer, () => new Error('no answer')).catch(() => undefined)
  return known?.owner && !tried.has(known.owner.stage) ? mesh.find(known.owner.stage) : undefined
}
