import { createServer, type Server } from 'node:net'

const ROWS = 100
const ROW = 200
let next = Math.floor(Math.random() * ROW)
const first = await ownRow()

/**
 * A port on which nobody listens, and will not by chance: it is below those that systems give out for port 0 and for
 * outgoing connections, where another test would take it, or a dial of it would meet itself. Each process has a row of
 * its own, as looking whether a port is free is listening there for a moment, and a server that was ended for a while
 * must not find that of another test in its place; it gives out none twice until all were.
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

/** Listens at the first port of a row as long as this process lives, so that no other takes the same. */
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
