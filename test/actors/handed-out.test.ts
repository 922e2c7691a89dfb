/** Iterables and functions that an actor hands out run as turns. */
import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import type { Self, Stage } from '../../src/index.js'
import { actorMesh, away, type ActorMesh, type Node } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

type Iterable = AsyncIterableIterator<unknown>

/** An actor that hands out everything that can be. */
const things = (mesh: ActorMesh, notes: string[], more: object = {}) => (stage: Stage): void => {
  const create = (_: unknown, self: Self) => {
    const streams: PassThrough[] = []
    let release = (): void => {}
    return {
      n: 0,
      state: { deep: [0] },
      get() { return this.n },
      add(by: number) { return this.n += by },
      async slow(ms: number) { notes.push('slow'); await passed(mesh.clock, ms); notes.push('slow end') },
      addAndThrow(by: number) { this.n += by; throw new Error('on purpose') },
      async addSlowlyAndThrow(by: number, ms: number) { this.n += by; await passed(mesh.clock, ms); throw new Error('on purpose') },
      async* countdown(from: number, ms = 0) {
        try {
          for (let left = from; left > 0; left--) {
            notes.push(`begin ${left}`)
            this.n++
            if (ms > 0) await passed(mesh.clock, ms)
            notes.push(`end ${left}`)
            yield this.n
          }
        } finally {
          this.n += 1000
          notes.push('finally')
        }
      },
      async* failing() { this.n++; yield this.n; this.n += 50; throw Object.assign(new Error('no more'), { code: 'E_OWN' }) },
      async* unsendable() { try { yield () => 1 } finally { notes.push('finally') } },
      async* shows() { for (;;) { yield this.state; this.state.deep[0]++ } },
      async* calling(address: string) {
        try {
          yield 'first'
          yield await self.actor(address)['slow'](9000)
        } catch (error) {
          notes.push((error as { code: string }).code)
        } finally {
          notes.push('finally')
        }
      },
      async* stuck() { try { yield 1; await new Promise<void>((resolve) => { release = resolve }); yield 2 } finally { this.n += 7; notes.push('finally') } },
      release() { release() },
      byHand() {
        let i = 0
        return { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: i === 3000, value: (this.n++, i++) }), return: async () => { notes.push('returned'); return { done: true, value: undefined } } }) }
      },
      within() { return { list: [this.countdown(2)], add: (by: number) => this.add(by), more: () => ({ again: (by: number) => this.add(by), rows: this.countdown(1) }) } },
      adder() { return (by: number) => this.add(by) },
      thrower() { return (by: number) => this.addAndThrow(by) },
      slower() { return async (ms: number) => { notes.push('fn'); await passed(mesh.clock, ms); notes.push('fn end'); return ++this.n } },
      throwsFunction() { throw Object.assign({ add: (by: number) => this.add(by) }) as Error },
      bytes() { streams.push(new PassThrough()); return streams.at(-1) },
      end() { for (const one of streams) one.end('over') },
      web() { return new Blob(['some text']).stream() },
      leave() { self.deactivate() },
      // what it gives to others within its own turn, and after it
      async uploads(to: string) { const sum: unknown = await self.to(to).call('sum', this.countdown(3)); this.n *= 2; return [sum, this.n] },
      async uploadsToActor(address: string) { const sum: unknown = await self.actor(address)['sum'](this.countdown(3)); this.n *= 2; return [sum, this.n] },
      async uploadsAndThrows(to: string) { await self.to(to).call('sum', this.countdown(3)); throw new Error('on purpose') },
      async sum(values: AsyncIterable<number>) { let sum = 0; for await (const one of values) sum += one; return sum },
      async each(to: string) { await self.to(to).call('each', 3, (by: number) => this.add(by)); return this.n },
      async subscribes(to: string) { await self.to(to).call('subscribe', (by: number) => this.add(by)) },
      async subscribesToActor(address: string) { await self.actor(address)['keep']({ fn: (by: number) => this.add(by) }) },
      keep({ fn }: { fn: (by: number) => unknown }) { this.kept = fn },
      use(by: number) { return this.kept?.(by) },
      relays() { return this.kept },
      kept: undefined as ((by: number) => unknown) | undefined,
      async activate() { if (self.address.endsWith('.activating')) await self.to('api').call('each', 2, (by: number) => { this.n += by }) },
      deactivate(reason: string) { notes.push(`deactivate ${reason}`) },
    }
  }
  stage.define({ pattern: 'things.{id}', durable: ['n'], create, idleMs: 2000, ...more })
}

