/** Processes that need no server of somebody else's: over connect() alone, and over a registry that one of them serves. */
import test, { type ExecutionContext } from 'ava'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { compiled } from '../helpers/own-process.js'

function started(t: ExecutionContext, ...args: string[]): ChildProcess {
  const child = fork(compiled('test/helpers/mesh-child.js'), args)
  t.teardown(() => void child.kill('SIGKILL'))
  return child
}

/** The next message that has that key. */
async function told<T>(child: ChildProcess, key: string): Promise<T> {
  for (;;) {
    const [message] = await once(child, 'message') as [Record<string, unknown>]
    if (key in message) return (key === 'calls' ? message : message[key]) as T
  }
}

interface Seen { calls: number; errors: string[]; parts: number; ids: string[]; peers: string[] }
const seenBy = (child: ChildProcess): Promise<Seen> => {
  const answer = told<Seen>(child, 'calls')
  child.send('what have you seen?')
  return answer
}

test('P5: three processes over a served registry that is killed and comes back empty, under load: nobody notices but new ones', async (t) => {
  t.timeout(120_000)
  let server = started(t, 'serve')
  const url = await told<string>(server, 'url')
  const names = ['a', 'b', 'c']
  const stages = names.map((name, i) => started(t, 'stage', name, url, names[(i + 1) % 3]))
  await Promise.all(stages.map((one) => told(one, 'ready')))
  server.kill('SIGKILL')
  await once(server, 'exit')
  await new Promise((resolve) => setTimeout(resolve, 7000)) // longer than a TTL and the grace
  server = started(t, 'serve', url.split(':').at(-1)!)
  await told(server, 'url')
  const late = started(t, 'stage', 'late', url, 'a')
  await told(late, 'ready')
  let found = await seenBy(late)
  while (found.peers.length < 3 || found.calls === 0) found = await seenBy(late)
  t.deepEqual(found.errors, [])
  for (const one of stages) {
    const { calls, errors, parts, ids } = await seenBy(one)
    t.deepEqual([errors, parts, ids.length], [[], 0, 1])
    t.true(calls > 300, `${calls} calls`)
  }
})

test('two processes over connect() alone, of which one is killed', async (t) => {
  t.timeout(60_000)
  const api = started(t, 'connect', 'api')
  const [address] = await told<string[]>(api, 'addresses')
  const web = started(t, 'connect', 'web', address)
  await told(web, 'addresses')
  const ask = (from: ChildProcess, to: string): Promise<number> => {
    const answer = told<number>(from, 'pid')
    from.send(to)
    return answer
  }
  t.is(await ask(web, 'api'), api.pid!)
  t.is(await ask(api, 'web'), web.pid!)
  const unlinked = told(web, 'unlinked')
  api.kill('SIGKILL')
  t.is(await unlinked, 'api')
  const gone = told(web, 'code')
  web.send('api')
  t.is(await gone, 'NO_SUCH_PEER')
})
