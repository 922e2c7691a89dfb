/** One turn at a time, and what readonly and reentrant change about that. */
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, type ActorMesh } from '../helpers/actors.js'
import { passed } from '../helpers/virtual-clock.js'

/** Writes down when each of its methods begins and ends. */
const recorder = (clock: ActorMesh['clock'], notes: string[], more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'acts.{id}', readonly: ['peek', 'look', 'glance', 'meddle'], ...more,
    create: ({ id }, self: Self) => ({
      n: 0, nested: { deep: [1] as number[] }, _private: 1,
      async write(name: string, ms = 10) { notes.push(`+${name}`); await passed(clock, ms); this.n++; notes.push(`-${name}`); return this.n },
      quick(name: string) { notes.push(`+${name}`); notes.push(`-${name}`); return ++this.n },
      async peek(name: string, ms = 10) { notes.push(`+${name}`); await passed(clock, ms); notes.push(`-${name}`); return this.n },
      look() { return this.n },
      async glance(address: string) { return self.actor(address)['peek']('far') },
      async meddle(how: string, ms = 0) {
        if (ms > 0) await passed(clock, ms)
        if (how === 'own') this.n = 77
        if (how === 'nested') this.nested.deep.push(2)
        if (how === 'new') Object.assign(this, { extra: 1 })
        if (how === 'gone') Reflect.deleteProperty(this, 'nested')
        return 'done'
      },
      state() { return JSON.stringify(Object.entries({ ...this, id }).sort()) },
      async call(address: string, method: string, ...args: unknown[]) { notes.push(`+${self.address}`); const result: unknown = await self.actor(address)[method](...args); notes.push(`-${self.address}`); return result },
      async both(addresses: string[], method: string) { return Promise.all(addresses.map((address) => self.actor(address)[method]('x') as Promise<unknown>)) },
      fail() { throw new Error('on purpose') },
    }),
  })
}

test('P17: one turn at a time, whatever its methods wait for', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes))
  const b = await add('b')
  await go(Promise.all([a, b, a, b].map(({ stage }, i) => stage.actor('acts.1')[i % 2 ? 'write' : 'quick'](`${stage.name}${i}`, 5 * i))))
  for (let i = 0; i < notes.length; i += 2) t.is(notes[i].slice(1), notes[i + 1].slice(1), notes.join(' '))
  t.is(notes.length, 8)
})

test('P17: turns of different actors do not wait for each other', async (t) => {
  const { add, go, clock } = actorMesh(t)
  const notes: string[] = []
  const { stage } = await add('a', recorder(clock, notes))
  const started = clock.now()
  await go(Promise.all(Array.from({ length: 20 }, (_, i) => stage.actor(`acts.${i}`)['write']('x', 1000))), 60_000, 10)
  t.true(clock.now() - started < 1100)
})

test('P17: readonly methods run together, and never beside one that may change something', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes))
  const b = await add('b')
  await go(b.stage.actor('acts.1')['quick']('first'))
  notes.length = 0
  const calls: Promise<unknown>[] = []
  for (const [i, { stage }] of [a, b, a, b].entries()) calls.push(stage.actor('acts.1')['peek'](`r${i}`, 100))
  await clock.advance(10)
  t.is(notes.length, 4, 'all at once')
  calls.push(a.stage.actor('acts.1')['write']('w'))
  await clock.advance(10)
  calls.push(a.stage.actor('acts.1')['peek']('late'), Promise.resolve(a.stage.actor('acts.1')['n']) as Promise<unknown>)
  await clock.advance(10)
  t.is(notes.length, 4, 'who comes behind a writer waits for it, so that no stream of readers starves it')
  const answers = await go(Promise.all(calls))
  t.deepEqual(answers, [1, 1, 1, 1, 2, 2, 2])
  t.deepEqual(notes.slice(-4), ['+w', '-w', '+late', '-late'])
})

test('P17: readonly that writes is refused, and what it changed is put back', async (t) => {
  for (const durable of [true, false]) {
    const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
    const notes: string[] = []
    const a = await add('a', recorder(clock, notes, { durable }))
    const b = await add('b')
    const actor = b.stage.actor('acts.1')
    await go(actor['quick']('one'))
    const before = await go(actor['state']())
    const commits = a.shelf.count('commit')
    for (const [how, name] of [['own', 'n'], ['nested', 'nested'], ['new', 'extra'], ['gone', 'nested']]) {
      for (const ms of [0, 20]) {
        const error = await fails(actor['meddle'](how, ms), 'REMOTE_ERROR', 'yes')
        t.regex(error.message, /readonly/)
        t.true(error.message.includes(name), error.message)
        t.is(await go(actor['state']()), before, `${how} ${ms}`)
      }
    }
    t.is(await go(actor['meddle']('nothing')), 'done')
    t.is(await go(actor['look']()), 1)
    t.is(a.shelf.count('commit'), commits, 'and nothing of it is kept')
  }
})

