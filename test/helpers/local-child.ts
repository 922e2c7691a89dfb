/**
 * A process that takes part in a local registry: `node local-child.js <what> <path> [ms]`.
 *
 * `hasty` begins to publish itself, prints its id, and ends after that many milliseconds; `crowd` tries to get each unique
 * name that it is given, and prints whether it got the name; `stage` publishes itself, prints its id, the longest time for
 * which its event loop was blocked, and then the answer to each heartbeat; `hold` stops itself inside a write.
 */
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { open } from 'lmdb'
import { LocalRegistry } from '../../registries/local/registry.js'
import { asError } from '../../src/errors.js'
import type { Entry, Lease } from '../../src/types.js'
import { sampleEntry } from '../suites/registry.js'

const NS = 'default'
const [what, path = '', ttl = '1000'] = process.argv.slice(2)

async function stage(ttlMs: number): Promise<void> {
  let last = performance.now()
  let worst = 0
  setInterval(() => {
    worst = Math.max(worst, performance.now() - last)
    last = performance.now()
  }, 10)
  const registry = new LocalRegistry(path)
  const entry = sampleEntry()
  const lease = await publish(registry, entry, ttlMs)
  console.log(entry.id)
  console.log(`stood still for ${Math.round(worst)}`)
  for (;;) {
    await sleep(ttlMs / 4)
    console.log(await lease.renew().catch((error: unknown) => asError(error).message))
  }
}

async function publish(registry: LocalRegistry, entry: Entry, ttlMs: number): Promise<Lease> {
  for (;;) {
    const lease = await registry.publish(entry, ttlMs).catch(() => undefined)
    if (lease) return lease
    await sleep(100)
  }
}

function hold(): void {
  const rows = open({ path, noSubdir: false, encoding: 'string', useVersions: true })
  rows.transactionSync(() => {
    void rows.put('holder', String(process.pid))
    process.kill(process.pid, 'SIGSTOP')
  })
  console.log('went on')
}

async function crowd(): Promise<void> {
  const registry = new LocalRegistry(path)
  await registry.publish(sampleEntry({ name: 'other' }), 30_000)
  console.log('ready')
  for await (const name of createInterface(process.stdin)) {
    const got = await registry.publish(sampleEntry({ name, unique: true }), 30_000).then(() => true, () => false)
    console.log(`${got ? 'got' : 'missed'} ${name}`)
  }
  await registry.close()
}

async function hasty(ms: number): Promise<void> {
  const registry = new LocalRegistry(path)
  await registry.watch(NS, new AbortController().signal).next() // the registry is open from now on
  const entry = sampleEntry({ namespace: NS })
  void registry.publish(entry, 60_000)
  console.log(entry.id)
  setTimeout(() => process.exit(), ms)
}

if (what === 'hold') hold()
else if (what === 'hasty') await hasty(Number(ttl))
else if (what === 'crowd') await crowd()
else await stage(Number(ttl))
