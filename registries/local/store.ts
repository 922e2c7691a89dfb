/**
 * Committed state and owners of the actors of one namespace, in the folder of the registry. An actor has two rows, its
 * state and the rest, so that a claim or release need not rewrite the state, and a third row among the wakes if it wants
 * to be woken. All three change together, if the actor is still as it was read.
 */
import type { Database } from 'lmdb'
import * as ownership from '../shared/ownership.js'
import type { ActorRecord, Outcome } from '../shared/ownership.js'
import { StageError } from '../../src/errors.js'
import type { StoreSteps } from '../shared/storing.js'
import type { Claim, Claimed, Clock, Commit, Fence, Store, Wake } from '../../src/types.js'
import type { Attempt, Environment } from './environment.js'
import type { Key, Rows, Written } from './rowset.js'

const LIMIT_MS = 3000

export class LocalStore implements StoreSteps {
  constructor(private readonly open: () => Promise<Environment>, private readonly namespace: string, private readonly clock: Clock) {}

  claim(actor: string, claim: Claim): Promise<Claimed> {
    return this.#change(actor, (record) => ownership.claim(record, claim, this.clock.wall()))
  }

  commit(actor: string, fence: Fence, commit: Commit): Promise<'ok' | 'fenced'> {
    return this.#change(actor, (record) => ownership.commit(record, fence, commit), commit.data)
  }

  release(actor: string, fence: Fence): Promise<void> {
    return this.#change(actor, (record) => ownership.release(record, fence))
  }

  look(actor: string): ReturnType<Store['look']> {
    return this.#asStore(async (environment) => environment.find((rows) => ownership.look(new Row(rows, this.namespace, actor).record, this.clock.wall())))
  }

  due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    return this.#asStore(async (environment) => environment.find((rows) => {
      const found: Wake[] = []
      const start = ['wake', this.namespace, after?.at ?? Number.MIN_SAFE_INTEGER, after?.actor ?? '']
      const end = ['wake', this.namespace, Math.floor(this.clock.wall()) + 1, '']
      for (const key of rows.getKeys({ start, end })) {
        const [, , at, actor] = key as [string, string, number, string]
        if (at === after?.at && actor === after.actor) continue
        if (new Row(rows, this.namespace, actor).record?.wake === at) found.push({ actor, at }) // else the actor was deleted by hand
        if (found.length === limit) break
      }
      return found
    }))
  }

  /** @param data  the state to commit, for a commit: the only step that writes the state, without having to read it */
  #change<T>(actor: string, run: (record: ActorRecord | undefined) => Outcome<T>, data?: Buffer): Promise<T> {
    return this.#asStore(async (environment) => environment.change(this.clock, LIMIT_MS, (rows): Attempt<T> => {
      const row = new Row(rows, this.namespace, actor)
      const { answer, record } = run(data && row.record ? { ...row.record, data: undefined } : row.record)
      return { answer, written: record && row.write(record, data), lasting: data !== undefined }
    }))
  }

  async #asStore<T>(run: (environment: Environment) => Promise<T>): Promise<T> {
    try {
      return await run(await this.open())
    } catch (error) {
      if (!(error instanceof StageError) || error.code !== 'REGISTRY_UNAVAILABLE') throw error
      throw new StageError('STORE_UNAVAILABLE', error.message.replace(/^the registry/, 'the store'), { cause: error.cause })
    }
  }
}

/** One actor in the file, as read at construction. */
class Row {
  readonly record: ActorRecord | undefined
  readonly #version: number | undefined
  readonly #key: Key
  readonly #dataKey: Key

  constructor(private readonly rows: Rows, private readonly namespace: string, private readonly actor: string) {
    this.#key = ['actor', namespace, actor]
    this.#dataKey = ['data', namespace, actor]
    const entry = rows.getEntry(this.#key)
    this.#version = entry?.version
    this.record = parse(entry?.value, () => rows.getBinary(this.#dataKey))
  }

  /** Writes if the actor is still as it was read, and resolves to whether it was. */
  write(record: ActorRecord, data: Buffer | undefined): Written {
    const { rows } = this
    // a row that was deleted and recreated in between must not have this row's version
    const next = this.#version === undefined ? record.epoch : this.#version + 1
    const write = (): void => {
      void rows.put(this.#key, textOf(record), next)
      if (data) void (rows as Database<string | Buffer, Key>).put(this.#dataKey, data, 1)
      const before = this.record?.wake
      if (before === record.wake) return
      if (before !== undefined) void rows.remove(this.#wakeKey(before))
      if (record.wake !== undefined) void rows.put(this.#wakeKey(record.wake), '', 1)
    }
    return this.#version === undefined ? rows.ifNoExists(this.#key, write) : rows.ifVersion(this.#key, this.#version, write)
  }

  #wakeKey(at: number): Key {
    return ['wake', this.namespace, at, this.actor]
  }
}

/** The text of a row, which `parse` reads back. */
const textOf = ({ epoch, owner, version, commitId, wake }: ActorRecord): string => JSON.stringify({ epoch, ...owner, version, commit: commitId, wake })

/** Decodes a row, with the state read only on access; undefined if a person wrote something else there. */
function parse(text: string | undefined, data: () => Buffer | undefined): ActorRecord | undefined {
  if (text === undefined) return undefined
  try {
    const { epoch, stage, activation, version, commit, wake } = JSON.parse(text) as Record<string, unknown>
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(version) || typeof commit !== 'string') return undefined
    return {
      epoch: epoch as number,
      owner: typeof stage === 'string' && typeof activation === 'string' ? { stage, activation } : undefined,
      version: version as number,
      commitId: commit,
      get data() { return version === 0 ? undefined : data() }, // at version 0 a state is the remains of an actor that was deleted by hand
      wake: typeof wake === 'number' ? wake : undefined,
    }
  } catch {
    return undefined
  }
}
