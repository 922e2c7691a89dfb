import { StageError } from '../../src/errors.js'
import { jitter, newId } from '../../src/random.js'
import type { Clock, Random } from '../../src/types.js'
import { same } from '../shared/ledger.js'
import { Views } from '../shared/views.js'
import type { Witness } from '../shared/views.js'
import type { Connection } from './connection.js'
import { CHANGES_MAX, READ } from './scripts.js'

/** How long one blocking read waits for a change. */
export const BLOCK_MS = 10_000
/** Interval at which the revision is compared even without a change notice, ± 20 %. */
const RECONCILE_MS = 30_000
/** Every how many comparisons the whole listing is read, whatever the revision: somebody may have edited it by hand. */
const WHOLE_EVERY = 20

export interface FeedOptions {
  readonly namespace: string
  /** The keys of the namespace, see `keysOf`. */
  readonly keys: readonly string[]
  readonly address: string
  /** The connection for commands, which answer at once. */
  readonly commands: Connection
  /** A connection of the feed's own, because it is nearly always in a blocking read. */
  readonly waiting: Connection
  readonly witness: Witness
  readonly clock: Clock
  readonly random: Random
}

/** An entry of the log: its id (`<revision>-0`), and names and values in turns. */
type Logged = readonly [id: string, fields: readonly string[]]

/**
 * Keeps the records of one namespace while anybody watches it. The log says what changed; the whole listing is read in the
 * beginning, and when the log does not continue the history that was read.
 */
export class Feed {
  readonly views: Views
  #pausing: (() => void) | undefined
  #rounds = 0
  /** The point in history that the records have. */
  #seen: { readonly generation: string, readonly revision: number, readonly mark: string } | undefined

  constructor(private readonly options: FeedOptions) {
    this.views = new Views(options.namespace, options.address, () => this.#read())
    void this.#run()
  }

  stop(): void {
    this.views.end()
    this.#pausing?.()
    this.options.waiting.close()
  }

  async #run(): Promise<void> {
    try {
      while (!this.views.ended) await this.#round()
    } catch (error) {
      this.views.end(error)
    } finally {
      this.options.waiting.close()
    }
  }

  /** One reconcile interval: a comparison of revisions, then changes as they come. */
  async #round(): Promise<void> {
    const { clock, random } = this.options
    const end = clock.now() + jitter(random, RECONCILE_MS, 0.2)
    if (this.#rounds++ % WHOLE_EVERY === 0) this.#seen = undefined
    await this.views.look()
    for (let left = end - clock.now(); left > 0 && !this.views.ended; left = end - clock.now()) {
      const logged = await this.#wait(Math.min(left, BLOCK_MS))
      const readAt = clock.now()
      await this.views.settled() // a read in progress may know some of these changes already
      if (logged.length === 0 || this.views.ended) continue
      if (!this.#follow(logged)) await this.views.look()
      await this.#pause(readAt + this.views.pauseMs - clock.now())
    }
  }

  /** Waits at most `ms` for entries of the log beyond the revision last read. */
  #wait(ms: number): Promise<readonly Logged[]> {
    return this.options.waiting.run(async (client) => {
      const reply = await client.xread('COUNT', CHANGES_MAX, 'BLOCK', Math.max(1, Math.ceil(ms)), 'STREAMS', this.options.keys[5], `${this.#seen!.revision}-0`)
      return reply?.[0]?.[1] ?? []
    })
  }

  /** Takes over the changes. @returns whether they continue what was read, and tell all of it */
  #follow(logged: readonly Logged[]): boolean {
    const { generation } = this.#seen!
    let { revision, mark } = this.#seen!
    const changed = new Map<string, string | undefined>()
    const lapsed: string[] = []
    for (const [at, fields] of logged) {
      const number = Number.parseInt(at, 10)
      if (number <= revision) continue
      const { op, id, h, entry } = Object.fromEntries(pairs(fields))
      if (number !== revision + 1 || id === undefined || h === undefined) return false
      if (op !== 'leave' && op !== 'lapse' && !(op === 'list' && entry !== undefined)) return false
      changed.set(id, op === 'list' ? entry : undefined)
      if (op === 'lapse') lapsed.push(id)
      revision = number
      mark = h
    }
    this.#seen = { generation, revision, mark }
    this.options.witness.see(this.#seen)
    if (changed.size > 0) this.views.change(changed, lapsed)
    return true
  }

  async #read(): Promise<void> {
    const { commands, witness, random, namespace, keys } = this.options
    // the point seen by an earlier watch tells whether the history is continuous; the empty mark makes this read return a view
    const seen = this.#seen ?? { generation: witness.seen?.generation ?? '', revision: witness.seen?.revision ?? '', mark: '' }
    const reply = await commands.script(READ, keys, [newId(random), seen.generation, String(seen.revision), seen.mark])
    if (this.views.ended) return
    const [what, generation, revision, mark, ...rest] = reply as [string, string, string, string, ...unknown[]]
    if (what === 'same') return
    const now = { generation, revision: Number(revision), mark }
    if (what === 'changes') {
      const changes = triples(rest[0] as string[])
      witness.see(now)
      this.#seen = now
      this.views.change(changes.map(([id, text]) => [id, text === '' ? undefined : text]), changes.filter((one) => one[2] === '1').map(([id]) => id))
      return
    }
    if (what !== 'view') {
      throw new StageError('REGISTRY_UNAVAILABLE', `${this.options.address} sent an unexpected answer for namespace ${namespace}`)
    }
    const [past, lapsed, flat] = rest as [string, string[], string[]]
    const continuous = witness.seen === undefined || past === witness.seen.mark || same(now, witness.seen)
    this.#seen = now
    this.views.replace(witness.see(now, continuous), pairs(flat), lapsed)
  }

  #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.views.ended) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.options.clock.setTimeout(resolve, ms)
      this.#pausing = () => {
        timer.cancel()
        resolve()
      }
    })
  }
}

function* pairs(flat: readonly string[]): Iterable<[string, string]> {
  for (let i = 0; i + 1 < flat.length; i += 2) yield [flat[i], flat[i + 1]]
}

function triples(flat: readonly string[]): [string, string, string][] {
  const found: [string, string, string][] = []
  for (let i = 0; i + 2 < flat.length; i += 3) found.push([flat[i], flat[i + 1], flat[i + 2]])
  return found
}
