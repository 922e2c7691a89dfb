/**
 * One lmdb folder, opened once per process. lmdb allows one environment per path and process, so registry instances share
 * the environment and count their references.
 *
 * A step reads, decides, and hands lmdb a batch of writes, which lmdb applies only if the namespace, or the actor, is still
 * at the version that was read; otherwise the step runs again. So lmdb's own thread holds the file's one write lock for
 * microseconds, and never while a process waits for its event loop. Nothing here waits for the lock on the event loop
 * either: a process that is stopped while it holds the lock blocks the writes of all other processes until it continues or
 * is killed, and the registry is unavailable to them. Reads always work.
 */
import { stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { RootDatabaseOptionsWithPath } from 'lmdb'
import { StageError, asError } from '../../src/errors.js'
import { Ledger, parseState, same, snapshot } from '../shared/ledger.js'
import type { Changes, Seen, Snapshot } from '../shared/ledger.js'
import { log } from '../../src/log.js'
import { outside } from '../../src/outside.js'
import { newId } from '../../src/random.js'
import type { Clock, Random } from '../../src/types.js'
import { within } from '../../src/within.js'
import { Alive } from './alive.js'
import { driver } from './driver.js'
import { BAD_FILE, checkFile } from './folder.js'
import { Gone } from './gone.js'
import { Openings } from './openings.js'
import { ELSEWHERE, Pids, pidsOf, type Tenancy } from './pids.js'
import { Rowset, type Key, type Rows, type Written } from './rowset.js'

/** The result of a step; the answer counts only if its writes are applied. */
export interface Attempt<T> {
  readonly answer: T
  readonly written?: Written | undefined
  /** The write must survive a crash of the machine, so the step waits until the data is on disk. */
  readonly lasting?: boolean
}

const environments = new Map<string, Environment>()

/** Initial address space, not memory or disk: the file is only as large as its content, and lmdb doubles the map when it is full. */
const MAP_BYTES = 2 ** 28
/** How many processes may have the environment open at a time. */
const MAX_READERS = 4096

const HELD = 'a process that has this folder open is suspended in the middle of one (resume or end it)'
const LATE = new Error('a step did not end in time')
/** EIO (which lmdb also reports for a short write), EFBIG and ENOSPC. */
const FULL: ReadonlySet<unknown> = new Set([5, 27, 28])
/** EMFILE, ENFILE and ENOMEM. */
const SHORT: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 24, 23, 12])
/** EPERM, ENOENT, EACCES, ENOTDIR, EISDIR, EROFS, and lmdb's codes for a file that is not an lmdb database. */
const BAD_FOLDER: ReadonlySet<unknown> = new Set([
  BAD_FILE, 'EPERM', 'ENOENT', 'EACCES', 'ENOTDIR', 'EISDIR', 'EROFS', 1, 2, 13, 20, 21, 30, -30_793, -30_794, -30_796, -30_797,
])
/** EAGAIN: another process holds the lock of this pid. */
const PID_TAKEN = 11

/** When two processes open a folder at once: how often, and at which interval in ms, each checks whether the other gave way. */
const WAITS = 50
const WAIT_MS = 20
/** How far apart two attempts at a step are after the second attempt was undone: up to that, doubled each time. */
const APART_MS = 2
const APART_MAX_MS = 250
/** Interval in milliseconds at which the files are touched. */
const TOUCH_MS = 60_000

export class Environment {
  #users = 0
  #rows: Promise<Rows> | undefined
  /** Identity of the open file. If somebody deletes the folder meanwhile, other processes use another file. */
  #file: string | undefined
  #closing: Promise<void> | undefined
  /** The last queued step: steps of one process run one after another, so that none overtakes another. */
  #tail: Promise<unknown> = Promise.resolve()
  /** How many steps have ended. */
  #steps = 0
  /** How many changes have exceeded their time limit and are still pending. */
  #overdue = 0
  #touchedAt = 0

  readonly #data: string
  readonly #pids: Pids
  readonly #openings: Openings
  readonly gone: Gone
  readonly alive: Alive

