/** What this library wants to reach, beside what was measured. */
import { figure, type Fact, type Row } from './table.js'

/** `why`: what keeps it from there, as profiles show it; said only where it was not reached. */
interface Want { what: string; least?: number; most?: number; unit: string; found(results: Results): number; why?: string }

interface Results {
  ratio(section: string, adapter: string): number
  rate(section: string, adapter: string): number
  cost(section: string, adapter: string): number
  fact(section: string, name: string): number
}

const wants: readonly Want[] = [
  { what: 'RPC, small object, 100 in flight', least: 0.25, unit: '× raw', found: ({ ratio }) => ratio('small-100', 'stagemesh') },
  { what: 'the same beside raw + msgpackr with plain maps', least: 0.75, unit: '×', found: ({ ratio }) => ratio('small-100', 'stagemesh') / ratio('small-100', 'raw-msgpack') },
  { what: 'its CPU a call', most: 5, unit: '× raw', found: ({ cost }) => cost('small-100', 'stagemesh') },
  { what: 'its p50, one in flight', most: 1.25, unit: '× raw', found: ({ ratio }) => ratio('small-1', 'stagemesh') },
  { what: 'RPC, a text of 1 KiB, 100 in flight', least: 0.25, unit: '× raw', found: ({ ratio }) => ratio('text-100', 'stagemesh') },
  { what: 'RPC, a buffer of 64 KiB, 16 in flight', least: 0.5, unit: '× raw', found: ({ ratio }) => ratio('bytes-16', 'stagemesh'), why: 'each end copies a value twice, into the batch and out of the chunks, where raw copies once; and V8 collects the whole heap some 25 times a second for the memory of buffers, which is 20 to 27 % of the time here and 4 % in the small heap of raw' },
  { what: '`cast` to 10 peers', least: 0.25, unit: '× raw fan-out', found: ({ ratio }) => ratio('cast-10', 'stagemesh'), why: 'two thirds are the ten receivers, each of which builds the object; raw + msgpackr, which builds it too, reaches the same' },
  { what: 'bytes through `to()`, default chain', least: 0.5, unit: '× raw stream', found: ({ ratio }) => ratio('stream', 'stagemesh'), why: 'as below' },
  { what: 'bytes through `to()`, empty chain', least: 0.9, unit: '× raw stream', found: ({ ratio }) => ratio('stream', 'stagemesh-empty'), why: 'not known for certain: the sockets are bare, and both ends are idle for more than half of the time. The reader collects its whole heap 25 times a second, which raw does not; raw beside an idle stage loses a part of it too (see its line)' },
  { what: 'the same, beside raw in processes with an idle stage', least: 0.9, unit: '×', found: ({ ratio }) => ratio('stream', 'stagemesh-empty') / ratio('stream', 'raw-beside') },
  { what: 'RPC over ipc', least: 1, unit: '× over TCP', found: ({ ratio }) => ratio('small-100', 'stagemesh-ipc') / ratio('small-100', 'stagemesh') },
  { what: 'bytes over ipc', least: 1, unit: '× over TCP', found: ({ ratio }) => ratio('stream', 'stagemesh-ipc') / ratio('stream', 'stagemesh') },
  { what: 'p99 of small calls while a stream takes all of their link', most: 10, unit: '× without', found: ({ fact }) => fact('beside', 'p99, times its own') },
  { what: 'a call of an actor of the same process', least: 2_000_000, unit: 'a second', found: ({ rate }) => rate('within', 'within-actor'), why: 'reading the clocks, for the deadline and for the lease before each turn, is a seventh, and nothing else more than a fifteenth: the mailbox, the turn, the way to the owner, the promise, the look at what has changed' },
  { what: 'a call of an actor of another process', least: 0.8, unit: '× RPC', found: ({ ratio }) => ratio('small-100', 'actor') / ratio('small-100', 'stagemesh') },
  { what: 'a change of 1 KiB that 1 000 loops on 10 links watch, on each link', most: 1.2 * 1024, unit: 'bytes', found: ({ fact }) => fact('observers', 'bytes on each link for one change') },
  { what: 'an idle link', most: 24 * 1024, unit: 'bytes', found: ({ fact }) => fact('memory', 'an idle link, bytes') },
  { what: 'an idle actor beside its own fields', most: 1024, unit: 'bytes', found: ({ fact }) => fact('memory', 'an idle actor beside its own fields, with its row in the store and the way to it, bytes'), why: 'the tables of the maps that have it (this stage\'s, its caller\'s, the store\'s) are 580 bytes, its activation 240, mailbox 150, lists 160, and the way of its caller 120' },
  { what: 'a pending call', most: 512, unit: 'bytes', found: ({ fact }) => fact('memory', 'a pending call, bytes'), why: 'its two promises, with the functions that settle them and what those close over, are 490 bytes; the call itself is 170, its row 75, its arguments 50' },
  { what: 'spawn to first reply with `memory:`', most: 60, unit: 'ms more than raw', found: ({ fact }) => fact('startup', 'memory: the same, more than raw, ms'), why: 'five sixths are loading: 120 modules of our own, half a millisecond each, and readable-stream twice, through duplexify and through2, 28 ms' },
  { what: 'requests of an idle stage to its registry, at 10, 100 and 300 stages', most: 0.5, unit: 'a second', found: ({ fact }) => Math.max(...[10, 100, 300].map((count) => fact('idle', `${count} stages: requests of each per second`))) },
  { what: 'CPU of an idle stage, of 300', most: 0.2, unit: '% of a core', found: ({ fact }) => fact('idle', '300 stages: CPU of each, % of a core') },
]

export function wishes(rowOf: (section: string, adapter: string) => Row | undefined, known: Readonly<Record<string, readonly Fact[]>>): string {
  const measured = (section: string, adapter: string): Exclude<Row, { failed: string }> => {
    const row = rowOf(section, adapter)
    if (!row || row.failed !== undefined) throw new Error(`${adapter} was not measured in ${section}: ${row?.failed}`)
    return row
  }
  const results: Results = {
    ratio: (section, adapter) => measured(section, adapter).ratio,
    rate: (section, adapter) => measured(section, adapter).rate,
    cost: (section, adapter) => measured(section, adapter).cost,
    fact(section, name) {
      const found = known[section]?.find(({ what }) => what === name)?.value
      if (found === undefined) throw new Error(`there is no figure '${name}' of ${section}`)
      return found
    },
  }
  const lines = wants.map(({ what, least, most, unit, found, why = '' }) => {
    const wanted = `${least !== undefined ? `≥ ${figure(least)}` : `≤ ${figure(most ?? 0)}`} ${unit}`
    let value: number
    try {
      value = found(results)
    } catch (error) {
      return `| ${what} | ${wanted} | **not measured** | ${(error as Error).message} |`
    }
    const reached = least !== undefined ? value >= least : value <= (most ?? Infinity)
    return `| ${what} | ${wanted} | ${reached ? '' : '**'}${figure(value)}${reached ? '' : '**'} | ${reached ? '' : why} |`
  })
  return ['## What we want', '', 'Bold where it was not reached, with what profiles say of it.', '', '| | wanted | measured | |', '| --- | ---: | ---: | --- |', ...lines].join('\n')
}
