import { chmodSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { StageError } from '../src/errors.js'
import { systemRandom } from '../src/random.js'
import type { Interface, Random } from '../src/types.js'
import { checkPath, draftFor, formatPath, ownPlace, parsePath, pipeName, take, type Place } from './ipc-place.js'
import { said } from './ipc-stream.js'
import { bound, dialled, ignore } from './socket.js'

export interface IpcOptions {
  /** Where the socket lies, such as in a volume that containers share; default: in a folder of this user's, under a name of its own. */
  path?: string | undefined
  random?: Random | undefined
}

const windows = process.platform === 'win32'

/** Streams between the processes of one machine: a unix socket that only this user can open, or a pipe of Windows. */
export class IpcInterface implements Interface {
  readonly scheme = 'ipc'
  readonly cost = 1
  /** Where nobody asked for a place, none need be found. */
  readonly optional: boolean
  readonly #path: string | undefined
  readonly #random: Random
  #server: Server | undefined
  #place: Place | undefined
  #listening: Promise<readonly string[]> | undefined
  #closing: Promise<void> | undefined

  /** @throws TypeError for a path that is none */
  constructor({ path, random = systemRandom }: IpcOptions = {}) {
    if (path !== undefined && (typeof path !== 'string' || path === '')) throw new TypeError(`path must be the path of a socket, not ${JSON.stringify(path)}`)
    this.#path = path
    this.#random = random
    this.optional = path === undefined
  }

  /** @throws StageError BAD_ARGUMENT the path is too long or taken, or there is no folder for one · the system's own error */
  listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    if (this.#closing) return Promise.reject(new StageError('CLOSED', 'this interface was closed'))
    if (this.#listening) return Promise.reject(new TypeError('this interface listens already; use one for each stage'))
    this.#listening = this.#listen(onstream)
    this.#listening.catch(() => { this.#listening = undefined }) // it may be tried again
    return this.#listening
  }

  async #listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    const path = this.#path ?? (windows ? pipeName(this.#random) : await ownPlace(this.#random))
    checkPath(path)
    const draft = windows ? path : draftFor(path, this.#random)
    const server = createServer({ allowHalfOpen: true }, (socket) => onstream(said(socket)))
    try {
      // a process of a cluster would else ask the first one to listen, which must not hold it when this one has ended
      await bound(server, { path: draft, exclusive: true }).catch((cause: Error) => { throw new StageError('BAD_ARGUMENT', `no socket can be made for ${path}: ${cause.message}; its folder must be there, and this user's to write to`, { cause }) })
      if (!windows) {
        chmodSync(draft, 0o600)
        this.#place = await take(draft, path)
      }
    } catch (error) {
      server.close() // and deletes the draft
      throw error
    }
    this.#server = server
    return [formatPath(path)]
  }

  /** @throws StageError BAD_ARGUMENT for a malformed address · the socket's own error · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const path = parsePath(address)
    signal.throwIfAborted()
    return dialled({ path, allowHalfOpen: true }, said, signal).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      throw Object.assign(new Error(`connect ECONNREFUSED ${path}: there is no such socket`, { cause: error }), { code: 'ECONNREFUSED', syscall: 'connect', address: path })
    })
  }

  /** Stops listening. Streams that were accepted belong to whoever got them, and stay. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#listening?.catch(ignore)
    this.#place?.leave()
    this.#server?.close()
  }
}
