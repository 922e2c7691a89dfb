/**
 * Claims and committed state in the table `actors`, by the rules of `registries/shared/ownership.ts`: each step is one
 * statement with all of its conditions. If it changed no row, the row says why. A claim raises the fence and then reads, so
 * that no commit of the previous owner can come after what was read.
 */
import type { Claim, Claimed, Commit, Fence, Store, Wake } from '../../src/types.js'
import type { StoreSteps } from '../shared/storing.js'
import { Commits, type Committing } from './commits.js'
import type { Database, Session, Write } from './database.js'
import { Conflict } from './failure.js'
import { lossesOf } from './losses.js'
import { bytes, number, optional, text, type Row } from './values.js'

export class SqlStore implements StoreSteps {
  readonly #commits: Commits
  /** MySQL does not say which rows a statement has changed, so that each commit needs its own. */
  #apart = false

  constructor(private readonly database: Database, private readonly address: string, private readonly namespace: string) {
    this.#commits = new Commits({
      together: (all) => database.run((session) => this.#together(session, all)),
      alone: (one) => database.run((session) => this.#alone(session, one)),
    })
  }

  claim(actor: string, claim: Claim): Promise<Claimed> {
    return this.database.run(async (session) => {
      const raise = session.dialect.returning ? this.#raise : this.#raiseTwice
      const row = await raise.call(this, session, actor, claim) ?? await this.#row(session, actor)
      if (!row?.['activation']) throw new Conflict() // deleted or released in between
      const [epoch, stage, activation] = [number(row['epoch']), text(row['stage']), text(row['activation'])]
      return activation === claim.activation ? { epoch, ...committed(row) } : { owner: { epoch, stage, activation } }
    })
  }

  commit(actor: string, { epoch, activation }: Fence, { id, version, data, wake }: Commit): Promise<'ok' | 'fenced'> {
    const one = { actor, epoch, activation, id, version, data, wake: wake === undefined ? undefined : Math.ceil(wake) }
    return this.#apart ? this.database.run((session) => this.#alone(session, one)) : this.#commits.commit(one)
  }

  async release(actor: string, fence: Fence): Promise<void> {
    await this.database.run((session) => session.changed(session.sql`
      update ${session.tables.actors} set stage = null, activation = null where ${this.#owned(session, { actor, ...fence })}`))
  }

  look(actor: string): ReturnType<Store['look']> {
    return this.database.run(async (session) => {
      const row = await this.#row(session, actor)
      if (!row) return undefined
      const epoch = number(row['epoch'])
      const owner = row['activation'] ? { epoch, stage: text(row['stage']), activation: text(row['activation']) } : undefined
      return { epoch, owner, ...committed(row) }
    })
  }

