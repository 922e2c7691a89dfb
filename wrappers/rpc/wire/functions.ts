import { StageError } from '../../../src/errors.js'
import type { Mesh } from '../../../src/types.js'
import type { Callable, Refs } from '../../codec.js'
import { refuse } from '../../codec/sendable.js'
import { REFS_MAX } from './messages.js'

/** Encodes and decodes the handles of a layer above. */
export type Referring = Required<Pick<Refs, 'refer' | 'resolve'>>

/** Asks the layers of a chain for their handles, and only when a handle occurs. */
export const referring = (mesh: Pick<Mesh, 'references'>): Referring => ({
  refer: (reference) => {
    const text = mesh.references()?.refer(reference)
    return text ?? refuse('refers to an object that no layer of this chain knows: send its name')
  },
  resolve: (text) => {
    const references = mesh.references()
    if (!references) throw new StageError('PROTOCOL_ERROR', 'a reference that no layer of this chain knows')
    return references.resolve(text)
  },
})

/** A function of this stage that the peer holds. */
interface Given {
  fn: Callable
  /** How often the function was sent and not yet released. */
  held: number
}

/** A function of the peer that is in use here. */
interface Received {
  stub: WeakRef<Callable>
  /** How often the function has come, which the peer is told on release. */
  count: number
}

/** The functions passed over one link, in both directions, with reference counts so that none outlives its use. */
export class Functions implements Refs {
  readonly #given = new Map<number, Given>()
  readonly #ids = new Map<Callable, number>()
  readonly #received = new Map<number, Received>()
  readonly #registry = new FinalizationRegistry<number>((id) => this.#forget(id))
  #next = 1
  #lending = false
  #lent: number[] | undefined

  /**
   * @param stub     makes the stub of the peer's function of that number
   * @param release  tells the peer that its function is held so many times less
   */
  constructor(private readonly stub: (id: number) => Callable, private readonly release: (id: number, count: number) => void) {}

  /** Functions held for the peer, and stubs of its functions that are in use here. */
  get size(): number {
    return this.#given.size + this.#received.size
  }

  get(id: number): Callable | undefined {
    return this.#given.get(id)?.fn
  }

  give(fn: Callable): number {
    let id = this.#ids.get(fn)
    if (id === undefined) {
      if (this.#given.size >= REFS_MAX) {
        throw new StageError('OVERLOADED', `the peer holds ${REFS_MAX} functions of this stage over one link: no more can be passed`)
      }
      id = this.#next++ >>> 0
      this.#ids.set(fn, id)
      this.#given.set(id, { fn, held: 0 })
    }
    ;(this.#given.get(id) as Given).held++
    if (this.#lending) (this.#lent ??= []).push(id)
    return id
  }

  /** Records the numbers that are given from now on. */
  lend(): void {
    this.#lending = true
  }

  /** @returns the numbers given since `lend`, if any */
  lent(): readonly number[] | undefined {
    const lent = this.#lent
    this.#lending = false
    this.#lent = undefined
    return lent
  }

  back(id: number): void {
    this.released(id, 1)
  }

  take(id: number): unknown {
    const known = this.#received.get(id)
    const alive = known?.stub.deref()
    if (known && alive) {
      known.count++
      return alive
    }
    if (!known && this.#received.size >= REFS_MAX) {
      throw new StageError('PROTOCOL_ERROR', `more than ${REFS_MAX} functions passed over one link`)
    }
    const stub = this.stub(id)
    this.#received.set(id, { stub: new WeakRef(stub), count: (known?.count ?? 0) + 1 })
    this.#registry.register(stub, id)
    return stub
  }

  /** The peer holds a function of ours so many times less. */
  released(id: number, count: number): void {
    const given = this.#given.get(id)
    if (!given) return
    given.held -= count
    if (given.held > 0) return
    this.#given.delete(id)
    this.#ids.delete(given.fn)
  }

  clear(): void {
    this.#given.clear()
    this.#ids.clear()
    this.#received.clear()
  }

  #forget(id: number): void {
    const received = this.#received.get(id)
    if (!received || received.stub.deref()) return // the function has come again meanwhile
    this.#received.delete(id)
    this.release(id, received.count)
  }
}