for (const slowTurnMs of [5000, Infinity]) test(`of readonly methods that run together, none is believed when one of them wrote (slowTurnMs ${slowTurnMs})`, async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const { stage } = await add('a', (one) => one.define({
    pattern: 'x.{id}', readonly: ['peek', 'meddle', 'scribble'], slowTurnMs, create: () => ({
      n: 0,
      async peek(ms: number) { await passed(clock, ms); return this.n },
      async meddle(ms: number) { this.n = 77; await passed(clock, ms); return 'done' },
      scribble() { this.n = 66 },
    }),
  }))
  const actor = stage.actor('x.1')
  t.is(await go(actor['peek'](1)), 0)
  const calm = actor['peek'](60)
  await clock.advance(5)
  t.is(await go(actor['scribble']().catch(({ code }: StageError) => code)), 'REMOTE_ERROR')
  t.is(await go(calm), 0, 'one that wrote, and did not wait, is alone to blame')
  const reading = actor['peek'](40)
  const meddling = actor['meddle'](20)
  await fails(meddling, 'REMOTE_ERROR', 'yes')
  t.regex((await fails(reading, 'REMOTE_ERROR', 'yes')).message, /ran concurrently.* n:/, 'it may have seen that')
  t.is(await go(actor['peek'](1)), 0, 'the next ones have nothing to do with it')
  const again = actor['meddle'](60)
  await clock.advance(5)
  t.is(await go(Promise.resolve(actor['n'] as unknown as PromiseLike<number>)), 0, 'nor is it seen while it runs')
  t.is(await go(actor['peek'](10)), 0, 'one that begins behind what was put back has nothing to do with it')
  await fails(again, 'REMOTE_ERROR', 'yes')
})

test('a readonly method that changes a private property which is kept is refused too', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const { stage, shelf } = await add('a', (one) => one.define({
    pattern: 'x.{id}', durable: ['_count', 'n'], readonly: ['peek'],
    create: () => ({ n: 0, _count: 0, _cache: 0, peek() { this._count++; return 0 }, cached() { return ++this._cache }, set() { this.n++; return this._count } }),
  }))
  const error = await fails(stage.actor('x.1')['peek'](), 'REMOTE_ERROR', 'yes')
  t.regex(error.message, /_count/)
  t.is(await go(stage.actor('x.1')['set']()), 0)
  t.is(shelf.count('commit'), 1)
})

test('reading a property waits for the turn that may change it', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const { stage } = await add('a', recorder(clock, []))
  const write = stage.actor('acts.1')['write']('w', 500)
  const read = Promise.resolve(stage.actor('acts.1')['n'] as unknown as PromiseLike<number>)
  t.deepEqual(await go(Promise.all([write, read])), [1, 1])
})

test('P17: a call cycle through a busy actor fails at once, and names the cycle', async (t) => {
  const { add, fails, clock, go } = actorMesh(t, { latencyMs: 2 })
  const notes: string[] = []
  const [a, b] = [await add('a', recorder(clock, notes)), await add('b', recorder(clock, notes))]
  const c = await add('c')
  for (const { stage } of [a, b, c]) {
    for (let id = 0; id < 4; id++) {
      const [one, two, three] = [`acts.${id}`, `acts.${id}x`, `acts.${id}y`]
      const started = clock.now()
      const own = await fails(stage.actor(one)['call'](one, 'quick'), 'REMOTE_ERROR', 'yes')
      t.true(own.message.includes(`${one} → ${one}`), own.message)
      t.is((own.cause as StageError & Error).message.includes('cycle'), true)
      const pair = await fails(stage.actor(one)['call'](two, 'call', one, 'quick'), 'REMOTE_ERROR', 'yes')
      t.true(pair.message.includes(`${one} → ${two} → ${one}`), pair.message)
      const triple = await fails(stage.actor(one)['call'](two, 'call', three, 'call', two, 'quick'), 'REMOTE_ERROR', 'yes')
      t.true(triple.message.includes(`${two} → ${three} → ${two}`), triple.message)
      const read = await fails(stage.actor(one)['call'](two, 'glance', one), 'REMOTE_ERROR', 'yes')
      t.true(read.message.includes(`${one} → ${two} → ${one}`), read.message)
      t.true(clock.now() - started < 1000, 'at once')
    }
  }
  t.is(await go(a.stage.actor('acts.1')['call']('acts.1x', 'quick', 'fine')), 1)
})

