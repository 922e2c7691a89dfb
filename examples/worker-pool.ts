/** Work that needs a processor, in threads: each thread is a replica of one name, and calls go to the least busy one. */
import { availableParallelism, tmpdir } from 'node:os'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker, isMainThread, threadId, workerData } from 'node:worker_threads'
import { Stage } from 'stagemesh'
import { WorkerInterface } from 'stagemesh/interfaces/worker'

interface Primes { primes(from: number, to: number): { count: number; thread: number } }

const isPrime = (n: number): boolean => { for (let i = 2; i * i <= n; i++) if (n % i === 0) return false; return n > 1 }

/** In each thread. */
function serve(): void {
  const stage = new Stage('primes', { registry: workerData as string, interfaces: new WorkerInterface() })
  stage.to('*').serve<Primes>({
    primes: (from, to) => {
      let count = 0
      for (let n = from; n < to; n++) if (isPrime(n)) count++
      return { count, thread: threadId }
    },
  })
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'worker-pool-'))
  const registry = `local:${folder}`
  const size = Math.min(4, Math.max(2, availableParallelism()))
  const workers = Array.from({ length: size }, () => new Worker(fileURLToPath(import.meta.url), { workerData: registry }))
  const stage = new Stage('main', { registry, interfaces: new WorkerInterface(), timeoutMs: 60_000 })
  while (stage.peers('primes').length < size) await new Promise((resolve) => stage.once('join', resolve))

  const pool = stage.to('primes').as<Primes>()
  const parts = await Promise.all(Array.from({ length: 20 }, (_, i) => pool.primes(i * 10_000, (i + 1) * 10_000)))
  console.log(`${parts.reduce((sum, { count }) => sum + count, 0)} primes below 200000`)
  console.log(`more than one thread took part: ${new Set(parts.map(({ thread }) => thread)).size > 1}`)

  await stage.close()
  await Promise.all(workers.map((worker) => worker.terminate()))
  rmSync(folder, { recursive: true })
}

if (!isMainThread) serve()
else if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
