/** The registry on a Redis behind TLS: an authority of one's own, and a client certificate. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, RedisRegistry, Stage } from '../../src/index.js'
import { freePort } from '../helpers/free-port.js'
import { RedisServer, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'
import { sampleEntry } from '../suites/registry.js'

const missing = !hasRedis ? 'redis-server is not installed' : spawnSync('openssl', ['version']).status !== 0 ? 'openssl is not installed' : ''

interface Keys { ca: string, cert: string, key: string }

/** An authority, a certificate of the server for 127.0.0.1 and localhost, and one of a client. */
async function certificates(folder: string): Promise<Keys> {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test authority', '-keyout', 'ca.key', '-out', 'ca.pem')
  for (const [name, san] of [['server', 'IP:127.0.0.1,DNS:localhost'], ['client', 'DNS:client']] as const) {
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${san}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-copy_extensions', 'copy', '-out', `${name}.pem`)
  }
  const text = (name: string): Promise<string> => readFile(join(folder, name), 'utf8')
  return { ca: await text('ca.pem'), cert: await text('client.pem'), key: await text('client.key') }
}

async function serve(t: ExecutionContext, ...more: string[]): Promise<Keys & { port: number, server: RedisServer }> {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-tls-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const keys = await certificates(folder)
  const port = await freePort()
  const at = (name: string): string => join(folder, name)
  const server = await RedisServer.start('--tls-port', String(port), '--tls-cert-file', at('server.pem'), '--tls-key-file', at('server.key'), '--tls-ca-cert-file', at('ca.pem'), '--tls-auth-clients', 'yes', ...more)
  t.teardown(() => server.close())
  return { ...keys, port, server }
}

const onTls = missing ? test.skip : test
onTls(`rediss: with an authority and a client certificate works, and without either it says so${missing && ` (${missing})`}`, async (t) => {
  const { port, ca, cert, key } = await serve(t)
  for (const host of ['127.0.0.1', 'localhost']) {
    const url = `rediss://${host}:${port}`
    const make = (name: string): Stage => {
      const stage = new Stage(name, { registry: new RedisRegistry({ url, tls: { ca, cert, key } }), interfaces: new MemoryInterface(), namespace: host })
      t.teardown(() => stage.close())
      return stage
    }
    const [a, b] = [make('a'), make('b')]
    await Promise.all([a.ready(), b.ready()])
    await until(() => a.peers().length === 1 && b.peers().length === 1)
  }
  const url = `rediss://127.0.0.1:${port}`
  const wrong: Record<string, ConstructorParameters<typeof RedisRegistry>[0]> = {
    'no authority': { url, tls: { cert, key } },
    'no client certificate': { url, tls: { ca } },
    'another name': { url, tls: { ca, cert, key, servername: 'other' } },
    'no TLS': `redis://127.0.0.1:${port}`,
  }
  for (const [what, options] of Object.entries(wrong)) {
    const registry = new RedisRegistry(options)
    const error = await t.throwsAsync(registry.publish(sampleEntry(), 5000), { code: 'REGISTRY_UNAVAILABLE' }, what)
    t.regex(error!.message, what === 'no TLS' ? /connection was closed|TLS/ : /TLS|certificate|closed/i, what)
    await registry.close()
  }
})

onTls(`rediss+cluster: the nodes are reached over TLS, too${missing && ` (${missing})`}`, async (t) => {
  const { port, server, ca, cert, key } = await serve(t, '--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--tls-cluster', 'yes')
  await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 16383])
  await until(async () => String(await server.run(['CLUSTER', 'INFO'])).includes('cluster_state:ok'))
  for (const host of ['127.0.0.1', 'localhost']) {
    const registry = new RedisRegistry({ url: `rediss+cluster://${host}:${port}`, tls: { ca, cert, key } })
    t.teardown(() => registry.close())
    const lease = await registry.publish(sampleEntry({ namespace: host }), 5000)
    t.is(await lease.renew(), 'ok')
    t.is((await registry.store(host).claim('x', { stage: 's', activation: 'a' })).owner, undefined)
  }
  const wrong = new RedisRegistry({ url: `rediss+cluster://127.0.0.1:${port}`, tls: { cert, key } })
  t.teardown(() => wrong.close())
  await t.throwsAsync(wrong.publish(sampleEntry(), 5000), { code: 'REGISTRY_UNAVAILABLE', message: /certificate/ })
})
