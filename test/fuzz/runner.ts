import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { json } from '../../wrappers/json.js'
import { msgpack } from '../../wrappers/codec.js'
import { Chance } from './chance.js'
import { codecSubject } from './codec-subject.js'
import { corpusOf } from './corpus.js'
import { handshakeSubject } from './handshake-subject.js'
import { linkSubject } from './link-subject.js'
import type { Input, Subject } from './subject.js'
import { jsonText, msgpackBytes } from './values.js'
import { Watch } from './watch.js'

/** The longest time for which one input may block the event loop. */
const BLOCKED_MS = 50
/** The memory that may remain in use afterwards. */
const GROWN_BYTES = 50 * 1024 * 1024
/** After this many inputs the caches of the runtime are full. */
const WARM = 3000
const THOROUGH = 1000

export const subjects: readonly Subject[] = [
  codecSubject('msgpack', 50, msgpack(), (chance) => msgpackBytes(chance)),
  codecSubject('json', 40, json(), (chance) => Buffer.from(jsonText(chance))),
  linkSubject('link', 5, msgpack()),
  linkSubject('link-json', 2, json()),
  handshakeSubject(2),
]
const drawn = subjects.flatMap((one) => new Array<Subject>(one.weight).fill(one))

export interface FuzzOptions {
  seed: number
  inputs: number
  /** No new input is begun after this time; default: all inputs are run. */
  forMs?: number | undefined
  /** Runs only this one input. */
  only?: number | undefined
  /** The name of the only subject to test. */
  subject?: string | undefined
  onprogress?(done: number, counts: Readonly<Record<string, number>>): void
  /** Stops after this many failures; default 10. */
  failures?: number
}

export interface Failure {
  index: number
  subject: string
  bytes: Buffer
  what: string
  /** The command that reproduces it. */
  again: string
}

export interface Report {
  failures: Failure[]
  /** The number of inputs for each subject. */
  counts: Record<string, number>
  tookMs: number
  grownBytes: number
  slowestMs: number
}

export async function fuzz({ seed, inputs, forMs = Infinity, only, subject, onprogress, failures: most = 10 }: FuzzOptions): Promise<Report> {
  const watch = new Watch()
  const counts: Record<string, number> = {}
  const failures: Failure[] = []
  const chosen = subject === undefined ? drawn : drawn.filter(({ name }) => name === subject)
  if (chosen.length === 0) throw new TypeError(`there is no subject ${subject}: ${subjects.map(({ name }) => name).join(', ')}`)
  const started = performance.now()
  let slowestMs = 0
  let before = only === undefined ? undefined : occupied()
  const end = only === undefined ? inputs : only + 1
  for (let index = only ?? 0; index < end && failures.length < most && performance.now() - started < forMs; index++) {
    const chance = new Chance(seed, index)
    const one = chance.pick(chosen)
    const input = made(one, chance)
    const { what, ms } = await tried(one, input, watch)
    if (what === undefined || !what.startsWith('it blocks')) slowestMs = Math.max(slowestMs, ms)
    const found = what ?? ((index + 1) % THOROUGH === 0 ? watch.replaced() : undefined)
    if (found !== undefined) failures.push({ index, subject: one.name, bytes: input.bytes, what: found, again: `npm run fuzz -- --seed ${seed} --only ${index}${subject === undefined ? '' : ` --subject ${subject}`}` })
    counts[one.name] = (counts[one.name] ?? 0) + 1
    if (index === Math.min(WARM, inputs >> 1)) before ??= occupied()
    if ((index + 1) % 10_000 === 0) onprogress?.(index + 1, counts)
  }
  const grownBytes = occupied() - (before ?? 0)
  if (grownBytes > GROWN_BYTES && only === undefined) failures.push({ index: -1, subject: 'all', bytes: Buffer.alloc(0), what: `the memory has grown by ${Math.round(grownBytes / 1024)} KiB`, again: `npm run fuzz -- --seed ${seed} --inputs ${inputs}` })
  watch.close()
  return { failures, counts, tookMs: performance.now() - started, grownBytes, slowestMs }
}

/** Copies the input into memory of its own, so that decoded values that share it are detected. */
function made(subject: Subject, chance: Chance): Input {
  const { bytes, ...rest } = subject.make(chance, corpusOf(subject.name))
  const own = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(own)
  return { bytes: own, ...rest }
}

async function tried(subject: Subject, input: Input, watch: Watch): Promise<{ what: string | undefined; ms: number }> {
  let best = Infinity
  // a pause may be caused by the garbage collector or by another process: only an input that is slow every time is slow
  for (let tries = 0; tries < 4; tries++) {
    const started = performance.now()
    const used = process.cpuUsage()
    let what: string | undefined
    try {
      const result = subject.run(input)
      what = result instanceof Promise ? await result : result
    } catch (thrown) {
      what = `it threw ${thrown instanceof Error ? thrown.stack : String(thrown)}`
    }
    const { user, system } = process.cpuUsage(used)
    // the input computes and waits for nothing: any time beyond its CPU time was given to other processes
    best = Math.min(best, performance.now() - started, (user + system) / 1000)
    what ??= watch.changed()
    if (what !== undefined || best < BLOCKED_MS) return { what, ms: best }
  }
  return { what: `it blocks for ${Math.round(best)} ms`, ms: best }
}

let collect: (() => void) | undefined

/** Bytes in use after garbage collection. */
function occupied(): number {
  if (!collect) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  for (let i = 0; i < 3; i++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
