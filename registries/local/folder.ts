import { open } from 'node:fs/promises'
import { StageError, asError } from '../../src/errors.js'
import { checkOwn, makeFolder as make } from '../../src/own-folder.js'

/**
 * Makes the folder, for this user alone, if it is not there.
 * @param own  it must be nobody else's
 * @throws StageError REGISTRY_UNAVAILABLE naming the path
 */
export async function makeFolder(path: string, own: boolean): Promise<void> {
  try {
    await make(path)
    if (own) await checkOwn(path)
  } catch (error) {
    throw new StageError('REGISTRY_UNAVAILABLE', `the registry local:${path} cannot be used: ${asError(error).message}`, { cause: error })
  }
}

/** Where lmdb's first page says that it is one, its page size, and its last page and transaction. */
const MAGIC_AT = 24
const PAGE_SIZE_AT = 48
const LAST_PAGE_AT = 144
const MAGIC = 0xbeefc0de
/** The code of an error that says so. */
export const BAD_FILE = 'BAD_FILE'
const bad = (what: string): Error => Object.assign(new Error(`data.mdb ${what}`), { code: BAD_FILE })

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
    if (head.readUInt32LE(MAGIC_AT) !== MAGIC) throw bad('is not the file of an lmdb database')
    const page = head.readUInt32LE(PAGE_SIZE_AT)
    const second = Buffer.alloc(head.length)
    await file.read(second, 0, second.length, page)
    const newest = second.readBigUInt64LE(LAST_PAGE_AT + 8) > head.readBigUInt64LE(LAST_PAGE_AT + 8) ? second : head
    const last = Number(newest.readBigUInt64LE(LAST_PAGE_AT)) // lmdb may not have needed to write the very last one
    const { size } = await file.stat() // last: others write meanwhile, and the file only grows
    if (size < page * Math.max(2, last)) throw bad('was cut off')
  } finally {
    await file.close()
  }
}
