/** TLS 1.3 on the streams of an interface, and what the certificates of both ends prove. */
import { isIP, type Socket } from 'node:net'
import { connect, createServer, type ConnectionOptions, type Server, type TLSSocket } from 'node:tls'
import { constants } from 'node:crypto'
import { StageError } from '../../src/errors.js'
import { Strangers, place } from '../../src/strangers.js'
import type { Clock, Security } from '../../src/types.js'
import { Certificates, nameFor, namesOf, type TlsOptions } from './certificates.js'
import { said } from './said.js'
import { dialled, ignore } from './socket.js'

const ALPN = ['stagemesh']
const HANDSHAKE_MS = 5000
/** Options of each server: without resumption, what was proven once is proven anew by every connection. */
export const SERVER = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET } as const
/** RFC 9266: bytes that only the two ends of one TLS session know. */
const BINDING = 'EXPORTER-Channel-Binding'
const BINDING_BYTES = 32

export class Tls {
  readonly certificates: Certificates
  readonly #strangers: Strangers
  #server: Server | undefined

  /** @throws TypeError · StageError BAD_ARGUMENT */
  constructor(options: TlsOptions, private readonly clock: Clock) {
    this.certificates = new Certificates(options, clock)
    this.#strangers = new Strangers(clock)
  }

  get mutual(): boolean {
    return this.certificates.mutual
  }

  /**
   * @param onsecure   gets each connection once its TLS handshake is done
   * @param ontrouble  the files of the certificate have changed and cannot be used
   * @returns          takes the sockets that come in
   */
  listen(onsecure: (socket: TLSSocket) => void, ontrouble: (error: Error) => void): (socket: Socket) => void {
    const { certificates } = this
    const server = this.#server = createServer({
      ...certificates.material,
      ...SERVER,
      ALPNProtocols: ALPN,
      requestCert: this.mutual,
      // checked when the stage asks what the certificate proves, so that the other end can be told what is wrong with it
      rejectUnauthorized: false,
    })
    const unfinished = new Map<string, () => void>()
    server.on('secureConnection', (socket) => {
      unfinished.get(origin(socket))?.()
      onsecure(secured(socket, this.mutual))
    })
    server.on('tlsClientError', (_error, socket) => socket.destroy()) // no stage, or a stage that does not trust this certificate
    certificates.follow((material) => server.setSecureContext({ ...material, ...SERVER }), ontrouble)
    return (socket) => {
      socket.on('error', ignore)
      const stranger = this.#strangers.enter(place(socket.remoteAddress), () => socket.destroy())
      const from = origin(socket)
      // Node's own limit starts afresh with every byte
      const late = this.clock.setTimeout(() => socket.destroy(), HANDSHAKE_MS)
      const leave = (): void => {
        this.#strangers.leave(stranger)
        unfinished.delete(from)
        late.cancel()
      }
      unfinished.set(from, leave)
      socket.once('close', leave)
      server.emit('connection', socket)
    }
  }

  /** @throws StageError AUTH_FAILED what is wrong with the certificate of the other end · PROTOCOL_ERROR it is no stage with TLS */
  async connect(target: { host: string; port: number }, signal: AbortSignal): Promise<TLSSocket> {
    const { host, port } = target
    const at = `${host}:${port}`
    const options: ConnectionOptions & { allowHalfOpen: boolean } = {
      host, port, ALPNProtocols: ALPN, allowHalfOpen: true, secureContext: this.certificates.context(), minVersion: 'TLSv1.3',
      rejectUnauthorized: false, // for a message that says what is wrong
      checkServerIdentity: () => undefined, // the stage asks what the certificate proves
      ...(isIP(host) === 0 ? { servername: host } : {}),
    }
    const socket = await dialled(() => connect(options), signal, 'secureConnect').catch((error: NodeJS.ErrnoException) => { throw explained(error, at) })
    socket.setNoDelay(true)
    socket.setKeepAlive(true)
    try {
      trusted(socket, `the certificate of ${at}`)
      if (socket.alpnProtocol !== 'stagemesh') throw new StageError('PROTOCOL_ERROR', `${at} speaks TLS, but is no stage`)
    } catch (error) {
      socket.on('error', ignore)
      socket.destroy()
      throw error
    }
    return secured(socket, this.mutual, host)
  }

  close(): void {
    this.certificates.close()
    this.#strangers.close()
    this.#server?.close()
  }
}

