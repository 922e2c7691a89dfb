/**
 * The steps of a registry on the tables of a database. A heartbeat that changes nothing visible takes no lock and no
 * revision; its condition is that the lease still ends as it was read. All other steps take the lock on the namespace, one
 * transaction after another, and steps of one process that come meanwhile share the next transaction (`batch.ts`).
 */
import { outside } from '../../src/outside.js'
import { SWEEP_MS } from '../shared/ledger.js'
import type { Ledger, Listed, Published, Renewed, Reply, Seen } from '../shared/ledger.js'
import type { Steps } from '../shared/listing.js'
import { batch, type BatchOptions, type Step, type Subject } from './batch.js'
import type { Database, Session } from './database.js'
import { number, optional, seenOf } from './values.js'

/** How many steps share a transaction. */
const BATCH_MAX = 50

export interface SqlStepsOptions extends BatchOptions {
  readonly database: Database
  /** Called with the present point in history. */
  onstate(state: Seen): void
}

interface Waiting extends Step {
  resolve(answer: unknown): void
  reject(error: unknown): void
}

export class SqlSteps implements Steps {
  readonly #waiting: Waiting[] = []
  #busy = false

  constructor(private readonly options: SqlStepsOptions) {}

  publish(entry: Listed): Promise<Published> {
    const whole = rounded(entry)
    return this.#answered(this.#slow(whole, (ledger) => ledger.publish(whole)))
  }

  async renew(entry: Listed, seen: Seen): Promise<Renewed> {
    const whole = rounded(entry)
    const quick = await this.options.database.run((session) => this.#beat(session, whole, seen))
    return this.#answered(quick ?? this.#slow(whole, (ledger) => ledger.renew(whole, seen)))
  }

  async sweep(except: string): Promise<Reply> {
    const quick = await this.options.database.run((session) => this.#nothing(session, except))
    return this.#answered(quick ?? this.#slow({ id: except }, (ledger) => ledger.sweep(except)))
  }

  remove(id: string): Promise<Reply> {
    return this.#answered(this.#slow({ id }, (ledger) => ledger.remove(id)))
  }

  /** Begins a history, if there is none. */
  begin(): Promise<void> {
    return this.#slow({ id: '' }, () => {})
  }

  async #answered<T extends Reply | Published>(answering: T | Promise<T>): Promise<T> {
    const answer = await answering
    if ('revision' in answer) this.options.onstate(answer)
    return answer
  }

  /** Renews a lease without the lock. @returns undefined if anything but the end of the lease may have to change */
  async #beat(session: Session, { id, ttlMs, text: record }: Listed, seen: Seen): Promise<Renewed | undefined> {
    const { sql, rows, changed, now, tables: { spaces, entries } } = session
    const { namespace } = this.options
    const [row] = await rows(sql`
      select s.generation, s.revision, s.mark, ${now} as server_ms, e.lease_end,
        case when e.record = ${record} then 1 else 0 end as same_record,
        (select o.lease_end from ${entries} o where o.namespace = ${namespace} and o.id <> ${id} order by o.lease_end limit 1) as other_end
      from ${spaces} s join ${entries} e on e.namespace = s.namespace and e.id = ${id} where s.namespace = ${namespace}`)
    if (!row || number(row['same_record']) !== 1) return undefined
    const [present, end, at] = [seenOf(row), number(row['lease_end']), number(row['server_ms'])]
    if (present.generation !== seen.generation || present.revision < seen.revision) return undefined
    if (present.revision === seen.revision && present.mark !== seen.mark) return undefined
    const renewed = await changed(sql`
      update ${entries} set lease_end = ${at + ttlMs} where namespace = ${namespace} and id = ${id} and lease_end = ${end}`)
    if (renewed !== 1) return undefined
    const earliest = Math.min(optional(row['other_end'], number) ?? Infinity, at + ttlMs)
    return { ...present, now: at, earliest, answer: end <= at ? 'late' : 'ok' }
  }

  /** The answer of a sweep that has nothing to do, which most have when many stages sweep: it needs no lock. */
  async #nothing({ sql, rows, now, tables: { spaces, entries } }: Session, except: string): Promise<Reply | undefined> {
    const { namespace } = this.options
    const [row] = await rows(sql`
      select s.generation, s.revision, s.mark, ${now} as server_ms,
        (select e.lease_end from ${entries} e where e.namespace = ${namespace} order by e.lease_end limit 1) as first_end,
        (select o.lease_end from ${entries} o where o.namespace = ${namespace} and o.id <> ${except}
          order by o.lease_end limit 1) as other_end
      from ${spaces} s where s.namespace = ${namespace} and s.generation <> ''`)
    if (!row) return undefined
    const [at, end = Infinity] = [number(row['server_ms']), optional(row['other_end'], number)]
    if (end + SWEEP_MS <= at) return undefined
    return { ...seenOf(row), now: at, earliest: optional(row['first_end'], number) ?? Infinity }
  }

  /** Runs a step with the lock, together with the other steps of this process that wait for it. */
  #slow<T>(subject: Subject, run: (ledger: Ledger) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ subject, run, resolve: resolve, reject })
      if (!this.#busy) outside(() => void this.#work())
    })
  }

  async #work(): Promise<void> {
    this.#busy = true
    while (this.#waiting.length > 0) {
      const steps = this.#waiting.splice(0, BATCH_MAX)
      try {
        const answers = await this.options.database.run((session) => batch(session, this.options, steps))
        for (const [i, { resolve }] of steps.entries()) resolve(answers[i])
      } catch (error) {
        for (const { reject } of [...steps, ...this.#waiting.splice(0)]) reject(error) // the others would wait for the same failure
      }
    }
    this.#busy = false
  }
}

const rounded = (entry: Listed): Listed => ({ ...entry, ttlMs: Math.ceil(entry.ttlMs) })
