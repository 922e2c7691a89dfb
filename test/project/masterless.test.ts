/** The suite of masterless, as its package brings it, on stages that know no registry. */
import test from 'ava'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { runInThisContext } from 'node:vm'
import { Server } from '../helpers/masterless.js'

const require = createRequire(import.meta.url)
const root = dirname(require.resolve('masterless/package.json'))
const servers: Server[] = []
test.after.always(async () => { await Promise.all(servers.map((one) => one.stage.close())) })

/** The class that the suite makes, of which each is closed in the end. */
class Made extends Server {
  constructor(...args: ConstructorParameters<typeof Server>) {
    super(...args)
    servers.push(this)
  }
}

type Case = (done: (error?: Error | null) => void) => void
Object.assign(globalThis, { expect: (require('chai') as { expect: unknown }).expect })
const suite = runInThisContext(`(function (require, describe, it) {${readFileSync(join(root, 'test/masterless.js'), 'utf8')}\n})`) as
  (require: (name: string) => unknown, describe: (title: string, run: () => void) => void, it: (title: string, run: Case) => void) => void

let count = 0
suite((name) => name === '..' ? Made : require(name), (_, run) => run(), (title, run) => {
  count++
  test.serial(`masterless: it ${title}`, async (t) => {
    t.timeout(20_000)
    await new Promise<void>((resolve, reject) => run((error) => { if (error) reject(error); else resolve() }))
    t.pass()
  })
})

test('all of it was found', (t) => { t.is(count, 8) })
