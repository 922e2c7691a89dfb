/** The certificate, key and authorities of a stage: read from files or values, and read again when the files change. */
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { StageError, asError, describe } from '../../src/errors.js'
import { knownOptions } from '../../src/known-options.js'
import { log } from '../../src/log.js'
import type { Clock, Timer } from '../../src/types.js'

/** PEM text, its bytes, or the path of a file with them. */
export type Pem = string | Buffer

/** TLS of an interface. Files are read again when they change: connections made from then on use the new ones. */
export interface TlsOptions {
  /** The certificate of this stage, then the certificates of its intermediate authorities: PEM, or a path. */
  cert: Pem
  /** The key of the certificate: PEM, or a path. */
  key: Pem
  /** The authorities that certificates of peers must come from: PEM, or a path; default the public ones that Node knows. */
  ca?: Pem | readonly Pem[] | undefined
  /** Of the key, if it is encrypted. */
  passphrase?: string | undefined
  /**
   * The certificates of both ends carry the names of their stages: as a SAN of type DNS, or as the last segment of a SPIFFE URI.
   * Needs `ca`. Default false: only the end that was dialled shows one, with its name or its host.
   */
  mutual?: boolean | undefined
}

/** Certificate, key and authorities as bytes. */
export interface Material {
  cert: Buffer
  key: Buffer
  ca?: Buffer[]
  passphrase?: string
}

const LOOK_MS = 2000
const OPTIONS = ['cert', 'key', 'ca', 'passphrase', 'mutual'] as const satisfies readonly (keyof TlsOptions)[]

/** A string is a path unless it contains PEM. */
const pathOf = (given: Pem): string | undefined => typeof given === 'string' && !given.includes('-----BEGIN') ? given : undefined

export class Certificates {
  readonly mutual: boolean
  material: Material
  #context: SecureContext
  readonly #given: readonly (readonly [what: 'cert' | 'key' | 'ca', pem: Pem])[]
  #seen: string
  /** When a dial last looked for changes; while a server follows the files, dials need not look. */
  #lookedAt: number
  #timer: Timer | undefined
  #closed = false

  /** @throws TypeError for an option that is missing or unknown · StageError BAD_ARGUMENT which file cannot be read or used */
  constructor(private readonly options: TlsOptions, private readonly clock: Clock) {
    knownOptions('tls', options, OPTIONS)
    const { cert, key, ca, mutual = false } = options
    if (mutual && ca === undefined) throw new TypeError('tls.mutual needs tls.ca: any public authority could name anybody')
    this.mutual = mutual
    this.#given = [['cert', cert], ['key', key], ...(ca === undefined ? [] : [ca].flat().map((one) => ['ca', one] as const))]
    for (const [what, pem] of this.#given) {
      if ((typeof pem === 'string' || Buffer.isBuffer(pem)) && pem.length > 0) continue
      throw new TypeError(`tls.${what} is ${describe(pem)}: expected PEM, or the path of a file with PEM`)
    }
    this.#seen = this.#look()
    this.material = this.#read()
    this.#context = contextOf(this.material)
    this.#lookedAt = clock.now()
  }

  /** For dials; a server takes the material. The files were read within the last two seconds, or have not changed. */
  context(): SecureContext {
    if (!this.#timer && this.clock.now() - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = this.clock.now()
      const seen = this.#look()
      try {
        if (seen !== this.#seen) this.#renew(seen)
      } catch (thrown) {
        log('tls', `the files have changed and cannot be used, so the former ones stay: ${asError(thrown).message}`)
      }
    }
    return this.#context
  }

  /**
   * Looks every two seconds whether a file has changed, until `close()`.
   * @param onerror  the new files cannot be used, so the old ones stay; not called while they are being replaced one by one
   */
  follow(onchange: (material: Material) => void, onerror: (error: StageError) => void): void {
    // an interface that could not listen tries again, with another server
    this.#timer?.cancel()
    if (this.#given.some(([, pem]) => pathOf(pem) !== undefined)) this.#follow(onchange, onerror, undefined)
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** @param failed  what was seen when the files could not be used, the first time */
  #follow(onchange: (material: Material) => void, onerror: (error: StageError) => void, failed: string | undefined): void {
    if (this.#closed) return
    this.#timer = this.clock.setTimeout(() => {
      const seen = this.#look()
      let bad: string | undefined
      if (seen !== this.#seen) {
        try {
          this.#renew(seen)
          onchange(this.material)
        } catch (thrown) {
          bad = seen
          if (failed === seen) {
            this.#seen = seen
            onerror(thrown as StageError)
          }
        }
      }
      this.#follow(onchange, onerror, bad)
    }, LOOK_MS)
  }

  /** @throws StageError BAD_ARGUMENT */
  #renew(seen: string): void {
    const material = this.#read()
    this.#context = contextOf(material)
    this.material = material
    this.#seen = seen
  }