test('DEADLOCK is the code that the caller within the circle gets', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const codes: unknown[] = []
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', create: (_, self: Self) => ({
    async f() { try { await self.actor(self.address)['f']() } catch (error) { codes.push([(error as StageError).code, (error as StageError).executed]) } return 'went on' },
    async g() { try { return await self.actor(self.address)['hp'] as unknown } catch (error) { codes.push([(error as StageError).code, (error as StageError).executed]) } return 'went on' },
  }) }) }
  const [a, b] = [await add('a', define), await add('b', define)]
  for (const { stage } of [a, b]) for (const id of [1, 2, 3]) for (const method of ['f', 'g']) t.is(await go(stage.actor(`x.${id}`)[method]()), 'went on')
  t.deepEqual(codes, Array(12).fill(['DEADLOCK', 'no']))
})

test('two calls that cross between two actors are no circle of one chain: they end with their deadlines', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const { stage } = await add('a', recorder(clock, []))
  const crossed = [stage.actor('acts.1', { timeoutMs: 800 })['call']('acts.2', 'quick', 'x'), stage.actor('acts.2', { timeoutMs: 1000 })['call']('acts.1', 'quick', 'y')]
  const ended = await go(Promise.allSettled(crossed))
  t.is((ended[0] as PromiseRejectedResult).reason.code, 'TIMEOUT')
  t.is(ended[1].status, 'fulfilled', 'and when one has given up the other goes on')
})

test('P17: reentrant: a call that comes back through its own chain runs within the turn, and one commit ends it', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const notes: string[] = []
  const define = recorder(clock, notes, { reentrant: true, durable: true })
  const [a, b] = [await add('a', define), await add('b', define)]
  const shelves = [a.shelf, b.shelf]
  for (let id = 0; id < 4; id++) {
    const [one, two] = [`acts.${id}`, `acts.${id}x`]
    const count = (): number => shelves.reduce((sum, shelf) => sum + shelf.count('commit', one), 0)
    t.is(await go(a.stage.actor(one)['call'](two, 'call', one, 'quick', 'inner')), 1)
    t.is(count(), 1, 'one commit, though it was entered twice')
    t.is(await go(a.stage.actor(one)['call'](one, 'quick', 'own')), 2)
    t.is(count(), 2)
    t.deepEqual(await go(a.stage.actor(one)['both']([one, one, one], 'quick')), [3, 4, 5])
    t.is(count(), 3)
    await fails(a.stage.actor(one)['call'](one, 'fail'), 'REMOTE_ERROR', 'yes')
    t.is(count(), 3)
    t.is(await go(Promise.resolve(b.stage.actor(one)['n'] as unknown as PromiseLike<number>)), 5)
  }
})

test('reentrant: whoever comes from outside still waits', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const { stage } = await add('a', recorder(clock, notes, { reentrant: true }))
  const inside = stage.actor('acts.1')['call']('acts.1', 'write', 'inner', 300)
  await clock.advance(20)
  const outside = stage.actor('acts.1')['quick']('outer')
  const other = stage.actor('acts.2')['call']('acts.1', 'quick', 'stranger')
  await go(Promise.all([inside, outside, other]))
  t.deepEqual(notes, ['+acts.1', '+inner', '+acts.2', '-inner', '-acts.1', '+outer', '-outer', '+stranger', '-stranger', '-acts.2'])
})

test('reentrant: an inner call that nobody waits for still belongs to the turn', async (t) => {
  const { add, go, clock } = actorMesh(t)
  let begun = 0
  const { stage, shelf } = await add('a', (one) => one.define({
    pattern: 'x.{id}', reentrant: true, durable: true, create: (_, self: Self) => ({
      n: 0,
      async outer() { void (self.actor(self.address)['inner']() as Promise<unknown>).catch(() => {}); while (begun === 0) await null; this.n++; return this.n },
      async inner() { begun++; await passed(clock, 200); this.n += 10 },
      get() { return this.n },
    }),
  }))
  const started = clock.now()
  await go(stage.actor('x.1')['outer'](), 5000, 10)
  t.true(clock.now() - started >= 200)
  t.is(shelf.count('commit'), 1)
  t.is(await go(stage.actor('x.1')['get']()), 11)
})

