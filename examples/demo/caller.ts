/** Finds the other roles by name, calls them, streams to one, and keeps calling while a replica is killed. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import pump from 'pump'
import { Stage, StageError } from 'stagemesh'
import { expect, line, play, tell, title, type Message } from './role.js'

interface Greeting { text: string; by: number }
interface Greeter { greet(name: string): Greeting }

const IN_FLIGHT = 20
const FILE_BYTES = 16 * 1024 * 1024

const stage = new Stage('caller')
const greeter = stage.to('greeter').as<Greeter>()
stage.to('*').provide('role', () => `caller ${process.pid}`)

await play(stage, async () => {
  await find()
  await balance()
  await callEverybody()
  await streamFile()
  await surviveKill()
})

/** The caller gets no addresses: it waits until the names are listed. */
async function find(): Promise<void> {
  title('1. Each finds the others by name')
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('two greeters and a receiver did not join within 8 s')), 8000)
    const look = () => {
      if (stage.lookup('greeter').length < 2 || stage.lookup('receiver').length < 1) return
      clearTimeout(late)
      stage.off('join', look)
      resolve()
    }
    stage.on('join', look)
    look()
  })
  for (const peer of stage.peers()) line(`${peer.name.padEnd(9)} ${peer.addresses.join(', ')}   id ${peer.id}`)
  expect(stage.peers().length === 3, 'three peers: two of them share the name greeter')
}

async function balance(): Promise<void> {
  title('2. 400 calls to the name greeter')
  const counts = new Map<number, number>()
  await Promise.all(Array.from({ length: IN_FLIGHT }, async (_, worker) => {
    for (let i = 0; i < 400 / IN_FLIGHT; i++) {
      const { text, by } = await greeter.greet(`caller ${worker}`)
      if (text !== `hi there, caller ${worker}`) throw new Error(`a wrong answer: ${text}`)
      counts.set(by, (counts.get(by) ?? 0) + 1)
    }
  }))
  for (const [pid, count] of counts) line(`process ${pid} answered ${count}`)
  expect(counts.size === 2 && [...counts.values()].every((count) => count >= 100), 'the calls were spread over both replicas')
}

async function callEverybody(): Promise<void> {
  title('3. One call to everybody, answers as they come')
  const roles: string[] = []
  for await (const { peer, value, error } of stage.to('*').callAll<string>('role')) {
    line(`${peer.name.padEnd(9)} ${error ? error.code : value}`)
    if (value !== undefined) roles.push(value.replace(/ \d+$/, ''))
  }
  expect(roles.sort().join(', ') === 'caller, greeter, greeter, receiver', 'all four answered, the caller itself among them')
}

async function streamFile(): Promise<void> {
  title(`4. A file of ${FILE_BYTES / 1024 / 1024} MiB, streamed to the name receiver`)
  const file = join(process.env['DEMO_FOLDER'] as string, 'random.bin')
  const content = randomBytes(FILE_BYTES)
  const sha256 = createHash('sha256').update(content).digest('hex')
  await writeFile(file, content)
  const started = performance.now()
  await new Promise<void>((resolve, reject) => {
    pump(createReadStream(file), stage.to('receiver'), (error) => error ? reject(error) : resolve())
  })
  const { bytes, same } = await stage.to('receiver').call<{ bytes: number; same: boolean }>('verify', sha256)
  line(`sha256 ${sha256}`)
  line(`the receiver has ${bytes} bytes after ${Math.round(performance.now() - started)} ms`)
  expect(same && bytes === FILE_BYTES, 'the receiver computed the same sha256')
}

/** Every call ends in an answer, or in an error that says whether its handler may have run. */
async function surviveKill(): Promise<void> {
  title(`5. One replica is killed (SIGKILL) while ${IN_FLIGHT} calls are always under way`)
  const victim = (await greeter.greet('victim')).by
  const errors = new Map<string, number>()
  let [started, answered, answeredSince, inARow] = [0, 0, 0, 0]
  let killed = false
  let survivorOnly = true
  process.on('message', (message: Message) => { if ('killed' in message) killed = true })

  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    while (!killed || inARow < 500) {
      const afterKill = killed
      if (++started === 500) tell({ kill: victim })
      try {
        const { by } = await greeter.greet('caller')
        answered++
        inARow++
        if (!afterKill) continue
        answeredSince++
        if (by === victim) survivorOnly = false
      } catch (error) {
        if (!(error instanceof StageError)) throw error
        inARow = 0
        const what = `${error.code}, executed: ${error.executed}`
        errors.set(what, (errors.get(what) ?? 0) + 1)
      }
    }
  }))
  const failed = [...errors.values()].reduce((sum, count) => sum + count, 0)
  line(`process ${victim} was killed; ${started} calls: ${answered} answered, ${failed} ended in an error`)
  for (const [what, count] of errors) line(`  ${count} × ${what}`)
  expect(answered + failed === started, 'every call ended in an answer or an error that says whether it ran')
  expect(answeredSince > 0 && survivorOnly, `${answeredSince} calls that began after the kill were answered, all by the other replica`)
}
