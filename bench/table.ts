import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import type { Section } from './plan.js'

/** One line: medians, but `least` and `most`, the range of the ratio. Times in µs. */
export type Row =
  | { name: string; title: string; failed: string }
  | { name: string; title: string; failed?: undefined; rate: number; cpu: number; p50?: number; p99?: number; ratio: number; cost: number; least: number; most: number }

export const figure = (value: number): string => value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(value < 1 ? 2 : 3)
/** One line of a sheet: the median and the range. */
export interface Fact { what: string; value: number; least: number; most: number }

const units = { calls: ['calls/s', 'CPU µs a call'], bytes: ['MB/s', 'CPU µs a MB'], deliveries: ['deliveries/s', 'CPU µs a delivery'] } as const

export function table({ title, unit, by }: Section, rows: readonly Row[]): string {
  const [rate, cpu] = units[unit]
  const scale = unit === 'bytes' ? 1e6 : 1
  const head = by === 'p50' ? ['', 'p50 µs', 'p99 µs', '× floor, p50', 'range', cpu, '× floor'] : ['', rate, '× floor', 'range', cpu, '× floor']
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const body = rows.map((row) => {
    if (row.failed !== undefined) return line([row.title, `not measured: ${row.failed}`, ...head.slice(2).map(() => '')])
    const cost = [figure(row.cpu * scale), row.cost.toFixed(2)]
    if (by === 'p50') return line([row.title, figure(row.p50 ?? 0), figure(row.p99 ?? 0), row.ratio.toFixed(2), `${row.least.toFixed(2)}–${row.most.toFixed(2)}`, ...cost])
    return line([row.title, figure(row.rate / scale), row.ratio.toFixed(3), `${row.least.toFixed(3)}–${row.most.toFixed(3)}`, ...cost])
  })
  return [`### ${title}`, '', line(head), line(['---', ...head.slice(1).map(() => '---:')]), ...body].join('\n')
}

export const sheet = (title: string, figures: readonly Fact[], failed: readonly string[]): string => [
  `### ${title}`, '', '| | | range |', '| --- | ---: | ---: |',
  ...figures.map(({ what, value, least, most }) => `| ${what} | ${figure(value)} | ${figure(least)}–${figure(most)} |`),
  ...failed.map((why) => `| not measured: ${why} | | |`),
].join('\n')

interface Made { command: string; date: string; node: string; machine: string; rounds: number; seconds: number; versions: Readonly<Record<string, string>> }

const fileOf = (path: string): { version: string; dependencies: Record<string, string> } => JSON.parse(readFileSync(new URL(`../${path}package.json`, import.meta.url), 'utf8')) as { version: string; dependencies: Record<string, string> }

/** What a redis-server says of itself, if there is one. */
function redisVersion(): string {
  try {
    return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown'
  } catch {
    return 'not installed'
  }
}

/** How the figures came to be. */
export function made({ rounds, seconds }: { rounds: number; seconds: number }): Made {
  return {
    command: `npm run bench${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`,
    date: new Date().toISOString().slice(0, 10), node: process.versions.node, rounds, seconds,
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}, loopback`,
    versions: { ...Object.fromEntries(Object.keys(fileOf('').dependencies).filter((name) => !name.startsWith('@types/')).map((name) => [name, fileOf(`node_modules/${name}/`).version])), 'redis-server': redisVersion() },
  }
}

export function document(parts: readonly string[], how: { rounds: number; seconds: number }): string {
  const { command, date, node, machine, rounds, seconds, versions } = made(how)
  return `# Benchmarks

Made by \`${command}\` on ${date}: Node ${node}, ${machine}. Versions: ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}.

A server and a client are a process each. Every measure of ${seconds} s has one of the floor right before and right after it, and its ratio is to the mean of those two; figures are medians of ${rounds} rounds, also those that have no floor. The range of a floor is that of its own figure. CPU is that of both processes together. Other machines have other figures; the ratios move least, those of the CPU above all.

\`raw\` is the least that Node allows: bare sockets, a length and an id before opaque bytes, a promise for each call, and one write a tick. It has no deadlines, no bounds, no errors and no names.

${parts.join('\n\n')}
`
}
