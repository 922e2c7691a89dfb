import { StageError, asError } from '../../src/errors.js'

/** Loads lmdb, an optional dependency: npm installs this package without it if its build fails. @throws StageError REGISTRY_UNAVAILABLE */
export async function driver(address: string): Promise<typeof import('lmdb')> {
  try {
    return await import('lmdb')
  } catch (cause) {
    const why = asError(cause).message.split('\n')[0]
    const instead = 'build it with npm install lmdb, or use redis:'
    throw new StageError('REGISTRY_UNAVAILABLE', `the registry ${address} needs the package lmdb, which cannot be loaded here (${why}): ${instead}`, { cause })
  }
}