  due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    return this.database.run(async ({ sql, rows, now, tables: { actors } }) => {
      const behind = after ? sql` and wake >= ${after.at} and (wake > ${after.at} or actor > ${after.actor})` : sql``
      const found = await rows(sql`
        select actor, wake from ${actors} where namespace = ${this.namespace} and wake <= ${now}${behind}
        order by wake, actor limit ${sql.raw(String(limit))}`)
      return found.map((row) => ({ actor: text(row['actor']), at: number(row['wake']) }))
    })
  }

  async warning(): Promise<string | undefined> {
    const causes = await this.database.run(lossesOf)
    if (causes.length === 0) return undefined
    return `${this.address} may lose the last commits when its machine fails, because ${causes.join(' and ')}`
  }

  async #row({ sql, rows, now, tables: { actors } }: Session, actor: string): Promise<Row | undefined> {
    const [row] = await rows(sql`
      select epoch, stage, activation, version, data, ${now} as server_ms
      from ${actors} where namespace = ${this.namespace} and actor = ${actor}`)
    return row
  }

  /** Claims, or takes over, in one statement. @returns the row if it is the claimer's now */
  async #raise({ sql, rows, now, dialect, tables: { actors } }: Session, actor: string, claim: Claim): Promise<Row | undefined> {
    const { stage, activation, over = '', floor = 0 } = claim
    const greatest = sql.raw(dialect.greatest)
    const [row] = await rows(sql`
      insert into ${actors} as a (namespace, actor, epoch, stage, activation, version, commit_id)
      values (${this.namespace}, ${actor}, ${greatest}(${now}, ${floor + 1}), ${stage}, ${activation}, 0, '')
      on conflict (namespace, actor) do update
        set epoch = ${greatest}(a.epoch + 1, ${floor + 1}), stage = excluded.stage, activation = excluded.activation
        where a.activation is null or (a.activation = ${over} and a.activation <> excluded.activation)
      returning epoch, stage, activation, version, data, ${now} as server_ms`)
    return row
  }

  /** The same without `returning`: takes over what is there, else inserts; the caller reads the row. */
  async #raiseTwice({ sql, changed, now, tables: { actors } }: Session, actor: string, claim: Claim): Promise<undefined> {
    const { stage, activation, over = '', floor = 0 } = claim
    const taken = await changed(sql`
      update ${actors} set epoch = greatest(epoch + 1, ${floor + 1}), stage = ${stage}, activation = ${activation}
      where namespace = ${this.namespace} and actor = ${actor}
      and (activation is null or (activation = ${over} and activation <> ${activation}))`)
    if (taken > 0) return
    await changed(sql`
      insert ignore into ${actors} (namespace, actor, epoch, stage, activation, version, commit_id)
      values (${this.namespace}, ${actor}, greatest(${now}, ${floor + 1}), ${stage}, ${activation}, 0, '')`)
  }

  async #alone(session: Session, one: Committing): Promise<'ok' | 'fenced'> {
    const { sql, changed, rows, tables: { actors } } = session
    const { id, version, data } = one
    if (session.dialect.kind === 'mysql' && data.length > LARGE_BYTES) await checkPacket(session, data.length)
    if (await changed(this.#update(session, one)) === 1) return 'ok'
    // perhaps the answer to an earlier try was lost
    const [row] = await rows(sql`select version, commit_id from ${actors} where ${this.#owned(session, one)}`)
    if (!row) return 'fenced'
    if (number(row['version']) === version - 1) throw new Conflict()
    return text(row['commit_id']) === id ? 'ok' : 'fenced'
  }

  #together(session: Session, all: readonly Committing[]): Promise<Set<Committing>> {
    const { kind } = session.dialect
    this.#apart = kind === 'mysql'
    if (kind === 'postgres') return this.#inOneStatement(session, all)
    return kind === 'sqlite' ? this.#inOneTransaction(session, all) : Promise.resolve(new Set())
  }

  async #inOneStatement({ sql, rows, tables: { actors } }: Session, all: readonly Committing[]): Promise<Set<Committing>> {
    const values = all.map(({ actor, epoch, activation, id, version, data, wake }) => sql`(
      cast(${actor} as text), cast(${epoch} as bigint), cast(${activation} as text), cast(${version} as bigint),
      cast(${id} as text), cast(${data} as bytea), cast(${wake ?? null} as bigint))`)
    const found = await rows(sql`
      update ${actors} as a set version = v.version, commit_id = v.id, data = v.data, wake = v.wake
      from (values ${sql.join(values)}) as v (actor, epoch, activation, version, id, data, wake)
      where a.namespace = ${this.namespace} and a.actor = v.actor and a.epoch = v.epoch and a.activation = v.activation
      and a.version = v.version - 1
      returning a.actor, a.commit_id`)
    const made = new Map(found.map((row) => [text(row['actor']), text(row['commit_id'])]))
    return new Set(all.filter(({ actor, id }) => made.get(actor) === id))
  }

  /** The disk is awaited once for all of them. */
  #inOneTransaction(session: Session, all: readonly Committing[]): Promise<Set<Committing>> {
    return session.transaction(async () => {
      const made = new Set<Committing>()
      for (const one of all) if (await session.changed(this.#update(session, one)) === 1) made.add(one)
      return made
    })
  }

  #update(session: Session, one: Committing): Write['query'] {
    const { id, version, data, wake } = one
    return session.sql`
      update ${session.tables.actors} set version = ${version}, commit_id = ${id}, data = ${data}, wake = ${wake ?? null}
      where ${this.#owned(session, one)} and version = ${version - 1}`
  }

  /** The row of an actor, as long as that activation owns it. */
  #owned({ sql }: Session, { actor, epoch, activation }: Fence & { readonly actor: string }): Write['query'] {
    return sql`namespace = ${this.namespace} and actor = ${actor} and epoch = ${epoch} and activation = ${activation}`
  }
}

/** A larger state is compared with the limit of a MySQL first: it closes the connection of a packet that is too large, and says nothing. */
const LARGE_BYTES = 256 * 1024

async function checkPacket({ sql, rows }: Session, size: number): Promise<void> {
  const [row] = await rows(sql`select @@max_allowed_packet as most`)
  const [most, needed] = [number(row?.['most']), 2 * size + LARGE_BYTES] // bytes are sent as hexadecimal digits
  if (needed > most) throw new Error(`a state of ${size} bytes needs a packet of ${needed} bytes, and max_allowed_packet is ${most}`)
}

/** At version 0 a state is the rest of an actor that was edited by hand. */
const committed = (row: Row) => {
  const version = number(row['version'])
  return { version, data: version === 0 ? undefined : optional(row['data'], bytes), now: number(row['server_ms']) }
}
