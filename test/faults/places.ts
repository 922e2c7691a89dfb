/** The kinds of registries as real servers, and how each of them comes to harm. */
import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import mysql, { type Connection as Promised } from 'mysql2/promise'
import { keysOf } from '../../registries/redis/scripts.js'
import { TABLES } from '../../registries/sql/schema.js'
import { MariadbServer, PostgresServer, type DatabaseServer } from '../helpers/database-servers.js'
import { RedisCluster } from '../helpers/redis-cluster.js'
import { trio } from '../helpers/redis-sentinel.js'
import { RedisServer } from '../helpers/redis-server.js'
import { SqlitePlace } from '../helpers/sqlite.js'
import { until } from '../helpers/until.js'
import type { Assertions } from '../suites/test.js'
import { Road } from '../helpers/road.js'
import { Disk } from './disk.js'
import { OwnClock } from './own-clock.js'

export type T = Pick<Assertions, 'teardown'>

/** The rows of the table. */
export const FAULTS = [
  'restarted with its data', 'restarted empty', 'stopped for a minute', 'behind a silent network for a minute', 'slow: pauses of 4 s',
  'primary killed, failover', 'full', 'read-only', 'connection limit reached', 'password changed', 'its clock an hour ahead', 'its clock an hour back',
] as const
export type Fault = (typeof FAULTS)[number]

/** Begins a fault. @returns what ends it */
export type Harm = () => Promise<() => unknown>

export interface Place {
  readonly url: string
  /** A URL with a wrong password, if there are passwords. */
  readonly wrong?: string
  readonly harms: Partial<Record<Fault, Harm>>
}

/** How long faults last. */
export interface Holds {
  readonly minuteMs: number
  readonly shortMs: number
}

export interface Making extends Holds {
  readonly t: T
  readonly fault: Fault
}

export const places: Readonly<Record<string, (making: Making) => Promise<Place>>> = {
  redis: redisPlace, sentinel: sentinelPlace, cluster: clusterPlace, postgres: postgresPlace, mariadb: mariadbPlace, sqlite: sqlitePlace, local: localPlace,
}

/** How long a server is down for a restart, how long it pauses, and works in between: the faults themselves, and no waits. */
const [DOWN_MS, PAUSE_MS, BETWEEN_MS] = [1000, 4000, 1000]

/** Pauses that a server makes, until it is over. */
function pausing({ minuteMs }: Holds, pause: () => unknown, resume: () => unknown): Harm {
  return async () => {
    for (const end = performance.now() + minuteMs; performance.now() < end;) {
      await pause()
      await sleep(PAUSE_MS)
      resume()
      await sleep(BETWEEN_MS)
    }
    return () => {}
  }
}

const during = (ms: number, begin: () => unknown, end: () => unknown): Harm => async () => {
  await begin()
  await sleep(ms)
  return end
}

const needsDisk = (fault: Fault): boolean => fault === 'full'
const needsClock = (fault: Fault): boolean => fault.startsWith('its clock')

/** Starts a server where the fault can be done to it. */
async function started<S>({ t, fault }: Making, megabytes: number, start: () => Promise<S>): Promise<{ server: S, disk: Disk | undefined, clock: OwnClock | undefined }> {
  const disk = needsDisk(fault) ? Disk.make(t, megabytes) : undefined
  const clock = needsClock(fault) ? new OwnClock(t) : undefined
  const server = await (disk ? disk.hosting(start) : clock ? clock.running(start) : start())
  return { server, disk, clock }
}

function clockHarms(making: Making, clock: OwnClock | undefined): Pick<Place['harms'], 'its clock an hour ahead' | 'its clock an hour back'> {
  if (!clock) return {}
  const move = (seconds: number) => during(making.shortMs, () => clock.set(seconds), () => {})
  return { 'its clock an hour ahead': move(3600), 'its clock an hour back': move(-3600) }
}

/** A server as it is stopped, and reached over a road. */
interface Stoppable {
  pause(): unknown
  resume(): unknown
}

/** What happens to every server that is reached over a road. */
const serverHarms = (making: Making, server: Stoppable, road: Road): Place['harms'] => ({
  'stopped for a minute': during(making.minuteMs, () => server.pause(), () => server.resume()),
  'behind a silent network for a minute': during(making.minuteMs, () => { road.state = 'silent' }, () => { road.state = 'open' }),
  'slow: pauses of 4 s': pausing(making, () => server.pause(), () => server.resume()),
})

