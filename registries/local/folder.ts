import { lstat, mkdir, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StageError, asError } from '../../src/errors.js'

const uid = (): number | undefined => process.getuid?.()

/** Where stages of this user and machine meet: `$XDG_RUNTIME_DIR/stagemesh`, else `stagemesh-<uid>` in the folder for temporary files. */
export const defaultFolder = (): string => {
  const runtime = process.env['XDG_RUNTIME_DIR']
  return runtime ? join(runtime, 'stagemesh') : join(tmpdir(), `stagemesh-${uid() ?? 'user'}`)
}

/**
 * Makes the folder, for this user alone, if it is not there.
 * @param own  it must be nobody else's: in a folder that everybody can write to, somebody may have made it before us
 * @throws StageError REGISTRY_UNAVAILABLE naming the path
 */
export async function makeFolder(path: string, own: boolean): Promise<void> {
  const refuse = (why: string, cause?: unknown): StageError => new StageError('REGISTRY_UNAVAILABLE', `the registry local:${path} cannot be used: ${why}`, { cause })
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw refuse(`${asError(error).message}; pass the path of a folder that this user can make or write to`, error)
  }
  const found = await lstat(path).catch((error: unknown) => { throw refuse(asError(error).message, error) })
  if (!own) return
  if (!found.isDirectory()) throw refuse('it is a link and not a folder of its own; delete it or pass another path')
  if (uid() !== undefined && found.uid !== uid()) throw refuse(`the folder belongs to another user (${found.uid}); pass a path of your own, or set $XDG_RUNTIME_DIR`)
  if (uid() !== undefined && (found.mode & 0o022) !== 0) throw refuse('other users may write to the folder; run chmod 700 on it or pass another path')
}

/** Where lmdb's first page says that it is one, its page size, and its last page and transaction. */
const MAGIC_AT = 24
const PAGE_SIZE_AT = 48
const LAST_PAGE_AT = 144
const MAGIC = 0xbeefc0de

/**
 * lmdb ends the process when the file is not one of its own or was cut off, so that is looked at before.
 * @throws Error saying what is wrong with it
 */
export async function checkFile(path: string): Promise<void> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!file) return
  try {
    const head = Buffer.alloc(LAST_PAGE_AT + 16)
    if ((await file.read(head, 0, head.length, 0)).bytesRead === 0) return
    if (head.readUInt32LE(MAGIC_AT) !== MAGIC) throw new Error('data.mdb is not the file of an lmdb database')
    const page = head.readUInt32LE(PAGE_SIZE_AT)
    const second = Buffer.alloc(head.length)
    await file.read(second, 0, second.length, page)
    const newest = second.readBigUInt64LE(LAST_PAGE_AT + 8) > head.readBigUInt64LE(LAST_PAGE_AT + 8) ? second : head
    const last = Number(newest.readBigUInt64LE(LAST_PAGE_AT)) // lmdb may not have needed to write the very last one
    const { size } = await file.stat() // last: others write meanwhile, and the file only grows
    if (size < page * Math.max(2, last)) throw new Error('data.mdb was cut off')
  } finally {
    await file.close()
  }
}
