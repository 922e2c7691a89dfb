/** One end of one measurement; `run.ts` starts it. */
import type { Contender } from './contender.js'
import { raw } from './raw.js'
import { actor, stagemesh } from './stagemesh.js'

const contenders: Record<string, Contender> = { raw, stagemesh, actor }
const [role, name, place, inFlight, seconds] = process.argv.slice(2) as [string, string, string, string, string]
const contender = contenders[name] as Contender
process.once('disconnect', () => process.exit())
const cpu = (): number => { const { user, system } = process.cpuUsage(); return user + system }

if (role === 'serve') {
  const where = await contender.serve()
  let before = cpu()
  process.on('message', (message) => {
    if (message === 'start') before = cpu()
    else process.send?.({ cpu: cpu() - before })
  })
  process.send?.({ where })
} else {
  const call = await contender.connect(place)
  const run = async (ms: number): Promise<number> => {
    const end = performance.now() + ms
    let calls = 0
    await Promise.all(Array.from({ length: Number(inFlight) }, async () => {
      while (performance.now() < end) {
        await call()
        calls++
      }
    }))
    return calls
  }
  await run(700) // warm
  process.send?.({ warm: true })
  process.once('message', () => void (async () => {
    const before = cpu()
    const started = performance.now()
    const calls = await run(Number(seconds) * 1000)
    process.send?.({ calls, seconds: (performance.now() - started) / 1000, cpu: cpu() - before })
  })())
}
