import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'

/** A Redis on a socket file in this folder; it ends with this process. Resolves with the path. */
export async function startRedis(folder: string): Promise<string> {
  const home = mkdtempSync(join(folder, 'redis-'))
  const path = join(home, 'socket')
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--dir', home, '--save', ''], { stdio: ['ignore', 'pipe', 'ignore'] })
  process.once('exit', () => server.kill('SIGKILL'))
  await new Promise<void>((resolve, reject) => {
    createInterface(server.stdout).on('line', (line) => { if (/ready to accept connections/i.test(line)) resolve() })
    server.once('error', (error) => reject(new Error('redis-server is not installed', { cause: error })))
    server.once('exit', (code) => reject(new Error(`redis-server ended with ${code}`)))
  })
  return path
}
