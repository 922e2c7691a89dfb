/**
 * The cost of calls, streams and casts of this and other libraries, compared with the minimum that Node allows. Machines
 * drift and differ, so the floor is measured right before and right after each measurement, and only the ratio counts.
 *
 *     npm run bench -- [--quick] [--gate] [--only small-100,stream [--keep]] [--rounds 3] [--seconds 2]
 *
 * A whole run writes docs/benchmarks.md and docs/benchmarks.json. With `--keep`, so does a run of some sections: the others
 * are taken from docs/benchmarks.json, which must be of the same machine. With `--gate` only adapters with a gate are measured, and
 * the exit code is 1 if a median exceeds its limits.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { adapters } from './adapters/index.js'
import type { Load } from './load.js'
import { measure, type Measured } from './measure.js'
import { median } from './median.js'
import { gates, quick, sections, sheets, type Gate, type Section } from './plan.js'
import { document, made, sheet, table, type Fact, type Made, type Row } from './table.js'
import { wishes } from './wants.js'

const { values } = parseArgs({ options: {
  quick: { type: 'boolean', default: false },
  gate: { type: 'boolean', default: false },
  only: { type: 'string' },
  keep: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
} })
const whole = !values.quick && !values.gate && values.only === undefined
const rounds = Number(values.rounds ?? (values.quick ? 1 : values.gate ? 5 : 3))
const seconds = Number(values.seconds ?? (values.quick ? 1 : 2))

/** The content of docs/benchmarks.json, as far as it is read. */
interface Kept {
  readonly made: Made
  readonly sections: readonly { readonly name: string, readonly rows: Row[] }[]
  readonly facts: Readonly<Record<string, readonly Fact[]>>
}

/** The requested sections, with the requested adapters. */
function planned(): Section[] {
  const only = values.only?.split(',')
  const names = [...sections, ...sheets].map((one) => one.name)
  for (const name of only ?? []) if (!names.includes(name)) throw new TypeError(`there is no section '${name}': there are ${names.join(', ')}`)
  return sections.filter(({ name }) => only?.includes(name) ?? true).map((section) => {
    if (values.gate) return { ...section, adapters: gates.filter((gate) => gate.section === section.name).map((gate) => gate.adapter) }
    return values.quick && !only ? { ...section, adapters: quick.get(section.name) ?? [] } : section
  }).filter(({ adapters }) => adapters.length > 0)
}

/** The results of one section: for each adapter its measurements, with the ratios to the floors around them. */
async function found(section: Section): Promise<Row[]> {
  const what = (one: Measured): number => section.by === 'p50' ? one.p50 ?? 0 : one.rate
  const rows = new Map<string, { all: Measured[]; ratios: number[]; costs: number[]; failed?: string }>(section.adapters.map((name) => [name, { all: [], ratios: [], costs: [] }]))
  const floors: Measured[] = []
  const floor = async (): Promise<Measured> => {
    const one = await measure(section.floor, section.load, { seconds })
    floors.push(one)
    return one
  }
  for (let round = 1; round <= rounds; round++) {
    let before = await floor()
    for (const [name, row] of rows) {
      if (row.failed !== undefined) continue
      process.stderr.write(`${section.name}, round ${round} of ${rounds}: ${name}\n`)
      let one: Measured | undefined
      try {
        one = await measure(name, section.load, { seconds })
      } catch (error) {
        row.failed = (error as Error).message
      }
      const after = await floor()
      const around = (of: (measured: Measured) => number): number => (of(before) + of(after)) / 2
      if (one) {
        row.all.push(one)
        row.ratios.push(what(one) / around(what))
        row.costs.push(one.cpu / around((m) => m.cpu))
      }
      before = after
    }
  }
  const row = (name: string, all: Measured[], ratios: number[], costs: number[]): Row => ({
    name, title: adapters[name]?.title ?? name, rate: median(all.map((one) => one.rate)), cpu: median(all.map((one) => one.cpu)),
    ...(section.by === 'p50' ? { p50: median(all.map((one) => one.p50 ?? 0)), p99: median(all.map((one) => one.p99 ?? 0)) } : {}),
    ratio: median(ratios), cost: median(costs), least: Math.min(...ratios), most: Math.max(...ratios),
  })
  const middle = median(floors.map(what))
  return [
    row(section.floor, floors, floors.map((one) => what(one) / middle), [1]), // its deviation from its own median
    ...[...rows].map(([name, { all, ratios, costs, failed }]) => failed === undefined ? row(name, all, ratios, costs) : { name, title: adapters[name]?.title ?? name, failed }),
  ]
}

