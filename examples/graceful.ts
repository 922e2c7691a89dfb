/**
 * SIGTERM that drains: calls in flight are answered, new calls go elsewhere, then the process ends by itself.
 *
 * Without an argument, the program is the caller: it starts itself again as the server, and sends the signal during a call.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Stage, StageError } from 'stagemesh'

if (process.argv[2]) await serve(process.argv[2])
else await main()

async function serve(registry: string): Promise<void> {
  const stage = new Stage('server', { registry })
  stage.to('*').provide('slow', async (begun: () => Promise<void>) => {
    await begun()
    await sleep(500)
    return 'the whole answer'
  })

  // these three lines are the example
  process.once('SIGTERM', async () => {
    await stage.close()
  })
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-graceful-'))
  const server = fork(fileURLToPath(import.meta.url), [`local:${folder}`])
  const exited = once(server, 'exit')
  const stage = new Stage('caller', { registry: `local:${folder}` })
  try {
    // the handler calls this function as soon as it runs; the function then sends SIGTERM to the server
    const answer: string = await stage.to('server').call('slow', () => {
      console.log('the call is being served: SIGTERM')
      server.kill('SIGTERM')
    })
    console.log(`answered: ${answer}`)
    const [code, signal] = await exited as [number | null, string | null]
    console.log(`the server ended with ${signal ?? code}`)
    const error: unknown = await stage.to('server', { timeoutMs: 500 }).call('slow', () => {}).catch((thrown: unknown) => thrown)
    console.log(`the next call: ${error instanceof StageError ? error.code : String(error)}`)
    process.exitCode = code === 0 ? 0 : 1
  } finally {
    server.kill('SIGKILL')
    await stage.close()
    await rm(folder, { recursive: true, force: true })
  }
}
