/**
 * A process that takes part in a local registry: `node local-child.js <what> <path> [ttlMs]`.
 *
 * `crowd` waits for a word on its standard input, tries to get each of 40 unique names and prints those it got, `stage` publishes itself, prints its id, for how many milliseconds nothing else could run, and then each heartbeat's answer; `hold` stops itself inside a write.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { open } from 'lmdb'
import { LocalRegistry } from '../../registries/local/registry.js'
import { asError } from '../../src/errors.js'
import type { Entry, Lease } from '../../src/types.js'
import { sampleEntry } from '../suites/registry.js'

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

/** @param at  when to begin, so that several do it at the same time */
async function crowd(): Promise<void> {
  const registry = new LocalRegistry(path)
  await registry.publish(sampleEntry({ name: 'other' }), 30_000)
  console.log('ready')
  await once(process.stdin, 'data')
  for (let i = 0; i < 40; i++) {
    const got = await registry.publish(sampleEntry({ name: `unique-${i}`, unique: true }), 30_000).then(() => true, () => false)
    if (got) console.log(`unique-${i}`)
  }
  console.log('done')
  process.stdin.destroy()
  await registry.close()
}

if (what === 'hold') hold()
else if (what === 'crowd') await crowd()
else await stage(Number(ttl))
