/** The time from the start of a process to its first answer; server and client are one process. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { median } from '../median.js'
import type { Adapter } from '../adapter.js'

const RUNS = 11
const PROGRAMS = {
  raw: `import net from 'node:net'
    const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1').once('data', () => process.exit())
      client.write('hello')
    })`,
  memory: `import { Stage } from 'stagemesh'
    new Stage('api', 'memory:').to('*').provide('echo', (value) => value)
    await new Stage('web', 'memory:').to('api').call('echo', 'hello')
    process.exit()`,
  only: `import 'stagemesh'
    process.exit()`,
}

async function took(program: string): Promise<number> {
  const started = performance.now()
  await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { cwd: import.meta.dirname })
  return performance.now() - started
}

export const startup: Adapter = {
  serve: () => Promise.resolve(''),
  connect: () => Promise.resolve({
    async figures() {
      const all: Record<keyof typeof PROGRAMS, number[]> = { raw: [], memory: [], only: [] }
      for (let run = 0; run < RUNS; run++) for (const [name, program] of Object.entries(PROGRAMS)) all[name as keyof typeof PROGRAMS].push(await took(program))
      const [raw, memory, only] = [all.raw, all.memory, all.only].map(median) as [number, number, number]
      return { 'raw: a process and its first answer, ms': raw, 'memory: the same, more than raw, ms': memory - raw, 'importing alone, more than raw, ms': only - raw }
    },
  }),
}
