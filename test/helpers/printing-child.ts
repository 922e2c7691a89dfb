import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import type { Assertions } from '../suites/test.js'
import { compiled } from './own-process.js'

type T = Pick<Assertions, 'teardown'>

/** A process that reports its steps in lines, and gets its orders in lines. */
export class Child {
  readonly lines: string[] = []
  readonly ended: Promise<void>

  private constructor(readonly process: ChildProcess) {
    createInterface(process.stdout!).on('line', (line) => this.lines.push(line))
    process.stdin!.on('error', () => {}) // the process has ended
    this.ended = new Promise((resolve) => process.once('close', () => resolve()).once('error', () => resolve())) // an error comes if, for example, the user may not run it
  }

  /** @param program  a file of this folder, without `.js` */
  static start(t: T, program: string, ...args: string[]): Child {
    return Child.with(t, {}, program, ...args)
  }

  static with(t: T, options: SpawnOptions, program: string, ...args: string[]): Child {
    const child = new Child(spawn(process.execPath, [compiled(`test/helpers/${program}.js`), ...args], { ...options, stdio: ['pipe', 'pipe', 'inherit'] }))
    t.teardown(() => child.kill())
    return child
  }

  say(line: string): void {
    this.process.stdin!.write(`${line}\n`)
  }

  kill(): Promise<void> {
    this.process.kill('SIGKILL')
    return this.ended
  }

  async stopped(): Promise<boolean> {
    return / T /.test(await readFile(`/proc/${this.process.pid}/stat`, 'utf8'))
  }
}

/** The longest time for which its event loop was blocked. */
export function stallMeter(t: T): () => number {
  let last = performance.now()
  let worst = 0
  const timer = setInterval(() => {
    worst = Math.max(worst, performance.now() - last - 10)
    last = performance.now()
  }, 10)
  t.teardown(() => clearInterval(timer))
  return () => worst
}