interface Scene { mesh: ActorMesh; owner: Node; caller: Stage; notes: string[]; api: Stage; subscribed: ((by: number) => Promise<number>)[] }

async function scene(t: Parameters<typeof actorMesh>[0], way: string, more: object = {}): Promise<Scene> {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const subscribed: Scene['subscribed'] = []
  const owner = await mesh.add('owner', things(mesh, notes, { ...more, ...way === 'shared' ? { share: true } : {} }))
  const api = await mesh.add('api', (stage) => {
    const all = stage.to('*')
    all.provide('sum', async (values: AsyncIterable<number>) => { let sum = 0; for await (const one of values) sum += one; return sum })
    all.provide('each', async (times: number, fn: (by: number) => Promise<number>) => { for (let i = 0; i < times; i++) await fn(1) })
    all.provide('subscribe', (fn: (by: number) => Promise<number>) => { subscribed.push(fn) })
  })
  const caller = way === 'remote' ? (await mesh.add('caller')).stage : owner.stage
  return { mesh, owner, caller, notes, api: api.stage, subscribed }
}

/** Whether nothing is left of what was read: the actor is collected when it has been idle. */
async function collected({ mesh, owner }: Scene, t: { deepEqual(a: unknown, b: unknown, message?: string): unknown }): Promise<void> {
  await mesh.clock.advance(6000)
  t.deepEqual(owner.stage.actors().map((one) => one.address), [], 'nothing keeps it active')
}

const WAYS = ['local', 'shared', 'remote'] as const

