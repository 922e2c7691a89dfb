/** TLS on TCP: the suite of interfaces, what certificates prove, and files that are replaced. */
import test, { type ExecutionContext } from 'ava'
import { connect as connectPlain } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type ConnectionOptions } from 'node:tls'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { nameFor, namesOf } from '../../interfaces/shared/certificates.js'
import { parseAddress } from '../../interfaces/shared/host.js'
import { TcpInterface, type TcpOptions } from '../../interfaces/tcp.js'
import { MemoryRegistry, Stage, StageError, type Interface, type Peer } from '../../src/index.js'
import type { StageOptions } from '../../src/index.js'
import { authorityFor, hasOpenssl, needingOpenssl, pem, type Certified } from '../helpers/authority.js'
import { until } from '../helpers/until.js'
import { interfaceSuite } from '../suites/interface.js'

const check = needingOpenssl(test)

const authority = authorityFor(test)
const other = authorityFor(test, 'another authority')
const certify = (names: string, days?: number): Certified => authority!.certify(names, days)
const foreign = (names: string): Certified => ({ ...other!.certify(names), ca: authority!.ca })

if (hasOpenssl) {
  const files = certify('IP:127.0.0.1')
  const tls = { ...files }
  interfaceSuite(test, () => ({ listener: new TcpInterface({ tls }), dialler: new TcpInterface({ tls: pem(files) }) }), { name: 'tls' })
  interfaceSuite(test, () => ({ listener: new TcpInterface({ tls: { ...tls, mutual: true } }), dialler: new TcpInterface({ tls: { ...tls, mutual: true } }) }), { name: 'mutual tls' })
}

let count = 0
const addresses = new WeakMap<Stage, string>()
const addressOf = (stage: Stage): string => addresses.get(stage)!
const noted = (stage: Stage): Stage => stage.on('listening', ([address]) => addresses.set(stage, address))
type Side = TcpOptions['tls']

/** Two stages, `api` and `client`, each with its own TLS; the greater id of `api` or `client` does not matter. */
async function pair(t: ExecutionContext, api: Side, client: Side, options: StageOptions = {}, tcp: TcpOptions = {}) {
  t.timeout(60_000)
  const registry = `memory:tls-${++count}`
  const make = (name: string, tls: Side): Stage => {
    const stage = noted(new Stage(name, { registry, interfaces: new TcpInterface({ ...(tls ? { tls } : {}), ...tcp }), timeoutMs: 15_000, ...options }))
    t.teardown(() => stage.close())
    return stage
  }
  const [one, two] = [make('api', api), make('client', client)]
  one.to('*').provide('who', function (this: { peer: Peer }) { return this.peer.proven })
  await Promise.all([one.ready(), two.ready()])
  return { api: one, client: two }
}

const both = (certified: Certified): Side => ({ ...certified, mutual: true })

check('with certificates of both ends a call passes, and says by what its caller has proven its name', async (t) => {
  const { api, client } = await pair(t, both(certify('DNS:api')), both(certify('URI:spiffe://mesh/ns/default/client')))
  const peer = await new Promise<Peer>((resolve) => { client.once('link', resolve); void client.to('api').call('who').catch(() => {}) })
  t.is(peer.proven, 'certificate DNS:api')
  t.is(await client.to('api').call('who'), 'certificate URI:spiffe://mesh/ns/default/client')
  t.regex(addressOf(api), /^tcps:\/\/127\.0\.0\.1:\d+$/)
})

check('with a certificate of the dialled end, and a secret, the caller is proven by the secret', async (t) => {
  const secret = 'sixteen bytes or more'
  const { client } = await pair(t, certify('IP:127.0.0.1'), certify('DNS:client'), { secret })
  t.is(await client.to('api').call('who'), 'secret')
})

check('a value in place of a path, several authorities, and a name that is no DNS name', async (t) => {
  const api = pem(certify('URI:spiffe://mesh/api'))
  const { client } = await pair(t, { ...api, ca: [readFileSync(other!.ca), api.ca], mutual: true }, { ...pem(certify('DNS:x,DNS:client')), mutual: true })
  t.is(await client.to('api').call('who'), 'certificate DNS:client')
})

