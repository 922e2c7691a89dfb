/** A private authority, made by openssl, and certificates of stages that come from it. */
import type { TestFn } from 'ava'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0 || process.env['STAGEMESH_REQUIRE_OPENSSL'] === '1'
export const NO_OPENSSL = 'openssl is not installed'

/** `test` for those that need openssl; without it they are skipped, with one line that says so, and fail where it is required. */
export function needingOpenssl(test: TestFn): TestFn | TestFn['skip'] {
  if (hasOpenssl) return test
  test.skip(NO_OPENSSL, () => {})
  return test.skip
}

/** An authority for the tests of a file that need openssl; undefined without it. */
export function authorityFor(test: TestFn, name?: string): Authority | undefined {
  if (!hasOpenssl) return undefined
  const authority = new Authority(name)
  test.after.always(() => { authority.close() })
  return authority
}

/** Paths of files, as `tls` takes them. */
export interface Certified { ca: string, cert: string, key: string }

export class Authority {
  readonly folder = mkdtempSync(join(tmpdir(), 'stagemesh-ca-'))
  readonly ca = join(this.folder, 'ca.pem')
  #count = 0

  constructor(name = 'test authority') {
    this.#openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', 'ca.key', '-out', 'ca.pem')
  }

  /**
   * A certificate with names such as `DNS:api`, `URI:spiffe://mesh/api` and `IP:127.0.0.1`.
   * @param days  of validity from now on; negative: it has expired
   */
  certify(names: string, days = 2): Certified {
    const base = `${++this.#count}`
    this.#openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${base}`, ...(names ? ['-addext', `subjectAltName=${names}`] : []), '-keyout', `${base}.key`, '-out', `${base}.csr`)
    this.#openssl('x509', '-req', '-in', `${base}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days), '-copy_extensions', 'copy', '-out', `${base}.pem`)
    return { ca: this.ca, cert: join(this.folder, `${base}.pem`), key: join(this.folder, `${base}.key`) }
  }

  /** Puts other files in the place of those, the certificate first, each in one step. */
  replace({ cert, key }: Certified, by: Certified): void {
    renameSync(by.cert, cert)
    renameSync(by.key, key)
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] })
  }
}

export const pem = ({ ca, cert, key }: Certified): { ca: Buffer, cert: Buffer, key: Buffer } => ({ ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) })
