/**
 * Steps with the lock on the row of their namespace, in one transaction: so the order of commits is the order of revisions.
 * The rules are in `registries/shared/ledger.ts`. They run on the rows that the steps need, and the changes are written.
 */
import { newId } from '../../src/random.js'
import type { Random } from '../../src/types.js'
import { LAPSED_MS, LOG_MAX, Ledger, SWEEP_MAX, SWEEP_MS, parseState } from '../shared/ledger.js'
import type { Listed } from '../shared/ledger.js'
import type { Session, Write } from './database.js'
import { Rows, type Change } from './rows.js'
import { number, optional, text } from './values.js'

/** How many forgotten ids one transaction deletes. */
const FORGET_MAX = 1000
/** The log is cut when it is this much longer than `LOG_MAX`. */
const LOG_SLACK = 50

export interface BatchOptions {
  readonly namespace: string
  readonly random: Random
  /** The channel of Postgres for notifications of changes. */
  readonly channel: string
}

/** A part of a statement. */
type Part = Write['query']

/** The subject of a step: its entry, or only an id. */
export type Subject = Pick<Listed, 'id'> & Partial<Pick<Listed, 'name' | 'text'>>

export interface Step {
  readonly subject: Subject
  run(ledger: Ledger): unknown
}

/** Runs the steps in their order. @returns the answer of each */
export function batch(session: Session, options: BatchOptions, steps: readonly Step[]): Promise<unknown[]> {
  return session.transaction(async () => {
    const { namespace, random } = options
    const loaded = new Rows()
    const subjects = steps.map(({ subject }) => subject)
    await lock(session, namespace, loaded)
    const now = await load(session, namespace, loaded, subjects)
    const answers = steps.map(({ run }) => run(new Ledger(loaded, namespace, now, newId(random))))
    await write(session, options, loaded, subjects)
    return answers
  })
}

/** Locks the row of the namespace, which is made if it is missing. */
async function lock({ sql, rows, changed, dialect, tables: { spaces } }: Session, namespace: string, loaded: Rows): Promise<void> {
  const locked = () => rows(sql`select generation, born, revision, mark from ${spaces} where namespace = ${namespace} ${sql.raw(dialect.lockRow)}`)
  let [row] = await locked()
  if (!row) {
    await changed(sql`
      ${sql.raw(dialect.insertNew)} ${spaces} (namespace, generation, born, revision, mark)
      values (${namespace}, '', 0, 0, '') ${sql.raw(dialect.unlessThere)}`);
    [row] = await locked()
  }
  const [generation, mark] = [text(row['generation']), text(row['mark'])]
  if (generation === '') return // the row was made just now, by this step or by another step that was rolled back
  loaded.load('state', '', JSON.stringify({ generation, born: number(row['born']), revision: number(row['revision']), mark }))
}

/** Loads what the rules can need. @returns the database's time, after the lock was had */
async function load({ sql, rows, now, dialect, tables }: Session, namespace: string, loaded: Rows, subjects: readonly Subject[]): Promise<number> {
  const ids = sql.join(subjects.map(({ id }) => id))
  const names = sql.join(subjects.map(({ name = '' }) => name))
  const some = sql.raw(String(subjects.length + 1)) // as many as these steps can change, and one more
  const ended = sql`${now} - ${sql.raw(String(SWEEP_MS))}`
  const entries = (where: Part) => sql`
    select 'entry' as kind, id, lease_end as at_ms, missed_at, missed_end, record
    from ${tables.entries} where namespace = ${namespace} and ${where}`
  const leases = (where: Part) => sql`
    select 'lease', id, lease_end, null, null, null from ${tables.entries} where namespace = ${namespace} and ${where}`
  const lapsed = (where: Part) => sql`
    select 'lapsed', id, lapsed_at, null, null, null from ${tables.lapsed} where namespace = ${namespace} and ${where}`
  const part = sql.raw(dialect.beforePart)
  const found = await rows(sql`
    ${entries(sql`id in (${ids})`)}
    union all ${entries(sql`name in (${names})`)}
    union all ${part} (${entries(sql`lease_end <= ${ended} order by lease_end limit ${sql.raw(String(SWEEP_MAX + 1))}`)})
    union all ${part} (${leases(sql`lease_end > ${ended} order by lease_end limit ${some}`)})
    union all ${part} (${leases(sql`lease_end > ${ended} order by lease_end desc limit ${some}`)})
    union all ${lapsed(sql`id in (${ids})`)}
    union all ${part} (${lapsed(sql`lapsed_at <= ${now} - ${sql.raw(String(LAPSED_MS))} limit ${sql.raw(String(FORGET_MAX))}`)})
    union all select 'now', '', ${now}, null, null, null`)
  let at = 0
  for (const row of found) {
    const [kind, one, ms] = [text(row['kind']), text(row['id']), String(number(row['at_ms']))]
    if (kind === 'now') at = Number(ms)
    else if (kind === 'lapsed') loaded.load('lapsed', one, ms)
    else loaded.load('lease', one, ms)
    if (kind !== 'entry') continue
    loaded.load('peer', one, text(row['record']))
    const missed = optional(row['missed_at'], number)
    if (missed !== undefined) loaded.load('missed', one, `${missed} ${number(row['missed_end'])}`)
  }
  return at
}

