/** The targets of this library, beside the measured figures. */
import { figure, type Fact, type Row } from './table.js'

/** `why`: the cause for missing the target, as profiles show it; printed only if the target was missed. */
interface Want { what: string; least?: number; most?: number; unit: string; found(results: Results): number; why?: string }

interface Results {
  ratio(section: string, adapter: string): number
  rate(section: string, adapter: string): number
  cost(section: string, adapter: string): number
  fact(section: string, name: string): number
}

const wants: readonly Want[] = [
  { what: 'RPC, small object, 100 in flight', least: 0.25, unit: '× raw', found: ({ ratio }) => ratio('small-100', 'stagemesh'), why: 'the floor depends on what a system call costs: on a machine where raw made 410 000 calls a second, this ratio was 0.34. Raw + msgpackr, which builds the object too, misses the target as well (see its line)' },
  { what: 'the same, relative to raw + msgpackr with plain maps', least: 0.75, unit: '×', found: ({ ratio }) => ratio('small-100', 'stagemesh') / ratio('small-100', 'raw-msgpack') },
  { what: 'CPU per call of the same', most: 5, unit: '× raw', found: ({ cost }) => cost('small-100', 'stagemesh') },
  { what: 'p50 of the same, one in flight', most: 1.25, unit: '× raw', found: ({ ratio }) => ratio('small-1', 'stagemesh') },
  { what: 'RPC, a text of 1 KiB, 100 in flight', least: 0.25, unit: '× raw', found: ({ ratio }) => ratio('text-100', 'stagemesh') },
  { what: 'RPC, a buffer of 64 KiB, 16 in flight', least: 0.5, unit: '× raw', found: ({ ratio }) => ratio('bytes-16', 'stagemesh'), why: 'V8 marks the whole heap repeatedly because of the memory of buffers: in a heap of 9 MB for every 12 to 16 MB of buffers (--trace-incremental-marking), some 60 times a second, and on two cores this marking takes a third of the time (perf). The heap of raw was never marked and still has its first, wide limit; see the lines of processes that hold as many objects as an application' },
  { what: '`cast` to 10 peers', least: 0.25, unit: '× raw fan-out', found: ({ ratio }) => ratio('cast-10', 'stagemesh'), why: 'two thirds of the time is spent by the ten receivers, each of which builds the object; raw + msgpackr, which builds it too, misses the target as well (see its line)' },
  { what: 'bytes through `to()`, default chain', least: 0.5, unit: '× raw stream', found: ({ ratio }) => ratio('stream', 'stagemesh'), why: 'as for the buffer of 64 KiB, V8 marks the heap; see the lines of processes that hold objects' },
  { what: 'bytes through `to()`, empty chain', least: 0.9, unit: '× raw stream', found: ({ ratio }) => ratio('stream', 'stagemesh-empty'), why: 'the sockets are bare. As for the buffer of 64 KiB, V8 marks the heap, and so it does for raw beside an idle stage (see its line)' },
  { what: 'the same, relative to raw in processes with an idle stage', least: 0.9, unit: '×', found: ({ ratio }) => ratio('stream', 'stagemesh-empty') / ratio('stream', 'raw-beside'), why: 'as above; V8 marks at a different rate in each process' },
  { what: 'RPC over ipc', least: 1, unit: '× over TCP', found: ({ ratio }) => ratio('small-100', 'stagemesh-ipc') / ratio('small-100', 'stagemesh'), why: 'on a unix socket a normal end looks like a crash, so each write is sent behind a head of six bytes' },
  { what: 'bytes over ipc', least: 1, unit: '× over TCP', found: ({ ratio }) => ratio('stream', 'stagemesh-ipc') / ratio('stream', 'stagemesh'), why: 'as for the buffer of 64 KiB: the reader spends a fifth of its time in collections, 81 of the whole heap in two seconds, and the writer waits for it' },
  ...(['tls', 'ws', 'worker'] as const).flatMap((name): Want[] => [
    { what: `RPC over ${{ tls: 'TLS', ws: 'WebSocket', worker: 'a thread' }[name]}`, least: 0.25, unit: '× its raw', found: ({ ratio }) => ratio(`${name}-100`, `stagemesh-${name}`) },
    { what: `bytes over ${{ tls: 'TLS', ws: 'WebSocket', worker: 'a thread' }[name]}`, least: 0.5, unit: '× its raw stream', found: ({ ratio }) => ratio(`${name}-stream`, `stagemesh-${name}`) },
  ]),
  { what: 'p99 of small calls while a stream uses the whole capacity of their link', most: 10, unit: '× without', found: ({ fact }) => fact('beside', 'p99, times its own') },
  { what: 'a call of an actor of the same process', least: 2_000_000, unit: 'a second', found: ({ rate }) => rate('within', 'within-actor'), why: 'reading the clocks, for the deadline and for the lease before each turn, takes a sixth of the time, and no other part more than a fifteenth. The target was set when the local call of moleculer did 3.35 M a second: see its line' },
  { what: 'a call of an actor of another process', least: 0.8, unit: '× RPC', found: ({ ratio }) => ratio('small-100', 'actor') / ratio('small-100', 'stagemesh'), why: 'its address, its method and a list of arguments are additional bytes on the wire, and its owner runs a turn, which checks the lease and the clocks' },
  { what: 'a change of 1 KiB that 1 000 loops on 10 links watch, per link', most: 1.2 * 1024, unit: 'bytes', found: ({ fact }) => fact('observers', 'bytes on each link for one change') },
  { what: 'an idle link', most: 24 * 1024, unit: 'bytes', found: ({ fact }) => fact('memory', 'an idle link, bytes') },
  { what: 'an idle actor beside its own fields', most: 1024, unit: 'bytes', found: ({ fact }) => fact('memory', 'an idle actor beside its own fields, with its row in the store and the way to it, bytes'), why: 'its activation is 232 bytes, its turns 152, its self and the data kept by it 150, its row in the store 160, and strings and tables are the rest' },
  { what: 'a pending call', most: 512, unit: 'bytes', found: ({ fact }) => fact('memory', 'a pending call, bytes'), why: 'V8\'s promise with the two functions that settle it is 216 bytes, the call 176, its arguments 56, its row in a table 46, and its written bytes 40' },
  { what: 'spawn to first reply with `memory:`', most: 60, unit: 'ms more than raw', found: ({ fact }) => fact('startup', 'memory: the same, more than raw, ms'), why: 'two thirds of it is loading time: V8 compiles the one file and Node\'s own modules, and readable-stream 3 comes with duplexify' },
  ...['Redis', 'Postgres'].flatMap((kind): Want[] => [
    { what: `requests of an idle stage to ${kind}, at 10, 100 and 300 stages`, most: 0.5, unit: 'a second', found: ({ fact }) => Math.max(...[10, 100, 300].map((count) => fact('idle', `${kind}, ${count} stages: requests of each per second`))) },
    { what: `CPU of an idle stage, of 300 on ${kind}`, most: 0.2, unit: '% of a core', found: ({ fact }) => fact('idle', `${kind}, 300 stages: CPU of each, % of a core`) },
  ]),
  ...[50, 200, 400, 1000].flatMap((count): Want[] => [
    { what: `what Redis sends for one change, at ${count} stages`, most: 1536, unit: 'bytes a stage', found: ({ fact }) => fact('churn', `Redis, ${count} stages: bytes for one change and stage`) },
    { what: 'CPU of Redis for the same', most: 0.05, unit: 'ms a stage', found: ({ fact }) => fact('churn', `Redis, ${count} stages: CPU of the server for one change and stage, ms`) },
  ]),
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
  return ['## Targets', '', 'A figure in bold misses its target; the last column then gives the cause that profiles show.', '', '| | target | measured | |', '| --- | ---: | ---: | --- |', ...lines].join('\n')
}
