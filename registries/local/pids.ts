/**
 * lmdb tells processes apart by pid alone, and threads by thread id. Pids and thread ids are unique only within one pid
 * namespace. Two containers may each have a pid 1: the second process is refused its locks. And if two threads have the same
 * id, the end of one thread can release the write lock that the other holds.
 *
 * lmdb also knows the live pids that have the folder open, by locks that end with their process in any pid namespace. So
 * each process leaves a file beside the database, named by its pid, which states the pid namespace.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, readlinkSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { readFile, readdir, stat, unlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'

/** How long a file is kept although its pid does not have the database open: its process may be about to open it. */
const KEEP_MS = 60_000
/** How long a process may take to open the database; after that, its unsettled claim counts as left by an ended process. */
const OPENING_MS = 2000
const SETTLED = ' open'

export const ELSEWHERE = 'processes of another container or machine have this folder open, and lmdb can only tell processes of one pid namespace apart: '
  + 'let all of them share one (docker run --pid=host or --pid=container:NAME, shareProcessNamespace: true for the containers of a pod), or use redis:'

/** Use of the folder: `free` by this pid namespace alone, `taken` by another one, `both` undecided for the moment, so ask again. */
export type Tenancy = 'free' | 'taken' | 'both'

/** The pids of one folder. */
export class Pids {
  readonly #folder: string
  readonly #file: string
  readonly #space = pidSpace()

  /** @param path  the folder of the database */
  constructor(path: string) {
    this.#folder = join(path, 'pids')
    this.#file = join(this.#folder, String(process.pid))
  }

  /**
   * Claims the pid before this process takes a lock under that pid. Never fails: a process that cannot write there, as in
   * another user's folder, stays invisible to other processes.
   * @param alive  the pids that have the database open
   */
  claim(alive: ReadonlySet<number>, now: number): Tenancy {
    const space = this.#space
    if (space === undefined) return 'free'
    const before = this.#read()
    if (before === undefined) return this.#create(space)
    if (this.#own(before)) return 'free' // from another thread, or from an ended process
    if (alive.has(process.pid)) return 'taken'
    if (!before.endsWith(SETTLED) && now - (statSync(this.#file, { throwIfNoEntry: false })?.mtimeMs ?? now) < OPENING_MS) return 'both'
    try {
      writeFileSync(this.#file, space) // the earlier claimant has ended
    } catch {
      return 'free'
    }
    return 'both' // another process may have done the same, and the last writer gets the pid
  }

  /**
   * Checks, once the database is open, whether all processes that have it open are of this pid namespace.
   * @param alive  the pids that have the database open
   */
  async look(alive: ReadonlySet<number>): Promise<Tenancy> {
    const space = this.#space
    if (space === undefined) return 'free'
    const texts = await Promise.all([...alive].filter((pid) => pid !== process.pid).map((pid) => readFile(join(this.#folder, String(pid)), 'utf8').catch(() => space)))
    const others = texts.filter((text) => !this.#own(text))
    if (others.length === 0) return 'free'
    // an empty file is just being written
    return others.some((text) => text.endsWith(SETTLED) || (text !== '' && text < space)) ? 'taken' : 'both'
  }

  /** Marks the claim as settled: this process keeps the database open. */
  settle(): void {
    try {
      if (this.#read() === this.#space) appendFileSync(this.#file, SETTLED)
    } catch {}
  }

  /** Touches the file so that cleaners keep it. @param seconds  since 1970 */
  async touch(seconds: number): Promise<void> {
    await utimes(this.#file, seconds, seconds)
  }

  /** Removes the claim: this process does not keep the database open. */
  leave(): void {
    try {
      if (this.#own(this.#read() ?? '')) unlinkSync(this.#file)
    } catch {}
  }

  #own(text: string): boolean {
    return text === this.#space || text === this.#space + SETTLED
  }

  #read(): string | undefined {
    try {
      return readFileSync(this.#file, 'utf8')
    } catch {
      return undefined
    }
  }

  #create(space: string): Tenancy {
    try {
      if (!existsSync(this.#folder)) mkdirSync(this.#folder) // not recursive: a deleted database folder is not recreated here
      writeFileSync(this.#file, space, { flag: 'wx' })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return 'both'
    }
    return 'free'
  }

  /** Deletes the files of processes that have ended. */
  async tidy(alive: ReadonlySet<number>, now: number): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const file = join(this.#folder, name)
      if (alive.has(Number(name))) continue
      try {
        if (now - (await stat(file)).mtimeMs > KEEP_MS) await unlink(file)
      } catch {} // another process deleted it first
    }
  }
}

/** The pid namespace with the boot id, as its number is unique only until a reboot; undefined on systems without pid namespaces. */
function pidSpace(): string | undefined {
  try {
    return `${readlinkSync('/proc/self/ns/pid')} ${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}`
  } catch {
    return undefined
  }
}

/** The pids in the list of readers that lmdb prints. */
export const pidsOf = (list: string): ReadonlySet<number> => new Set([...list.matchAll(/^ *(\d+) /gm)].map(([, pid]) => Number(pid)))
