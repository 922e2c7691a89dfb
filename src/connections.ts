/** Peers that were found by an address, and are listed nowhere: known as long as a link to them stands, or kept. */
import type { Directory } from './directory.js'
import { backoffMs } from './dial.js'
import { StageError, describe } from './errors.js'
import { disposable, type LetGo } from './kept.js'
import type { Links } from './links.js'
import { log } from './log.js'
import type { Clock, Peer, Random, Timer } from './types.js'
import { within } from './within.js'

export interface ConnectionsOptions {
  clock: Clock
  random: Random
  /** Name of the stage, for the log. */
  name: string
  timeoutMs: number
  directory: Directory
  links: Links
  closed(): boolean
}

/** An address that is dialled again whenever its link ends. */
interface Held {
  count: number
  /** Ids by which its holders know the stage there: it has another one after a restart. */
  readonly ids: Set<string>
  failures: number
  timer: Timer | undefined
  /** The dial that is under way. */
  dial: AbortController | undefined
}

export class Connections {
  /** By the id of the peer: the address by which it was found. */
  readonly #addresses = new Map<string, string>()
  readonly #held = new Map<string, Held>()
  readonly #dials = new Set<AbortController>()

  constructor(private readonly options: ConnectionsOptions) {}

  /** @throws StageError BAD_ARGUMENT · TIMEOUT · DISCONNECTED · CLOSED, and the errors of a handshake */
  async connect(addresses: readonly string[], ending = new AbortController()): Promise<Peer> {
    const { clock, timeoutMs, links } = this.options
    const late = (): StageError => {
      const error = new StageError('TIMEOUT', `no stage at ${addresses.map(describe).join(', ')} within ${timeoutMs} ms`, { executed: 'no', phase: 'connecting' })
      ending.abort(error)
      return error
    }
    this.#dials.add(ending)
    try {
      const { peer, address } = await within(clock, timeoutMs, links.connect(addresses, ending.signal), late)
      const held = this.#held.get(address)
      for (const [id, known] of this.#addresses) if (known === address && !held?.ids.has(id)) this.#addresses.delete(id)
      // of two addresses of one stage, the held one counts
      if (!this.holds(peer.id)) this.#addresses.set(peer.id, address)
      return peer
    } catch (error) {
      throw ending.signal.aborted ? ending.signal.reason as StageError : error
    } finally {
      this.#dials.delete(ending)
    }
  }

  /** Holds a link to the stage at the address of that peer, whichever id it has after a restart. @throws StageError BAD_ARGUMENT */
  keep(peer: Peer): LetGo {
    const address = this.#addresses.get(peer.id)
    if (address === undefined) {
      throw new StageError('BAD_ARGUMENT', `${peer.name} (${peer.id}) was not found by connect(): expected a peer that connect() has returned, or the name of a peer`)
    }
    const held: Held = this.#held.get(address) ?? { count: 0, ids: new Set(), failures: 0, timer: undefined, dial: undefined }
    this.#held.set(address, held)
    held.count++
    held.ids.add(peer.id)
    let holds = true
    return disposable(() => {
      if (holds && --held.count === 0 && this.#held.get(address) === held) this.#release(address)
      holds = false
    })
  }

  /** Drops all holds of the address of that peer. @returns a release without effect */
  drop(peer: Peer): LetGo {
    const address = this.#addresses.get(peer.id)
    if (address !== undefined) this.#release(address)
    return disposable(() => {})
  }

  /** Whether the address of that peer is dialled again when its link ends. */
  holds(id: string): boolean {
    const address = this.#addresses.get(id)
    return address !== undefined && this.#held.has(address)
  }

  /** Ends the link with a goodbye, also if the stage at that address has another id by now, and dials the address no more. */
  async disconnect(peer: Peer): Promise<void> {
    const address = this.#addresses.get(peer.id)
    const ids = [peer.id, ...[...this.#addresses].flatMap(([id, known]) => known === address ? [id] : [])]
    if (address !== undefined) this.#release(address)
    await Promise.all([...new Set(ids)].map((id) => this.options.links.end(id)))
  }

  /** The link to that peer has ended. */
  lost(peer: Peer): void {
    const { directory, links } = this.options
    if (links.active(peer.id)) return
    directory.abandon(peer.id)
    const address = this.#addresses.get(peer.id)
    // while it is dialled again, disconnect(peer) still finds the address
    if (!this.holds(peer.id)) this.#addresses.delete(peer.id)
    if (address !== undefined) this.#again(address)
  }

  close(): void {
    for (const { timer } of this.#held.values()) timer?.cancel()
    for (const dial of this.#dials) dial.abort(new StageError('CLOSED', 'this stage was closed'))
    this.#held.clear()
    this.#addresses.clear()
  }

  #release(address: string): void {
    const held = this.#held.get(address)
    held?.timer?.cancel()
    held?.dial?.abort(new StageError('CANCELLED', `the address ${address} was let go`))
    this.#held.delete(address)
    for (const [id, known] of this.#addresses) if (known === address && !this.options.links.active(id)) this.#addresses.delete(id)
  }

  /** Dials a kept address again, with the back-off of links, for ever. */
  #again(address: string): void {
    const held = this.#held.get(address)
    const { clock, random, name, closed } = this.options
    if (!held || held.timer || closed()) return
    held.timer = clock.setTimeout(() => {
      held.timer = undefined
      held.dial = new AbortController()
      this.connect([address], held.dial).finally(() => { held.dial = undefined }).then(() => { held.failures = 0 }, (error: StageError) => {
        if (this.#held.get(address) !== held) return
        if (held.failures++ === 0) log(name, `cannot reach the kept address ${address}: ${error.message}`)
        this.#again(address)
      })
    }, backoffMs(random, held.failures + 1))
  }
}
