/**
 * One lmdb folder as one process uses it. lmdb allows one environment per path and process, so instances share it and
 * count themselves.
 *
 * A step reads what it needs, decides, and hands lmdb a batch of writes that is carried out only if the namespace, or the
 * actor, is still at the version that was read; otherwise it is taken again. The file's one write lock is therefore held by
 * lmdb's own thread for microseconds, and never while a process waits for its event loop. Nothing here waits for that
 * lock on the event loop either: a process that was stopped while it held it blocks the writes of all others until it
 * goes on or is killed, and to them the registry is away. Reads always work.
 */
import { stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database, RootDatabaseOptionsWithPath } from 'lmdb'
import { StageError, asError } from '../../src/errors.js'
import { Ledger, parseState, same, snapshot } from '../shared/ledger.js'
import type { Kind, Seen, Snapshot, Table } from '../shared/ledger.js'
import { log } from '../../src/log.js'
import { outside } from '../../src/outside.js'
import { newId } from '../../src/random.js'
import type { Clock, Random } from '../../src/types.js'
import { within } from '../../src/within.js'
import { driver } from './driver.js'
import { BAD_FILE, checkFile } from './folder.js'
import { Gone } from './gone.js'
import { ELSEWHERE, Pids, pidsOf, type Tenancy } from './pids.js'

export type Key = [kind: string, namespace: string, id: string] | [kind: string, namespace: string, at: number, id: string]
export type Rows = Database<string, Key>
/** A write under way: whether its condition was met, and when it is on the disk. */
export type Written = Promise<boolean> & { readonly flushed?: Promise<unknown> }
/** What a step came to: its answer, should what it writes be written. */
export interface Attempt<T> {
  readonly answer: T
  readonly written?: Written | undefined
  /** It must outlive this machine, too. */
  readonly lasting?: boolean
}

const environments = new Map<string, Environment>()

/** Address space to begin with, not memory or disk: the file is as big as what it holds, and lmdb doubles the map when it is full. */
const MAP_BYTES = 2 ** 28
/** Processes on one machine that may have it open at a time. */
const MAX_READERS = 4096

const HELD = 'a process that has this folder open is stopped in the middle of one (continue or end it)'
const LATE = new Error('a step has not ended in time')
/** EIO, which is also how lmdb calls a write that was cut short, EFBIG and ENOSPC. */
const FULL: ReadonlySet<unknown> = new Set([5, 27, 28])
/** EMFILE, ENFILE and ENOMEM. */
const SHORT: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 24, 23, 12])
/** EPERM, ENOENT, EACCES, ENOTDIR, EISDIR, EROFS, and what lmdb says of a file that is none of its own. */
const BAD_FOLDER: ReadonlySet<unknown> = new Set([
  BAD_FILE, 'EPERM', 'ENOENT', 'EACCES', 'ENOTDIR', 'EISDIR', 'EROFS', 1, 2, 13, 20, 21, 30, -30_793, -30_794, -30_796, -30_797,
])
/** EAGAIN: the lock of this pid is another process's. */
const PID_TAKEN = 11

/** Two that open a folder at the same moment: how often, and after how many milliseconds, one looks whether the other gave way. */
const WAITS = 50
const WAIT_MS = 20
/** How often the files are touched. */
const TOUCH_MS = 60_000

export class Environment {
  #users = 0
  #rows: Promise<Rows> | undefined
  /** Which file is open: somebody may delete the folder under us, and then it is not the one that others use. */
  #file: string | undefined
  #closing: Promise<void> | undefined
  /** Writes go one after another, so that those of one process do not overtake each other. */
  #tail: Promise<unknown> = Promise.resolve()
  /** How many of them have ended. */
  #steps = 0
  /** How many changes took too long and are still under way. */
  #overdue = 0
  #touchedAt = 0

  readonly #data: string
  readonly #pids: Pids
  readonly gone: Gone

  private constructor(readonly path: string, private readonly clock: Clock) {
    this.#data = join(path, 'data.mdb')
    this.#pids = new Pids(path)
    this.gone = new Gone(path)
  }

