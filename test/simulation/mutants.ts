import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { actorMutants } from './actor-mutants.js'
import { farm } from './farm.js'
import type { Outcome } from './run.js'

/** The library with one defect. */
export interface Mutant {
  readonly name: string
  /** A compiled file, and a text that occurs in it exactly once. */
  readonly file: string
  readonly text: string
  readonly by: string
  /** The check that detects it. */
  readonly caughtBy: string
  /** The number of seeds within which it is caught; more than 200 for code that few worlds reach. */
  readonly seeds: number
  /** Needs too many worlds for a test that runs every time. */
  readonly slow: boolean
}

const SEEDS = 200
const mutant = (name: string, caughtBy: string, file: string, text: string, by: string, { seeds = SEEDS, slow = false } = {}): Mutant => ({ name, caughtBy, file, text, by, seeds, slow })

export const mutants: readonly Mutant[] = [
  mutant('a call is sent again though it may have run', 'P10', 'wrappers/rpc/calling/invocation.js',
    'if (error && this.#again(error))', "if (error?.code === 'DISCONNECTED' && !this.only)\n return this.#resend();\n if (error && this.#again(error))"),
  mutant('no ping', 'P8', 'src/link.js', 'if (!pinger?.ping)', 'if (pinger)', { slow: true }),
  mutant('every second credit is dropped', 'streams without faults end', 'wrappers/rpc/streams/streams.js',
    'this.wire.signal(CREDIT, channel.id, bytes);', 'this.odd = !this.odd;\n if (this.odd)\n this.wire.signal(CREDIT, channel.id, bytes);'),
  mutant('calls that failed stay in the map', 'stats().calls', 'wrappers/rpc/rpc.js', 'this.#pending.delete(id);\n        if (this.#lent', 'if (!error)\n this.#pending.delete(id);\n        if (this.#lent'),
  mutant('an empty view is believed', 'P5', 'src/directory.js', 'else if (forgot)', 'else if (forgot && false)'),
  mutant('no deadlines', 'P9', 'src/deadlines.js', 'if (at >= this.#earliest)', 'if (at > 0)'),
  mutant("'no' is claimed for calls that may have run", 'P10', 'wrappers/rpc/link-errors.js',
    "{ executed: 'unknown', cause: error?.cause ?? error, peer }", "{ executed: 'no', cause: error?.cause ?? error, peer }"),
  mutant('a stream that was cut off ends cleanly', 'P13', 'wrappers/rpc/streams/streams.js', 'channel.destroy(channel.incomplete || !channel.readableEnded ? reason : undefined);', 'channel.push(null);'),
  mutant('a byte is lost where a stream waits for credit', 'P13', 'wrappers/rpc/streams/channel.js', 'waiting.rest = waiting.rest.subarray(size);', 'waiting.rest = waiting.rest.subarray(size + 1);'),
  mutant('no arbiter: each connection becomes a link', 'P7', 'src/greeter.js', 'if (slot.current && (slot.current.link?.open ?? true))', 'if (slot.current && false)'),
  mutant('an id goes on after its lease was lost', 'P1, P4', 'src/tenure.js', '-Infinity;\n        this.id = newId(this.options.random);', '-Infinity;', { slow: true }),
  mutant('no back-off', 'dials in a row', 'src/dial.js', 'if (failures === 0)', 'if (failures > 0)\n return 1;\n if (failures === 0)'),
  mutant('the memory held for a peer has no bound', 'stats().heldBytes', 'wrappers/rpc/rpc.js', 'if (asking > M.HELD_MAX_BYTES)', 'if (asking > Infinity)', { seeds: 2000, slow: true }),
  mutant('a stage that comes back judges others at once', 'P5', 'registries/shared/sweeper.js', 'Math.max(earliest + GRACE_MS * 0.75 - server, this.#contactSince + this.ttlMs - own)', 'earliest + GRACE_MS * 0.75 - server', { slow: true }),
  mutant('no stage is listed again after the history of the registry was reset', 'P5', 'registries/shared/ledger.js', 'const reborn = ', 'const reborn = false && '),
  mutant('calls that waited for a link go in the wrong order', 'P11', 'src/slots.js', 'const waiting = [...this.waiting];', 'const waiting = [...this.waiting].reverse();'),
  mutant('the load of a link never falls', 'load', 'wrappers/rpc/calling/invocation.js', 'this.#link.load--;', ''),
  mutant('settled calls keep listening to their signals', 'listeners', 'wrappers/rpc/calling/invocation.js', 'this.#unlisten?.();', ''),
  mutant('a cancelled call is not taken back', 'stats().calls', 'wrappers/rpc/calling/invocation.js', '(this.#id !== 0 && link.top.cancel(this.#id, error))', 'false', { slow: true }),
  mutant('served calls stay in the map', 'stats().serving', 'wrappers/rpc/serving/serving.js', 'this.#calls.delete(id);', ''),
  mutant('functions are never released', 'stats().functions', 'wrappers/rpc/wire/functions.js', 'if (given.held > 0)', 'if (given.held > -1)'),
  mutant('views of a look and of the watch before it overtake each other', 'P5', 'src/watch.js', 'this.#held.push(view);', 'this.#show(view);', { slow: true }),
  mutant('of the views that a look held back the last alone is shown', 'P5', 'src/watch.js', 'this.#held.push(view);', 'this.#held = [view];', { slow: true }),
  mutant('a change takes nobody out', 'P4', 'src/directory.js', 'return removed.filter(', 'return [].filter('),
  mutant('a watch that is behind misses a change', 'P4', 'registries/shared/views.js', '.version > seen)', '.version > seen + 1)'),
  mutant('actors are placed by what peers announced before', 'the reminder', 'wrappers/actors/announcements.js', 'for (const { id } of gone)\n            this.#remove(id);', '', { slow: true }),
  mutant('the watch before a look goes on beside it', 'P23', 'src/watch.js', 'this.#current?.abort();\n        this.#retry', 'this.#retry', { slow: true }),
  mutant('an id that is gone may come back', 'P1', 'src/directory.js', 'this.#gone.add(id);', ''),
  mutant('a lost lease leaves the links as they were', 'calls where nothing is broken', 'src/running.js', 'this.links.reset(', 'void (', { slow: true }),
  mutant('no stage takes out lapsed entries', 'P3', 'registries/shared/sweeper.js', 'this.sweep().catch', 'Promise.resolve().catch'),
  mutant('calls of a dead link keep waiting', 'P9', 'wrappers/rpc/rpc.js', 'call.settle(reason);', ''),
  mutant('a GOAWAY is ignored', 'P7', 'wrappers/rpc/rpc.js', 'this.ondrain?.(leaving);', ''),
  mutant('an id may come twice', 'P10', 'wrappers/rpc/wire/wire.js', 'if (((id - this.#lastId) | 0) <= 0)', 'if (false)'),
  mutant('the source of values goes on when its reader has left', 'P13', 'wrappers/rpc/streams/lending.js', "channel.once('close', stop);", ''),
  mutant('the source that failed looks ended', 'P13', 'wrappers/rpc/streams/lending.js', 'await sender.failure(error);', ''),
  mutant('a source runs ahead of its reader', 'P13', 'wrappers/rpc/streams/item-writer.js', 'if (free && this.#ahead < AHEAD)', 'if (free)'),
  mutant('streams that nobody begins to read never end', 'P13', 'wrappers/rpc/streams/passing.js', 'if (until <= now)', 'if (false)'),
  mutant('the streams of a call that failed go on', 'P13', 'wrappers/rpc/rpc.js', 'const carried = this.#carried.get(id);\n        if (!carried)', 'const carried = undefined;\n        if (!carried)'),
  mutant('all streams together have no bound on unread data', 'stats().unreadBytes', 'wrappers/rpc/streams/streams.js', 'const together = Math.max(', 'const together = Math.max(Infinity, ', { seeds: 2000, slow: true }),
  mutant('a ping is not answered', 'P8', 'wrappers/framing.js', 'this.#control(PONG);', '{}'),
  mutant('an interface keeps its timer', 'timers', 'interfaces/memory.js', 'this.#alive?.cancel();', ''),
  ...actorMutants.map((one) => mutant(...one)),
]

