/**
 * A process of a mesh without a server of somebody else's: `serve [port]` serves an empty registry; `stage name url next` runs a
 * stage that calls the stage `next` all the time, and tells what it saw when asked; `connect name [address]` knows no registry.
 */
import { MemoryRegistry, Stage, StageError, TcpInterface, serveRegistry } from '../../src/index.js'
import { asError } from '../../src/errors.js'

const [role, ...args] = process.argv.slice(2)
const tell = (message: object): void => void process.send?.(message)
process.on('disconnect', () => process.exit())

if (role === 'serve') {
  const { url } = await serveRegistry(new MemoryRegistry('served'), { port: Number(args[0] ?? 0), bind: '127.0.0.79' })
  tell({ url })
}

if (role === 'stage') {
  const [name, url, next] = args
  const stage = new Stage(name, { registry: url, interfaces: new TcpInterface(), ttlMs: 3000, timeoutMs: 20_000 })
  const seen = { calls: 0, errors: [] as string[], parts: 0, ids: new Set<string>() }
  stage.to('*').provide('name', () => name)
  stage.on('part', () => seen.parts++)
  process.on('message', () => tell({ ...seen, ids: [...seen.ids], peers: stage.peers().map((peer) => peer.name).sort() }))
  await stage.ready()
  tell({ ready: name })
  for (;;) {
    seen.ids.add(stage.id)
    try {
      if (await stage.to(next).call('name') !== next) throw new Error('another answered')
      seen.calls++
    } catch (error) {
      seen.errors.push(asError(error).message)
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

if (role === 'connect') {
  const [name, address] = args
  const stage = new Stage(name, { registry: 'none:', interfaces: new TcpInterface(), secret: 'sixteen bytes or more' })
  stage.to('*').provide('pid', () => process.pid)
  stage.on('listening', (addresses) => tell({ addresses }))
  stage.on('unlink', (peer) => tell({ unlinked: peer.name }))
  process.on('message', (to) => {
    stage.to(to as string, { waitMs: 1000 }).call<number>('pid').then((pid) => tell({ pid }), (error: StageError) => tell({ code: error.code }))
  })
  await stage.ready()
  if (address) stage.keep(await stage.connect(address))
}