for (const way of WAYS) {
  test(`P17: ${way}: each next() of what a turn returned is a turn: committed before its value goes out, alone, and not rolled back by another's throw`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller, notes } = all
    const actor = caller.actor('things.1')
    const values = await mesh.go(actor['countdown'](3, 100) as Promise<Iterable>)
    t.is(owner.shelf.count('commit'), 0, 'nothing of it has run')
    const throws = actor['addSlowlyAndThrow'](100, 500) as Promise<unknown>
    throws.catch(() => {})
    await mesh.clock.advance(5)
    const first = values.next()
    await mesh.clock.advance(200)
    t.deepEqual(notes, [], 'it waits for the turn that runs')
    const look = caller.actor('things.1')['get']() as Promise<number>
    await mesh.fails(throws, 'REMOTE_ERROR')
    t.deepEqual(await mesh.go(first), { done: false, value: 1 })
    if (way !== 'remote') { // over a link the source is ahead of its reader
      t.is(await mesh.go(look), 1, 'and what was called meanwhile waits for it')
      t.is(owner.shelf.count('commit'), 1)
      await mesh.fails(actor['addAndThrow'](100) as Promise<unknown>, 'REMOTE_ERROR')
      t.is(await mesh.go(actor['get']()), 1, 'what it did is committed')
    }
    const rest: unknown[] = []
    await mesh.go((async () => { for await (const one of values) rest.push(one) })())
    t.deepEqual(rest, [2, 3])
    t.is(await mesh.go(actor['get']()), 1003)
    t.is(owner.shelf.count('commit'), 4, 'three values, and its end')
    t.deepEqual(notes, ['begin 3', 'end 3', 'begin 2', 'end 2', 'begin 1', 'end 1', 'finally'])
    await mesh.fails(actor['addAndThrow'](100) as Promise<unknown>, 'REMOTE_ERROR')
    t.is(await mesh.go(actor['get']()), 1003)
    await collected(all, t)
    t.is(await mesh.go(actor['get']()), 1003, 'as it was kept')
  })

  test(`${way}: the actor stays active while it is read, also by somebody who asks for nothing, and not for what nobody began to read`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller } = all
    const values = await mesh.go(caller.actor('things.1')['countdown'](1000) as Promise<Iterable>)
    await mesh.go(values.next())
    await mesh.clock.advance(30_000)
    t.is(owner.stage.actors().length, 1)
    t.false((await mesh.go(values.next())).done)
    await mesh.go(values.return!())
    await mesh.clock.advance(50)
    t.true((await mesh.go(caller.actor('things.1')['get']() as Promise<number>)) >= 1002, 'its finally has run, as a turn')
    await collected(all, t)
    const unread = await mesh.go(caller.actor('things.1')['countdown'](3) as Promise<Iterable>)
    await collected(all, t)
    const error = await mesh.fails(unread.next(), 'CANCELLED')
    t.regex(error.message, /things\.1/)
  })

  test(`${way}: a reader who leaves while a next() waits or runs ends the source, and the calls that it makes`, async (t) => {
    const all = await scene(t, way)
    const { mesh, caller, notes } = all
    const actor = caller.actor('things.1')
    const queued = await mesh.go(actor['countdown'](3) as Promise<Iterable>)
    const slow = actor['slow'](1000) as Promise<unknown>
    await mesh.clock.advance(5)
    const asked = queued.next()
    asked.catch(() => {})
    await mesh.clock.advance(5)
    const left = queued.return!()
    await mesh.go(slow)
    await mesh.go(left)
    await mesh.clock.advance(50)
    t.deepEqual(notes, ['slow', 'slow end'], 'its next() was taken out of the queue')
    await mesh.go(actor['get']())
    notes.length = 0
    const calling = await mesh.go(actor['calling']('things.2') as Promise<Iterable>)
    await mesh.go(calling.next())
    calling.next().catch(() => {})
    await mesh.clock.advance(50)
    t.deepEqual(notes, ['slow'])
    void calling.return!()
    await mesh.clock.advance(50)
    t.deepEqual(notes, ['slow', 'CANCELLED', 'finally'], 'the call that it waited for was given up')
    await mesh.clock.advance(10_000)
    await collected(all, t)
  })

  test(`${way}: what cannot be told waits: a source that waits for something else is left when that comes`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller, notes } = all
    const actor = caller.actor('things.1')
    const values = await mesh.go(actor['stuck']() as Promise<Iterable>)
    await mesh.go(values.next())
    values.next().catch(() => {})
    await mesh.clock.advance(6000)
    t.true(owner.errors.some((one) => /reading an iterable that stuck of things\.1 handed out has been running for/.test(one)), owner.errors.join())
    void values.return!()
    await mesh.clock.advance(10)
    const error = await mesh.fails(caller.actor('things.1', { timeoutMs: 500 })['get']() as Promise<unknown>, 'TIMEOUT')
    t.regex(error.message, /behind reading an iterable that stuck of things\.1 handed out/)
    await mesh.go(caller.close())
    if (way === 'remote') await mesh.go(owner.stage.close(), 60_000, 100)
    t.deepEqual(notes.filter((one) => one === 'finally'), [])
  })

  test(`${way}: what a generator throws reaches its reader, and what that step had changed is rolled back`, async (t) => {
    const all = await scene(t, way)
    const { mesh, caller } = all
    const actor = caller.actor('things.1')
    const values = await mesh.go(actor['failing']() as Promise<Iterable>)
    t.deepEqual(await mesh.go(values.next()), { done: false, value: 1 })
    const failed = await mesh.go(values.next().then(() => undefined, (error: unknown) => error as Error & { code: string; cause?: { code: string } }))
    t.regex(failed!.message, way === 'shared' ? /^no more$/ : /^the stream failed: no more$/)
    t.is(way === 'shared' ? failed!.code : failed!.cause?.code, 'E_OWN')
    t.is(await mesh.go(actor['get']()), 1)
    await collected(all, t)
  })

  test(`${way}: an iterator made by hand, and iterables within a value, are read in turns as well`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller, notes } = all
    const actor = caller.actor('things.1')
    const values = await mesh.go(actor['byHand']() as Promise<Iterable>)
    const got: unknown[] = []
    await mesh.go((async () => { for await (const one of values) { got.push(one); if (one === 1) break } })())
    await mesh.clock.advance(50)
    t.deepEqual(got, [0, 1])
    t.deepEqual(notes, ['returned'])
    t.true(owner.shelf.count('commit') >= 2)
    if (way !== 'shared') { // what shares hands out containers as they are
      const { list: [rows] } = await mesh.go(actor['within']() as Promise<{ list: Iterable[] }>)
      const before = owner.shelf.count('commit')
      await mesh.go((async () => { for await (const one of rows) void one })())
      t.is(owner.shelf.count('commit') - before, 3)
    }
    await collected(all, t)
  })

  test(`P16: ${way}: functions run as turns when they are called: alone, with their commit, and never rolled back by others`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller, notes } = all
    const actor = caller.actor('things.1')
    const add = await mesh.go(actor['adder']() as Promise<(by: number) => Promise<number>>)
    const throws = actor['addSlowlyAndThrow'](100, 300) as Promise<unknown>
    throws.catch(() => {})
    await mesh.clock.advance(5)
    const added = add(5)
    await mesh.fails(throws, 'REMOTE_ERROR')
    t.is(await mesh.go(added), 5)
    t.is(owner.shelf.count('commit'), 1)
    await mesh.fails(actor['addAndThrow'](100) as Promise<unknown>, 'REMOTE_ERROR')
    t.is(await mesh.go(actor['get']()), 5)
    const throwing = await mesh.go(actor['thrower']() as Promise<(by: number) => Promise<number>>)
    const failed = await mesh.go(throwing(7).then(() => undefined, (error: unknown) => error as Error))
    t.regex(failed!.message, /on purpose/)
    t.is(await mesh.go(actor['get']()), 5, 'what it changed was rolled back')
    if (way !== 'shared') {
      const session = await mesh.go(actor['within']() as Promise<{ add(by: number): Promise<number>; more(): Promise<{ again(by: number): Promise<number>; rows: Iterable }> }>)
      t.is(await mesh.go(session.add(1)), 6)
      const { again, rows } = await mesh.go(session.more())
      t.is(await mesh.go(again(1)), 7, 'and what they return, too')
      t.deepEqual(await mesh.go(rows.next()), { done: false, value: 8 })
      await mesh.go(rows.return!())
      const thrown = await mesh.fails(actor['throwsFunction']() as Promise<unknown>, 'REMOTE_ERROR')
      const before = owner.shelf.count('commit')
      await mesh.go((thrown.cause as { add(by: number): Promise<number> }).add(1))
      t.is(owner.shelf.count('commit'), before + 1, 'and what is thrown')
    }
    const slow = await mesh.go(actor['slower']() as Promise<(ms: number) => Promise<number>>)
    notes.length = 0
    const running = Promise.all([slow(100), slow(100)])
    await mesh.go(running)
    t.deepEqual(notes, ['fn', 'fn end', 'fn', 'fn end'], 'one at a time')
    await collected(all, t)
    const late = await mesh.go(add(1).then(() => undefined, (error: unknown) => error as { code: string; message: string }))
    t.is(late!.code, 'CANCELLED', late!.message)
  })

  test(`${way}: deactivation: CANCELLED for the reader, and the source's finally before deactivate()`, async (t) => {
    const { mesh, caller, notes } = await scene(t, way)
    const actor = caller.actor('things.1')
    const values = await mesh.go(actor['countdown'](1000) as Promise<Iterable>)
    await mesh.go(values.next())
    await mesh.clock.advance(50)
    notes.length = 0
    await mesh.go(actor['leave']())
    await mesh.clock.advance(50)
    t.deepEqual(notes, ['finally', 'deactivate asked'])
    let last: unknown
    const error = await mesh.fails((async () => { for await (const one of values) last = one })(), 'CANCELLED')
    t.regex(error.message, /things\.1 was deactivated: asked/)
    void last
    t.true(await mesh.go(actor['get']()) as number > 1000, 'what its finally changed is kept')
  })

  test(`${way}: a claim that is lost: the reader gets FENCED, and nothing of it counts`, async (t) => {
    const { mesh, owner, caller, notes } = await scene(t, way)
    const actor = caller.actor('things.1')
    const values = await mesh.go(actor['countdown'](1000, 50) as Promise<Iterable>)
    await mesh.go(values.next())
    const other = owner.shelf.store('default')
    const known = (await mesh.go(other.look('things.1')))!
    await mesh.go(other.claim('things.1', { stage: 'another', activation: 'another', over: known.owner!.activation }))
    const error = await mesh.fails((async () => { for await (const one of values) void one })(), 'FENCED')
    t.regex(error.message, /things\.1/)
    await mesh.clock.advance(200)
    t.true(notes.includes('finally'))
    await mesh.go(other.close())
  })
}

