import { spawnSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Assertions } from '../suites/test.js'

type T = Pick<Assertions, 'teardown'>

/** A clock of its own for the servers that are started in `running`, by a library that is compiled for the occasion. */
export class OwnClock {
  readonly #folder = mkdtempSync(join(tmpdir(), 'stagemesh-clock-'))
  readonly #file = join(this.#folder, 'offset')
  readonly #library = join(this.#folder, 'clock.so')

  constructor(t: T) {
    this.set(0)
    t.teardown(async () => rmSync(this.#folder, { recursive: true, force: true }))
    const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', this.#library, 'test/faults/clock.c'], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`test/faults/clock.c could not be compiled: ${stderr}`)
    spawnSync('chmod', ['-R', 'a+rX', this.#folder]) // servers run as other users
  }

  set(seconds: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(seconds))
    const file = openSync(this.#file, constants.O_RDWR | constants.O_CREAT) // not emptied, as servers have it in their memory
    writeSync(file, bytes, 0, 8, 0)
    closeSync(file)
  }

  async running<R>(run: () => Promise<R>): Promise<R> {
    Object.assign(process.env, { LD_PRELOAD: this.#library, CLOCK_FILE: this.#file })
    try {
      return await run()
    } finally {
      delete process.env['LD_PRELOAD']
      delete process.env['CLOCK_FILE']
    }
  }
}
