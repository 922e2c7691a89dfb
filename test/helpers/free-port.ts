import { createServer, type Server } from 'node:net'

const ROWS = 100
const ROW = 200
let next = Math.floor(Math.random() * ROW)
const first = await ownRow()

/**
 * A port on which nobody listens, and will not listen by chance. It is below the ports that systems assign for port 0 and
 * for outgoing connections: among those, another test could take it, or a dial to it could connect to itself. Each process
 * has its own row of ports: checking whether a port is free means listening on it for a moment, and a server that was
 * stopped for a while must not find the port taken by another test. A process hands out no port twice until it has handed
 * out all of its row.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + 1 + next++ % (ROW - 1)
    const server = await listening(port)
    if (!server) continue
    await new Promise((resolve) => { server.close(resolve) })
    return port
  }
}

/** Listens at the first port of a row for as long as this process lives, so that no other process takes the same row. */
async function ownRow(): Promise<number> {
  for (let row = process.pid; row < process.pid + ROWS; row++) {
    const port = 10_000 + row % ROWS * ROW
    const server = await listening(port)
    if (!server) continue
    server.unref()
    return port
  }
  throw new Error(`no port from 10000 on is free: ${ROWS} processes have ${ROW} each`)
}

function listening(port: number): Promise<Server | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined)).listen(port, '127.0.0.1', () => resolve(server))
  })
}
