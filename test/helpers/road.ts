import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'

/** A proxy between stages and a server: a road that can be closed, lose everything, or lead to another server. */
export class Road {
  state: 'open' | 'closed' | 'silent' = 'open'
  /** Once a client has sent this text, everything after it is lost. */
  lastWords: string | undefined
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((near) => this.#join(near))

  private constructor(public target: number) {}

  static async to(target: number): Promise<Road> {
    const road = new Road(target)
    await new Promise<void>((resolve) => { road.#server.listen(0, '127.0.0.1', resolve) })
    return road
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Ends all connections, as the end of a server does. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }

  #join(near: Socket): void {
    if (this.state === 'closed') return void near.destroy()
    const far = createConnection(this.target, '127.0.0.1')
    for (const [one, other] of [[near, far], [far, near]] as const) {
      this.#sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        this.#sockets.delete(one)
        if (this.state !== 'silent') other.destroy() // else the other end does not learn of it
      })
      one.on('data', (chunk: Buffer) => {
        if (this.state === 'silent') return
        other.write(chunk)
        if (this.lastWords !== undefined && one === near && chunk.includes(this.lastWords)) this.state = 'silent'
      })
    }
  }
}