  /** Every `enter` is matched by one `leave`. */
  static enter(path: string, clock: Clock): Environment {
    const environment = environments.get(path) ?? new Environment(path, clock)
    environments.set(path, environment)
    environment.#users++
    return environment
  }

  /** Opens it, which waits for no lock and is no part of the time that a write may take. @throws StageError REGISTRY_UNAVAILABLE */
  async open(): Promise<void> {
    try {
      await this.#open()
    } catch (error) {
      throw await this.#broken(error)
    }
  }

  async leave(): Promise<void> {
    if (--this.#users > 0) return
    environments.delete(this.path)
    await this.#close()
  }

  /**
   * One atomic step, which also takes out those whose process ended before they were closed.
   * @param limitMs  where no step of this process has ended for so long, the write lock is held by a process that does not run
   * @throws StageError REGISTRY_UNAVAILABLE
   */
  async step<T>(namespace: string, clock: Clock, random: Random, limitMs: number, run: (ledger: Ledger, gone: ReadonlySet<string>) => T): Promise<T> {
    const turn = this.#tail.then(() => this.#attempt((rows) => {
      const table = new Rowset(rows, namespace)
      const ledger = new Ledger(table, namespace, clock.wall(), newId(random))
      const gone = this.gone.look()
      for (const id of gone) ledger.remove(id)
      const answer = run(ledger, gone)
      return { answer, written: table.commit() }
    }))
    // also of one that nobody waits for any more: the next may not overtake it
    this.#tail = turn.catch(() => {}).then(() => { this.#steps++ })
    for (;;) {
      const before = this.#steps
      try {
        return await within(clock, limitMs, turn, () => LATE)
      } catch (error) {
        if (error !== LATE) throw error
        if (this.#steps > before) continue // those before it are many
        throw this.#away(`no write was possible for ${limitMs} ms: ${HELD}, or this machine is too busy for its TTL`)
      }
    }
  }

  /**
   * One atomic step that brings a condition of its own, and is taken again until that is met: those of different rows
   * go side by side.
   * @throws StageError REGISTRY_UNAVAILABLE; at once while an earlier one still waits, so that nothing piles up behind it
   */
  async change<T>(clock: Clock, limitMs: number, step: (rows: Rows) => Attempt<T>): Promise<T> {
    if (this.#overdue > 0) throw this.#away(`a write has been waiting for more than ${limitMs} ms: ${HELD}`)
    const turn = this.#attempt(step)
    return await within(clock, limitMs, turn, () => {
      this.#overdue++
      void turn.catch(() => {}).then(() => { this.#overdue-- })
      return this.#away(`no write was possible for ${limitMs} ms: ${HELD}, or this machine is too busy`)
    })
  }

  /** What `run` finds in the newest state. */
  async find<T>(run: (rows: Rows) => T): Promise<T> {
    try {
      await this.refresh()
      return await this.#use(run)
    } catch (error) {
      throw await this.#broken(error)
    }
  }

  /** What is listed; `seen` spares the work if nothing has changed since. */
  async read(namespace: string, seen?: Seen): Promise<Snapshot | 'same' | undefined> {
    try {
      return await this.#use((rows) => {
        const table = new Rowset(rows, namespace)
        if (seen && same(seen, parseState(table.get('state', '')))) return 'same'
        return snapshot(table)
      })
    } catch (error) {
      throw await this.#broken(error)
    }
  }

  /** Deletes the files of those gone whom no namespace lists any more, and keeps cleaners from those in use. */
  async tidy(now: number): Promise<void> {
    if (this.#file !== undefined && Math.abs(now - this.#touchedAt) >= TOUCH_MS) {
      this.#touchedAt = now
      // lmdb maps its lock file, which does not count as use; were it deleted, two processes could write at once
      for (const file of ['data.mdb', 'lock.mdb']) await utimes(join(this.path, file), now / 1000, now / 1000).catch(() => {})
      await this.#pids.touch(now / 1000).catch(() => {})
    }
    if (this.gone.look().size === 0) return
    const leases = { start: ['lease', '', ''], end: ['lease', '\uffff', ''] } satisfies { start: Key, end: Key }
    this.gone.tidy(await this.find((rows) => new Set([...rows.getKeys(leases)].map((key) => key[2] as string))), now)
  }

  /** Opens the file that is at the path now, should it have been replaced. */
  async refresh(): Promise<void> {
    const known = this.#file
    if (known === undefined || await this.#fileNow() === known || this.#file !== known) return
    log(`local:${this.path}`, 'its files were replaced or deleted; opening it anew')
    await this.#close()
  }

  async #attempt<T>(step: (rows: Rows) => Attempt<T>): Promise<T> {
    try {
      for (;;) {
        await this.refresh()
        const { answer, written, lasting } = await this.#use(step)
        if (written && !await written) continue
        if (lasting) await written?.flushed
        return answer
      }
    } catch (error) {
      throw await this.#broken(error)
    }
  }

  /** Runs something on the open rows, at their newest state. */
  async #use<T>(run: (rows: Rows) => T): Promise<T> {
    for (;;) {
      const opening = this.#open()
      const rows = await opening
      if (opening !== this.#rows) continue // somebody has begun to close them, and to touch them would be the end of the process
      rows.resetReadTxn()
      return run(rows)
    }
  }

  #open(): Promise<Rows> {
    if (this.#users === 0) throw new StageError('CLOSED', `the registry local:${this.path} was closed`)
    return this.#rows ??= outside(() => this.#opened().catch((error: unknown) => {
      this.#rows = undefined
      throw error
    }))
  }

  async #opened(): Promise<Rows> {
    const { openAsClass } = await driver(`local:${this.path}`)
    await checkFile(this.#data)
    await this.#closing // the same path would be given the same environment once more
    const options: RootDatabaseOptionsWithPath & { batchStartThreshold: number } = {
      path: this.path, noSubdir: false, encoding: 'string', useVersions: true, mapSize: MAP_BYTES, maxReaders: MAX_READERS, separateFlushed: true,
      // with either of these lmdb's thread would take the lock and wait for our event loop; of a batch of a whole turn
      // that failed it also leaves a promise behind that nobody can catch
      eventTurnBatching: false, batchStartThreshold: Infinity,
    }
    const Base = openAsClass(options) as unknown as RowsClass
    try {
      const rows = await this.#settled(Base)
      this.#file = await this.#fileNow()
      return rows
    } catch (error) {
      void Base.prototype.close.call({ isRoot: true }) // others see it as long as it is open
      this.#pids.leave()
      throw error
    }
  }

  /** Opens the rows if no process of another pid namespace has. @throws StageError REGISTRY_UNAVAILABLE */
  async #settled(Base: RowsClass): Promise<Rows> {
    const alive = (): ReadonlySet<number> => {
      Base.prototype.readerCheck()
      return pidsOf(Base.prototype.readerList())
    }
    await this.#alone(() => this.#pids.claim(alive(), this.clock.wall()))
    const rows = openWithoutWaiting(Base)
    rows.get(['state', '', '']) // from here on our pid is among those alive
    await this.#alone(() => this.#pids.look(alive()))
    this.#pids.settle()
    void this.#pids.tidy(alive(), this.clock.wall())
    return rows
  }

  async #alone(look: () => Tenancy | Promise<Tenancy>): Promise<void> {
    for (let waits = 0; ; waits++) {
      const tenancy = await look()
      if (tenancy === 'free') return
      if (tenancy === 'taken' || waits === WAITS) throw this.#away(ELSEWHERE)
      await new Promise<void>((resolve) => { this.clock.setTimeout(resolve, WAIT_MS, true) })
    }
  }

  async #fileNow(): Promise<string | undefined> {
    const found = await stat(this.#data).catch(() => undefined)
    return found && `${found.dev}:${found.ino}`
  }

  async #close(): Promise<void> {
    const rows = this.#rows
    this.#rows = this.#file = undefined
    if (rows) this.#closing = rows.then((opened) => opened.close()).catch(() => {})
    await this.#closing
  }

  async #broken(thrown: unknown): Promise<StageError> {
    if (thrown instanceof StageError) return thrown
    // of a write that failed, lmdb says why in a promise of its own, which must be waited for: nobody else does
    const { commitError } = thrown as { commitError?: Promise<never> }
    const error: Error & { code?: unknown } = asError(commitError ? await commitError.catch((cause: unknown) => cause) : thrown)
    if (commitError && FULL.has(error.code)) {
      return this.#away(`${error.message}: the disk is full, or the file may not grow beyond a limit (ulimit -f); free some`, error)
    }
    if (error.code === PID_TAKEN) return this.#away(`${error.message}: ${ELSEWHERE}`, error)
    if (SHORT.has(error.code)) return this.#away(`${error.message}: this process, or the machine, is short of files (ulimit -n) or of memory`, error)
    if (!BAD_FOLDER.has(error.code)) return this.#away(error.message, error)
    const wanted = 'the path must be a folder that this user may write to, with nothing else in it'
    return this.#away(`${error.message}; ${wanted}: pass another one, or delete it while no stage runs`, error)
  }

  #away(why: string, cause?: unknown): StageError {
    return new StageError('REGISTRY_UNAVAILABLE', `the registry local:${this.path} cannot be used: ${why}`, { cause })
  }
}

