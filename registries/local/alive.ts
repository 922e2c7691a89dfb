/**
 * Signs of life: a file for each listed stage, named by its id, whose modification time is the end of the lease that its
 * last heartbeat asked for. A heartbeat leaves the sign before it waits for the database's write lock, so a stage that
 * cannot write, because the machine is busy or another process holds the lock, is not taken for dead. A process that was
 * stopped or killed leaves no more signs.
 */
import { statSync } from 'node:fs'
import { mkdir, readdir, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** How long after its lease the file of a stage that crashed is kept. */
const KEEP_MS = 3_600_000

export class Alive {
  readonly #folder: string

  /** @param path  the folder of the database */
  constructor(path: string) {
    this.#folder = join(path, 'alive')
  }

  /** Leaves a sign for a lease until that time, in milliseconds of the wall clock. Without the sign the lease alone counts. */
  async show(id: string, until: number): Promise<void> {
    const file = join(this.#folder, id)
    const touch = (): Promise<void> => utimes(file, until / 1000, until / 1000)
    try {
      await touch().catch(async () => {
        await mkdir(this.#folder, { mode: 0o700 }).catch(() => {})
        await writeFile(file, '', { mode: 0o600 })
        await touch()
      })
    } catch {} // a full or read-only disk
  }

  /** The end of the lease that the stage asked for last; 0 if it has left no sign. */
  until(id: string): number {
    try {
      return statSync(join(this.#folder, id), { throwIfNoEntry: false })?.mtimeMs ?? 0
    } catch {
      return 0
    }
  }

  async remove(id: string): Promise<void> {
    await unlink(join(this.#folder, id)).catch(() => {})
  }

  /** Deletes the files of stages that crashed long ago. */
  async tidy(now: number): Promise<void> {
    for (const id of await readdir(this.#folder).catch(() => [])) {
      const found = await stat(join(this.#folder, id)).catch(() => undefined)
      if (found && found.mtimeMs + KEEP_MS < now) await this.remove(id)
    }
  }
}
