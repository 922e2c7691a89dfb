import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'

const length = (size: number): Buffer => size < 128 ? Buffer.of(size) : size < 256 ? Buffer.of(0x81, size) : Buffer.of(0x82, size >> 8, size & 255)
const der = (tag: number, ...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(tag), length(body.length), body])
}
const sequence = (...parts: Buffer[]): Buffer => der(0x30, ...parts)
const oid = (...bytes: number[]): Buffer => der(0x06, Buffer.of(...bytes))
const time = (at: Date): Buffer => der(0x17, Buffer.from(at.toISOString().replace(/[-:T]|\.\d+/g, '').slice(2)))

/** A certificate that its own key signed (RFC 5280), for the host `far`, with its key: both as PEM. */
export function selfSigned(): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const algorithm = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)) // ecdsa-with-SHA256
  const name = sequence(der(0x31, sequence(oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from('far')))))
  const [from, to] = [-1, 1].map((days) => time(new Date(Date.now() + days * 86_400_000))) as [Buffer, Buffer]
  const names = sequence(oid(0x55, 0x1d, 0x11), der(0x04, sequence(der(0x82, Buffer.from('far'))))) // subjectAltName
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))), der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])), algorithm,
    name, sequence(from, to), name, publicKey.export({ type: 'spki', format: 'der' }), der(0xa3, sequence(names)),
  )
  const signed = sequence(body, algorithm, der(0x03, Buffer.of(0), sign('sha256', body, privateKey)))
  const lines = signed.toString('base64').match(/.{1,64}/g) as string[]
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
  }
}