const refusals: Record<string, { api(): Side, client(): Side, told: RegExp }> = {
  'a caller whose certificate is of another authority': { api: () => both(certify('DNS:api')), client: () => both(foreign('DNS:client')), told: /certificate of client does not come from an authority in tls\.ca .*another authority/ },
  'a callee whose certificate is of another authority': { api: () => both(foreign('DNS:api')), client: () => both(certify('DNS:client')), told: /does not come from an authority in tls\.ca/ },
  'a caller whose certificate has expired': { api: () => both(certify('DNS:api')), client: () => both(certify('DNS:client', -1)), told: /certificate of client has expired, on / },
  'a callee whose certificate has expired': { api: () => both(certify('DNS:api', -1)), client: () => both(certify('DNS:client')), told: /has expired, on / },
  'a caller whose name is not in its certificate': { api: () => both(certify('DNS:api')), client: () => both(certify('DNS:mallory,URI:spiffe://mesh/client/x')), told: /certificate of client carries DNS:mallory, URI:spiffe:\/\/mesh\/client\/x: expected DNS:client/ },
  'a callee whose name is not in its certificate': { api: () => both(certify('DNS:mallory,IP:127.0.0.1')), client: () => both(certify('DNS:client')), told: /certificate of api carries DNS:mallory: expected DNS:api/ },
  'a certificate without any name': { api: () => both(certify('')), client: () => both(certify('DNS:client')), told: /certificate of api carries no name/ },
  'a callee with neither its name nor its host in its certificate': { api: () => certify('IP:127.0.0.2'), client: () => certify('DNS:client'), told: /certificate of api carries no name: expected DNS:api, .* or the host 127\.0\.0\.1/ },
}
for (const [title, { api, client, told }] of Object.entries(refusals)) {
  check(`P6: refused: ${title}`, async (t) => {
    const [a, c] = [api(), client()]
    const stages = await pair(t, a, c)
    const error = await t.throwsAsync(stages.client.to('api').call('who'), { instanceOf: StageError }) as StageError
    t.regex(error.message, told)
    t.is(error.code, 'AUTH_FAILED')
  })
}

check('P6: the end that refuses says so too', async (t) => {
  const stages = await pair(t, both(certify('DNS:api')), both(certify('DNS:mallory')))
  const refused = once(stages.api, 'refused') as Promise<[StageError]>
  await t.throwsAsync(stages.client.to('api').call('who'))
  const [error] = await refused
  t.is(error.code, 'AUTH_FAILED')
  t.regex(error.message, /carries DNS:mallory/)
})

check('refused: a caller that shows no certificate', async (t) => {
  const { api } = await pair(t, both(certify('DNS:api')), both(certify('DNS:client')))
  const options = { ca: readFileSync(authority!.ca), ALPNProtocols: ['stagemesh'], checkServerIdentity: () => undefined }
  const stream = connectTls({ ...parseAddress(addressOf(api), 'tcps'), ...options } as ConnectionOptions)
  t.teardown(() => void stream.destroy())
  await once(stream, 'secureConnect')
  const through = new TcpInterface({ tls: both(certify('DNS:client')) })
  t.teardown(() => through.close())
  const registry = new MemoryRegistry(`tls-none-${count}`)
  t.teardown(() => registry.close())
  const { said } = await import('../../interfaces/shared/said.js')
  const stage = new Stage('client', { registry, interfaces: [Object.assign(through, { connect: async () => said(stream) })] })
  t.teardown(() => stage.close())
  const refused = once(api, 'refused') as Promise<[StageError]>
  const { id } = api
  await registry.publish({ id, name: 'api', namespace: 'default', addresses: [addressOf(api)], unique: false, draining: false, ttlMs: 60_000, announces: {}, meta: {} }, 60_000)
  await t.throwsAsync(stage.to('api', { timeoutMs: 15_000 }).call('who'))
  t.regex((await refused)[0].message, /certificate of client is missing/)
})

check('P6: a man in the middle with a valid certificate is found out by the secret', async (t) => {
  const secret = 'sixteen bytes or more'
  const mallory = certify('DNS:mallory,IP:127.0.0.1')
  const registry = new MemoryRegistry(`tls-middle-${++count}`)
  t.teardown(() => registry.close())
  const api = noted(new Stage('api', { registry: new MemoryRegistry(`tls-middle-api-${count}`), interfaces: new TcpInterface({ tls: certify('IP:127.0.0.1') }), secret }))
  t.teardown(() => api.close())
  await api.ready()
  const middle = createTlsServer({ ...pem(mallory), ALPNProtocols: ['stagemesh'], allowHalfOpen: true } as object, (near) => {
    const far = connectTls({ ...parseAddress(addressOf(api), 'tcps'), rejectUnauthorized: false, ALPNProtocols: ['stagemesh'] })
    for (const [from, to] of [[near, far], [far, near]]) from.on('error', () => to.destroy()).on('close', () => to.destroy()).pipe(to)
  })
  await new Promise<void>((resolve) => middle.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void middle.close())
  const { port } = middle.address() as { port: number }
  await registry.publish({ id: api.id, name: 'api', namespace: 'default', addresses: [`tcps://127.0.0.1:${port}`], unique: false, draining: false, ttlMs: 60_000, announces: {}, meta: {} }, 60_000)
  const client = new Stage('client', { registry, interfaces: new TcpInterface({ tls: certify('DNS:client') }), secret, timeoutMs: 15_000 })
  t.teardown(() => client.close())
  const error = await t.throwsAsync(client.to('api').call('who'), { instanceOf: StageError }) as StageError
  t.is(error.code, 'AUTH_FAILED')
  t.regex(error.message, /somebody between them/)
})

