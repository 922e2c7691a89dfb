/**
 * Stages whose process ended before they were closed: empty files, named by their ids, in a folder beside the database.
 * A process that ends has one synchronous moment, in which it may wait for nothing, and the database's write lock may
 * be held by a process that was stopped. Creating a file needs no lock.
 *
 * Views leave these ids out, and each step takes them out of the database. A file is deleted when its entry is out and
 * no write that its process left behind can list it again.
 */
import { lstatSync, mkdirSync, readdirSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { join } from 'node:path'
import { uid } from '../../src/own-folder.js'

/** How long a write that was under way when its process ended may take; it is milliseconds unless the lock is held. */
const KEEP_MS = 10_000
/** The longest TTL: a lease of somebody who left before that has ended, even where nobody comes to take it out. */
const DAY_MS = 86_400_000
const NONE: ReadonlySet<string> = new Set()

/** The ids that are in the folder. All of it is synchronous: one system call where there is no folder, as nearly always. */
export class Gone {
  readonly #folder: string
  #ids = NONE

  /** @param path  the folder of the database */
  constructor(path: string) {
    this.#folder = join(path, 'gone')
  }

  /** Reads the folder; the same set as the last time if nothing has changed. */
  look(): ReadonlySet<string> {
    const ids = this.#read()
    if (ids.length !== this.#ids.size || !ids.every((id) => this.#ids.has(id))) this.#ids = ids.length > 0 ? new Set(ids) : NONE
    return this.#ids
  }

  /** Never throws and never waits: an entry whose file cannot be written lapses, as after a crash. */
  write(id: string): void {
    for (let tries = 0; tries < 3; tries++) { // other processes create the folder and delete it at the same moment
      try {
        if (!this.#stat()) mkdirSync(this.#folder, { mode: 0o700 })
        if (isOwn(this.#stat())) writeFileSync(join(this.#folder, id), '', { mode: 0o600 })
        return
      } catch {}
    }
  }

  /**
   * Deletes the files that have done their work, and the folder with the last one.
   * @param listed  ids that are in the database, of any namespace
   */
  tidy(listed: ReadonlySet<string>, now: number): void {
    for (const id of this.look()) {
      const file = join(this.#folder, id)
      try {
        if (now - statSync(file).mtimeMs > (listed.has(id) ? DAY_MS : KEEP_MS)) unlinkSync(file)
      } catch {} // another process was quicker
    }
    try {
      if (this.look().size === 0) rmdirSync(this.#folder)
    } catch {}
  }

  #read(): readonly string[] {
    try {
      return isOwn(this.#stat()) ? readdirSync(this.#folder).filter((name) => /^[\w-]{1,64}$/.test(name)) : []
    } catch {
      return [...this.#ids] // who has left does not come back because this process has too many files open
    }
  }

  #stat(): Stats | undefined {
    return lstatSync(this.#folder, { throwIfNoEntry: false })
  }
}

/** A folder that other users can write to is ignored: any of them could make our stages leave. */
const isOwn = (found: Stats | undefined): boolean =>
  found?.isDirectory() === true && (uid() === undefined || (found.uid === uid() && (found.mode & 0o022) === 0))

/** What is listed by this process, or is about to be: one listener for all of it, while there is any. */
const leaving = new Set<Leaving>()
const onexit = (): void => { for (const one of leaving) one.write() }

/** The ids that one registry has listed; they are written to their folders when the process, or the worker thread, ends. */
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