/** How a database server is restarted. @param empty  deletes the tables */
const restarts = (server: DatabaseServer, road: Road, empty: () => Promise<unknown>): Place['harms'] => ({
  'restarted with its data': during(DOWN_MS, () => server.stop(), () => server.up()),
  'restarted empty': during(DOWN_MS, () => server.stop(), async () => {
    road.state = 'closed'
    await server.up()
    await empty()
    road.state = 'open'
  }),
})

async function redisPlace(making: Making): Promise<Place> {
  const { t, shortMs } = making
  const { server, clock } = await started({ ...making, fault: needsDisk(making.fault) ? 'read-only' : making.fault }, 0, () => RedisServer.start())
  t.teardown(() => server.close())
  await server.run(['ACL', 'SETUSER', 'stage', 'on', '>right', '~*', '+@all'])
  const road = await Road.start(t, server.port)
  const killAll = ['CLIENT', 'KILL', 'USER', 'stage']
  const restart = (keepData: boolean): Harm => async () => {
    await server.stop()
    await sleep(DOWN_MS)
    return async () => {
      await server.restart({ keepData })
      await server.run(['ACL', 'SETUSER', 'stage', 'on', '>right', '~*', '+@all'])
    }
  }
  return {
    url: `redis://stage:right@127.0.0.1:${road.port}`,
    wrong: `redis://stage:wrong@127.0.0.1:${road.port}`,
    harms: {
      ...serverHarms(making, server, road),
      'restarted with its data': restart(true),
      'restarted empty': restart(false),
      'full': during(shortMs, () => server.run(['CONFIG', 'SET', 'maxmemory', '1']), () => server.run(['CONFIG', 'SET', 'maxmemory', '0'])),
      'read-only': during(shortMs, () => server.run(['REPLICAOF', '127.0.0.1', '1']), () => server.run(['REPLICAOF', 'NO', 'ONE'])),
      'connection limit reached': () => server.admin(async (admin) => { // the one connection that there may be
        await admin.call('CONFIG', 'SET', 'maxclients', '1')
        await admin.call(...killAll as [string, ...string[]])
        await sleep(shortMs)
        await admin.call('CONFIG', 'SET', 'maxclients', '1000')
        return () => {}
      }),
      'password changed': during(shortMs, () => server.run(['ACL', 'SETUSER', 'stage', 'resetpass', '>other'], killAll), () => server.run(['ACL', 'SETUSER', 'stage', 'resetpass', '>right'])),
      ...clockHarms(making, clock),
    },
  }
}

async function sentinelPlace({ t, minuteMs }: Making): Promise<Place> {
  const { url, master, promoted } = await trio(t)
  return {
    url,
    harms: {
      'stopped for a minute': during(minuteMs, () => master.pause(), () => master.resume()),
      'primary killed, failover': async () => {
        await master.kill()
        await until(promoted)
        return () => {}
      },
    },
  }
}

async function clusterPlace({ t, minuteMs }: Making): Promise<Place> {
  const cluster = await RedisCluster.start(1)
  t.teardown(() => cluster.close())
  const master = await cluster.masterOf(keysOf('default')[0]!)
  const replica = cluster.replicas[cluster.masters.indexOf(master)]!
  return {
    url: cluster.url,
    harms: {
      'stopped for a minute': during(minuteMs, () => master.pause(), () => master.resume()),
      'primary killed, failover': async () => {
        await master.kill()
        await until(async () => String(await replica.run(['INFO', 'replication'])).includes('role:master'))
        return () => {}
      },
    },
  }
}

async function postgresPlace(making: Making): Promise<Place> {
  const { t, shortMs } = making
  const { server, disk, clock } = await started(making, 400, () => PostgresServer.start())
  t.teardown(() => server.close())
  await server.run(`create role stage login password 'right'`, 'grant all on schema public to stage')
  const road = await Road.start(t, server.port)
  const killAll = `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'stage'`
  const tables = TABLES.map((name) => `stagemesh_${name}`).join()
  return {
    url: `postgres://stage:right@127.0.0.1:${road.port}/postgres`,
    wrong: `postgres://stage:wrong@127.0.0.1:${road.port}/postgres`,
    harms: {
      ...serverHarms(making, server, road),
      ...restarts(server, road, () => server.run(`drop table ${tables}`)),
      'primary killed, failover': async () => {
        const standby = await server.standby()
        t.teardown(() => standby.close())
        await until(async () => (await server.run(`select 1 from pg_stat_replication where state = 'streaming'`)).length === 1)
        await server.kill()
        road.cut()
        await standby.run('select pg_promote()')
        road.target = standby.port
        return () => {}
      },
      ...disk && { 'full': during(shortMs, () => disk.fill(), async () => {
        disk.empty()
        await server.up().catch(() => {}) // it has ended, perhaps
      }) },
      'read-only': during(shortMs, () => server.run('alter system set default_transaction_read_only = on', 'select pg_reload_conf()', killAll), () => server.run('set default_transaction_read_only = off', 'alter system reset default_transaction_read_only', 'select pg_reload_conf()', killAll)),
      'connection limit reached': during(shortMs, () => server.run('alter role stage connection limit 0', killAll), () => server.run('alter role stage connection limit -1')),
      'password changed': during(shortMs, () => server.run(`alter role stage password 'other'`, killAll), () => server.run(`alter role stage password 'right'`)),
      ...clockHarms(making, clock),
    },
  }
}

