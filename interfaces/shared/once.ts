import { StageError } from '../../src/errors.js'
import { ignore } from './socket.js'

/** The life of an interface: it listens once, and is closed once. */
export class Once {
  #listening: Promise<readonly string[]> | undefined
  #closing: Promise<void> | undefined

  get closed(): boolean {
    return this.#closing !== undefined
  }

  /** @throws StageError CLOSED · TypeError it listens already; after a failure it may be tried again */
  listen(begin: () => Promise<readonly string[]>): Promise<readonly string[]> {
    if (this.#closing) return Promise.reject(new StageError('CLOSED', 'this interface was closed'))
    if (this.#listening) return Promise.reject(new TypeError('this interface is already listening; use one for each stage'))
    const listening = this.#listening = begin()
    listening.catch(() => { this.#listening = undefined })
    return listening
  }

  /** @param end  called once `listen` has settled */
  close(end: () => Promise<void> | void): Promise<void> {
    this.#closing ??= (this.#listening ?? Promise.resolve()).then(ignore, ignore).then(end)
    return this.#closing
  }
}
