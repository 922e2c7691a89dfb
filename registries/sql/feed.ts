import { jitter } from '../../src/random.js'
import type { Clock, Random, Timer } from '../../src/types.js'
import { LOG_MAX, same } from '../shared/ledger.js'
import type { Seen } from '../shared/ledger.js'
import { Views } from '../shared/views.js'
import type { Witness } from '../shared/views.js'
import type { Database } from './database.js'
import type { Notices } from './notices.js'
import { number, optional, seenOf, text, type Row } from './values.js'

/** The interval grows by this factor at each poll without a change; ± 10 %. */
const POLL_FACTOR = 1.5

export interface FeedOptions {
  readonly namespace: string
  readonly address: string
  readonly database: Database
  readonly witness: Witness
  readonly notices: Notices | undefined
  readonly clock: Clock
  readonly random: Random
  /** Begins a history, if the tables are empty. */
  begin(): Promise<void>
}

/**
 * Keeps the records of one namespace while anybody watches it. The log says what changed; the whole listing is read in the
 * beginning, and when the log does not continue the history that was read.
 */
export class Feed {
  readonly views: Views
  /** The point in history that the records have. */
  #seen: Seen | undefined
  #hinted = false
  #timer: Timer | undefined
  /** Ends the present wait, or the present pause. */
  #woken: (() => void) | undefined
  #paused: (() => void) | undefined
  readonly #remove: (() => void) | undefined

  constructor(private readonly options: FeedOptions) {
    this.views = new Views(options.namespace, options.address, () => this.#read())
    this.#remove = options.notices?.add(options.namespace, () => this.#wake())
    void this.#run()
  }

  stop(): void {
    this.views.end()
    this.#over()
  }

  /** A step has read this point in history. */
  hint(state: Seen): void {
    if (!same(state, this.#seen)) this.#wake()
    else if (this.#woken && !this.#hinted) this.#arm(this.options.database.polls.beatMs)
  }

  #wake(): void {
    this.#hinted = true
    this.#woken?.()
  }

  #over(): void {
    this.#timer?.cancel()
    this.#remove?.()
    this.#woken?.()
    this.#paused?.()
  }

  async #run(): Promise<void> {
    const { clock, random, notices, database } = this.options
    try {
      await this.views.look()
      const { firstMs, mostMs } = database.polls
      let pollMs = firstMs
      while (!this.views.ended) {
        await this.#wait(jitter(random, notices?.live ? mostMs : pollMs, 0.1))
        if (this.views.ended) return
        this.#hinted = false
        const [readAt, before] = [clock.now(), this.#seen]
        await this.views.look()
        const changed = !same(before, this.#seen)
        pollMs = changed ? firstMs : Math.min(pollMs * POLL_FACTOR, mostMs)
        if (changed) await this.#pause(readAt + this.views.pauseMs - clock.now())
      }
    } catch (error) {
      this.views.end(error)
    } finally {
      this.#over()
    }
  }

  /** Waits for that long, or until something may have changed. */
  #wait(ms: number): Promise<void> {
    if (this.#hinted) return Promise.resolve()
    return new Promise((resolve) => {
      this.#woken = () => {
        this.#timer?.cancel()
        this.#woken = undefined
        resolve()
      }
      this.#arm(ms)
    })
  }

  #arm(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.options.clock.setTimeout(() => this.#woken?.(), ms)
  }

  #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.views.ended) return Promise.resolve()
    return new Promise((resolve) => {
      this.#paused = resolve
      this.#timer = this.options.clock.setTimeout(resolve, ms)
    })
  }

  async #read(): Promise<void> {
    if (this.#seen && await this.#changes(this.#seen)) return
    if (!await this.#whole()) {
      await this.options.begin()
      await this.#whole()
    }
  }

  /** Reads what has changed since. @returns false if the log does not tell all of it */
  async #changes(seen: Seen): Promise<boolean> {
    const { database, namespace, witness } = this.options
    const found = await database.run(({ sql, rows, tables: { spaces, changes, entries, lapsed } }) => rows(sql`
      select s.generation, s.revision as last_revision, c.revision, c.mark, c.id, e.record, l.lapsed_at
      from ${spaces} s join ${changes} c on c.namespace = s.namespace and c.revision >= ${seen.revision}
      left join ${entries} e on e.namespace = c.namespace and e.id = c.id
      left join ${lapsed} l on l.namespace = c.namespace and l.id = c.id
      where s.namespace = ${namespace} order by c.revision limit ${sql.raw(String(LOG_MAX))}`))
    if (this.views.ended) return true
    if (found.length === 0 || !same(seenOf(found[0]), seen)) return false
    const last = found.at(-1)!
    const now = seenOf(last)
    // every revision of the log is there, up to the present one
    if (now.revision !== number(last['last_revision']) || now.revision - seen.revision !== found.length - 1) return false
    if (found.length === 1) return true
    const changed = new Map<string, string | undefined>()
    const gone = new Set<string>()
    for (const row of found.slice(1)) {
      const id = text(row['id'])
      if (id === '') return false
      changed.set(id, optional(row['record'], text))
      if (optional(row['lapsed_at'], number) !== undefined) gone.add(id)
    }
    witness.see(now)
    this.#seen = now
    this.views.change(changed, gone)
    return true
  }

  /** Reads the whole listing, in one statement, so that it is of one moment. @returns false if there is none */
  async #whole(): Promise<boolean> {
    const { database, namespace, witness } = this.options
    const { seen } = witness
    const found = await database.run(({ sql, rows, tables: { spaces, changes, entries, lapsed } }) => rows(sql`
      select 'space' as kind, generation as id, mark as words, revision as count_of
        from ${spaces} where namespace = ${namespace} and generation <> ''
      union all select 'entry', id, record, null from ${entries} where namespace = ${namespace}
      union all select 'lapsed', id, null, null from ${lapsed} where namespace = ${namespace}
      union all select 'past', id, mark, null from ${changes} where namespace = ${namespace} and revision = ${seen?.revision ?? 0}`))
    if (this.views.ended) return true
    const of = (kind: string): Row[] => found.filter((row) => text(row['kind']) === kind)
    const [space] = of('space')
    if (!space) return false
    const now = { generation: text(space['id']), mark: text(space['words']), revision: number(space['count_of']) }
    const [past] = of('past')
    const continuous = seen === undefined || same(now, seen) || (past !== undefined && text(past['words']) === seen.mark)
    const records = of('entry').map((row): [string, string] => [text(row['id']), text(row['words'])])
    this.#seen = now
    this.views.replace(witness.see(now, continuous), records, of('lapsed').map((row) => text(row['id'])))
    return true
  }
}