for (const way of ['local', 'remote']) {
  test(`${way}: a store that is away fails the step, and not without a word`, async (t) => {
    const { mesh, owner, caller } = await scene(t, way)
    const values = await mesh.go(caller.actor('things.1')['countdown'](3, 10) as Promise<Iterable>)
    owner.shelf.trouble({ fail: away() }, 'commit')
    await mesh.fails(values.next(), 'STORE_UNAVAILABLE')
    owner.shelf.trouble()
    t.is(await mesh.go(caller.actor('things.1')['get']()), 0)
  })

  test(`${way}: what is read of a readonly method is readonly, and runs beside others of its kind`, async (t) => {
    const all = await scene(t, way, { readonly: ['shows', 'countdown', 'slow', 'adder', 'get'] })
    const { mesh, caller, notes } = all
    const actor = caller.actor('things.1')
    const slow = actor['slow'](1000) as Promise<unknown>
    const values = await mesh.go(actor['countdown'](3) as Promise<Iterable>)
    const error = await mesh.fails(values.next(), 'REMOTE_ERROR')
    t.regex(error.message, /reading an iterable that countdown of things\.1 handed out is readonly, but it, or another turn that ran concurrently, changed n/)
    t.false(notes.includes('slow end'), 'it did not wait')
    await mesh.fails(slow, 'REMOTE_ERROR')
    const add = await mesh.go(actor['adder']() as Promise<(by: number) => Promise<number>>)
    const refused = await mesh.go(add(1).then(() => undefined, (thrown: unknown) => thrown as Error))
    t.regex(refused!.message, /is readonly/)
    t.is(await mesh.go(actor['get']()), 0)
    await collected(all, t)
  })

  test(`${way}: what is read is a copy, and what cannot be sent ends the reading`, async (t) => {
    const all = await scene(t, way)
    const { mesh, caller, notes } = all
    const values = await mesh.go(caller.actor('things.1')['shows']() as Promise<Iterable>)
    const first = (await mesh.go(values.next())).value as { deep: number[] }
    first.deep[0] = 99
    t.deepEqual((await mesh.go(values.next())).value, { deep: [1] })
    await mesh.go(values.return!())
    const unsendable = await mesh.go(caller.actor('things.1')['unsendable']() as Promise<Iterable>)
    const failed = await mesh.go(unsendable.next().then(() => undefined, (error: unknown) => error as { code: string; message: string }))
    t.is(failed!.code, 'BAD_ARGUMENT', failed!.message)
    await mesh.clock.advance(50)
    t.deepEqual(notes, ['finally'])
    await collected(all, t)
  })

  test(`${way}: a byte stream keeps its actor active until it ends`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller } = all
    const actor = caller.actor('things.1')
    const stream = await mesh.go(actor['bytes']() as Promise<Readable>)
    stream.resume()
    await mesh.clock.advance(30_000)
    t.is(owner.stage.actors().length, 1)
    const ended = once(stream, 'end')
    await mesh.go(actor['end']())
    await mesh.go(ended)
    await collected(all, t)
    const web = await mesh.go(actor['web']() as Promise<AsyncIterable<Uint8Array>>)
    let text = ''
    await mesh.go((async () => { for await (const one of web) text += Buffer.from(one).toString() })())
    t.is(text, 'some text')
    await collected(all, t)
  })

  test(`P17: ${way}: what a turn passes on runs within that turn while it runs, and as a turn of its own after it`, async (t) => {
    const all = await scene(t, way)
    const { mesh, owner, caller, subscribed } = all
    const actor = caller.actor('things.1')
    t.deepEqual(await mesh.go(actor['uploads']('api')), [6, 2 * 1003], 'its own turn reads it: nobody waits for anybody')
    t.is(owner.shelf.count('commit', 'things.1'), 1, 'as one turn')
    t.deepEqual(await mesh.go(actor['uploadsToActor']('things.2')), [6024, 2 * 3009])
    await mesh.fails(actor['uploadsAndThrows']('api') as Promise<unknown>, 'REMOTE_ERROR')
    t.is(await mesh.go(actor['get']()), 6018, 'and is rolled back as one')
    t.is(await mesh.go(actor['each']('api')), 6021)
    await mesh.go(actor['subscribes']('api'))
    const commits = owner.shelf.count('commit', 'things.1')
    const throws = actor['addSlowlyAndThrow'](100, 300) as Promise<unknown>
    throws.catch(() => {})
    await mesh.clock.advance(5)
    const added = subscribed[0](1)
    await mesh.fails(throws, 'REMOTE_ERROR')
    t.is(await mesh.go(added), 6022)
    t.is(owner.shelf.count('commit', 'things.1'), commits + 1)
    await mesh.go(actor['subscribesToActor']('things.3'))
    t.is(await mesh.go(caller.actor('things.3')['use'](1)), 6023)
    t.is(owner.shelf.count('commit', 'things.1'), commits + 2)
    const relayed = await mesh.go(caller.actor('things.3')['relays']() as Promise<(by: number) => Promise<number>>)
    const busy = caller.actor('things.3')['slow'](500) as Promise<unknown>
    await mesh.clock.advance(5)
    const begun = mesh.clock.now()
    t.is(await mesh.go(relayed(1)), 6024, 'it runs in the turns of its own actor, and in no other')
    t.true(mesh.clock.now() - begun < 400)
    await mesh.go(busy)
    t.is(await mesh.go(caller.actor('things.activating')['get']()), 2, 'also within activate()')
    await collected(all, t)
    const late = await mesh.go(subscribed[0](1).then(() => undefined, (error: unknown) => error as { code: string; message: string }))
    t.is(late!.code, 'CANCELLED', late!.message)
  })

  test(`${way}: more calls of functions than the mailbox takes are OVERLOADED; next() is not, whose reader was let in before`, async (t) => {
    const { mesh, caller } = await scene(t, way, { mailbox: 2 })
    const actor = caller.actor('things.1')
    const add = await mesh.go(actor['adder']() as Promise<(by: number) => Promise<number>>)
    const values = await mesh.go(actor['countdown'](3) as Promise<Iterable>)
    const slow = actor['slow'](300) as Promise<unknown>
    await mesh.clock.advance(5)
    const calls = [add(1), add(1), add(1)]
    for (const one of calls) one.catch(() => {})
    const next = values.next()
    t.is((await mesh.go(calls[2].then(() => undefined, (error: unknown) => error as { code: string; executed: string })))!.code, 'OVERLOADED')
    await mesh.go(slow)
    t.deepEqual(await mesh.go(Promise.all([calls[0], calls[1], next.then(({ value }) => value as number)])), [1, 2, 3])
    await mesh.go(values.return!())
  })
}

test('a reentrant actor that reads its own generator reads it within its turn', async (t) => {
  const mesh = actorMesh(t)
  const { stage } = await mesh.add('a', (one) => one.define({
    pattern: 'own.{id}', reentrant: true, durable: true, create: (_, self: Self) => ({
      n: 0,
      async* count() { for (let i = 0; i < 3; i++) yield ++this.n },
      async read() { const got: number[] = []; for await (const one of await self.actor(self.address)['count']() as AsyncIterable<number>) got.push(one); return got },
    }),
  }))
  t.deepEqual(await mesh.go(stage.actor('own.1')['read']()), [1, 2, 3])
})

test('a reader who lets go of an iterable without a word keeps no actor active', async (t) => {
  const all = await scene(t, 'local')
  const { mesh, caller, notes } = all
  await (async () => { await mesh.go((await mesh.go(caller.actor('things.1')['countdown'](3) as Promise<Iterable>)).next()) })()
  for (let i = 0; i < 50 && !notes.includes('finally'); i++) {
    gc()
    await mesh.clock.advance(10)
  }
  t.true(notes.includes('finally'))
  await collected(all, t)
})
