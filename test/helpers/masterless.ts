/** The class of masterless, on stages: its own suite runs on it. */
import { EventEmitter } from 'node:events'
import { Stage, TcpInterface, type Peer } from '../../src/index.js'

export class Server extends EventEmitter {
  readonly stage: Stage
  #address: string | null = null
  readonly #peers = new Map<string, Peer>()
  readonly #kept = new Map<string, (() => void) | null>()

  constructor(readonly id: string, options: { port?: number, host?: string } = {}) {
    super()
    const stage = this.stage = new Stage(id, { registry: 'none:', interfaces: new TcpInterface(options) })
    stage.on('listening', ([address]) => { this.#address = address; this.emit('listening', address) })
    stage.on('link', (peer) => {
      // whoever keeps a node is not told that it was dialled again
      const again = this.#peers.has(peer.name) && stage.links().some((link) => link.peer.id === peer.id && link.dialled)
      // masterless tells of a node once that has the link too: then the node has said what it provides
      if (!again) stage.to(peer).methods().then(() => this.emit('connect', peer.name), () => {})
    })
    stage.on('unlink', (peer) => this.emit('disconnect', peer.name))
    stage.on('message', (peer, value) => this.emit('message', peer.name, value))
  }

  info(): string | null { return this.#address }
  send(to: string | string[], packet: unknown): boolean { return Boolean(this.stage.send(to as string, packet)) }
  disconnect(id: string): void { for (const { peer } of this.stage.links()) if (peer.name === id) void this.stage.disconnect(peer) }
  close(done: () => void = () => {}): void { void this.stage.close().then(done) }
  connect(address: string): void {
    const found = (peer: Peer): void => { this.#peers.set(peer.name, peer); if (this.#kept.get(peer.name) !== null) this.keep(peer.name) }
    void this.stage.connect(address).then(found, () => {})
  }

  keep(id: string, hold = true): void {
    const peer = this.#peers.get(id)
    this.#kept.get(id)?.()
    this.#kept.set(id, hold ? peer ? this.stage.keep(peer) : () => {} : null)
    if (!hold && peer) void this.stage.disconnect(peer)
  }
}
