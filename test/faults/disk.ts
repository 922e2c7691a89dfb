import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Assertions } from '../suites/test.js'

type T = Pick<Assertions, 'teardown'>

/** A small disk, on which the files of a server are if the fault needs it. */
export class Disk {
  readonly #path = mkdtempSync(join(tmpdir(), 'stagemesh-disk-'))

  private constructor() {}

  static make(t: T, megabytes: number): Disk {
    const disk = new Disk()
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=777`, 'tmpfs', disk.#path], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`no disk could be mounted: ${stderr}`)
    t.teardown(async () => {
      spawnSync('umount', ['-l', disk.#path])
      rmSync(disk.#path, { recursive: true, force: true })
    })
    return disk
  }

  /** Runs something whose temporary folders are then on this disk. */
  async hosting<R>(run: () => Promise<R> | R): Promise<R> {
    const before = process.env['TMPDIR']
    process.env['TMPDIR'] = this.#path
    try {
      return await run()
    } finally {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
    }
  }

  fill(): void {
    const file = openSync(join(this.#path, 'filler'), 'w')
    try {
      for (const chunk of [Buffer.alloc(1 << 20), Buffer.alloc(4096)]) {
        try {
          for (;;) if (writeSync(file, chunk) < chunk.length) break
        } catch {} // it is full
      }
    } finally {
      closeSync(file)
    }
  }

  empty(): void {
    rmSync(join(this.#path, 'filler'), { force: true })
  }
}