  /** Changes whenever a file does. */
  #look(): string {
    return this.#given.map(([, pem]) => {
      const path = pathOf(pem)
      return path === undefined ? '' : stateOf(path)
    }).join('\n')
  }

  #read(): Material {
    const all = this.#given.map(([what, pem]) => {
      const bytes = bytesOf(what, pem)
      if (what === 'ca') checkAuthority(bytes, pem)
      return [what, bytes] as const
    })
    const of = (wanted: string): Buffer[] => all.flatMap(([what, bytes]) => what === wanted ? [bytes] : [])
    const [[cert], [key], ca] = [of('cert'), of('key'), of('ca')]
    const { passphrase } = this.options
    return { cert, key, ...(ca.length === 0 ? {} : { ca }), ...(passphrase === undefined ? {} : { passphrase }) }
  }
}

/** Inode, time and size of a file, or the code of the error. */
function stateOf(path: string): string {
  try {
    const { ino, mtimeMs, size } = statSync(path)
    return `${ino} ${mtimeMs} ${size}`
  } catch (thrown) {
    return String((thrown as NodeJS.ErrnoException).code)
  }
}

/** OpenSSL ignores an authority that it cannot read, such as the last of a file that is still being written. @throws StageError BAD_ARGUMENT */
function checkAuthority(bytes: Buffer, pem: Pem): void {
  const text = bytes.toString('latin1')
  const blocks = text.match(/-----BEGIN [^-]+-----[^-]*-----END [^-]+-----/g) ?? []
  try {
    if (blocks.length === 0 || blocks.length < text.split('-----BEGIN').length - 1) throw new Error('a certificate in it is cut off')
    for (const one of blocks) if (one.startsWith('-----BEGIN CERTIFICATE')) void new X509Certificate(one)
  } catch (thrown) {
    throw new StageError('BAD_ARGUMENT', `tls.ca: ${pathOf(pem) ?? 'the text'} cannot be read: ${asError(thrown).message}`, { cause: thrown })
  }
}

function bytesOf(what: string, pem: Pem): Buffer {
  const path = pathOf(pem)
  if (path === undefined) return Buffer.from(pem)
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (thrown) {
    throw new StageError('BAD_ARGUMENT', `cannot read tls.${what}: ${asError(thrown).message}`, { cause: thrown })
  }
  if (bytes.includes('-----BEGIN')) return bytes
  throw new StageError('BAD_ARGUMENT', `tls.${what}: ${path} holds no PEM: expected a file with "-----BEGIN …"`)
}

/** @throws StageError BAD_ARGUMENT */
function contextOf(material: Material): SecureContext {
  try {
    return createSecureContext({ ...material, minVersion: 'TLSv1.3' })
  } catch (thrown) {
    throw new StageError('BAD_ARGUMENT', `tls.cert, tls.key and tls.ca do not make a certificate: ${asError(thrown).message}`, { cause: thrown })
  }
}

/** The names that a certificate carries, as `DNS:api` and `URI:spiffe://mesh/api`; other kinds are left out. */
export function namesOf(certificate: X509Certificate): string[] {
  // a value with a comma or a quote is a JSON string, so that nobody can smuggle in a name by it
  const all = (certificate.subjectAltName ?? '').matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g)
  return [...all].flatMap(([, kind, value]) => kind === 'DNS' || kind === 'URI' ? [`${kind}:${value.startsWith('"') ? String(JSON.parse(value)) : value}`] : [])
}

/** Which name of the certificate is the name of that stage; undefined if none is. */
export const nameFor = (certificate: X509Certificate, stage: string): string | undefined =>
  namesOf(certificate).find((one) => one === `DNS:${stage}` || (one.startsWith('URI:spiffe://') && lastSegment(one) === stage))

function lastSegment(uri: string): string | undefined {
  const path = uri.slice('URI:spiffe://'.length)
  try {
    return path.includes('/') ? decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)) : undefined
  } catch {
    return undefined
  }
}