const origin = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`

const secured = (socket: TLSSocket, mutual: boolean, host?: string): TLSSocket =>
  Object.assign(said(socket), { security: securityOf(socket, mutual, host) })

/** @param host  the host that was dialled */
export function securityOf(socket: TLSSocket, mutual: boolean, host?: string): Security {
  return {
    binding: () => socket.exportKeyingMaterial(BINDING_BYTES, BINDING, Buffer.alloc(0)),
    proves: (name, unexpected) => {
      if (!mutual && host === undefined) return undefined // the end that dialled shows no certificate
      trusted(socket, `the certificate of ${name}`)
      // any member of the mesh could wait at the address under its own name
      return proof(socket, unexpected && !mutual ? undefined : name, mutual ? undefined : host)
    },
  }
}

/** @returns by what the certificate proves that name or that host @throws StageError AUTH_FAILED */
function proof(socket: TLSSocket, name: string | undefined, host: string | undefined): string {
  const certificate = socket.getPeerX509Certificate()
  const found = certificate && name !== undefined && nameFor(certificate, name)
  if (found) return `certificate ${found}`
  if (certificate && host !== undefined && (certificate.checkHost(host) ?? certificate.checkIP(host))) return `certificate of the host ${host}`
  const shown = certificate && namesOf(certificate).join(', ') || 'no name'
  const wanted = [
    ...(name === undefined ? [] : [`DNS:${name}`, `a SPIFFE URI that ends with /${encodeURIComponent(name)}`]),
    ...(host === undefined ? [] : [`the host ${host}`]),
  ]
  throw new StageError('AUTH_FAILED', `the certificate of ${name ?? host} carries ${shown}: expected ${wanted.join(', or ')}`)
}

/** @throws StageError AUTH_FAILED what is wrong with the certificate */
function trusted(socket: TLSSocket, whose: string): void {
  if (socket.authorized) return
  const certificate = socket.getPeerX509Certificate()
  const code = String(socket.authorizationError)
  if (!certificate) throw new StageError('AUTH_FAILED', `${whose} is missing: with tls.mutual each end shows one`)
  if (code === 'CERT_HAS_EXPIRED') throw new StageError('AUTH_FAILED', `${whose} has expired, on ${certificate.validTo}`)
  if (code === 'CERT_NOT_YET_VALID') throw new StageError('AUTH_FAILED', `${whose} is not valid before ${certificate.validFrom}`)
  const issuer = certificate.issuer?.replaceAll('\n', ', ')
  throw new StageError('AUTH_FAILED', `${whose} does not come from an authority in tls.ca (${code}): its issuer is ${issuer}`)
}

/** An error of a TLS handshake in our words; the system's own errors stay as they are. */
export function explained(error: NodeJS.ErrnoException, at: string): Error {
  if (/^(CERT_|DEPTH_|UNABLE_|SELF_SIGNED|ERR_TLS_CERT)/.test(error.code ?? '')) {
    return new StageError('AUTH_FAILED', `the certificate of ${at} is not accepted: ${error.message} (${error.code})`, { cause: error })
  }
  if (!error.code?.startsWith('ERR_SSL') && error.code !== 'ECONNRESET') return error
  const why = error.code === 'ECONNRESET' ? 'the connection ended during the TLS handshake' : error.message.replace(/^.*:([^:]+):\S*\s*$/s, '$1')
  return new StageError(error.code === 'ECONNRESET' ? 'DISCONNECTED' : 'PROTOCOL_ERROR', `${at} does not speak TLS 1.3 as a stage: ${why}`, { cause: error })
}
