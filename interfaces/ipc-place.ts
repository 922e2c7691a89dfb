import { linkSync, lstatSync, renameSync, unlinkSync, utimesSync, type BigIntStats } from 'node:fs'
import { connect } from 'node:net'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join, normalize } from 'node:path'
import { StageError, asError, describe, isPrintable } from '../src/errors.js'
import { checkOwn, makeFolder, ownFolder } from '../src/own-folder.js'
import type { Random } from '../src/types.js'
import { dialled, ignore } from './shared/socket.js'

// The path of a unix socket and its ownership. A socket file outlives its process, so a socket that refuses connections has
// no owner and its path may be taken. A socket gets its final name by a hard link, which fails if the name exists, and only
// once it listens: every visible socket either answers or is dead.

const windows = process.platform === 'win32'
/** Room for a path in the system's socket address, without the terminating 0. Node truncates longer paths silently. */
const MAX_BYTES = windows ? 256 : process.platform === 'linux' ? 107 : 103
const TRIES = 5
/** How many files of other processes one start examines. */
const SWEEP_MAX = 16
/** How often a running process touches its file. */
export const TOUCH_MS = 60_000
/** A file touched within this time is kept: a socket that refuses tells peers that its process has just ended. */
const SWEEP_MS = 150_000
const OURS = /^\.?(\d+)-\d+-[\w-]{8}(?:\.sock|~)?$/
const forever = new AbortController().signal

/** Sockets that listen in this thread; sweeping skips them without dialling. */
const own = new Set<string>()

/** `ipc:///run/user/1000/stagemesh/17-1-x.sock`; a pipe of Windows as `ipc:////./pipe/x`. */
export const formatPath = (path: string): string => `ipc://${windows ? path.replaceAll('\\', '/') : path}`

/**
 * The inverse of `formatPath`. The address is untrusted input, so only a path in exactly the form written here is accepted.
 * @throws StageError BAD_ARGUMENT
 */
export function parsePath(address: string): string {
  const path = isPrintable(address) && /^ipc:\/\/(\/.+)$/.exec(address)?.[1] || ''
  const good = windows ? /^\/\/\.\/pipe\/[^/\\]+$/.test(path) : normalize(path) === path && !path.endsWith('/')
  if (path && good && Buffer.byteLength(path) <= MAX_BYTES) return windows ? path.replaceAll('/', '\\') : path
  const form = `ipc:// and ${windows ? '//./pipe/ with a name' : 'an absolute path'} of at most ${MAX_BYTES} bytes`
  throw new StageError('BAD_ARGUMENT', `${describe(address)} is not an address that can be dialled: expected ${form}`)
}

/** @throws StageError BAD_ARGUMENT */
export function checkPath(path: string): void {
  try {
    parsePath(formatPath(path))
  } catch {
    const form = `${windows ? 'a pipe like \\\\.\\pipe\\name' : 'an absolute path'} of at most ${MAX_BYTES} printable bytes`
    throw new StageError('BAD_ARGUMENT', `${describe(path)} (${Buffer.byteLength(path)} bytes) cannot be a socket: expected ${form}`)
  }
}

let count = 0
/** A unique name: containers may share a pid, threads share pid and count, and stages with one seed share random bytes. */
const unique = (random: Random): string => `${process.pid}-${++count}-${random.bytes(6).toString('base64url')}`

/** The name of a Windows pipe, which has no file. */
export const pipeName = (random: Random): string => `\\\\.\\pipe\\stagemesh-${unique(random)}`

/** Where a socket is bound before it gets its name: in the same folder, because a hard link cannot cross file systems. */
export function draftFor(path: string, random: Random): string {
  const draft = join(dirname(path), `.${unique(random)}`)
  if (Buffer.byteLength(draft) <= MAX_BYTES) return draft
  const bytes = Buffer.byteLength(basename(draft)) + 1
  const limit = `the path of a socket has at most ${MAX_BYTES} bytes, of which ${bytes} are for the name of the socket`
  throw new StageError('BAD_ARGUMENT', `the folder of ${describe(path)} is too long: ${limit}`)
}

/**
 * A path of our own in a folder that only this user can enter, after dead sockets were swept from it.
 * @param now  in milliseconds since 1970
 * @throws StageError BAD_ARGUMENT saying why the folder cannot be used
 */
