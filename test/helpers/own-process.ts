import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import type { Interface } from '../../src/types.js'

/** The path of one of our modules once compiled: `interfaces/tcp.js`. */
export const compiled = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/**
 * In a process of its own, an interface that `make` makes from the module listens, is dialled and is closed. The process
 * must stay alive while the interface listens, and end by itself afterwards.
 */
export async function endsByItself<M>(t: ExecutionContext, module: string, make: (module: M) => Interface): Promise<void> {
  const script = `
    const module = await import(${JSON.stringify(compiled(module))})
    const one = (${make.toString()})(module)
    const [address] = await one.listen((stream) => stream.resume().end())
    process.once('beforeExit', () => console.log('idle'))
    process.stdin.on('end', () => process.exit(1))
    process.stdin.once('data', async () => {
      process.stdin.destroy()
      const stream = await one.connect(address, new AbortController().signal)
      stream.resume().end()
      stream.once('close', async () => { await one.close(); console.log('closed') })
    }).unref()
    console.log('listening')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => void child.kill('SIGKILL'))
  const exit = once(child, 'close')
  let told = ''
  child.stdout.on('data', (chunk: Buffer) => { told += chunk.toString() })
  await once(child.stdout, 'data')
  child.stdin.write('go\n')
  t.deepEqual(await exit, [0, null])
  t.is(told, 'listening\nclosed\nidle\n')
}