/** Figures without a floor. */
async function facts(name: string, names: readonly string[], load: Load): Promise<{ figures: Fact[]; failed: string[] }> {
  const all = new Map<string, number[]>()
  const failed: string[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const adapter of names) {
      process.stderr.write(`${name}, round ${round} of ${rounds}: ${adapter}\n`)
      try {
        const { figures = {} } = await measure(adapter, load, { seconds, warmMs: load.kind === 'figures' ? 0 : undefined })
        for (const [what, value] of Object.entries(figures)) all.set(what, [...all.get(what) ?? [], value])
      } catch (error) {
        failed.push(`${adapters[adapter]?.title ?? adapter}, round ${round}: ${(error as Error).message}`)
      }
    }
  }
  return { figures: [...all].map(([what, values]) => ({ what, value: median(values), least: Math.min(...values), most: Math.max(...values) })), failed }
}

/** Bytes that one call allocates on the heaps of both processes. */
async function heapOf({ section, adapter }: Gate): Promise<number> {
  const { load } = sections.find(({ name }) => name === section) as Section
  const all: number[] = []
  for (let i = 0; i < 3; i++) all.push((await measure(adapter, load, { seconds: 0.1, heap: true })).heap)
  return median(all)
}

function broken(gate: Gate, row: Row | undefined, heap: number): string | undefined {
  if (!row || row.failed !== undefined) return `${gate.section}: ${gate.adapter} was not measured: ${row?.failed}`
  if (row.ratio < gate.least) return `${gate.section}: ${gate.adapter} does ${row.ratio.toFixed(3)} × the floor, at least ${gate.least} was expected`
  if (row.cost > gate.cpu) return `${gate.section}: ${gate.adapter} costs ${row.cost.toFixed(2)} × the CPU of the floor, at most ${gate.cpu} was expected`
  if (heap <= 0) return `${gate.section}: the bytes that ${gate.adapter} made on the heap were collected before they were counted`
  if (heap > gate.heap) return `${gate.section}: ${gate.adapter} makes ${heap.toFixed(0)} bytes on the heap for one call, at most ${gate.heap} were expected`
  return undefined
}

const docs = new URL('../../docs/', import.meta.url)
const now = made({ rounds, seconds })
/** The results of an earlier run that are kept. */
const kept = values.keep ? JSON.parse(await readFile(new URL('benchmarks.json', docs), 'utf8')) as Kept : undefined
if (kept && kept.made.machine !== now.machine) throw new Error(`docs/benchmarks.json is of another machine: ${kept.made.machine}`)

const results: { section: Section; rows: Row[] }[] = []
const parts: string[] = []
const show = (part: string): void => {
  parts.push(part)
  console.log(`${part}\n`)
}
const plan = planned()
for (const section of kept ? sections : plan) {
  const old = plan.includes(section) ? undefined : kept?.sections.find(({ name }) => name === section.name)?.rows
  const rows = old ?? await found(section).catch((error: Error): Row[] => [section.floor, ...section.adapters].map((name) => ({ name, title: adapters[name]?.title ?? name, failed: `the floor: ${error.message}` })))
  results.push({ section, rows })
  show(table(section, rows))
}
const known: Record<string, readonly Fact[]> = {}
for (const { name, title, adapters: names, load } of sheets) {
  const wanted = whole || values.only?.split(',').includes(name)
  const old = wanted ? undefined : kept?.facts[name]
  if (!wanted && !old) continue
  const { figures, failed } = old ? { figures: old, failed: [] } : await facts(name, names, load)
  known[name] = figures
  show(sheet(title, figures, failed))
}
if (whole || kept) {
  const rowOf = (section: string, adapter: string): Row | undefined => results.find((one) => one.section.name === section)?.rows.find((row) => row.name === adapter)
  parts.unshift(wishes(rowOf, known))
  const how: Made = kept ? { ...kept.made, anew: { command: now.command, date: now.date, names: values.only?.split(',') ?? [] } } : now
  await writeFile(new URL('benchmarks.md', docs), document(parts, how))
  await writeFile(new URL('benchmarks.json', docs), `${JSON.stringify({ made: how, sections: results.map(({ section: { name, load, floor }, rows }) => ({ name, load, floor, rows })), facts: known }, null, 2)}\n`)
}
if (values.gate) for (const gate of gates) {
  const heap = await heapOf(gate)
  console.log(`${gate.section}: ${gate.adapter} makes ${heap.toFixed(0)} bytes on the heap for one call`)
  const why = broken(gate, results.find(({ section }) => section.name === gate.section)?.rows.find(({ name }) => name === gate.adapter), heap)
  if (why === undefined) continue
  console.error(why)
  process.exitCode = 1
}