check('P6: certificates are replaced under load, and no call fails', async (t) => {
  const [a, c] = [certify('DNS:api'), certify('DNS:client')]
  const { api, client } = await pair(t, both(a), both(c), { idleLinkMs: 100 })
  const serial = (side: Stage): Promise<string> => new Promise((resolve, reject) => {
    const socket = connectTls({ ...parseAddress(addressOf(side), 'tcps'), rejectUnauthorized: false, ALPNProtocols: ['stagemesh'] }, () => {
      resolve(socket.getPeerX509Certificate()!.serialNumber)
      socket.destroy()
    }).on('error', reject)
  })
  const before = await serial(api)
  let going = true
  let calls = 0
  const load = (async () => {
    while (going) {
      t.is(await client.to('api').call('who'), 'certificate DNS:client')
      calls++
      await new Promise((resolve) => setTimeout(resolve, calls % 20 === 0 ? 150 : 1)) // now and then the link closes for being idle
    }
  })()
  authority!.replace(a, certify('DNS:api'))
  authority!.replace(c, certify('DNS:client'))
  await until(async () => await serial(api) !== before && calls > 100, 30_000)
  going = false
  await load
  t.true(calls > 100, `${calls} calls`)
})

check('files that cannot be used are told of, and the old ones stay', async (t) => {
  const a = certify('DNS:api')
  const { api, client } = await pair(t, both(a), both(certify('DNS:client')))
  const [, error] = await Promise.all([writeFileSync(a.cert, 'no PEM'), once(api, 'error') as Promise<[Error]>])
  t.regex(error[0].message, /tls\.cert: .* holds no PEM/)
  t.is(await client.to('api').call('who'), 'certificate DNS:client')
})

check('misuse is told at once', (t) => {
  const files = certify('DNS:api')
  const wrong: [Side, RegExp][] = [
    [{ ...files, ca: readFileSync(files.ca).subarray(0, 200) }, /tls\.ca: the text cannot be read: a certificate in it is cut off/],
    [{ ...files, ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }, /tls\.ca: the text cannot be read/],
    [{ ...files, cert: '/none/cert.pem' }, /cannot read tls\.cert: ENOENT/],
    [{ ...files, key: certify('DNS:b').key }, /do not make a certificate: .*key values mismatch/],
    [{ ...files, cert: undefined as never }, /tls\.cert is undefined: expected PEM, or the path/],
    [{ cert: files.cert, key: files.key, mutual: true }, /tls\.mutual needs tls\.ca/],
    [{ ...files, cet: 'x' } as never, /cet/],
  ]
  for (const [tls, told] of wrong) t.throws(() => new TcpInterface({ tls }), { message: told })
})

check('beyond the machine, TLS without mutual certificates needs a secret', (t) => {
  const files = certify('DNS:api')
  t.true(new TcpInterface({ bind: '0.0.0.0', tls: files }).exposed)
  t.false(new TcpInterface({ bind: '0.0.0.0', tls: both(files) }).exposed)
  t.throws(() => new Stage('a', { registry: 'memory:', interfaces: new TcpInterface({ bind: '0.0.0.0', tls: files }) }), { message: /mutual/ })
})

check('a port without TLS, and a TLS server that is no stage, are told apart', async (t) => {
  const files = certify('IP:127.0.0.1')
  const tls = new TcpInterface({ tls: files })
  const plain = new TcpInterface()
  const [address] = await plain.listen((stream) => { stream.on('data', () => stream.end()); t.teardown(() => void stream.destroy()) })
  const signal = new AbortController().signal
  await t.throwsAsync(tls.connect(address.replace('tcp:', 'tcps:'), signal), { message: /does not speak TLS 1\.3 as a stage/ })
  const web = createTlsServer(pem(files), (socket) => socket.on('error', () => {}))
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void web.close())
  await t.throwsAsync(tls.connect(`tcps://127.0.0.1:${(web.address() as { port: number }).port}`, signal), { message: /is no stage/ })
  await plain.close()
})

