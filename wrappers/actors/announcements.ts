/** The types of actors that other stages announce, as an index from a type to its hosts. */
import type { Entry, PeerChanges } from '../../src/types.js'
import { announced } from './address.js'
import { announcedBy } from './announced.js'

export class Announcements {
  /** The hosts of each announced type, by peer id. */
  readonly #hosts = new Map<string, Map<string, Entry>>()
  /** The announced types of each peer that hosts any. */
  readonly #types = new Map<string, readonly string[]>()
  /** Ids of peers that host single objects. */
  readonly #objects = new Set<string>()

  change({ listed, gone }: PeerChanges): void {
    for (const { id } of gone) this.#remove(id)
    for (const peer of listed) {
      this.#remove(peer.id)
      this.#add(peer)
    }
  }

  /** The peers with a type that matches the address. */
  hostsOf(address: string): Entry[] {
    const found = new Map<string, Entry>()
    for (const [type, hosts] of this.#hosts) {
      if (announced(type)?.match(address)) for (const [id, peer] of hosts) found.set(id, peer)
    }
    return [...found.values()]
  }

  /** Whether any peer has a type that matches the address. */
  hosted(address: string): boolean {
    for (const type of this.#hosts.keys()) if (announced(type)?.match(address)) return true
    return false
  }

  /** The announced types, each once. */
  get types(): Iterable<string> {
    return this.#hosts.keys()
  }

  /** The ids of all peers that host types. */
  get hosts(): Iterable<string> {
    return this.#types.keys()
  }

  /** Whether any peer hosts single objects, whose addresses match no type. */
  get objects(): boolean {
    return this.#objects.size > 0
  }

  #add(peer: Entry): void {
    const told = announcedBy(peer.announces)
    if (told?.objects) this.#objects.add(peer.id)
    const types = told?.types ?? []
    if (types.length === 0 || !types.every((type) => typeof type === 'string')) return
    this.#types.set(peer.id, types)
    for (const type of types) {
      const hosts = this.#hosts.get(type) ?? new Map<string, Entry>()
      this.#hosts.set(type, hosts.set(peer.id, peer))
    }
  }

  #remove(id: string): void {
    this.#objects.delete(id)
    for (const type of this.#types.get(id) ?? []) {
      const hosts = this.#hosts.get(type)
      hosts?.delete(id)
      if (hosts?.size === 0) this.#hosts.delete(type)
    }
    this.#types.delete(id)
  }
}
