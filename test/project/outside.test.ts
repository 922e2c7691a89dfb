/** Programs that nobody here wrote, over streams of the library. */
import type { Socket } from 'node:net'
import test from 'ava'
import { alike, differences, expected } from '../outside/compare.js'
import { idles } from '../outside/idle.js'
import { outcome } from '../outside/outcome.js'
import { programs } from '../outside/programs.js'
import { stop } from '../outside/redis.js'
import { aroundDuplexify, control, ways } from '../outside/ways.js'

// Programs that nobody here wrote, over streams of ours: what they do over a bare socket is what they do over each of
// them, the same events in the same order. Where that is not so, and rightly, the program's `differs` says why.

/** Rows at a time: some of them wait for idle timeouts, which a crowded process would not keep. */
let free = 5
const queue: (() => void)[] = []

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (free > 0) free--
  else await new Promise<void>((resolve) => { queue.push(resolve) })
  try {
    return await work()
  } finally {
    const next = queue.shift()
    if (next) next()
    else free++
  }
}

/**
 * Node reads TLS over what is no net.Socket through an adapter that throws an assertion of its own now and then, the more
 * the machine has to do (nodejs/node#35384); nobody can catch it. So but one of these programs runs over streams of ours
 * only where it is asked for: `npm run outside`.
 */
const rare = (name: string): boolean => /^(tls|https)/.test(name) && !name.startsWith('tls.connect()') && !process.env['STAGEMESH_OUTSIDE']

for (const program of programs) {
  const { name } = program
  const bare = turn(() => outcome(program, control))
  test(`${name} over ${control.name}`, async (t) => {
    const lines = await bare
    t.deepEqual(lines.filter((line) => /^(failed|still running)/.test(line)), [])
    const wanted = expected(lines, [])
    t.deepEqual(alike(await turn(() => outcome(program, control)), wanted), wanted, 'the same again')
  })
  for (const way of ways) {
    if (rare(name) || (way.only && !way.only.programs.test(name))) continue
    test(`${name} over ${way.name}`, async (t) => {
      const [lines, differs] = [await bare, differences(program, way.name)]
      const came = await turn(() => outcome(program, way))
      const wanted = expected(lines, differs)
      t.deepEqual(alike(came, wanted), wanted)
      const without = expected(lines, [])
      if (differs.length > 0) t.notDeepEqual(alike(came, without), without, 'its differences are to be taken out')
    })
  }
}

test('duplexify loses what http writes last, which is why http does not run over a chain of it', async (t) => {
  const program = programs.find(({ name }) => name.startsWith('http without keep-alive'))
  t.is((await outcome(program as NonNullable<typeof program>, aroundDuplexify, 1000))[0], 'still running after 1000 ms')
})

/** Work that goes on would be waited for, for nine seconds. */
const IDLE_CLOSE_MS = 5000

// A stage that closes waits for work, and an idle connection is none, however long its program would keep it.
for (const idle of idles) {
  for (const way of ways) {
    if (way.only && !way.only.programs.test(idle.name)) continue
    test(`closing both stages does not wait for ${idle.name}, idle over ${way.name}`, async (t) => {
      await turn(async () => {
        const open = await way.open()
        const end = await idle.leave({ dial: open.dial, onconnection: (handler: (stream: Socket) => void) => { open.onconnection((stream) => { handler(stream.on('error', () => {})) }) } })
        try {
          const started = performance.now()
          await open.close()
          const ms = Math.round(performance.now() - started)
          t.true(ms < IDLE_CLOSE_MS, `${ms} ms`)
        } finally {
          await end()
        }
      })
    })
  }
}

test.after.always(stop)
