/** Workers of a cluster each have addresses of their own. */
import { join } from 'node:path'
import test from 'ava'
import { Child } from '../helpers/printing-child.js'
import { tempFolder } from '../helpers/process.js'

const WORKERS = 4

for (const which of ['tcp', 'ipc', 'all'] as const) {
  test(`each worker of a cluster has addresses of its own: ${which}`, async (t) => {
    t.timeout(120_000)
    const folder = await tempFolder(t)
    const primary = Child.with(t, { env: { ...process.env, STAGE_FOLDER: folder } }, 'cluster-child', `local:${join(folder, 'registry')}`, String(WORKERS), which)
    await primary.ended
    const answers = JSON.parse(primary.lines[0] ?? '[]') as { name: string, addresses: string[], answer: string }[]
    t.is(answers.length, WORKERS)
    for (const { name, answer } of answers) t.is(answer, name)
    const addresses = answers.flatMap((one) => one.addresses)
    t.is(new Set(addresses).size, WORKERS * (which === 'all' ? 3 : 1), addresses.join('\n'))
  })
}
