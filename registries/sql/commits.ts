import { StageError, asError } from '../../src/errors.js'
import type { Commit, Fence } from '../../src/types.js'

/** A commit of one actor. */
export interface Committing extends Fence, Commit {
  readonly actor: string
}

interface Waiting {
  readonly one: Committing
  resolve(answer: 'ok' | 'fenced'): void
  reject(error: unknown): void
}

export interface CommitsOptions {
  /** Makes the commits that fit in one statement. @returns which of them were made */
  together(all: readonly Committing[]): Promise<ReadonlySet<Committing>>
  /** Makes one commit, or finds out why that is not possible. */
  alone(one: Committing): Promise<'ok' | 'fenced'>
}

/** How many statements are on their way at a time; commits that come meanwhile wait for the next one. */
const FLIGHTS = 4
/** The most commits of one statement, and the most bytes of their states. */
const BATCH_MAX = 64
const BATCH_BYTES = 256 * 1024

/**
 * Lets commits of different actors travel together, so that a server with a slow disk and a client with one thread do more
 * in the same time. A commit waits only for statements that are on their way already.
 */
export class Commits {
  readonly #waiting: Waiting[] = []
  #flying = 0

  constructor(private readonly options: CommitsOptions) {}

  commit(one: Committing): Promise<'ok' | 'fenced'> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ one, resolve, reject })
      this.#fly()
    })
  }

  #fly(): void {
    while (this.#flying < FLIGHTS && this.#waiting.length > 0) {
      this.#flying++
      void this.#send(this.#take()).then(() => {
        this.#flying--
        this.#fly()
      })
    }
  }

  #take(): Waiting[] {
    let count = 0
    let bytes = 0
    while (count < Math.min(this.#waiting.length, BATCH_MAX)) {
      bytes += this.#waiting[count].one.data.length
      if (count > 0 && bytes > BATCH_BYTES) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    let made: ReadonlySet<Committing> = new Set()
    try {
      if (batch.length > 1) made = await this.options.together(batch.map(({ one }) => one))
    } catch (error) {
      // the server refused the statement because of one commit, perhaps: then each of them gets an answer of its own
      if (!isReply(error)) {
        for (const { reject } of batch) reject(error)
        return
      }
    }
    await Promise.all(batch.map(async ({ one, resolve, reject }) => {
      if (made.has(one)) resolve('ok')
      else await this.options.alone(one).then(resolve, reject)
    }))
  }
}

const isReply = (error: unknown): boolean =>
  error instanceof StageError && /^[0-9A-Z]{5}$/.test(String((asError(error.cause) as Error & { code?: unknown }).code))
