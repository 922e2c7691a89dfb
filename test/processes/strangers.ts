/**
 * A process without the secret that keeps as many connections open as it can: it replaces each closed connection at once.
 */
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { answering } from '../helpers/answering.js'
import { hello, packet } from '../helpers/raw-peer.js'

export interface Attack {
  /** `tcp://127.0.0.1:port` or `ipc:///path` */
  address: string
  /**
   * The data on each connection: nothing, half a HELLO, a byte from time to time, or a HELLO with one of these ids or a new
   * id each time.
   */
  says: 'nothing' | 'half' | 'drip' | 'hello'
  ids?: readonly [id: string, name: string][]
  /** Concurrent connections. */
  count: number
  /** The number of loopback addresses to connect from. */
  places: number
}

export type StrangerOrders = {
  attack(attack: Attack): Promise<void>
  /** The number of connections so far. */
  made(): Promise<number>
}

let made = 0

function open(attack: Attack, index: number): void {
  const { address, places } = attack
  const [, port] = /^tcp:.*:(\d+)$/.exec(address) ?? []
  const socket = port ? connect({ host: '127.0.0.1', port: Number(port), localAddress: `127.0.0.${2 + index % places}` }) : connect(address.replace('ipc://', ''))
  socket.on('error', () => {})
  socket.on('connect', () => { made++; say(socket, attack, index) })
  socket.on('close', () => setImmediate(open, attack, index))
  socket.resume()
}

function say(socket: Socket, { address, says, ids }: Attack, index: number): void {
  if (says === 'nothing') return
  const [id, name] = ids?.[index % ids.length] ?? [randomBytes(12).toString('base64url'), 'mallory']
  const greeting = packet(hello({ nonce: randomBytes(32).toString('base64url'), secret: true, from: { id, name, addresses: [] } }))
  const head = Buffer.alloc(6) // over a unix socket each piece goes behind its length
  head.writeUIntBE(greeting.length, 0, 6)
  const bytes = address.startsWith('ipc:') ? Buffer.concat([head, greeting]) : greeting
  if (says === 'hello') return void socket.write(bytes)
  if (says === 'half') return void socket.write(bytes.subarray(0, bytes.length / 2))
  let at = 0
  const timer = setInterval(() => { socket.write(bytes.subarray(at, ++at)) }, 20)
  socket.on('close', () => { clearInterval(timer) })
}

const orders: StrangerOrders = {
  async attack(attack) {
    for (let i = 0; i < attack.count; i++) open(attack, i)
  },
  made: async () => made,
}
answering(orders)