check('connections that never finish their TLS handshake do not keep others out', async (t) => {
  const files = certify('IP:127.0.0.1')
  const [listener, dialler] = [new TcpInterface({ tls: files }), new TcpInterface({ tls: files })]
  t.teardown(() => listener.close())
  const [address] = await listener.listen((stream: Duplex) => { t.teardown(() => void stream.destroy()) })
  const target = parseAddress(address, 'tcps')
  const silent = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
    const socket = connectPlain(target)
    socket.on('error', () => {})
    await once(socket, 'connect')
    if (i % 3 === 1) socket.write(Buffer.from([0x16, 3, 1]))
    if (i % 3 === 2) socket.write('GET / HTTP/1.1\r\n\r\n')
    return socket
  }))
  t.teardown(() => { for (const socket of silent) socket.destroy() })
  const stream = await dialler.connect(address, new AbortController().signal)
  t.teardown(() => void stream.destroy())
  await until(() => silent.filter((socket) => !socket.destroyed).length <= 64)
  await until(() => silent.every((socket) => socket.destroyed), 15_000)
  t.false(stream.destroyed)
})

const names: [string, string, string | undefined][] = [
  ['DNS:api', 'api', 'DNS:api'], ['DNS:api', 'ap', undefined], ['DNS:*.x', 'a.x', undefined], ['IP:127.0.0.1', '127.0.0.1', undefined],
  ['URI:spiffe://mesh/a/api', 'api', 'URI:spiffe://mesh/a/api'], ['URI:https://mesh/api', 'api', undefined], ['URI:spiffe://api', 'api', undefined],
  ['URI:spiffe://mesh/my%20app', 'my app', 'URI:spiffe://mesh/my%20app'], ['email:api', 'api', undefined],
  ['DNS:x,DNS:api', 'api', 'DNS:api'], ['URI:spiffe://m/x%2C DNS:api', 'api', undefined],
]
check('which names a certificate proves', async (t) => {
  const { X509Certificate } = await import('node:crypto')
  for (const [san, name, proves] of names) {
    const certificate = new X509Certificate(readFileSync(certify(san).cert))
    t.is(nameFor(certificate, name), proves, `${san} for ${name}: ${namesOf(certificate).join(' ')}`)
  }
})

check('connect() wants the host that it has dialled in a certificate, whatever name the stage there gives', async (t) => {
  const caller = new Stage('caller', { registry: 'none:', interfaces: new TcpInterface({ tls: certify('DNS:caller') }) })
  t.teardown(() => caller.close())
  for (const [names, refused] of [['IP:127.0.0.1', false], ['DNS:mallory', true]] as const) {
    const mallory = noted(new Stage('mallory', { registry: 'none:', interfaces: new TcpInterface({ tls: certify(names) }) }))
    t.teardown(() => mallory.close())
    await mallory.ready()
    const connecting = caller.connect(addressOf(mallory))
    if (!refused) t.is((await connecting).proven, 'certificate of the host 127.0.0.1')
    else {
      const error = await t.throwsAsync(connecting, { instanceOf: StageError }) as StageError
      t.is(error.code, 'AUTH_FAILED')
      t.regex(error.message, /carries DNS:mallory: expected the host 127\.0\.0\.1/)
    }
  }
})

check('who only dials uses new files too', async (t) => {
  const files = certify('DNS:client')
  const { api } = await pair(t, both(certify('DNS:api')), both(certify('DNS:other')))
  const through = new TcpInterface({ tls: both(files) })
  t.teardown(() => through.close())
  const dialler: Interface = { scheme: through.scheme, listen: async () => [], connect: (address, signal) => through.connect(address, signal), close: () => through.close() }
  const client = new Stage('client', { registry: 'none:', interfaces: dialler })
  t.teardown(() => client.close())
  const peer = await client.connect(addressOf(api))
  t.is(await client.to(peer).call('who'), 'certificate DNS:client')
  await client.disconnect(peer)
  authority!.replace(files, certify('DNS:somebody'))
  let error: StageError | undefined
  await until(async () => {
    error = await client.connect(addressOf(api)).then((found) => void client.disconnect(found), (thrown: StageError) => thrown) ?? undefined
    return error !== undefined
  }, 20_000)
  t.is(error?.code, 'AUTH_FAILED')
  t.regex(error!.message, /carries DNS:somebody/)
})
