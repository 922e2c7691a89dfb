/**
 * An interface of one's own: streams between the processes of one machine, over sockets that are files.
 * The same page, explained, is in `docs/extending.md`.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { MemoryRegistry, Stage, type Interface } from 'stagemesh'

const ignore = (): void => {}

export class FileSocketInterface implements Interface {
  readonly scheme = 'file'
  readonly #path: string
  #server: Server | undefined
  #closed = false

  /** @param folder  where its socket is made */
  constructor(folder: string) {
    this.#path = join(folder, `${randomUUID().slice(0, 8)}.sock`)
  }

  async listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    if (this.#closed) throw new Error('this interface was closed')
    this.#server = createServer({ allowHalfOpen: true }, (socket) => onstream(honest(socket)))
    this.#server.listen(this.#path)
    await once(this.#server, 'listening')
    return [`file://${this.#path}`]
  }

  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    const path = address.slice('file://'.length)
    const socket = honest(connect({ path, allowHalfOpen: true }))
    try {
      await once(socket, 'connect', { signal })
      return socket
    } catch (error) {
      socket.destroy()
      if (signal.aborted) throw signal.reason
      // a socket whose file is gone is one where nobody listens
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw Object.assign(new Error(`connect ECONNREFUSED ${path}`, { cause: error }), { code: 'ECONNREFUSED' })
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#server?.close() // the streams belong to whoever got them, and stay
  }
}

function honest(socket: Socket): Socket {
  socket.on('error', ignore) // until its owner listens
  return socket
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'own-interface-'))
  const registry = new MemoryRegistry()
  const api = new Stage('api', registry, new FileSocketInterface(folder))
  const web = new Stage('web', registry, new FileSocketInterface(folder))
  api.to('*').provide('greet', (name: string) => `hi there, ${name}`)

  console.log(await web.to('api').call('greet', 'bob'))
  console.log(web.peers()[0]?.addresses[0]?.replace(folder, '…').replace(/\w+\.sock/, '….sock'))

  await web.close()
  await api.close()
  await rm(folder, { recursive: true })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