  private constructor(readonly path: string, private readonly clock: Clock) {
    this.#data = join(path, 'data.mdb')
    this.#pids = new Pids(path)
    this.#openings = new Openings(path)
    this.gone = new Gone(path)
    this.alive = new Alive(path)
  }

  /** The caller matches every `enter` with one `leave`. */
  static enter(path: string, clock: Clock): Environment {
    const environment = environments.get(path) ?? new Environment(path, clock)
    environments.set(path, environment)
    environment.#users++
    return environment
  }

  /** Opens the database without waiting for a lock, and outside the time limit of a write. @throws StageError REGISTRY_UNAVAILABLE */
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
   * One atomic step, which also removes entries whose process ended without closing them.
   * @param limitMs  if no step of this process ends for that long, a process that is not running holds the write lock
   * @throws StageError REGISTRY_UNAVAILABLE
   */
  async step<T>(namespace: string, clock: Clock, random: Random, limitMs: number, run: (ledger: Ledger, gone: ReadonlySet<string>) => T): Promise<T> {
    const turn = this.#tail.then(() => this.#attempt((rows) => {
      const table = new Rowset(rows, namespace, this.alive)
      const ledger = new Ledger(table, namespace, clock.wall(), newId(random))
      const gone = this.gone.look()
      for (const id of gone) ledger.remove(id)
      const answer = run(ledger, gone)
      return { answer, written: table.commit(clock.wall()) }
    }, random))
    // the queue includes a step whose caller has timed out: the next step must not overtake it
    this.#tail = turn.catch(() => {}).then(() => { this.#steps++ })
    for (;;) {
      const before = this.#steps
      try {
        return await within(clock, limitMs, turn, () => LATE)
      } catch (error) {
        if (error !== LATE) throw error
        if (this.#steps > before) continue // the queue is long, but it moves
        throw this.#away(`no write was possible for ${limitMs} ms: ${HELD}, or this machine is too busy for its TTL`)
      }
    }
  }

  /**
   * One atomic step that brings its own condition and runs again until the condition is met. Changes of different rows run
   * concurrently.
   * @throws StageError REGISTRY_UNAVAILABLE; at once while an overdue change is still pending, so that no queue builds up behind it
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

  /** Runs a query on the newest state. */
  async find<T>(run: (rows: Rows) => T): Promise<T> {
    try {
      await this.refresh()
      return await this.#use(run)
    } catch (error) {
      throw await this.#broken(error)
    }
  }

  /** What has changed since `seen`, 'same' if nothing has; the listed entries without `seen`, or if the log does not go back that far. */
  async read(namespace: string, seen?: Seen): Promise<Snapshot | Changes | 'same' | undefined> {
    try {
      return await this.#use((rows) => {
        const table = new Rowset(rows, namespace, this.alive)
        const state = parseState(table.get('state', ''))
        if (seen && same(seen, state)) return 'same'
        return (seen && state && table.since(seen, state)) ?? snapshot(table)
      })
    } catch (error) {
      throw await this.#broken(error)
    }
  }

  /** Deletes files of gone ids that no namespace lists any more, and touches the files in use so that cleaners keep them. */
  async tidy(now: number): Promise<void> {
    if (this.#file !== undefined && Math.abs(now - this.#touchedAt) >= TOUCH_MS) {
      this.#touchedAt = now
      // lmdb maps its lock file, which does not count as use; if a cleaner deleted it, two processes could write at once
      for (const file of ['data.mdb', 'lock.mdb']) await utimes(join(this.path, file), now / 1000, now / 1000).catch(() => {})
      await this.#pids.touch(now / 1000).catch(() => {})
      await this.alive.tidy(now)
    }
    if (this.gone.look().size === 0) return
    const leases = { start: ['lease', '', ''], end: ['lease', '\uffff', ''] } satisfies { start: Key, end: Key }
    this.gone.tidy(await this.find((rows) => new Set([...rows.getKeys(leases)].map((key) => key[2] as string))), now)
  }

  /** Closes a file that was replaced, so that the next use opens the file which is at the path now. */
  async refresh(): Promise<void> {
    const known = this.#file
    if (known === undefined || await this.#fileNow() === known || this.#file !== known) return
    log(`local:${this.path}`, 'its files were replaced or deleted; reopening it')
    await this.#close()
  }

  /** @param random  lets processes whose steps undo each other's attempts make the next ones at different times */
  async #attempt<T>(step: (rows: Rows) => Attempt<T>, random?: Random): Promise<T> {
    try {
      for (let lost = 0; ; lost++) {
        if (random && lost > 1) await this.#pause(random.float() * Math.min(APART_MS * 2 ** lost, APART_MAX_MS))
        await this.refresh()
        await this.#openings.passed(() => this.clock.wall(), (ms) => this.#pause(ms))
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
      if (opening !== this.#rows) continue // the rows are being closed, and touching closed rows crashes the process
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
    await this.#closing // until it is closed, lmdb returns the old environment for the same path
    const options: RootDatabaseOptionsWithPath & { batchStartThreshold: number } = {
      path: this.path, noSubdir: false, encoding: 'string', useVersions: true, mapSize: MAP_BYTES, maxReaders: MAX_READERS, separateFlushed: true,
      // either of these would make lmdb's thread take the lock and wait for our event loop; the failed batch of an
      // event-loop turn would also leave a rejection behind that nobody can catch
      eventTurnBatching: false, batchStartThreshold: Infinity,
    }
    const open = (): RowsClass => openAsClass(options) as unknown as RowsClass
    const Base = await this.#openings.alone(this.#data, open, closeEnvironment, () => this.clock.wall(), (ms) => this.#pause(ms))
    try {
      const rows = await this.#settled(Base)
      this.#file = await this.#fileNow()
      return rows
    } catch (error) {
      void closeEnvironment(Base) // an open environment counts as a user to other processes
      this.#pids.leave()
      throw error
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => { this.clock.setTimeout(resolve, ms, true) })
  }

  /** Opens the rows if no process of another pid namespace has them open. @throws StageError REGISTRY_UNAVAILABLE */
  async #settled(Base: RowsClass): Promise<Rows> {
    const alive = (): ReadonlySet<number> => {
      Base.prototype.readerCheck()
      return pidsOf(Base.prototype.readerList())
    }
    await this.#alone(() => this.#pids.claim(alive(), this.clock.wall()))
    const rows = openWithoutWaiting(Base)
    rows.get(['state', '', '']) // from here on our pid counts as alive
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
      await this.#pause(WAIT_MS)
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
    // lmdb gives the reason for a failed write in a separate promise, which must be awaited or its rejection is unhandled
    const { commitError } = thrown as { commitError?: Promise<never> }
    const error: Error & { code?: unknown } = asError(commitError ? await commitError.catch((cause: unknown) => cause) : thrown)
    if (commitError && FULL.has(error.code)) {
      return this.#away(`${error.message}: the disk is full, or the file has reached a size limit (ulimit -f); free some space`, error)
    }
    if (error.code === PID_TAKEN) return this.#away(`${error.message}: ${ELSEWHERE}`, error)
    if (SHORT.has(error.code)) return this.#away(`${error.message}: this process or the machine is out of file descriptors (ulimit -n) or memory`, error)
    if (!BAD_FOLDER.has(error.code)) return this.#away(error.message, error)
    const wanted = 'the path must be a folder that this user may write to, with nothing else in it'
    return this.#away(`${error.message}; ${wanted}: pass another one, or delete it while no stage runs`, error)
  }

  #away(why: string, cause?: unknown): StageError {
    return new StageError('REGISTRY_UNAVAILABLE', `the registry local:${this.path} cannot be used: ${why}`, { cause })
  }
}

type RowsClass = (new (name: null, options: object) => Rows) & { prototype: Pick<Rows, 'readerCheck' | 'readerList'> & { close(this: { isRoot: true }): Promise<void> } }

const closeEnvironment = (Base: RowsClass): Promise<void> => Base.prototype.close.call({ isRoot: true })

/**
 * When a database is opened, lmdb begins a write transaction on the event loop, only to create named databases. The unnamed
 * database always exists, so a read transaction is enough.
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
  return new Unwaiting(null, { encoding: 'string', useVersions: true, isRoot: true }) // closing the root closes the environment
}
