import type { EventEmitter } from 'node:events'
import { bounded, type Bounds } from './bounded.js'
import { destroy } from './destroy.js'
import { StageError, asError } from './errors.js'
import type { Link, Selection } from './types.js'

type Verb = (selection: Selection, ...args: never[]) => unknown

const RPC = ['call', 'callAll', 'cast', 'methods', 'unprovide'] as const

/**
 * The verbs of `to()` in a chain of one's own, for any top: `provide` goes to the top of every present and later link, once
 * each; `as()` reaches the other methods of the top; the verbs of rpc say that rpc is missing.
 */
export class Forward {
  readonly #provided: { selection: Selection; args: unknown[] }[] = []

  constructor(
    private readonly bounds: Bounds, private readonly links: () => Iterable<Link>, private readonly onerror: (error: Error) => void,
  ) {}

  readonly verbs: Readonly<Record<string, Verb>> = {
    provide: (selection, ...args: unknown[]) => {
      this.#provided.push({ selection, args })
      for (const link of this.links()) this.#give(link, selection, args)
    },
    as: (selection) => new Proxy({}, {
      get: (_, method) => {
        if (typeof method === 'symbol' || method === 'then') return undefined
        return (...args: unknown[]) => invoke(this.bounds, selection, method, args)
      },
    }),
    ...Object.fromEntries(RPC.map((name) => [name, () => {
      const instead = 'add rpc() to the chain, or use to(peer, callback) and the methods of the top of the chain'
      throw new TypeError(`${name}() needs the rpc layer, which the chain of this stage does not have: ${instead}`)
    }])),
  }

  /** A link stands: gives it everything that was provided so far. */
  onlink(link: Link): void {
    for (const { selection, args } of this.#provided) this.#give(link, selection, args)
  }

  #give(link: Link, selection: Selection, args: unknown[]): void {
    if (!selection.includes(link.peer)) return
    try {
      const top = link.top as unknown as { provide?: (...args: unknown[]) => void }
      if (typeof top.provide !== 'function') throw new TypeError('provide() needs a chain whose top has a method provide()')
      top.provide(...args)
    } catch (error) {
      this.onerror(error as Error)
    }
  }
}

function invoke(bounds: Bounds, selection: Selection, method: string, args: unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    // while the call waits, it owns the streams among its arguments, and they end with it
    const streams = args.filter((one): one is EventEmitter => typeof (one as Partial<EventEmitter> | null | undefined)?.on === 'function')
    const fail = (error: Error | null): void => {
      for (const stream of streams) destroy(stream)
      reject(error)
    }
    const broke = (cause: unknown): void => {
      giveUp()
      const why = `a stream among the arguments of ${method} failed before the call was made: ${asError(cause).message}`
      fail(new StageError('BAD_ARGUMENT', why, { executed: 'no', cause }))
    }
    for (const stream of streams) stream.on('error', broke)
    const giveUp = bounded(bounds, selection, (found) => selection.acquire(undefined, found), (error, link) => {
      if (!link) return fail(error)
      for (const stream of streams) stream.removeListener('error', broke)
      const own = (link.top as unknown as Record<string, unknown>)[method]
      if (typeof own !== 'function') return fail(new TypeError(`the top of the chain has no method ${method}`))
      try {
        resolve((own as (...args: unknown[]) => unknown).apply(link.top, args))
      } catch (thrown) {
        reject(thrown)
      }
    })
  })
}
