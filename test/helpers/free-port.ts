import { createServer } from 'node:net'

/**
 * A port on which nobody listens, and will not by chance: it is below those that systems give out for port 0 and for
 * outgoing connections, where another test would take it, or a dial of it would meet itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => { server.close(resolve) })
    return port
  }
}
