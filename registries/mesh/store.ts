import { StageError } from '../../src/errors.js'
import { MAX_STATE_BYTES } from '../../src/store.js'
import type { Claim, Claimed, Commit, Committed, Fence, Owner, Wake } from '../../src/types.js'
import type { StoreSteps } from '../shared/storing.js'
import type { Line } from './line.js'
import { chunked, joined, type Bytes } from './wire.js'

type Looked = Committed & { readonly epoch: number; readonly owner: Owner | undefined }

/** The operations of the store of a registry that another process serves. */
export class MeshStore implements StoreSteps {
  constructor(private readonly line: Line, private readonly namespace: string) {}

  async warning(): Promise<string | undefined> {
    return await this.#ask<string | null>('warning') ?? undefined
  }

  async claim(actor: string, claim: Claim): Promise<Claimed> {
    return received<Claimed>(await this.#ask('claim', actor, claim))
  }

  commit(actor: string, fence: Fence, { data, ...commit }: Commit): Promise<'ok' | 'fenced'> {
    return this.#ask('commit', actor, fence, commit, chunked(data))
  }

  async release(actor: string, fence: Fence): Promise<void> {
    await this.#ask('release', actor, fence)
  }

  async look(actor: string): Promise<Looked | undefined> {
    const found = await this.#ask<Partial<Looked> | null>('look', actor)
    return found === null ? undefined : received<Looked>(found)
  }

  due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    return this.#ask('due', limit, ...(after ? [after] : []))
  }

  async #ask<T>(method: string, ...args: unknown[]): Promise<T> {
    try {
      return await this.line.ask<T>(method, this.namespace, ...args)
    } catch (error) {
      const { code, message } = error as StageError
      throw code === 'REGISTRY_UNAVAILABLE' ? new StageError('STORE_UNAVAILABLE', message, { cause: error }) : error
    }
  }
}

/** @returns the value with all of its data */
async function received<T>(found: unknown): Promise<T> {
  const { data, ...rest } = found as { data?: Bytes }
  if ('owner' in rest && !('epoch' in rest)) return rest as T
  return { ...rest, data: data === undefined ? undefined : await joined(data, MAX_STATE_BYTES) } as T
}
