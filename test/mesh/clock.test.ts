/** The clock of the machine. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'

/** A process that waits for something else for long, as an idle application does. */
const program = `
  import { systemClock } from ${JSON.stringify(new URL('../../src/clock.js', import.meta.url).href)}
  setTimeout(() => {}, 3000).ref()
  setTimeout(() => {
    const since = performance.now()
    systemClock.setTimeout(() => { console.log(performance.now() - since); process.exit() }, 0)
  }, 20)
`

test('what is due at once runs at once, though nothing else wakes the loop', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
  t.true(Number(stdout) < 1000, `${stdout} ms`)
})
