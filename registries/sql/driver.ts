import { StageError, asError } from '../../src/errors.js'

/**
 * Loads Kysely and the drivers, which are optional peer dependencies: only this file does, and only when a connection is made.
 * @param address  of the registry, for the error
 * @throws StageError REGISTRY_UNAVAILABLE, with the command that installs the package
 */
export const loadKysely = (address: string): Promise<typeof import('kysely')> => load(address, 'kysely', () => import('kysely'))

/** The same for Postgres. */
export async function loadPg(address: string): Promise<(typeof import('pg'))['default']> {
  return (await load(address, 'pg', () => import('pg'))).default
}

/** The same for MySQL and MariaDB. */
export async function loadMysql(address: string): Promise<typeof import('mysql2')> {
  return (await load(address, 'mysql2', () => import('mysql2'))).default
}

async function load<T>(address: string, name: string, importing: () => Promise<T>): Promise<T> {
  try {
    return await importing()
  } catch (cause) {
    const why = asError(cause).message.split('\n')[0]
    const driver = name === 'kysely' ? address.startsWith('postgres') ? 'pg' : 'mysql2' : name
    const needs = `the registry ${address} needs the package ${name}, which cannot be loaded here (${why})`
    throw new StageError('REGISTRY_UNAVAILABLE', `${needs}: npm install kysely@0.28 ${driver}`, { cause })
  }
}
