/**
 * Three machines without any server of somebody else's: one process serves the registry, and all find each other through it. Here
 * they are three processes of one machine, on loopback.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Stage, TcpInterface, serveRegistry } from 'stagemesh'

const secret = 'the same text on all machines'

/** On each machine; `host: '10.0.0.5'` would be the address of its own. */
async function machine(name: string, registry: string): Promise<void> {
  const stage = new Stage(name, { registry, secret, interfaces: new TcpInterface() })
  stage.define({
    pattern: 'counters.{id}',
    create: () => ({ count: 0, add(): { count: number; on: string } { return { count: ++this.count, on: name } } }),
    durable: ['count'],
  })
  await stage.ready()
  process.send?.(`${name} is there`)
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'three-machines-'))
  const server = await serveRegistry(`local:${folder}`, { secret })

  const machines = ['red', 'blue'].map((name) => fork(fileURLToPath(import.meta.url), [name, server.url]))
  for (const one of machines) console.log((await once(one, 'message'))[0])

  const green = new Stage('green', { registry: server.url, secret, interfaces: new TcpInterface() })
  const counter = green.actor<{ add(): { count: number; on: string } }>('counters.visits')
  await counter.add()
  const { count, on } = await counter.add()
  console.log(`${count} visits, counted on ${on === 'red' || on === 'blue' ? 'one of them' : on}`)

  // the machine that counts is switched off: another goes on where it was
  machines[on === 'red' ? 0 : 1].kill('SIGKILL')
  const next = await green.actor<{ add(): { count: number; on: string } }>('counters.visits', { idempotent: true }).add()
  console.log(`${next.count} visits, counted on another: ${next.on !== on}`)

  await green.close()
  for (const one of machines) one.kill()
  await server.close()
  rmSync(folder, { recursive: true })
}

const [name, url] = process.argv.slice(2)
if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await (name && url ? machine(name, url) : main())