export interface Catch {
  readonly mutant: Mutant
  readonly caught: Outcome | undefined
  readonly seconds: number
}

/** The directory of the compiled library. */
const dist = fileURLToPath(new URL('../..', import.meta.url))

/** @throws if the text of a mutant does not occur exactly once: mutants must follow the code */
export function checkMutants(chosen: readonly Mutant[]): void {
  for (const { name, file, text } of chosen) {
    const found = readFileSync(join(dist, file), 'utf8').split(text).length - 1
    if (found !== 1) throw new Error(`the mutant "${name}" changes nothing: its text stands ${found} times in ${file}, and must stand there once`)
  }
}

/** Runs each mutant until it is caught. */
export async function catchMutants(chosen: readonly Mutant[], jobs: number, oncatch: (one: Catch) => void): Promise<void> {
  checkMutants(chosen)
  // inside dist, so that the copy finds the packages
  const copies = mkdtempSync(join(dist, '.mutants-'))
  try {
    // a copy that cannot even start would count as caught
    const [broken] = await farm({ worker: copy(join(copies, 'as-it-is')), from: 1, seeds: 1, jobs: 1, first: true })
    if (broken) throw new Error(`a copy in which nothing was changed is broken: ${broken.broken.join('; ')}`)
    const queue = [...chosen]
    const work = async (): Promise<void> => {
      for (let one = queue.shift(); one; one = queue.shift()) {
        const started = performance.now()
        const [caught] = await farm({ worker: copy(join(copies, String(chosen.indexOf(one))), one), from: 1, seeds: one.seeds, jobs: 1, first: true })
        oncatch({ mutant: one, caught, seconds: (performance.now() - started) / 1000 })
      }
    }
    await Promise.all(Array.from({ length: jobs }, work))
  } finally {
    rmSync(copies, { recursive: true, force: true })
  }
}

/** @returns the worker of a copy, with the mutant in it if there is one */
function copy(to: string, mutant?: Mutant): string {
  for (const part of ['src', 'registries', 'interfaces', 'wrappers', 'test/helpers', 'test/suites', 'test/simulation']) {
    cpSync(join(dist, part), join(to, part), { recursive: true, filter: (path) => !/\.\w+$/.test(path) || (path.endsWith('.js') && !path.endsWith('.test.js')) })
  }
  if (mutant) {
    const path = join(to, mutant.file)
    writeFileSync(path, readFileSync(path, 'utf8').replace(mutant.text, () => mutant.by))
  }
  return join(to, 'test/simulation/worker.js')
}
