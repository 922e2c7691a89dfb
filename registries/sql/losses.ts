import type { Session } from './database.js'
import { number, text } from './values.js'

/** The settings of a server by which it may lose commits that it has acknowledged, as reasons for a warning. */
export async function lossesOf({ sql, rows, dialect }: Session): Promise<string[]> {
  const found: [is: boolean, setting: string, value: unknown, better: string][] = []
  if (dialect.kind === 'postgres') {
    const [row] = await rows(sql`select current_setting('synchronous_commit') as sync, current_setting('fsync') as fsync`)
    const [sync, fsync] = [text(row?.['sync']), text(row?.['fsync'])]
    found.push([sync === 'off', 'synchronous_commit', sync, 'on'], [fsync === 'off', 'fsync', fsync, 'on'])
  } else if (dialect.kind === 'sqlite') {
    const [row] = await rows(sql`pragma synchronous`)
    found.push([number(row?.['synchronous']) < 2, 'synchronous', row?.['synchronous'], 'full'])
  } else {
    const [row] = await rows(sql`
      select @@global.innodb_flush_log_at_trx_commit as flushed, @@global.sync_binlog as synced, @@global.log_bin as logged`)
    const [flushed, synced, logged] = [number(row?.['flushed']), number(row?.['synced']), number(row?.['logged'])]
    found.push([flushed !== 1, 'innodb_flush_log_at_trx_commit', flushed, '1'], [logged !== 0 && synced !== 1, 'sync_binlog', synced, '1'])
  }
  return found.filter(([is]) => is).map(([, name, value, better]) => `${name} is ${String(value)}: set ${name} = ${better} to keep them`)
}
