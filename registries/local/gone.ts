/**
 * Stages whose process ended without closing them: empty files, named by stage id, in a folder beside the database. A
 * process that exits has only synchronous code left and cannot wait for the database's write lock, which a stopped process
 * may hold. Creating a file needs no lock.
 *
 * Views leave these ids out, and each step removes them from the database. A file is deleted once its entry is removed and
 * no pending write of the ended process can list it again.
 */
import { lstatSync, mkdirSync, readdirSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { join } from 'node:path'
import { uid } from '../../src/own-folder.js'

/** How long a write may take that was pending when its process ended; milliseconds, unless another process holds the lock. */
const KEEP_MS = 10_000
/** The longest TTL: after that a lease of an ended process has expired, even if nobody ever removes its entry. */
const DAY_MS = 86_400_000
const NONE: ReadonlySet<string> = new Set()

/** The ids in the folder. All calls are synchronous: usually there is no folder, and a read costs one system call. */
export class Gone {
  readonly #folder: string
  #ids = NONE

  /** @param path  the folder of the database */
  constructor(path: string) {
    this.#folder = join(path, 'gone')
  }

  /** Reads the folder; returns the same set as last time if nothing has changed. */
  look(): ReadonlySet<string> {
    const ids = this.#read()
    if (ids.length !== this.#ids.size || !ids.every((id) => this.#ids.has(id))) this.#ids = ids.length > 0 ? new Set(ids) : NONE
    return this.#ids
  }

  /** Never throws and never waits: an entry whose file cannot be written lapses, as after a crash. */
  write(id: string): void {
    for (let tries = 0; tries < 3; tries++) { // other processes may create or delete the folder at the same moment
      try {
        if (!this.#stat()) mkdirSync(this.#folder, { mode: 0o700 })
        if (isOwn(this.#stat())) writeFileSync(join(this.#folder, id), '', { mode: 0o600 })
        return
      } catch {}
    }
  }

  /**
   * Deletes files that are no longer needed, and the folder with the last file.
   * @param listed  ids that are in the database, of any namespace
   */
  tidy(listed: ReadonlySet<string>, now: number): void {
    for (const id of this.look()) {
      const file = join(this.#folder, id)
      try {
        if (now - statSync(file).mtimeMs > (listed.has(id) ? DAY_MS : KEEP_MS)) unlinkSync(file)
      } catch {} // another process deleted it first
    }
    try {
      if (this.look().size === 0) rmdirSync(this.#folder)
    } catch {}
  }

  #read(): readonly string[] {
    try {
      return isOwn(this.#stat()) ? readdirSync(this.#folder).filter((name) => /^[\w-]{1,64}$/.test(name)) : []
    } catch {
      return [...this.#ids] // a failed read, such as with too many open files, must not bring ended stages back
    }
  }

  #stat(): Stats | undefined {
    return lstatSync(this.#folder, { throwIfNoEntry: false })
  }
}

/** A folder that other users can write to is ignored: any of them could make our stages leave. */
const isOwn = (found: Stats | undefined): boolean =>
  found?.isDirectory() === true && (uid() === undefined || (found.uid === uid() && (found.mode & 0o022) === 0))

/** Registries of this process with listed entries, or entries about to be listed. While there are any, they share one exit listener. */
const leaving = new Set<Leaving>()
const onexit = (): void => { for (const one of leaving) one.write() }

/** Ids that a registry has listed, written to their folders when the process or worker thread ends. */
export class Leaving {
  readonly #ids = new Map<string, Gone>()

  add(id: string, gone: Gone): void {
    this.#ids.set(id, gone)
    if (leaving.size === 0) process.on('exit', onexit)
    leaving.add(this)
  }

  delete(id: string): void {
    this.#ids.delete(id)
    if (this.#ids.size > 0 || !leaving.delete(this)) return
    if (leaving.size === 0) process.off('exit', onexit)
  }

  clear(): void {
    for (const id of this.#ids.keys()) this.delete(id)
  }

  write(): void {
    for (const [id, gone] of this.#ids) gone.write(id)
  }
}