export async function ownPlace(random: Random, now: number): Promise<string> {
  const folder = ownFolder()
  try {
    const path = join(folder, `${unique(random)}.sock`)
    checkPath(path)
    await makeOwn(folder)
    await sweep(folder, random, now).catch(ignore) // the next process sweeps the rest
    return path
  } catch (error) {
    throw new StageError('BAD_ARGUMENT', `cannot use ${folder} as the folder of a socket: ${asError(error).message}`)
  }
}

async function makeOwn(folder: string): Promise<void> {
  await makeFolder(folder)
  await checkOwn(folder)
}

/** Recreates the folder of a socket that has vanished. @param own  the folder must belong to this user alone */
export async function remakeFolder(path: string, own: boolean): Promise<void> {
  await (own ? makeOwn : makeFolder)(dirname(path))
}

/**
 * Gives the socket that listens at `draft` the name `path`, which is free or belonged to a process that has ended.
 * @throws StageError BAD_ARGUMENT another process listens at `path`, or a file there is not a socket
 */
export async function take(draft: string, path: string): Promise<Place> {
  for (let i = 0; i < TRIES; i++) {
    if (named(draft, path)) {
      own.add(path)
      return new Place(path, look(path))
    }
    const found = look(path)
    if (!found) continue
    if (!found.isSocket()) throw new StageError('BAD_ARGUMENT', `${describe(path)} exists and is not a socket; delete it or pass another path`)
    if (!await isDead(path)) throw new StageError('BAD_ARGUMENT', `another process listens at ${describe(path)}; end it or pass another path`)
    removeDead(path, found, `${draft}~`)
  }
  throw new StageError('BAD_ARGUMENT', `other processes took ${describe(path)} each time it was free; pass a different path to each process`)
}

/** The path that a listening socket owns. */
export class Place {
  constructor(readonly path: string, private file: BigIntStats | undefined) {}

  /** True if somebody deleted the file: the socket still listens but nobody can reach it by this path. */
  get vanished(): boolean {
    return look(this.path) === undefined
  }

  /** Updates the file's times, because cleaners delete files untouched for some days. @param now  in milliseconds since 1970 */
  touch(now: number): void {
    if (!same(this.file, look(this.path))) return
    utimesSync(this.path, now / 1000, now / 1000)
    this.file = look(this.path)
  }

  /** Removes the file, unless the path belongs to another socket by now. */
  leave(): void {
    own.delete(this.path)
    if (same(this.file, look(this.path))) unlink(this.path)
  }
}

/** Deletes sockets of processes that ended some time ago: a few per run from a random start, as many may be alive. */
async function sweep(folder: string, random: Random, now: number): Promise<void> {
  const all = (await readdir(folder)).filter((name) => {
    const pid = Number(OURS.exec(name)?.[1])
    // a pid proves little, as it may be reused or belong to another container: a running pid only saves a dial to the socket
    return pid > 0 && !own.has(join(folder, name)) && (pid === process.pid || !runs(pid))
  })
  const from = Math.floor(random.float() * all.length)
  for (const name of [...all, ...all].slice(from, from + Math.min(SWEEP_MAX, all.length))) {
    const path = join(folder, name)
    const found = look(path)
    if (found?.isSocket() && now - Number(found.mtimeMs) > SWEEP_MS && await isDead(path)) removeDead(path, found, draftFor(path, random))
  }
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** True if certainly nobody listens there; a process that is stopped, or too busy to answer, counts as alive. */
const isDead = (path: string): Promise<boolean> =>
  dialled(() => connect({ path }), forever).then((socket) => {
    socket.destroy()
    return false
  }, (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED')

/** @returns whether the name was free and is now ours */
function named(draft: string, path: string): boolean {
  try {
    linkSync(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  unlink(draft)
  return true
}

/**
 * Deletes the dead socket `found` if it is still at `path`. No system compares and deletes in one step, so the file is moved
 * first: a process that took the path in between gets its socket back. (If a third process takes the path in that very
 * moment, the second loses its socket.)
 */
export function removeDead(path: string, found: BigIntStats, aside: string): void {
  if (!same(found, look(path))) return
  try {
    renameSync(path, aside)
  } catch {
    return // already deleted
  }
  if (same(found, look(aside))) unlink(aside)
  else if (!named(aside, path)) unlink(aside)
}

const look = (path: string): BigIntStats | undefined => lstatSync(path, { bigint: true, throwIfNoEntry: false })

/** An inode number is reused once its file is deleted, but with another modification time. */
const same = (one: BigIntStats | undefined, other: BigIntStats | undefined): boolean =>
  one !== undefined && one.ino === other?.ino && one.dev === other.dev && one.mtimeNs === other.mtimeNs

function unlink(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // already deleted
  }
}
