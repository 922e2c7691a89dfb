import { linkSync, lstatSync, renameSync, unlinkSync, utimesSync, type BigIntStats } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join, normalize } from 'node:path'
import { StageError, asError, describe, isPrintable } from '../src/errors.js'
import { checkOwn, makeFolder, ownFolder } from '../src/own-folder.js'
import type { Random } from '../src/types.js'
import { dialled, ignore } from './socket.js'

// Where a unix socket lies, and whose it is. A file outlives its process, so a socket that refuses is nobody's, and
// its place may be taken. A socket gets its name by a link, which fails if the name is there, and only once it listens:
// what can be seen answers, or is dead.

const windows = process.platform === 'win32'
/** What the system has room for, without the 0 at the end. Node cuts off the rest in silence. */
const MAX_BYTES = windows ? 256 : process.platform === 'linux' ? 107 : 103
const TRIES = 5
/** So many files of others one start looks at. */
const SWEEP_MAX = 16
/** How often a living process touches its file. */
export const TOUCH_MS = 60_000
/** A file that was touched later than that stays: that its socket refuses tells others that its process has just ended. */
const SWEEP_MS = 150_000
const OURS = /^\.?(\d+)-\d+-[\w-]{8}(?:\.sock|~)?$/
const forever = new AbortController().signal

/** Listens in this thread, so nobody need ask. */
const own = new Set<string>()

/** `ipc:///run/user/1000/stagemesh/17-1-x.sock`; a pipe of Windows as `ipc:////./pipe/x`. */
export const formatPath = (path: string): string => `ipc://${windows ? path.replaceAll('\\', '/') : path}`

/**
 * The other way. It came from others: nothing but a path as it would be written here.
 * @throws StageError BAD_ARGUMENT
 */
export function parsePath(address: string): string {
  const path = isPrintable(address) && /^ipc:\/\/(\/.+)$/.exec(address)?.[1] || ''
  const good = windows ? /^\/\/\.\/pipe\/[^/\\]+$/.test(path) : normalize(path) === path && !path.endsWith('/')
  if (path && good && Buffer.byteLength(path) <= MAX_BYTES) return windows ? path.replaceAll('/', '\\') : path
  const form = `ipc:// and ${windows ? '//./pipe/ with a name' : 'an absolute path'} of at most ${MAX_BYTES} bytes`
  throw new StageError('BAD_ARGUMENT', `not an address that can be dialled: ${describe(address)}; expected ${form}`)
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
/** Nobody else's: a process may have the pid of one in another container, and a thread the chance of another. */
const unique = (random: Random): string => `${process.pid}-${++count}-${random.bytes(6).toString('base64url')}`

/** A pipe of Windows, which has no file. */
export const pipeName = (random: Random): string => `\\\\.\\pipe\\stagemesh-${unique(random)}`

/** Where a socket is bound before it gets its name: beside it, as a link does not leave its disk. */
export function draftFor(path: string, random: Random): string {
  const draft = join(dirname(path), `.${unique(random)}`)
  if (Buffer.byteLength(draft) <= MAX_BYTES) return draft
  const bytes = Buffer.byteLength(basename(draft)) + 1
  const limit = `a socket's path has at most ${MAX_BYTES} bytes, of which ${bytes} are for a name in it`
  throw new StageError('BAD_ARGUMENT', `the folder of ${describe(path)} is too long: ${limit}`)
}

/**
 * A path of our own in a folder that only this user can enter, from which the dead were swept.
 * @param now  in milliseconds since 1970
 * @throws StageError BAD_ARGUMENT why the folder cannot be used
 */
export async function ownPlace(random: Random, now: number): Promise<string> {
  const folder = ownFolder()
  try {
    const path = join(folder, `${unique(random)}.sock`)
    checkPath(path)
    await makeOwn(folder)
    await sweep(folder, random, now).catch(ignore) // what is left is for the next one
    return path
  } catch (error) {
    throw new StageError('BAD_ARGUMENT', `there is no folder for a socket: ${folder}: ${asError(error).message}`)
  }
}

async function makeOwn(folder: string): Promise<void> {
  await makeFolder(folder)
  await checkOwn(folder)
}

/** The folder of a socket that has vanished. @param own  it must be nobody else's */
export async function remakeFolder(path: string, own: boolean): Promise<void> {
  await (own ? makeOwn : makeFolder)(dirname(path))
}

/**
 * Gives the socket that listens at `draft` the name `path`, which is nobody's, or was that of a process that has ended.
 * @throws StageError BAD_ARGUMENT another process listens there, or something lies there that is no socket
 */
export async function take(draft: string, path: string): Promise<Place> {
  for (let i = 0; i < TRIES; i++) {
    if (named(draft, path)) {
      own.add(path)
      return new Place(path, look(path))
    }
    const found = look(path)
    if (!found) continue
    if (!found.isSocket()) throw new StageError('BAD_ARGUMENT', `${describe(path)} is there and is no socket; delete it or pass another path`)
    if (!await isDead(path)) throw new StageError('BAD_ARGUMENT', `another process listens at ${describe(path)}; end it or pass another path`)
    removeDead(path, found, `${draft}~`)
  }
  throw new StageError('BAD_ARGUMENT', `others took ${describe(path)} whenever it was free; pass a path for each process`)
}

/** What a listening socket holds. */
export class Place {
  constructor(readonly path: string, private file: BigIntStats | undefined) {}

  /** Somebody deleted the file: what still listens cannot be reached by it. */
  get vanished(): boolean {
    return look(this.path) === undefined
  }

  /** So that no cleaner takes it, which deletes what was not touched for some days. @param now  in milliseconds since 1970 */
  touch(now: number): void {
    if (!same(this.file, look(this.path))) return
    utimesSync(this.path, now / 1000, now / 1000)
    this.file = look(this.path)
  }

  /** Takes the name back, unless it is another's by now. */
  leave(): void {
    own.delete(this.path)
    if (same(this.file, look(this.path))) unlink(this.path)
  }
}

/** Files of processes that ended some time ago; a few of them each time, others on, as many may live. */
async function sweep(folder: string, random: Random, now: number): Promise<void> {
  const all = (await readdir(folder)).filter((name) => {
    const pid = Number(OURS.exec(name)?.[1])
    // a pid says little where it was given again, or belongs to another container: it only spares the living the question
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

/** It is certain that nobody listens there; who is stopped, or too busy to answer, lives. */
const isDead = (path: string): Promise<boolean> =>
  dialled({ path }, (socket) => socket, forever).then((socket) => {
    socket.destroy()
    return false
  }, (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED')

/** @returns whether the name was free, and is ours now */
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
 * Deletes what was found dead, if it still lies there. No system does both in one step, so it is moved first: somebody
 * may have taken the place in between, and gets it back. (One more who takes it in that very moment leaves him without.)
 */
export function removeDead(path: string, found: BigIntStats, aside: string): void {
  if (!same(found, look(path))) return
  try {
    renameSync(path, aside)
  } catch {
    return // it is gone
  }
  if (same(found, look(aside))) unlink(aside)
  else if (!named(aside, path)) unlink(aside)
}

const look = (path: string): BigIntStats | undefined => lstatSync(path, { bigint: true, throwIfNoEntry: false })

/** A number is given again as soon as its file is gone, but not with the time of its making. */
const same = (one: BigIntStats | undefined, other: BigIntStats | undefined): boolean =>
  one !== undefined && one.ino === other?.ino && one.dev === other.dev && one.mtimeNs === other.mtimeNs

function unlink(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // it is gone already
  }
}
