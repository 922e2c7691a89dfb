import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Assertions } from '../suites/test.js'

/** A proxy between stages and a server: a road that can be closed, lose something, or lead to another server. */
export class Road {
  /** `losing`: a connection is cut when the server answers, so that the request was executed but its answer is lost. */
  state: 'open' | 'closed' | 'silent' | 'losing' = 'open'
  /** Once a client has sent this text, everything after it is lost. */
  lastWords: string | undefined
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((near) => this.#join(near))

  private constructor(public target: number) {}

  static async start(t: Pick<Assertions, 'teardown'>, target: number): Promise<Road> {
    const road = new Road(target)
    await new Promise<void>((resolve) => { road.#server.listen(0, '127.0.0.1', resolve) })
    t.teardown(async () => {
      road.cut()
      road.#server.close()
    })
    return road
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Ends all connections, as the end of a server does. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
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
        if (this.state === 'losing' && one === far) return void near.destroy()
        other.write(chunk)
        if (this.lastWords !== undefined && one === near && chunk.includes(this.lastWords)) this.state = 'silent'
      })
    }
  }
}
