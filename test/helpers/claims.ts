import type { Claim, Commit, Fence, Store } from '../../src/types.js'

let count = 0
const fresh = (): string => `test-${process.pid}-${++count}`

/** A claim by an activation that no other claim has. */
export const claimOf = (change: Partial<Claim> = {}): Claim => ({ stage: 'stage-test', activation: fresh(), ...change })

/** A commit with an id of its own. */
export const commitOf = (version: number, data: Buffer | string = '', wake?: number): Commit => (
  { id: fresh(), version, data: Buffer.from(data), ...wake !== undefined && { wake } }
)

/** Claims an actor. @throws if somebody else has it */
export async function hold(store: Pick<Store, 'claim'>, actor: string, claim = claimOf()): Promise<Fence & { version: number, data: Buffer | undefined }> {
  const answer = await store.claim(actor, claim)
  if (answer.owner) throw new Error(`${actor} is owned by ${answer.owner.activation}`)
  return { ...answer, activation: claim.activation }
}
