import { setTimeout as sleep } from 'node:timers/promises'
import { LocalRegistry } from '../../src/index.js'
import { sampleEntry } from '../suites/registry.js'

/**
 * Stops a process, but not in the middle of a write to a local registry, which would block writes of all other processes.
 */
export async function stop(process: { signal(signal: NodeJS.Signals): void }, registry: string): Promise<void> {
  for (;;) {
    process.signal('SIGSTOP')
    if (!registry.startsWith('local:')) return
    const probe = new LocalRegistry(registry.slice('local:'.length))
    const free = await probe.publish(sampleEntry({ namespace: 'probe' }), 1000).then(() => true, () => false)
    await probe.close()
    if (free) return
    process.signal('SIGCONT')
    await sleep(50)
  }
}
