import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './free-port.js'

/** Starts a Redis with its data in this folder, which ends with this process. Resolves with its URL. */
export async function startRedis(folder: string): Promise<string> {
  const port = await freePort()
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', mkdtempSync(join(folder, 'redis-')), '--save', ''], { stdio: ['ignore', 'pipe', 'ignore'] })
  process.once('exit', () => server.kill('SIGKILL'))
  await new Promise<void>((resolve, reject) => {
    createInterface(server.stdout).on('line', (line) => { if (/ready to accept connections/i.test(line)) resolve() })
    server.once('error', (error) => reject(new Error('redis-server is not installed', { cause: error })))
    server.once('exit', (code) => reject(new Error(`redis-server ended with ${code}`)))
  })
  return `redis://127.0.0.1:${port}`
}
