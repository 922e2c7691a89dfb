/**
 * Openings of the database that are under way.
 *
 * When lmdb opens a database it reads the number of the last transaction, and a moment later stores that number in the memory
 * that all processes share, without taking the write lock. If another process commits in between, the number goes backwards:
 * the next commit then starts from an older state and replaces the one that was made meanwhile, or every later commit fails
 * with MDB_BAD_TXN. So a process announces that it opens the database, by a file, and the others wait with their writes; and
 * it looks at the number before and after, and opens the database again if that has changed.
 *
 * If many processes start at once, one of them is opening the database at any time. So a write that has been waiting for a
 * moment is announced too, and a process that is about to open the database lets such writes go first, for half a second.
 */
import { closeSync, existsSync, mkdirSync, openSync, readSync, readdirSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { LAST_PAGE_AT, PAGE_SIZE_AT } from './folder.js'

/** How long the last transaction must stay the same before the database is opened, and how often that is tried. */
export const QUIET_MS = 5
const TRIES_MAX = 200
/** An announcement older than this was left by a process that ended; milliseconds. */
const STALE_MS = 2000

/** An announcement is renewed every so many looks or tries, long before it is stale. */
const RENEW_LOOKS = 50
/** After how many looks a write that waits is announced, and how many looks such writes may hold up an opening. */
const PATIENCE = 4
const COURTESY = 100

type Pause = (ms: number) => Promise<void>

export class Openings {
  readonly #opening: Announcements
  readonly #writing: Announcements
  /** Writes of this process that were announced. */
  #writes = 0

  /** @param path  the folder of the database */
  constructor(path: string) {
    this.#opening = new Announcements(join(path, 'opening'))
    this.#writing = new Announcements(join(path, 'writing'))
  }

  /**
   * Opens the database while no other process commits.
   * @param data   the file of the database
   * @param close  undoes `open`
   */
  async alone<T>(data: string, open: () => T, close: (opened: T) => Promise<void>, now: () => number, pause: Pause): Promise<T> {
    for (let looks = 0; looks < COURTESY && this.#writing.others(now()); looks++) await pause(QUIET_MS)
    try {
      for (let tries = 0; ; tries++) {
        this.#opening.begin() // again for each try, which may take long on a busy machine
        const before = lastTransaction(data)
        await pause(QUIET_MS)
        if (lastTransaction(data) !== before && tries < TRIES_MAX) continue // a commit that had begun before
        this.#opening.begin()
        const opened = open()
        if (before === undefined || lastTransaction(data) === before || tries >= TRIES_MAX) return opened
        await close(opened)
      }
    } finally {
      this.#opening.end()
    }
  }

  /** Resolves when no other process opens the database. */
  async passed(now: () => number, pause: Pause): Promise<void> {
    let looks = 0
    try {
      for (; this.#opening.others(now()); looks++) {
        if (looks === PATIENCE) this.#writes++
        if (looks >= PATIENCE && (looks - PATIENCE) % RENEW_LOOKS === 0) this.#writing.begin()
        await pause(QUIET_MS)
      }
    } finally {
      if (looks > PATIENCE && --this.#writes === 0) this.#writing.end()
    }
  }
}

/** Files that say what processes and threads do at the moment. Looks are synchronous: usually the folder is missing, and a look costs one system call. */
class Announcements {
  readonly #name = `${process.pid}-${threadId}`

  constructor(private readonly folder: string) {}

  /** Whether another process or thread has made an announcement. */
  others(now: number): boolean {
    let names: string[]
    try {
      names = readdirSync(this.folder)
    } catch {
      return false
    }
    return names.some((name) => name !== this.#name && !this.#removed(name, now))
  }

  /** Never fails: where this process cannot write, it cannot open the database either. */
  begin(): void {
    for (let tries = 0; tries < 3; tries++) { // another process may remove the folder at the same moment
      try {
        if (!existsSync(this.folder)) mkdirSync(this.folder, { mode: 0o700 }) // not recursive: a deleted database folder is not recreated here
        return writeFileSync(join(this.folder, this.#name), '')
      } catch {}
    }
  }

  end(): void {
    try {
      unlinkSync(join(this.folder, this.#name))
      rmdirSync(this.folder)
    } catch {} // others have announced theirs there
  }

  /** Whether the announcement is gone, or was stale and is gone now. */
  #removed(name: string, now: number): boolean {
    const file = join(this.folder, name)
    try {
      if (Math.abs(now - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity)) < STALE_MS) return false
      unlinkSync(file)
    } catch {}
    return true
  }
}

/** The number of the last transaction in the file; undefined without a file, or while it is being created. */
function lastTransaction(data: string): bigint | undefined {
  let file: number
  try {
    file = openSync(data, 'r')
  } catch {
    return undefined
  }
  try {
    const first = Buffer.alloc(LAST_PAGE_AT + 16), second = Buffer.alloc(LAST_PAGE_AT + 16)
    if (readSync(file, first, 0, first.length, 0) < first.length) return undefined
    if (readSync(file, second, 0, second.length, first.readUInt32LE(PAGE_SIZE_AT)) < second.length) return undefined
    const [one, other] = [first, second].map((page) => page.readBigUInt64LE(LAST_PAGE_AT + 8)) as [bigint, bigint]
    return one > other ? one : other
  } finally {
    closeSync(file)
  }
}