/** Writes what the rules have changed. @throws Conflict if a heartbeat has renewed a lease meanwhile */
async function write(session: Session, { namespace, channel }: BatchOptions, loaded: Rows, subjects: readonly Subject[]): Promise<void> {
  const writes = [...leasesOf(session, namespace, loaded, subjects), ...lapsedOf(session, namespace, loaded)]
  if (loaded.changed('state').length === 0) return session.write(writes)
  await session.write([...writes, ...historyOf(session, namespace, loaded)], { channel, payload: namespace })
}

function leasesOf({ sql, dialect, tables: { entries } }: Session, namespace: string, loaded: Rows, subjects: readonly Subject[]): Write[] {
  const here = sql`namespace = ${namespace}`
  const leases = loaded.changed('lease')
  const removed = leases.filter(({ after }) => after === undefined)
  // a lease that was renewed meanwhile, by somebody else or by one of these steps, is not noted as missed
  const renewed = new Set(leases.map(({ id }) => id))
  const missed = loaded.changed('missed').filter(({ id, after }) => after !== undefined && !renewed.has(id))
  const among = (of: readonly { id: string }[]) =>
    sql`${here} and (id, lease_end) in (${sql.raw(dialect.valuesOf)}${sql.join(of.map((one) => sql`(${one.id}, ${Number(loaded.before('lease', one.id))})`))})`
  const writes: Write[] = leases.filter(({ after }) => after !== undefined).map(({ id, before, after }) => {
    const [end, record] = [Number(after), loaded.get('peer', id) ?? '']
    const { name = '' } = subjects.findLast((one) => one.id === id && one.name !== undefined) ?? {}
    const query = before === undefined
      ? sql`insert into ${entries} (namespace, id, name, lease_end, record) values (${namespace}, ${id}, ${name}, ${end}, ${record})`
      : sql`update ${entries} set lease_end = ${end}, name = ${name}, record = ${record}
          where ${here} and id = ${id} and lease_end = ${Number(before)}`
    return { query, expect: 1 }
  })
  if (removed.length > 0) writes.push({ query: sql`delete from ${entries} where ${among(removed)}`, expect: removed.length })
  if (missed.length > 0) {
    const at = Number(missed[0].after?.split(' ')[0])
    writes.push({ query: sql`update ${entries} set missed_at = ${at}, missed_end = lease_end where ${among(missed)}` })
  }
  return writes
}

function lapsedOf({ sql, dialect, tables: { lapsed } }: Session, namespace: string, loaded: Rows): Write[] {
  const [fresh, old]: [Change[], Change[]] = [[], []]
  for (const one of loaded.changed('lapsed')) (one.after === undefined ? old : fresh).push(one)
  const writes: Write[] = []
  if (old.length > 0) {
    const ids = sql.join(old.map(({ id }) => id))
    writes.push({ query: sql`delete from ${lapsed} where namespace = ${namespace} and id in (${ids})` })
  }
  if (fresh.length > 0) {
    const values = sql.join(fresh.map(({ id, after }) => sql`(${namespace}, ${id}, ${Number(after)})`))
    const [insert, unless] = [sql.raw(dialect.insertNew), sql.raw(dialect.unlessThere)]
    writes.push({ query: sql`${insert} ${lapsed} (namespace, id, lapsed_at) values ${values} ${unless}` })
  }
  return writes
}

function historyOf({ sql, tables: { spaces, changes } }: Session, namespace: string, loaded: Rows): Write[] {
  const { generation, born, revision, mark } = parseState(loaded.get('state', ''))!
  const values = sql.join(loaded.logged.map(({ id, state }) => sql`(${namespace}, ${state.revision}, ${state.mark}, ${id})`))
  const writes: Write[] = [
    { query: sql`update ${spaces} set generation = ${generation}, born = ${born}, revision = ${revision}, mark = ${mark}
        where namespace = ${namespace}` },
    { query: sql`insert into ${changes} (namespace, revision, mark, id) values ${values}` },
  ]
  if (revision % LOG_SLACK < loaded.logged.length) {
    writes.push({ query: sql`delete from ${changes} where namespace = ${namespace} and revision <= ${revision - LOG_MAX}` })
  }
  return writes
}