test('a turn whose work has ended is nobody\'s deadlock: what it called back is run behind it, and is kept', async (t) => {
  for (const reentrant of [true, false]) {
    const { add, go, clock } = actorMesh(t)
    const outcomes: unknown[] = []
    const { stage, shelf } = await add('a', (one) => one.define({
      pattern: 'x.{id}', reentrant, durable: true, create: (_, self: Self) => ({
        n: 0,
        async outer(other: string) { self.actor(other)['back'](self.address).then((value: unknown) => outcomes.push(value), (error: StageError) => outcomes.push(error.code)); this.n++ },
        async back(address: string) { await passed(clock, 50); return self.actor(address)['add']() as Promise<unknown> },
        add() { return ++this.n },
      }),
    }))
    shelf.trouble({ afterMs: 200 }, 'commit')
    await go(stage.actor('x.1')['outer']('x.2'))
    await clock.advance(2000)
    t.deepEqual(outcomes, [2], `reentrant: ${reentrant}`)
    t.is((await go(stage.explain('x.1'))).version, 2, 'each commit holds one of them')
  }
})

test('the mailbox is bounded: beyond it calls fail as OVERLOADED and have not run', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes, { mailbox: 3 }))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    notes.length = 0
    await go(stage.actor('acts.1')['quick']('0'))
    const running = stage.actor('acts.1')['write']('running', 1000)
    await clock.advance(20)
    const queued = [1, 2, 3].map((n) => stage.actor('acts.1')['quick'](`q${n}`))
    const error = await fails(stage.actor('acts.1')['quick']('over'), 'OVERLOADED', 'no')
    t.regex(error.message, /3 calls are waiting for acts\.1/)
    await fails(Promise.resolve(stage.actor('acts.1')['n'] as unknown as PromiseLike<number>), 'OVERLOADED', 'no')
    await go(Promise.all([running, ...queued]))
    t.false(notes.includes('+over'))
    t.is(typeof await go(stage.actor('acts.1')['quick']('again')), 'number')
  }
})

test('of what an actor changes outside of turns no readonly method is blamed, and none is undone', async (t) => {
  const { add, go } = actorMesh(t)
  let event = (): void => {}
  const { stage } = await add('a', (one) => one.define({ pattern: 'x.{id}', readonly: ['peek'], create: () => ({ n: 0, activate() { event = () => { this.n++ } }, peek() { return this.n } }) }))
  t.is(await go(stage.actor('x.1')['peek']()), 0)
  event()
  t.is(await go(stage.actor('x.1')['peek']()), 1)
})

test('readonly and reentrant: whoever wrote is blamed, and not the one that came back to it', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const inner: unknown[] = []
  const { stage } = await add('a', (one) => one.define({
    pattern: 'x.{id}', reentrant: true, readonly: ['outer', 'peek'], slowTurnMs: Infinity, create: (_, self: Self) => ({
      n: 0,
      async outer(other: string) { this.n = 5; await self.actor(other)['back'](self.address).then((value: unknown) => inner.push(value), (error: StageError) => inner.push(error.code)); return 'went on' },
      async back(address: string) { return self.actor(address)['peek']() as Promise<unknown> },
      peek() { return this.n },
    }),
  }))
  await fails(stage.actor('x.1')['outer']('x.2'), 'REMOTE_ERROR', 'yes')
  t.deepEqual(inner, [0])
  t.is(await go(stage.actor('x.1')['peek']()), 0)
})

test('readonly methods that run together are bounded as well: those that never end cannot grow without end', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  let begun = 0
  const a = await add('a', (one) => one.define({ pattern: 'x.{id}', readonly: ['hang'], mailbox: 3, create: () => ({ hang: () => new Promise(() => { begun++ }), f: () => 1 }) }))
  const b = await add('b')
  t.is(await go(b.stage.actor('x.1')['f']()), 1)
  for (let i = 0; i < 12; i++) void b.stage.actor('x.1', { timeoutMs: 100 })['hang']().catch(() => {})
  await clock.advance(50)
  t.is(begun, 3)
  await clock.advance(1000)
  for (let i = 0; i < 3; i++) await fails(a.stage.actor('x.1', { timeoutMs: 100 })['hang'](), 'TIMEOUT', 'no')
  t.is(begun, 3, 'though nobody waits for those three any more')
})

