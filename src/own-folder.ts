import { existsSync } from 'node:fs'
import { lstat, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** The id of this user; undefined if the system has none. */
export const uid = (): number | undefined => process.getuid?.()

/**
 * The folder where stages of this user and machine meet: `$STAGE_FOLDER`, else `/tmp/stagemesh-<uid>`; on Windows in the
 * user's folder for temporary files. The path must be the same in every session of a user. `$XDG_RUNTIME_DIR` and `$TMPDIR`
 * differ: they are set in a login shell and not by cron, `ssh host command` or a system service, some shells set a `$TMPDIR`
 * of their own, and `/run/user/<uid>` is deleted, under processes that run on, when the last session ends.
 */
export function ownFolder(): string {
  const given = process.env['STAGE_FOLDER']
  if (given) return resolve(given)
  const shared = process.platform !== 'win32' && existsSync('/tmp')
  return join(shared ? '/tmp' : tmpdir(), `stagemesh-${uid() ?? 'user'}`)
}

/** Makes the folder, for this user alone, unless it exists. @throws Error why it cannot, and what to do */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 }).catch((error: Error) => {
    throw new Error(`${error.message}; pass the path of a folder that this user can create or write to`, { cause: error })
  })
}

/**
 * Checks that the folder is nobody else's: in a place where everybody can write, somebody may have made it before us.
 * @throws Error whose it is, or who can enter it
 */
export async function checkOwn(path: string): Promise<void> {
  const found = await lstat(path)
  if (!found.isDirectory()) throw new Error('it is a link, not a folder; delete it or pass another path')
  if (uid() === undefined) return
  if (found.uid !== uid()) throw new Error(`the folder belongs to another user (${found.uid}); pass a path of your own, or set $STAGE_FOLDER`)
  if ((found.mode & 0o077) !== 0) throw new Error('the folder is open to other users; run chmod 700 on it or pass another path')
}
