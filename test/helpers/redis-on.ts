import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Assertions } from '../suites/test.js'
import type { Hub } from './namespaces.js'
import { tempFolder } from './process.js'

/** A Redis on the hub's machine, which stays where it is; its port is free, because the namespace has no other servers. */
export async function redisOn(t: Pick<Assertions, 'teardown'>, hub: Hub): Promise<string> {
  const [command = '', ...args] = [...hub.exec, 'redis-server', '--port', '6379', '--bind', '10.77.0.1', '--protected-mode', 'no', '--save', '', '--dir', await tempFolder(t)]
  const server = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(server, 'exit')
  t.teardown(async () => {
    server.kill('SIGKILL')
    await ended
  })
  for await (const line of createInterface(server.stdout)) if (line.includes('Ready to accept')) break
  server.stdout.resume()
  return 'redis://10.77.0.1:6379'
}
