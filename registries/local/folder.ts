import { open } from 'node:fs/promises'
import { StageError, asError } from '../../src/errors.js'
import { checkOwn, makeFolder as make } from '../../src/own-folder.js'

/**
 * Creates the folder, for this user alone, if it is missing.
 * @param own  the folder must belong to this user alone
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

/** Offsets in lmdb's first page of the magic number, the page size, and the last page followed by the transaction id. */
const MAGIC_AT = 24
export const PAGE_SIZE_AT = 48
export const LAST_PAGE_AT = 144
const MAGIC = 0xbeefc0de
/** Error code for a file that lmdb must not open. */
export const BAD_FILE = 'BAD_FILE'
const bad = (what: string): Error => Object.assign(new Error(`data.mdb ${what}`), { code: BAD_FILE })

/**
 * Checks the file before lmdb opens it, because lmdb crashes the process on a foreign or truncated file.
 * @throws Error saying what is wrong with the file
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
    if (head.readUInt32LE(MAGIC_AT) !== MAGIC) throw bad('is not an lmdb database')
    const page = head.readUInt32LE(PAGE_SIZE_AT)
    const second = Buffer.alloc(head.length)
    await file.read(second, 0, second.length, page)
    const newest = second.readBigUInt64LE(LAST_PAGE_AT + 8) > head.readBigUInt64LE(LAST_PAGE_AT + 8) ? second : head
    const last = Number(newest.readBigUInt64LE(LAST_PAGE_AT)) // lmdb may not have needed to write the very last page
    const { size } = await file.stat() // read last, as other processes write meanwhile and the file only grows
    if (size < page * Math.max(2, last)) throw bad('is truncated')
  } finally {
    await file.close()
  }
}