test('5 000 calls to one stuck actor hold up no other actor on the same link', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes))
  const b = await add('b')
  let release = (): void => {}
  a.stage.define({ pattern: 'stuck.{id}', create: () => ({ hang: () => new Promise<void>((resolve) => { release = resolve }), f: () => 1 }) })
  await go(b.stage.actor('acts.1')['quick']('first'))
  const hang = b.stage.actor('stuck.1', { timeoutMs: 60_000 })['hang']()
  await clock.advance(20)
  const codes = new Map<string, number>()
  const stuck = Array.from({ length: 5000 }, () => (b.stage.actor('stuck.1', { timeoutMs: 30_000 })['f']() as Promise<unknown>).then(() => 'ok', (error: StageError) => `${error.code} ${error.executed}`).then((code) => { codes.set(code, (codes.get(code) ?? 0) + 1) }))
  await clock.advance(20)
  t.deepEqual([...codes], [['OVERLOADED no', 4000]])
  for (let i = 0; i < 50; i++) {
    const started = clock.now()
    await go(b.stage.actor(`acts.${i}`)['quick']('x'), 1000, 1)
    t.true(clock.now() - started <= 25, `${clock.now() - started} ms`)
  }
  release()
  await go(Promise.all([hang, ...stuck]))
  t.is(codes.get('ok'), 1000)
})

test('work whose deadline has passed is not begun', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes))
  const b = await add('b')
  const running = b.stage.actor('acts.1')['write']('running', 1000)
  await clock.advance(20)
  const late = Array.from({ length: 20 }, (_, i) => (b.stage.actor('acts.1', { timeoutMs: 100 + i })['quick'](`late${i}`) as Promise<unknown>).catch((error: StageError) => [error.code, error.phase, error.executed].join()))
  const here = a.stage.actor('acts.1', { timeoutMs: 5 })['quick']('late here').catch((error: StageError) => error.code)
  t.deepEqual(new Set(await go(Promise.all(late))), new Set(['TIMEOUT,queued,no']))
  t.is(await go(here), 'TIMEOUT')
  await go(running)
  await go(b.stage.actor('acts.1')['quick']('after'))
  t.deepEqual(notes, ['+running', '-running', '+after', '-after'])
  clock.burn(0)
  const blocked = a.stage.actor('acts.1', { timeoutMs: 50 })['write']('blocks', 10)
  const behind = a.stage.actor('acts.1', { timeoutMs: 50 })['quick']('behind').catch((error: StageError) => error.executed)
  clock.burn(100) // the loop is busy, and no sweep has come by
  await go(blocked.catch(() => {}))
  t.is(await go(behind), 'no')
  t.false(notes.includes('+behind'))
})

test('a slow turn is reported with who called it, while it runs and not only when it has ended', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes, { slowTurnMs: 300 }))
  await go(a.stage.actor('acts.1')['write']('short', 250))
  t.deepEqual(a.errors, [])
  await go(a.stage.actor('acts.2')['call']('acts.3', 'write', 'long', 400))
  t.is(a.errors.filter((one) => one.includes('write') && one.includes('acts.3') && one.includes('acts.2')).length, 1, a.errors.join('\n'))
  a.errors.length = 0
  void go(a.stage.actor('acts.4')['write']('endless', 1e9)).catch(() => {})
  await clock.advance(2000)
  t.is(a.errors.filter((one) => one.includes('acts.4')).length, 1, 'once')
  for (const { stage } of [a, await add('b')]) {
    await go(stage.actor(`acts.${stage.name}`, { timeoutMs: 100 })['write']('endless', 1e9).catch(() => {}))
    await clock.advance(2000)
    t.is(a.errors.filter((one) => one.includes(`acts.${stage.name}`)).length, 1, 'also when its caller has given up before')
  }
})

test('what a turn does after its caller has gone is kept, and the next one waits for it', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await add('a', recorder(clock, notes, { durable: true }))
  const b = await add('b')
  await fails(b.stage.actor('acts.1', { timeoutMs: 100 })['write']('long', 500), 'TIMEOUT', 'unknown')
  t.is(await go(b.stage.actor('acts.1')['look']()), 1)
  t.is(a.shelf.count('commit'), 1)
})
