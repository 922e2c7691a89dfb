/**
 * lmdb tells processes apart by their pids alone, and their threads by their thread ids. Within one pid namespace those
 * are unique. Two containers may both have a pid 1, of which the second one is refused its locks; and where the ids of two
 * threads are the same, the end of one can release the write lock that the other one holds.
 *
 * lmdb also knows which pids are alive that have the folder open, by locks that end with their process, whatever its
 * namespace. So each process leaves a file beside the database, named by its pid, which says what namespace that is of.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, readlinkSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { readFile, readdir, stat, unlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'

/** A file of a process that has ended is kept so long: one that is just about to open the database has written its own already. */
const KEEP_MS = 60_000
/** So long a process may take to open the database; one that took longer has ended meanwhile. */
const OPENING_MS = 2000
const SETTLED = ' open'

export const ELSEWHERE = 'processes of another container or machine have this folder open, and lmdb can only tell processes of one pid namespace apart: '
  + 'let all of them share one (docker run --pid=host or --pid=container:NAME, shareProcessNamespace: true for the containers of a pod), or use a registry on redis:'

/** Who has the folder open: `free` only this pid namespace, `taken` another one; with `both` ask again in a moment, as it is just being decided. */
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
   * Takes the pid, before this process takes a lock of that pid. Never fails: who cannot write there, as in another user's
   * folder, is not seen by others.
   * @param alive  the pids that have the database open
   */
  claim(alive: ReadonlySet<number>, now: number): Tenancy {
    const space = this.#space
    if (space === undefined) return 'free'
    const before = this.#read()
    if (before === undefined) return this.#create(space)
    if (this.#own(before)) return 'free' // of another thread, or of a process that has ended
    if (alive.has(process.pid)) return 'taken'
    if (!before.endsWith(SETTLED) && now - (statSync(this.#file, { throwIfNoEntry: false })?.mtimeMs ?? now) < OPENING_MS) return 'both'
    try {
      writeFileSync(this.#file, space) // that process has ended
    } catch {
      return 'free'
    }
    return 'both' // another one may have seen the same, and the last that writes has it
  }

  /**
   * Whether all that have the database open are of this pid namespace, once it is open.
   * @param alive  the pids that have
   */
  async look(alive: ReadonlySet<number>): Promise<Tenancy> {
    const space = this.#space
    if (space === undefined) return 'free'
    const texts = await Promise.all([...alive].filter((pid) => pid !== process.pid).map((pid) => readFile(join(this.#folder, String(pid)), 'utf8').catch(() => space)))
    const others = texts.filter((text) => !this.#own(text))
    if (others.length === 0) return 'free'
    // one that is empty is being written
    return others.some((text) => text.endsWith(SETTLED) || (text !== '' && text < space)) ? 'taken' : 'both'
  }

  /** The database stays open. */
  settle(): void {
    try {
      if (this.#read() === this.#space) appendFileSync(this.#file, SETTLED)
    } catch {}
  }

  /** Keeps cleaners from it. @param seconds  since 1970 */
  async touch(seconds: number): Promise<void> {
    await utimes(this.#file, seconds, seconds)
  }

  /** It does not. */
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
      if (!existsSync(this.#folder)) mkdirSync(this.#folder) // in a folder that is there: one that was deleted is not ours to make
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
      } catch {} // another process was quicker
    }
  }
}

/** The pid namespace, whose number is unique until the machine starts anew; undefined where the system has no such thing. */
function pidSpace(): string | undefined {
  try {
    return `${readlinkSync('/proc/self/ns/pid')} ${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}`
  } catch {
    return undefined
  }
}

/** The pids in the list of readers that lmdb prints. */
export const pidsOf = (list: string): ReadonlySet<number> => new Set([...list.matchAll(/^ *(\d+) /gm)].map(([, pid]) => Number(pid)))