async function mariadbPlace(making: Making): Promise<Place> {
  const { t, shortMs } = making
  const { server, disk, clock } = await started(making, 700, () => MariadbServer.start())
  t.teardown(() => server.close())
  await server.run(`create user stage identified by 'right'`, 'grant all on test.* to stage')
  const road = await Road.start(t, server.port)
  let only: Promised | undefined
  const killAll = async (): Promise<void> => {
    const ids = await server.run(`select id from information_schema.processlist where user = 'stage'`)
    await server.run(...ids.map(({ id }) => `kill ${id}`)).catch(() => {}) // one may have ended itself
  }
  return {
    url: `mariadb://stage:right@127.0.0.1:${road.port}/test`,
    wrong: `mariadb://stage:wrong@127.0.0.1:${road.port}/test`,
    harms: {
      ...serverHarms(making, server, road),
      ...restarts(server, road, () => server.run(...TABLES.map((name) => `drop table test.stagemesh_${name}`))),
      ...disk && { 'full': during(shortMs, () => disk.fill(), async () => {
        disk.empty()
        await server.run('select 1').catch(() => server.up())
      }) },
      'read-only': during(shortMs, () => server.run('set global read_only = 1'), () => server.run('set global read_only = 0')),
      'connection limit reached': during(shortMs, async () => {
        await server.run(`alter user stage with max_user_connections 1`)
        await killAll()
        only = await mysql.createConnection({ host: '127.0.0.1', port: server.port, user: 'stage', password: 'right' })
        await only.query('select 1')
      }, async () => {
        await server.run(`alter user stage with max_user_connections 0`)
        await only?.end()
      }),
      'password changed': during(shortMs, async () => {
        await server.run(`alter user stage identified by 'other'`)
        await killAll()
      }, () => server.run(`alter user stage identified by 'right'`)),
      ...clockHarms(making, clock),
    },
  }
}

async function sqlitePlace(making: Making): Promise<Place> {
  const { t, shortMs, minuteMs } = making
  const { server: place, disk } = await started({ ...making, fault: needsClock(making.fault) ? 'slow: pauses of 4 s' : making.fault }, 20, async () => new SqlitePlace())
  t.teardown(async () => place.close())
  let held: ReturnType<SqlitePlace['open']> | undefined
  const lock = (): void => {
    held = place.open()
    place.one(held, 'begin immediate')
  }
  const unlock = (): void => {
    place.one(held!, 'rollback')
    held!.close()
  }
  return {
    url: place.url,
    harms: {
      'restarted empty': async () => {
        for (const end of ['', '-wal', '-shm']) rmSync(place.path + end, { force: true })
        return () => {}
      },
      'stopped for a minute': during(minuteMs, lock, unlock),
      'slow: pauses of 4 s': pausing(making, lock, unlock),
      ...disk && { 'full': during(shortMs, () => disk.fill(), () => disk.empty()) },
    },
  }
}

async function localPlace(making: Making): Promise<Place> {
  const { t, shortMs } = making
  const folder = (): string => mkdtempSync(join(tmpdir(), 'stagemesh-local-'))
  const { server: path, disk } = await started({ ...making, fault: needsClock(making.fault) ? 'slow: pauses of 4 s' : making.fault }, 20, async () => folder())
  t.teardown(async () => rmSync(path, { recursive: true, force: true }))
  return {
    url: `local:${join(path, 'mesh')}`,
    harms: {
      'restarted empty': async () => {
        renameSync(join(path, 'mesh'), join(path, `old-${readdirSync(path).length}`))
        return () => {}
      },
      ...disk && { 'full': during(shortMs, () => disk.fill(), () => disk.empty()) },
    },
  }
}
