/**
 * A process with a store of a local registry: `node store-child.js <what> <path> [more]`. It prints `ready`, and then:
 *
 * `claim` which of 40 actors it got, once it is told to begin; `commit` each version of actor x that was acknowledged, one
 * after the other, until it is fenced; `fill` the result of a commit each time that it is told to continue, each commit
 * larger than the one before by 1 MiB; `many` how many commits of eight actors were acknowledged, and which of them was
 * lost; `busy` commits 4 MiB twice and computes in the same turn; `serve` the answers to its requests; `look` why it cannot
 * look. Last it prints `closed`, and ends.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { LocalRegistry } from '../../registries/local/registry.js'
import { StageError } from '../../src/errors.js'
import type { Fence } from '../../src/types.js'

const [what, path = ''] = process.argv.slice(2)
const registry = new LocalRegistry(path)
const store = registry.store('suite')
const activation = `activation-${process.pid}`

/** Resolves once the other end has the text for certain, even if this process is killed in the next moment. */
const say = (line: string) => new Promise<void>((resolve) => { process.stdout.write(`${line}\n`, () => resolve()) })

async function hold(actor: string): Promise<Fence> {
  for (;;) {
    const answer = await store.claim(actor, { stage: `stage-${process.pid}`, activation }).catch(() => undefined)
    if (answer && !answer.owner) return { epoch: answer.epoch, activation }
    await sleep(20)
  }
}

async function claim(): Promise<void> {
  await store.look('x')
  console.log('ready')
  await once(process.stdin, 'data')
  const claims = Array.from({ length: 40 }, async (_, i) => {
    const answer = await store.claim(`actor-${i}`, { stage: `stage-${process.pid}`, activation })
    if (!answer.owner) console.log(`got actor-${i}`)
  })
  await Promise.all(claims)
  console.log('done')
}

async function commit(): Promise<void> {
  const fence = await hold('x')
  let version = (await store.look('x'))!.version
  console.log(`ready ${activation}`)
  for (let tries = 0; ;) {
    const id = `${process.pid} ${version + 1}`
    const answer = await store.commit('x', fence, { id, version: version + 1, data: Buffer.alloc(20_000, id) }).catch((error: unknown) => String(error))
    if (answer === 'ok') await say(`ok ${++version}`)
    else if (answer === 'fenced') break
    else if (++tries > 100) throw new Error(answer)
    else await sleep(50)
  }
  console.log('fenced')
}

async function many(): Promise<void> {
  let acknowledged = 0
  let over = false
  const commits = async (actor: string): Promise<void> => {
    const fence = await hold(actor)
    for (let version = 1; !over; version++) {
      const answer = await store.commit(actor, fence, { id: `${version}`, version, data: Buffer.alloc(200) }).catch((error: unknown) => String(error))
      if (answer !== 'ok') return console.log(`lost ${actor} at version ${version}: ${answer}`)
      if (++acknowledged === 1) console.log('ready')
    }
  }
  const all = Promise.all(Array.from({ length: 8 }, (_, i) => commits(`actor-${process.pid}-${i}`)))
  await once(process.stdin, 'data')
  over = true
  await all
  console.log(`acknowledged ${acknowledged}`)
}

async function fill(): Promise<void> {
  const fence = await hold('x')
  console.log('ready')
  let version = 0
  for await (const line of createInterface(process.stdin)) {
    if (line === 'end') break
    const answer = await store.commit('x', fence, { id: `commit ${version + 1}`, version: version + 1, data: Buffer.alloc((version + 1) * 2 ** 20) }).catch((error: unknown) => error)
    if (answer === 'ok') version++
    console.log(answer instanceof StageError ? `${answer.code} ${answer.message}` : answer)
  }
  await store.look('x')
}

async function busy(): Promise<void> {
  const fence = await hold('x')
  console.log('ready')
  for (let version = 1; version <= 2; version++) {
    let looks = 0
    const commit = {
      id: `commit ${version}`, version, data: Buffer.alloc(4 * 2 ** 20),
      get wake(): undefined { // read when it is checked, and when it is made
        if (++looks === 2) queueMicrotask(compute)
        return undefined
      },
    }
    console.log(await store.commit('x', fence, commit))
    await sleep(300)
  }
}

function compute(): void {
  console.log('computing')
  for (const end = performance.now() + 2500; performance.now() < end;);
}

async function look(): Promise<void> {
  console.log('ready')
  await store.look('x').catch((error: unknown) => console.log(error instanceof StageError ? `${error.code} ${error.message}` : error))
}

/** Executes each line at once: `[n, method, …arguments]`, JSON with states as text. */
async function serve(): Promise<void> {
  let last = performance.now()
  let worst = 0
  setInterval(() => {
    worst = Math.max(worst, performance.now() - last - 10)
    last = performance.now()
  }, 10).unref()
  await store.look('x')
  console.log('ready')
  for await (const line of createInterface(process.stdin)) {
    const [n, method, ...args] = JSON.parse(line, (key, value) => key === 'data' ? Buffer.from(value) : value) as [number, string, ...never[]]
    const answer = method === 'stalls' ? Promise.resolve(worst) : store[method as 'look'](...args as [never])
    const reply = (told: object) => console.log(JSON.stringify({ n, ...told }, (key, value) => key === 'data' && value ? Buffer.from(value).toString() : value))
    answer.then((value) => reply({ value }), ({ code, message }: StageError) => reply({ code, message }))
  }
}

if (what === 'claim') await claim()
else if (what === 'commit') await commit()
else if (what === 'fill') await fill()
else if (what === 'many') await many()
else if (what === 'busy') await busy()
else if (what === 'look') await look()
else await serve()
await registry.close()
process.stdin.destroy()
console.log('closed')
