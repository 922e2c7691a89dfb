import { chmodSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { systemClock } from '../src/clock.js'
import { StageError, asError } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import { log } from '../src/log.js'
import { systemRandom } from '../src/random.js'
import type { Clock, Interface, Random, Timer } from '../src/types.js'
import { checkPath, draftFor, formatPath, ownPlace, parsePath, pipeName, remakeFolder, take, TOUCH_MS, type Place } from './ipc-place.js'
import { said } from './shared/said.js'
import { Once } from './shared/once.js'
import { bound, dialled } from './shared/socket.js'

/** Options of the interface between processes of one machine. */
export interface IpcOptions {
  /** Path of the socket, such as in a volume that containers share; default: a unique name in a folder of this user. */
  path?: string | undefined
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

const windows = process.platform === 'win32'
const WATCH_MS = 2000

/** Streams between the processes of one machine: a unix socket that only this user can open, or a pipe of Windows. */
export class IpcInterface implements Interface {
  readonly scheme = 'ipc'
  readonly cost = 1
  /** True without a `path` option: then failing to listen does not fail the stage's `ready()`. */
  readonly optional: boolean
  readonly #path: string | undefined
  readonly #clock: Clock
  readonly #random: Random
  #server: Server | undefined
  #place: Place | undefined
  readonly #once = new Once()
  #watch: Timer | undefined
  #looking: Promise<void> | undefined
  #touchAt = 0

  /** @throws TypeError if `path` is not a non-empty string */
  constructor(options: IpcOptions = {}) {
    knownOptions('the ipc interface', options, ['path', 'clock', 'random'])
    const { path, clock = systemClock, random = systemRandom } = options
    if (path !== undefined && (typeof path !== 'string' || path === '')) throw new TypeError(`path must be the path of a socket, not ${JSON.stringify(path)}`)
    this.#path = path
    this.#clock = clock
    this.#random = random
    this.optional = path === undefined
  }

  /** @throws StageError BAD_ARGUMENT the path is too long or taken, or there is no folder for one · the system's own error */
  listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    return this.#once.listen(() => this.#listen(onstream))
  }

  async #listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    const path = this.#path ?? (windows ? pipeName(this.#random) : await ownPlace(this.#random, this.#clock.wall()))
    checkPath(path)
    await this.#bind(path, onstream)
    this.#touchAt = this.#clock.now() + TOUCH_MS
    this.#follow(() => this.#bind(path, onstream))
    return [formatPath(path)]
  }

  async #bind(path: string, onstream: (stream: Duplex) => void): Promise<void> {
    const draft = windows ? path : draftFor(path, this.#random)
    const server = createServer({ allowHalfOpen: true }, (socket) => onstream(said(socket)))
    try {
      await bound(server, { path: draft }).catch((cause: Error) => {
        const wanted = 'its folder must exist, and this user must be able to write to it'
        throw new StageError('BAD_ARGUMENT', `cannot create a socket at ${path}: ${cause.message}; ${wanted}`, { cause })
      })
      if (!windows) {
        chmodSync(draft, 0o600)
        this.#place = await take(draft, path)
      }
    } catch (error) {
      server.close() // also deletes the draft
      throw error
    }
    this.#server?.close() // nobody can reach the old one any more
    this.#server = server
  }

  /** Checks every two seconds that the file still exists: cleaners of `/tmp` delete old files without seeing that they are in use. */
  #follow(bind: () => Promise<void>, failed = ''): void {
    if (this.#once.closed || !this.#place) return
    this.#watch = this.#clock.setTimeout(() => {
      this.#looking = this.#look(bind).then(() => '', (error: unknown) => asError(error).message).then((failure) => {
        if (failure && failure !== failed) log('ipc', `a socket has disappeared and cannot be created again: ${failure}`)
        this.#follow(bind, failure)
      })
    }, WATCH_MS)
  }

  async #look(bind: () => Promise<void>): Promise<void> {
    const place = this.#place as Place
    if (place.vanished) {
      await remakeFolder(place.path, this.#path === undefined)
      await bind()
      log('ipc', `${place.path} had disappeared, and was created again`)
    } else if (this.#clock.now() >= this.#touchAt) {
      this.#touchAt = this.#clock.now() + TOUCH_MS
      place.touch(this.#clock.wall())
    }
  }

  /** @throws StageError BAD_ARGUMENT for a malformed address · the socket's own error · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const path = parsePath(address)
    signal.throwIfAborted()
    return dialled(() => said(connect({ path, allowHalfOpen: true })), signal).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      const refused = new Error(`connect ECONNREFUSED ${path}: there is no such socket`, { cause: error })
      throw Object.assign(refused, { code: 'ECONNREFUSED', syscall: 'connect', address: path })
    })
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open. */
  close(): Promise<void> {
    return this.#once.close(() => this.#close())
  }

  async #close(): Promise<void> {
    this.#watch?.cancel()
    await this.#looking
    this.#place?.leave()
    this.#server?.close()
  }
}
