/** TLS with an authority of one's own, which openssl makes: each stage shows a certificate that carries its name. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Stage, StageError, TcpInterface } from 'stagemesh'

const folder = mkdtempSync(join(tmpdir(), 'mesh-ca-'))
const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** Once for the mesh; its key stays with whoever issues certificates. */
const authority = (): void => openssl('req', '-x509', ...key, '-days', '365', '-subj', '/CN=our mesh', '-keyout', 'ca.key', '-out', 'ca.pem')

/** Once for each stage. */
function certificate(name: string): void {
  openssl('req', ...key, '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
  openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '30', '-copy_extensions', 'copy', '-out', `${name}.pem`)
}

/** @param certified  the name in the certificate */
function stage(name: string, certified = name): Stage {
  const at = (file: string): string => join(folder, file)
  const tls = { cert: at(`${certified}.pem`), key: at(`${certified}.key`), ca: at('ca.pem'), mutual: true }
  return new Stage(name, { registry: 'memory:', interfaces: new TcpInterface({ tls }) })
}

async function main(): Promise<void> {
  authority()
  for (const name of ['api', 'web', 'guest']) certificate(name)
  const api = stage('api')
  api.to('*').provide('greet', function (name: string) { return `hello ${name}, proven by ${this.peer.proven}` })

  const web = stage('web')
  console.log(await web.to('api').call('greet', 'web'))

  const impostor = stage('db', 'guest')
  await impostor.to('api').call('greet', 'db').catch((error: StageError) => console.log(`${error.code}: ${error.message.replace(/^.*reported: /, '')}`))

  await Promise.all([api, web, impostor].map((one) => one.close()))
  rmSync(folder, { recursive: true })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
