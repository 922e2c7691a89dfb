import * as ownership from '../../registries/shared/ownership.js'
import type { ActorRecord } from '../../registries/shared/ownership.js'
import { StageError } from '../../src/index.js'
import type { StoreSteps } from '../../registries/shared/storing.js'
import type { Claim, Claimed, Clock, Commit, Committed, Fence, Store, Wake } from '../../src/types.js'
import type { Chance } from './chance.js'
import type { HostClock } from './host-clock.js'
import type { Truth } from './truth.js'

/** How long a driver waits for an answer. */
const COMMAND_MS = 4000
const away = (): StageError => new StageError('STORE_UNAVAILABLE', 'the store is out of reach')
const copied = <T extends Committed>(answer: T): T => ({ ...answer, data: answer.data && Buffer.from(answer.data) })

const order = (a: Wake, b: Wake): number => a.at - b.at || (a.actor < b.actor ? -1 : a.actor > b.actor ? 1 : 0)

/** The server that keeps the claims and states of actors: its rules, and a record of all steps. */
export class Vault {
  requestMs = (): number => 0
  answerMs = (): number => 0
  /** Writes are executed, but their answers are lost: some calls get a failure, others get nothing. */
  lossy = false
  failing = false
  readonly #records = new Map<string, ActorRecord>()

  constructor(readonly clock: Clock, readonly chance: Chance, private readonly truth: Truth) {}

  claim(actor: string, claim: Claim): Claimed {
    const { answer, record } = ownership.claim(this.#records.get(actor), claim, this.clock.wall())
    if (record) this.#records.set(actor, record)
    this.truth.claimed(actor, claim, answer, record !== undefined)
    return answer.owner ? answer : copied(answer)
  }

  commit(actor: string, fence: Fence, commit: Commit): 'ok' | 'fenced' {
    const { answer, record } = ownership.commit(this.#records.get(actor), fence, { ...commit, data: Buffer.from(commit.data) })
    if (record) this.#records.set(actor, record)
    this.truth.committed(actor, fence, commit, answer, record !== undefined)
    return answer
  }

  release(actor: string, fence: Fence): void {
    const { record } = ownership.release(this.#records.get(actor), fence)
    if (record) this.#records.set(actor, record)
    this.truth.released(actor, fence, record !== undefined)
  }

  look(actor: string): Awaited<ReturnType<Store['look']>> {
    const known = ownership.look(this.#records.get(actor), this.clock.wall())
    return known && copied(known)
  }

  due(limit: number, after?: Wake): readonly Wake[] {
    const now = this.clock.wall()
    const due = [...this.#records].flatMap(([actor, { wake: at }]) => at !== undefined && at <= now && (!after || order({ actor, at }, after) > 0) ? [{ actor, at }] : [])
    return due.sort(order).slice(0, limit)
  }

  /** Loses the data of one actor, or of all. */
  forget(actor?: string): void {
    for (const known of actor === undefined ? [...this.#records.keys()] : [actor]) {
      this.#records.delete(known)
      this.truth.forgot(known)
    }
  }
}

/** One process's connection to the store. */
export class StoreWay implements StoreSteps {
  /** The activations that wait for the result of a commit. */
  readonly committing = new Set<string>()
  #cut: 'refused' | 'silent' | undefined
  /** Requests that were sent while the connection was silent: some of them arrive when it works again. */
  #held: (() => void)[] = []

  constructor(private readonly vault: Vault, private readonly clock: HostClock) {}

  cut(how: 'refused' | 'silent' | undefined): void {
    this.#cut = how
    if (how === undefined) for (const send of this.#held.splice(0)) send()
  }

  claim(actor: string, claim: Claim): Promise<Claimed> {
    return this.#ask(() => this.vault.claim(actor, claim))
  }

  async commit(actor: string, fence: Fence, commit: Commit): Promise<'ok' | 'fenced'> {
    const { activation } = fence
    this.committing.add(activation)
    try {
      return await this.#ask(() => this.vault.commit(actor, fence, commit))
    } finally {
      this.committing.delete(activation)
    }
  }

  release(actor: string, fence: Fence): Promise<void> {
    return this.#ask(() => this.vault.release(actor, fence))
  }

  look(actor: string): ReturnType<Store['look']> {
    return this.#ask(() => this.vault.look(actor))
  }

  due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    return this.#ask(() => this.vault.due(limit, after))
  }

  #ask<T>(run: () => T): Promise<T> {
    const { vault, clock } = this
    return new Promise((resolve, reject) => {
      const late = clock.setTimeout(() => reject(away()), COMMAND_MS)
      const answer = (settle: () => void): void => {
        if (this.#cut !== 'silent') clock.arrive(() => { late.cancel(); settle() }, vault.answerMs())
      }
      const arrive = (): void => {
        if (vault.failing) return answer(() => reject(away()))
        const value = run()
        if (!vault.lossy || vault.chance.odds(0.5)) return answer(() => resolve(value))
        if (vault.chance.odds(0.7)) answer(() => reject(away()))
      }
      // a sent request is delivered even if its sender fails
      const send = (): void => void vault.clock.setTimeout(arrive, vault.requestMs())
      if (this.#cut === 'refused') answer(() => reject(away()))
      else if (this.#cut === undefined) send()
      else if (vault.chance.odds(0.5)) this.#held.push(send)
    })
  }
}
