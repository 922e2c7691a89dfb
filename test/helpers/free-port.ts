import { createServer } from 'node:net'

const ROWS = 100
const ROW = 200
let next = Math.floor(Math.random() * ROW)

/**
 * A port on which nobody listens, and will not by chance: it is below those that systems give out for port 0 and for
 * outgoing connections, where another test would take it, or a dial of it would meet itself. Each process has a row of
 * its own, as looking whether a port is free is listening there for a moment, and gives out none twice.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + process.pid % ROWS * ROW + next++ % ROW
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => { server.close(resolve) })
    return port
  }
}
