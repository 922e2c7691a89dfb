import { cpus, totalmem } from 'node:os'
import type { Figures } from './adapter.js'
import type { Section } from './plan.js'

/** One line: medians, but `least` and `most`, the range of the ratio. Times in µs. */
export type Row =
  | { name: string; title: string; failed: string }
  | { name: string; title: string; failed?: undefined; rate: number; cpu: number; p50: number; p99: number; ratio: number; cost: number; least: number; most: number }

export const figure = (value: number): string => value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(value < 1 ? 2 : 3)
const units = { calls: ['calls/s', 'CPU µs a call'], bytes: ['MB/s', 'CPU µs a MB'], deliveries: ['deliveries/s', 'CPU µs a delivery'] } as const

export function table({ title, unit, by }: Section, rows: readonly Row[]): string {
  const [rate, cpu] = units[unit]
  const scale = unit === 'bytes' ? 1e6 : 1
  const head = by === 'p50' ? ['', 'p50 µs', 'p99 µs', '× floor, p50', cpu, '× floor'] : ['', rate, '× floor', 'range', cpu, '× floor']
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const body = rows.map((row) => {
    if (row.failed !== undefined) return line([row.title, `not measured: ${row.failed}`, '', '', '', ''])
    const cost = [figure(row.cpu * scale), row.cost.toFixed(2)]
    if (by === 'p50') return line([row.title, figure(row.p50), figure(row.p99), row.ratio.toFixed(2), ...cost])
    return line([row.title, figure(row.rate / scale), row.ratio.toFixed(3), `${row.least.toFixed(3)}–${row.most.toFixed(3)}`, ...cost])
  })
  return [`### ${title}`, '', line(head), line(['---', ...head.slice(1).map(() => '---:')]), ...body].join('\n')
}

export const sheet = (title: string, figures: Figures): string =>
  [`### ${title}`, '', '| | |', '| --- | ---: |', ...Object.entries(figures).map(([what, value]) => `| ${what} | ${figure(value)} |`)].join('\n')

export function document(parts: readonly string[], { rounds, seconds }: { rounds: number; seconds: number }): string {
  const command = `npm run bench${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`
  return `# Benchmarks

Made by \`${command}\` on ${new Date().toISOString().slice(0, 10)}: Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, loopback. \`bench/package.json\` has the versions of everything that is measured.

A server and a client are a process each. Every measure of ${seconds} s has one of the floor right before and right after it, and its ratio is to the mean of those two; figures are medians of ${rounds} rounds. CPU is that of both processes together. Other machines have other figures; the ratios move least, those of the CPU above all.

\`raw\` is the least that Node allows: bare sockets, a length and an id before opaque bytes, a promise for each call, and one write a tick. It has no deadlines, no bounds, no errors and no names.

${parts.join('\n\n')}
`
}
