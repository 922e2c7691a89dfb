import { StageError } from '../../src/errors.js'
import { EntryReader } from '../../src/entry.js'
import { jitter, newId } from '../../src/random.js'
import type { Clock, Random } from '../../src/types.js'
import { Views } from '../shared/views.js'
import type { Witness } from '../shared/views.js'
import type { Connection } from './connection.js'
import { READ, keysOf } from './scripts.js'

/** How long one blocking read waits for a change. */
export const BLOCK_MS = 10_000
/** Interval at which the view is read even without a change notice, ± 20 %. */
const RECONCILE_MS = 30_000
/** Shortest interval between two reads of the whole view under churn. */
const BURST_MS = 50

export interface FeedOptions {
  readonly namespace: string
  readonly address: string
  /** The connection for commands, which answer at once. */
  readonly commands: Connection
  /** A connection of the feed's own, because it is nearly always in a blocking read. */
  readonly waiting: Connection
  readonly witness: Witness
  readonly clock: Clock
  readonly random: Random
}

/** Maintains the view of one namespace while anybody watches it: waits for a change, then reads the whole view again. */
export class Feed {
  readonly views = new Views(() => this.#read())
  readonly #keys: string[]
  readonly #reader: EntryReader
  #pausing: (() => void) | undefined
  /** The point in history of the last view. */
  #seen: { generation: string, revision: string, mark: string } | undefined

  constructor(private readonly options: FeedOptions) {
    this.#keys = keysOf(options.namespace)
    this.#reader = new EntryReader(options.namespace, options.address)
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

  /** One reconcile interval: a read, then a wait for changes, each followed by a read. */
  async #round(): Promise<void> {
    const { clock, random } = this.options
    const end = clock.now() + jitter(random, RECONCILE_MS, 0.2)
    await this.views.look()
    for (let left = end - clock.now(); left > 0 && !this.views.ended; left = end - clock.now()) {
      const readAt = clock.now()
      if (!await this.#changed(Math.min(left, BLOCK_MS)) || this.views.ended) continue
      await this.#pause(readAt + BURST_MS - clock.now())
      await this.views.look()
    }
  }

  /** Waits at most `ms` for a log entry beyond the revision last read; resolves to whether there is one. */
  #changed(ms: number): Promise<boolean> {
    return this.options.waiting.run(async (client) =>
      await client.xread('COUNT', 1, 'BLOCK', Math.max(1, Math.ceil(ms)), 'STREAMS', this.#keys[5], `${this.#seen!.revision}-0`) !== null)
  }

  async #read(): Promise<void> {
    const { commands, witness, random, namespace } = this.options
    // the point seen by an earlier watch tells whether the history is continuous; the empty mark makes this read return a view
    const seen = this.#seen ?? { generation: witness.seen?.generation ?? '', revision: String(witness.seen?.revision ?? ''), mark: '' }
    const reply = await commands.script(READ, this.#keys, [newId(random), seen.generation, seen.revision, seen.mark])
    if (this.views.ended) return
    const [what, generation, revision, mark, past, lapsed, flat] = reply as [string, string, string, string, string, string[], string[]]
    if (what === 'same') return
    if (what !== 'view') {
      throw new StageError('REGISTRY_UNAVAILABLE', `${this.options.address} sent an unexpected answer for namespace ${namespace}`)
    }
    const continuous = witness.seen === undefined || past === witness.seen.mark
    this.#seen = { generation, revision, mark }
    this.views.push({
      generation: witness.see({ generation, revision: Number(revision), mark }, continuous),
      entries: this.#reader.read(pairs(flat)),
      lapsed,
    })
  }

  #pause(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve()
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
