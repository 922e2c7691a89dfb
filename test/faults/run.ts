/**
 * Does harm to each kind of registry, with nine stages in three processes that call each other all the time, and prints a table.
 *
 *     npm run faults -- [kinds…] [--fault full] [--quick]
 *
 * The exit code is 1 if anybody was declared dead or changed its id, if less than 99.9 % of the calls succeeded, or if the
 * stages were not listed again by themselves. Needs root, redis-server, Postgres, MariaDB and a C compiler.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Process } from '../helpers/process.js'
import { until } from '../helpers/until.js'
import type { Orders, Tally } from './child.js'
import { FAULTS, places, type Fault, type Holds, type T } from './places.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { fault: { type: 'string', multiple: true }, quick: { type: 'boolean', default: false } } })
const kinds = positionals.length > 0 ? positionals : Object.keys(places)
const wanted = values.fault ?? FAULTS
for (const kind of kinds) if (!places[kind]) throw new Error(`no kind is called ${kind}; there are ${Object.keys(places).join(', ')}`)
for (const fault of wanted) if (!FAULTS.includes(fault as Fault)) throw new Error(`no fault is called ${fault}; there are: ${FAULTS.join(', ')}`)
const holds: Holds = values.quick ? { minuteMs: 20_000, shortMs: 8000 } : { minuteMs: 60_000, shortMs: 20_000 }

const PROCESSES = 3
const EACH = 3
const BACK_MS = 60_000
/** How many calls have begun before the fault. */
const WARM_CALLS = 300
/** Whoever was declared dead would be so by then: the TTL, the grace period, and some. */
const JUDGED_MS = 20_000
/** The share of calls that must succeed. */
const CALLS_MIN = 0.999

interface Result {
  readonly text: string
  readonly ok: boolean
}

async function suffer(t: T, kind: string, fault: Fault): Promise<Result | undefined> {
  const place = await places[kind]!({ t, fault, ...holds })
  const harm = place.harms[fault]
  if (!harm) return undefined
  const names = Array.from({ length: PROCESSES * EACH }, (_, i) => `s${i}`)
  const start = (): Process<Orders> => Process.start<Orders>(t, {}, 'test/faults/child.js')
  const processes = Array.from({ length: PROCESSES }, start)
  await Promise.all(processes.map((one, i) => one.ask('open', place.url, names.slice(i * EACH, (i + 1) * EACH))))
  const tallies = (): Promise<Tally[]> => Promise.all(processes.map((one) => one.ask('tally')))
  const knowAll = (all: readonly Tally[]): boolean => all.every(({ peers }) => peers.every((count) => count >= names.length - 1))
  await until(async () => knowAll(await tallies()), 60_000)
  await Promise.all(processes.map((one) => one.ask('begin', names)))
  let warm = 0
  await until(async () => {
    for (const { calls } of await tallies()) warm += calls
    return warm > WARM_CALLS
  })
  const before = await tallies()
  const end = await harm()
  await end()
  const since = performance.now()
  const probe = start()
  const probing = probe.ask('probe', place.url, names.length).then(() => performance.now() - since)
  const backMs = await Promise.race([probing, sleep(BACK_MS, undefined, { ref: false })])
  await sleep(Math.max(0, JUDGED_MS - (performance.now() - since)))
  const after = await tallies()
  const calls = after.reduce((sum, one) => sum + one.calls, 0)
  const failed: Record<string, number> = {}
  for (const one of after) for (const [code, count] of Object.entries(one.failed)) failed[code] = (failed[code] ?? 0) + count
  const lost = Object.values(failed).reduce((sum, count) => sum + count, 0)
  const dead = after.flatMap(({ parts }) => parts).filter((part) => !part.startsWith('probe '))
  const moved = after.flatMap(({ ids }, i) => ids.filter((id, j) => id !== before[i]!.ids[j]))
  const said = Object.entries(Object.assign({}, ...after.map(({ errors }) => errors)) as Record<string, string>)
  for (const [code, message] of said) console.log(`    ${code}: ${message}`)
  if (place.wrong !== undefined && fault === 'password changed') console.log(`    with a wrong password: ${await probe.ask('refused', place.wrong)}`)
  const ok = calls > 0 && dead.length === 0 && moved.length === 0 && lost <= calls * (1 - CALLS_MIN) && backMs !== undefined
  const share = lost === 0 ? 'all' : `${(100 * (1 - lost / calls)).toFixed(2)} %`
  const parts = [
    `${share} of ${calls} calls`, ...lost > 0 ? [JSON.stringify(failed)] : [],
    backMs === undefined ? `not back after ${BACK_MS / 1000} s` : `back in ${(backMs / 1000).toFixed(1)} s`,
    ...dead.length > 0 ? [`declared dead: ${[...new Set(dead)].join(', ')}`] : [], ...moved.length > 0 ? [`${moved.length} ids changed`] : [],
  ]
  return { text: parts.join('; '), ok }
}

async function row(kind: string, fault: Fault): Promise<Result | undefined> {
  const after: (() => Promise<void>)[] = []
  try {
    return await suffer({ teardown: (fn) => { after.unshift(async () => { await fn() }) } }, kind, fault)
  } catch (error) {
    return { text: `broken: ${(error as Error).stack}`, ok: false }
  } finally {
    for (const fn of after) await fn()
  }
}

const cells = new Map<string, string>()
for (const kind of kinds) {
  for (const fault of wanted as Fault[]) {
    const result = await row(kind, fault)
    cells.set(`${kind} ${fault}`, result?.text ?? '–')
    if (!result) continue
    if (!result.ok) process.exitCode = 1
    console.log(`${result.ok ? 'ok ' : 'NOT'} ${kind}, ${fault}: ${result.text}`)
  }
}
console.log(`\n| | ${kinds.join(' | ')} |\n|---|${kinds.map(() => '---|').join('')}`)
for (const fault of wanted) console.log(`| ${fault} | ${kinds.map((kind) => cells.get(`${kind} ${fault}`)).join(' | ')} |`)
