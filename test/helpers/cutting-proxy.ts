import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Assertions } from '../suites/test.js'

/** A proxy in front of a server that can lose the server's answers. */
export class CuttingProxy {
  /** Cuts each connection when the server answers: the request was executed, but its answer is lost. */
  losing = false
  readonly #sockets = new Set<Socket>()

  private constructor(readonly port: number) {}

  static async start(t: Pick<Assertions, 'teardown'>, target: number): Promise<CuttingProxy> {
    let proxy: CuttingProxy | undefined
    const server = createServer((near) => proxy?.join(near, createConnection(target, '127.0.0.1')))
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
    proxy = new CuttingProxy((server.address() as AddressInfo).port)
    t.teardown(() => {
      for (const socket of proxy.#sockets) socket.destroy()
      server.close()
    })
    return proxy
  }

  join(near: Socket, far: Socket): void {
    for (const [one, other] of [[near, far], [far, near]] as const) {
      this.#sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
    near.pipe(far)
    far.on('data', (answer) => {
      if (this.losing) near.destroy()
      else near.write(answer)
    })
  }
}