/** The rows of one namespace: reads go to the file, writes are kept until `commit`. */
class Rowset implements Table {
  readonly #version: number | undefined
  readonly #writes = new Map<string, { key: Key, text: string | undefined }>()

  constructor(private readonly rows: Rows, private readonly namespace: string) {
    this.#version = rows.getEntry(this.#key('state', ''))?.version
  }

  get(kind: Kind, id: string): string | undefined {
    const written = this.#writes.get(`${kind} ${id}`)
    return written ? written.text : this.rows.get(this.#key(kind, id))
  }

  put(kind: Kind, id: string, text: string): void {
    this.#writes.set(`${kind} ${id}`, { key: this.#key(kind, id), text })
  }

  remove(kind: Kind, id: string): void {
    this.#writes.set(`${kind} ${id}`, { key: this.#key(kind, id), text: undefined })
  }

  * list(kind: Kind): Iterable<readonly [string, string]> {
    const ids = new Set<string>()
    for (const { key } of this.rows.getRange({ start: this.#key(kind, ''), end: this.#key(kind, '\uffff') })) ids.add(key[2] as string)
    for (const { key } of this.#writes.values()) if (key[0] === kind) ids.add(key[2] as string)
    for (const id of ids) {
      const text = this.get(kind, id)
      if (text !== undefined) yield [id, text]
    }
  }

  /** Whether the namespace is still as it was read; if not, nothing is written. Undefined if there is nothing to write. */
  commit(): Written | undefined {
    if (this.#writes.size === 0) return undefined
    const state = this.#key('state', '')
    const text = this.get('state', '')! // the ledger has made one at least
    this.#writes.delete('state ')
    const write = () => {
      void this.rows.put(state, text, (this.#version ?? 0) + 1) // the version counts every write, also one that nobody sees
      for (const { key, text } of this.#writes.values()) void (text === undefined ? this.rows.remove(key) : this.rows.put(key, text, 1))
    }
    return this.#version === undefined ? this.rows.ifNoExists(state, write) : this.rows.ifVersion(state, this.#version, write)
  }

  #key(kind: string, id: string): Key {
    return [kind, this.namespace, id]
  }
}

type RowsClass = (new (name: null, options: object) => Rows) & { prototype: Pick<Rows, 'readerCheck' | 'readerList'> & { close(this: { isRoot: true }): Promise<void> } }

/**
 * lmdb begins a write transaction, on the event loop, when a database is opened. It is only there to create named ones;
 * the unnamed one always exists, and reading is enough to find it.
 */
function openWithoutWaiting(Base: RowsClass): Rows {
  class Unwaiting extends (Base as new (name: null, options: object) => Rows & { db?: unknown, ensureReadTxn(): void }) {
    override transactionSync<T>(action: () => T, flags?: number): T {
      if (this.db) return super.transactionSync(action, flags)
      this.resetReadTxn()
      this.ensureReadTxn()
      return action()
    }
  }
  return new Unwaiting(null, { encoding: 'string', useVersions: true, isRoot: true }) // the root's close is the environment's
}
