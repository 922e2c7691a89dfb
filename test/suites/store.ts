/**
 * The contract of a store, as tests. To run the suite on your own store:
 *
 *     import test from 'ava'
 *     import { storeSuite } from 'stagemesh/test/suites/store'
 *     storeSuite(test, async () => ({ open: () => new MyRegistry(…), close: async () => {} }))
 */
import { setImmediate as breath, setTimeout as sleep } from 'node:timers/promises'
import { StageError } from '../../src/errors.js'
import { MAX_ACTOR_BYTES, MAX_STATE_BYTES } from '../../src/store.js'
import type { Claim, Claimed, Closable, Commit, Fence, Store, Wake } from '../../src/types.js'
import type { Assertions, Test } from './test.js'

/** The part of a registry that the suite uses. */
export interface Brings extends Closable {
  /** Opens the store of a namespace. */
  store(namespace: string): Store
}

/** An empty registry that nobody else uses. */
export interface StorePlace {
  /** Opens one more client of the registry. */
  open(): Brings
  /** Lets `ms` pass for the store; without `advance` the suite waits in real time. */
  advance?(ms: number): Promise<void>
  /** Deletes the record of an actor directly in the storage. Without `forget` its test is skipped. */
  forget?(namespace: string, actor: string): Promise<void>
  /** Deletes all data of the store. Without `empty` its test is skipped. */
  empty?(): Promise<void>
  /** Makes the store unreachable, or reachable again. Without `fail` its test is skipped. */
  fail?(failing: boolean): Promise<void>
  close(): Promise<void>
}

/** Options of the suite. */
export interface StoreSuiteOptions {
  /** Prefix of the titles; default `store`. */
  name?: string
  /** How many claimants race for one actor; default 200. */
  racers?: number
}

const NS = 'suite'
const HOUR_MS = 3_600_000
let count = 0
/** A name that was not used before. */
const fresh = (what: string): string => `${what}-${process.pid}-${++count}`

/** The contract of a store, as tests: `factory` brings a place that stores of the same kind can be opened on. */
export function storeSuite(test: Test, factory: (t: Assertions) => Promise<StorePlace>, { name = 'store', racers = 200 }: StoreSuiteOptions = {}): void {
  const check = (title: string, run: (t: Assertions, scene: Scene) => Promise<void>) =>
    test(`${name}: ${title}`, async (t) => {
      const scene = new Scene(await factory(t))
      t.teardown(() => scene.close())
      await run(t, scene)
    })

  check('a claim of an actor without an owner is granted, with nothing committed', async (t, { store }) => {
    t.is(await store.look('x'), undefined)
    const mine = claimOf()
    const answer = await granted(store.claim('x', mine))
    t.deepEqual([answer.version, answer.data], [0, undefined])
    t.true(answer.epoch >= Math.floor(answer.now) - 1000 && answer.epoch <= answer.now + 1000, `its first epoch is the time: ${answer.epoch}, ${answer.now}`)
    const known = await store.look('x')
    t.deepEqual({ ...known, now: 0 }, { epoch: answer.epoch, owner: { stage: mine.stage, activation: mine.activation, epoch: answer.epoch }, version: 0, data: undefined, now: 0 })
    t.true(Math.abs(known!.now - answer.now) < 60_000)
  })

  check('a claim of an owned actor answers the owner and changes nothing', async (t, scene) => {
    const owner = await scene.hold('x')
    const { store } = scene
    for (const over of [undefined, 'somebody else']) {
      const answer = await scene.client().claim('x', claimOf({ over, floor: owner.epoch + 100 }))
      t.deepEqual(answer, { owner: { stage: owner.stage, activation: owner.activation, epoch: owner.epoch } })
    }
    t.is(await store.commit('x', owner, commitOf(1)), 'ok')
  })

  check('a claim that names the owner replaces it, and returns its last commit', async (t, scene) => {
    const owner = await scene.hold('x')
    t.is(await scene.store.commit('x', owner, commitOf(1, 'first')), 'ok')
    const answer = await granted(scene.client().claim('x', claimOf({ over: owner.activation })))
    t.deepEqual([answer.epoch, answer.version, String(answer.data)], [owner.epoch + 1, 1, 'first'])
  })

  check('a repeated claim, after a lost answer, gets the same answer', async (t, scene) => {
    const { store } = scene
    const mine = claimOf()
    const first = await granted(store.claim('x', mine))
    const again = await granted(scene.client().claim('x', mine))
    t.deepEqual({ ...again, now: 0 }, { ...first, now: 0 })
    await store.commit('x', { ...mine, epoch: first.epoch }, commitOf(1, 'first'))
    const over = claimOf({ over: mine.activation, floor: first.epoch + 10 })
    const [one, two] = [await granted(store.claim('x', over)), await granted(store.claim('x', over))]
    t.deepEqual([one.epoch, one.version, String(one.data)], [first.epoch + 11, 1, 'first'])
    t.deepEqual({ ...two, now: 0 }, { ...one, now: 0 })
    t.true('owner' in await store.claim('x', mine), 'a replaced owner is not granted the actor by repeating its claim')
  })

  check('a released actor is free to claim, with its epoch and state', async (t, scene) => {
    const { store } = scene
    const owner = await scene.hold('x')
    await store.commit('x', owner, commitOf(1, 'first'))
    await store.release('x', owner)
    await store.release('x', owner)
    const known = await store.look('x')
    t.deepEqual([known!.owner, known!.epoch, known!.version, String(known!.data)], [undefined, owner.epoch, 1, 'first'])
    t.is(await store.commit('x', owner, commitOf(2)), 'fenced', 'it was released')
    const answer = await granted(scene.client().claim('x', claimOf()))
    t.deepEqual([answer.epoch, answer.version, String(answer.data)], [owner.epoch + 1, 1, 'first'])
  })

  check('only the owner can release an actor', async (t, scene) => {
    const { store } = scene
    const old = await scene.hold('x')
    const owner = await scene.hold('x', { over: old.activation })
    for (const fence of [old, { ...owner, epoch: owner.epoch + 1 }, { ...owner, epoch: owner.epoch - 1 }, { ...owner, activation: 'another' }]) await store.release('x', fence)
    t.is((await store.look('x'))!.owner?.activation, owner.activation)
    await store.release('nobody ever claimed it', owner)
    t.is(await store.look('nobody ever claimed it'), undefined)
  })

  check('a commit creates the next version, and no other', async (t, scene) => {
    const { store } = scene
    const owner = await scene.hold('x')
    const answers = []
    for (const [version, text] of [[2, 'too far'], [1, 'one'], [1, 'once more'], [3, 'too far'], [2, 'two'], [1, 'back']] as const) answers.push(await store.commit('x', owner, commitOf(version, text)))
    t.deepEqual(answers, ['fenced', 'ok', 'fenced', 'fenced', 'ok', 'fenced'])
    const known = await store.look('x')
    t.deepEqual([known!.version, String(known!.data)], [2, 'two'])
  })

  check('a repeated commit, after a lost answer, is recognised and applied once', async (t, scene) => {
    const { store } = scene
    const owner = await scene.hold('x')
    const commit = commitOf(1, 'first')
    t.is(await store.commit('x', owner, commit), 'ok')
    t.is(await scene.client().commit('x', owner, { ...commit, data: Buffer.from('the same id') }), 'ok')
    const known = await store.look('x')
    t.deepEqual([known!.version, String(known!.data)], [1, 'first'])
    t.is(await store.commit('x', owner, commitOf(2, 'second')), 'ok')
    t.is(await store.commit('x', owner, commit), 'fenced', 'it is no longer the last commit')
    t.is(String((await store.look('x'))!.data), 'second')
  })

  check('P15: who has no claim commits nothing', async (t, scene) => {
    const { store } = scene
    const old = await scene.hold('x')
    await store.commit('x', old, commitOf(1, 'old'))
    const owner = await scene.hold('x', { over: old.activation })
    const last = commitOf(2, 'last')
    await store.commit('x', owner, last)
    for (const fence of [old, { ...owner, epoch: old.epoch }, { ...owner, epoch: owner.epoch + 1 }, { ...old, epoch: owner.epoch }]) {
      t.is(await store.commit('x', fence, commitOf(3, 'not mine')), 'fenced')
      t.is(await store.commit('x', fence, last), 'fenced', 'knowing the id of the commit is not enough')
    }
    t.is(await store.commit('nobody ever claimed it', owner, commitOf(1)), 'fenced')
    t.is(await store.look('nobody ever claimed it'), undefined)
    t.deepEqual([(await store.look('x'))!.version, String((await store.look('x'))!.data)], [2, 'last'])
  })

  check('a granted epoch is above the floor of the claim', async (t, scene) => {
    const { store } = scene
    const future = Date.UTC(2200, 0, 1)
    const first = await granted(store.claim('x', claimOf({ floor: future })))
    t.is(first.epoch, future + 1)
    const owner = (await store.look('x'))!.owner!
    const second = await granted(store.claim('x', claimOf({ over: owner.activation, floor: 5 })))
    t.is(second.epoch, future + 2, 'a lower floor has no effect')
    const now = (await store.look('x'))!.owner!
    t.is((await granted(store.claim('x', claimOf({ over: now.activation, floor: future + 99 })))).epoch, future + 100)
  })

  check(`P15: of ${racers} who claim at the same moment one gets it`, async (t, scene) => {
    const clients = [scene.store, scene.client(), scene.client(), scene.client()]
    const tries = Array.from({ length: racers }, () => claimOf())
    const answers = await Promise.all(tries.map((one, i) => clients[i % clients.length].claim('x', one)))
    const won = tries.filter((_, i) => !answers[i].owner)
    t.is(won.length, 1)
    const { stage, activation } = won[0]
    const { epoch } = (await scene.store.look('x'))!
    for (const answer of answers) if (answer.owner) t.deepEqual(answer, { owner: { stage, activation, epoch } })
  })

  check(`of ${racers} concurrent takeovers of an actor one succeeds`, async (t, scene) => {
    const clients = [scene.store, scene.client(), scene.client(), scene.client()]
    const owner = await scene.hold('x')
    await scene.store.commit('x', owner, commitOf(1, 'first'))
    const tries = Array.from({ length: racers }, () => claimOf({ over: owner.activation }))
    const answers = await Promise.all(tries.map((one, i) => clients[i % clients.length].claim('x', one)))
    const won = answers.filter((answer) => !answer.owner)
    t.is(won.length, 1)
    t.deepEqual(won.map((answer) => !answer.owner && [answer.epoch, answer.version, String(answer.data)]), [[owner.epoch + 1, 1, 'first']])
    t.is((await scene.store.look('x'))!.epoch, owner.epoch + 1)
  })

  check('of concurrent commits of the same version one succeeds', async (t, scene) => {
    const clients = [scene.store, scene.client(), scene.client(), scene.client()]
    const owner = await scene.hold('x')
    for (let version = 1; version <= 10; version++) {
      const tries = Array.from({ length: 12 }, (_, i) => commitOf(version, `${version} by ${i}`))
      const answers = await Promise.all(tries.map((one, i) => clients[i % clients.length].commit('x', owner, one)))
      const won = tries.filter((_, i) => answers[i] === 'ok')
      t.is(won.length, 1)
      t.is(String((await scene.store.look('x'))!.data), String(won[0].data))
    }
  })

  check('P15: what a claim reads is the last there will ever be of the owner before it', async (t, scene) => {
    const [before, after] = [scene.client(), scene.client()]
    const round = async (n: number): Promise<void> => {
      const actor = `x${n}`
      const old = await scene.hold(actor, {}, before)
      t.is(await before.commit(actor, old, commitOf(1, 'v1')), 'ok')
      let written = 1
      const writes = async (): Promise<boolean> => {
        const made = await before.commit(actor, old, commitOf(written + 1, `v${written + 1}`)) === 'ok'
        if (made && ++written > 1000) throw new Error('the previous owner was expected to be fenced, and can still commit')
        return made
      }
      const takes = async (): Promise<Claimed> => {
        if (n % 5 !== 0) await sleep(n % 5) // together with the first commit, or during later commits
        return after.claim(actor, claimOf({ over: old.activation }))
      }
      const claiming = n % 2 ? takes() : undefined
      const writing = (async () => {
        while (await writes()) await breath() // if a commit takes no time, the loop would starve everything else
      })()
      const claimed = await (claiming ?? takes())
      await writing
      const { version, data, epoch } = await granted(Promise.resolve(claimed))
      t.is(version, written, 'all acknowledged commits, and no other')
      t.is(String(data), `v${version}`)
      const known = await scene.store.look(actor)
      t.deepEqual([known!.version, known!.epoch, String(known!.data)], [version, epoch, String(data)])
    }
    for (let n = 0; n < 250; n += 10) await Promise.all(Array.from({ length: 10 }, (_, i) => round(n + i)))
  })

  check('an actor that was deleted in the store can be claimed again, and its previous owner is fenced', async (t, scene) => {
    if (!scene.place.forget) return void t.pass('skipped: the place has no forget()')
    const { store } = scene
    const [owner, other] = [await scene.hold('x'), await scene.hold('y')]
    await store.commit('x', owner, commitOf(1, 'gone', 5))
    await scene.place.forget(NS, 'x')
    t.is(await store.look('x'), undefined)
    t.is(await store.commit('x', owner, commitOf(2)), 'fenced')
    await store.release('x', owner)
    t.is(await store.look('x'), undefined)
    const answer = await granted(store.claim('x', claimOf({ floor: owner.epoch })))
    t.deepEqual([answer.version, answer.data, answer.epoch > owner.epoch], [0, undefined, true])
    t.is((await store.look('x'))!.data, undefined)
    t.is(await store.commit('x', owner, commitOf(1)), 'fenced')
    t.is(await store.commit('y', other, commitOf(1)), 'ok')
    t.deepEqual(await due(store, 10), [], 'its wake time was deleted, too')
  })

  check('an emptied store fences the previous owners', async (t, scene) => {
    if (!scene.place.empty) return void t.pass('skipped: the place has no empty()')
    const { store } = scene
    const owner = await scene.hold('x')
    await store.commit('x', owner, commitOf(1, 'gone', 1))
    await scene.place.empty()
    t.is(await store.commit('x', owner, commitOf(2)), 'fenced')
    t.deepEqual([await store.look('x'), await due(store, 10)], [undefined, []])
    const answer = await granted(store.claim('x', claimOf({ floor: owner.epoch })))
    t.deepEqual([answer.version, answer.data, answer.epoch > owner.epoch], [0, undefined, true])
  })

  check('a state may be any bytes', async (t, scene) => {
    const { store } = scene
    const owner = await scene.hold('x')
    const every = Buffer.from(Array.from({ length: 256 * 3 }, (_, i) => i % 256))
    const large = Buffer.alloc(MAX_STATE_BYTES, every)
    const states = [every, Buffer.alloc(0), Buffer.from([0]), Buffer.from([0xff, 0xfe]), Buffer.from('\r\n$-1\r\n'), large, Buffer.alloc(40_000, every), Buffer.alloc(0)]
    let version = 0
    for (const data of states) {
      t.is(await store.commit('x', owner, { id: fresh('commit'), version: ++version, data }), 'ok')
      const found = (await store.look('x'))!.data
      t.true(Buffer.isBuffer(found) && found.equals(data), `${data.length} bytes come back`)
    }
    await store.commit('x', owner, { id: fresh('commit'), version: ++version, data: large })
    const answer = await granted(scene.client().claim('x', claimOf({ over: owner.activation })))
    t.true(answer.data!.equals(large))
  })

  check('a caller may modify a state that it was given', async (t, scene) => {
    const { store } = scene
    const owner = await scene.hold('x')
    await store.commit('x', owner, commitOf(1, 'first'));
    (await store.look('x'))!.data!.fill(0);
    (await granted(store.claim('x', { stage: owner.stage, activation: owner.activation }))).data!.fill(0)
    t.is(String((await store.look('x'))!.data), 'first')
  })

  check('an address may be any printable text', async (t, scene) => {
    const { store } = scene
    const addresses = [
      'counter/a b', 'счётчик/日本', '{x}', '}{', '{', '}', '{other}:actor:x', `it's`, '"quoted"', '`', 'a:b', 'a,b', '*', '?', '[a]', '\\', '..', '/', '%00', '$1',
      '__proto__', 'constructor', 'toString', 'X', 'x', 'e\u0301', '\u00e9', '😀', '👩‍👩‍👧', '\uffee', '\u{10fffd}', ' ', ' x', 'x ', '0', '1e3', 'x'.repeat(MAX_ACTOR_BYTES), '😀'.repeat(MAX_ACTOR_BYTES / 4),
    ]
    for (const actor of addresses) {
      const answer = await store.claim(actor, claimOf())
      t.is(answer.owner, undefined, `${actor} is not the same as an earlier address`)
    }
    await Promise.all(addresses.map(async (actor) => {
      const { activation, epoch } = (await store.look(actor))!.owner!
      t.is(await store.commit(actor, { activation, epoch }, commitOf(1, actor, 1)), 'ok')
    }))
    for (const actor of addresses) t.is(String((await store.look(actor))!.data), actor)
    t.deepEqual([...await due(store, 1000)].sort(), [...addresses].sort())
  })

  check('values beyond the limits are refused', async (t, scene) => {
    const { store } = scene
    const owner = await scene.hold('x')
    const bad = (promise: Promise<unknown>) => code(promise)
    const addresses = ['', 'x'.repeat(MAX_ACTOR_BYTES + 1), 'é'.repeat(MAX_ACTOR_BYTES / 2 + 1), 'a\0', 'a\n', '\x1b[m', '\x7f', '\x85', '\u2028', '\ud800', 'x\udc00', 5 as unknown as string]
    for (const actor of addresses) {
      const codes = await Promise.all([bad(store.claim(actor, claimOf())), bad(store.commit(actor, owner, commitOf(1))), bad(store.release(actor, owner)), bad(store.look(actor))])
      t.deepEqual(codes, ['BAD_ARGUMENT', 'BAD_ARGUMENT', 'BAD_ARGUMENT', 'BAD_ARGUMENT'], JSON.stringify(actor))
    }
    const commits: Partial<Commit>[] = [
      { data: Buffer.alloc(MAX_STATE_BYTES + 1) }, { data: 'text' as unknown as Buffer }, { id: '' }, { id: 'a\n' }, { version: 0 }, { version: 1.5 }, { version: NaN }, { version: 2 ** 53 },
      { wake: NaN }, { wake: Infinity }, { wake: 1e300 }, { wake: '5' as unknown as number },
    ]
    for (const change of commits) t.is(await bad(store.commit('x', owner, { ...commitOf(1), ...change })), 'BAD_ARGUMENT', Object.keys(change)[0])
    const claims: Partial<Claim>[] = [{ stage: '' }, { activation: '' }, { activation: 'x'.repeat(1000) }, { over: '' }, { floor: -1 }, { floor: 0.5 }, { floor: Infinity }, { floor: 2 ** 53 }]
    for (const change of claims) t.is(await bad(store.claim('y', claimOf(change))), 'BAD_ARGUMENT', JSON.stringify(change))
    for (const fence of [{ ...owner, epoch: NaN }, { ...owner, epoch: -1 }, { ...owner, activation: '' }]) t.is(await bad(store.commit('x', fence, commitOf(1))), 'BAD_ARGUMENT')
    for (const limit of [0, -1, 1.5, NaN, 1e9]) t.is(await bad(store.due(limit)), 'BAD_ARGUMENT')
    t.deepEqual([(await store.look('x'))!.version, await store.look('y')], [0, undefined])
    for (const namespace of ['', 'a b', '{a}', 'x'.repeat(200)]) t.is(await bad((async () => scene.registry().store(namespace))()), 'BAD_NAME')
  })

  check('namespaces do not see each other', async (t, scene) => {
    const here = await scene.hold('x')
    for (const namespace of ['suite2', 'suit', 'suite:actor', 'Suite']) {
      const there = scene.client(namespace)
      t.is(await there.look('x'), undefined)
      t.is((await there.claim('x', claimOf())).owner, undefined)
      t.is(await there.commit('x', here, commitOf(1)), 'fenced')
      await there.release('x', here)
    }
    t.is(await scene.store.commit('x', here, commitOf(1, 'here', 1)), 'ok')
    t.deepEqual([await due(scene.store, 10), await due(scene.client('suite2'), 10)], [['x'], []])
  })

  check('due() lists the actors that are due, the earliest first', async (t, scene) => {
    const { store } = scene
    const owners = new Map<string, Fence>()
    let now = 0
    for (const actor of ['a', 'b', 'c', 'd', 'e']) {
      const mine = claimOf()
      const answer = await granted(store.claim(actor, mine))
      now = answer.now
      owners.set(actor, { epoch: answer.epoch, activation: mine.activation })
    }
    const wakes = { a: now - 10, b: now - 30.5, c: undefined, d: now - 20, e: now + HOUR_MS }
    for (const [actor, wake] of Object.entries(wakes)) await store.commit(actor, owners.get(actor)!, commitOf(1, actor, wake))
    t.deepEqual(await due(store, 10), ['b', 'd', 'a'])
    t.deepEqual(await due(store, 2), ['b', 'd'], 'no more than the limit')
    await store.commit('b', owners.get('b')!, commitOf(2, 'b', now - 1))
    await store.commit('c', owners.get('c')!, commitOf(2)) // fenced, so nothing changes
    await store.commit('d', owners.get('d')!, commitOf(2))
    t.deepEqual(await due(scene.client(), 10), ['a', 'b'], 'each commit replaces the wake time')
    await store.release('a', owners.get('a')!)
    t.deepEqual(await due(store, 10), ['a', 'b'], 'released actors stay listed')
    const next = await scene.hold('a')
    await scene.hold('b', { over: owners.get('b')!.activation })
    t.deepEqual(await due(store, 10), ['a', 'b'], 'and so do owned actors')
    await store.commit('a', next, commitOf(2))
    t.deepEqual(await due(store, 10), ['b'])
  })

  check('due() pages through all due actors, however many share a time, and lists none twice', async (t, scene) => {
    const { store } = scene
    const mine = claimOf()
    const { now } = await granted(store.claim('first', mine))
    const all = new Map<string, number>()
    const fences = new Map<string, Fence>()
    const names = ['a', 'aa', 'a\u00e9', 'a z', 'A', 'b', '\u00e9', '\uffee', '\u{10fffd}', '{x}', '-', '0', '00', 'x'.repeat(MAX_ACTOR_BYTES)]
    for (const [i, actor] of [...names, ...names.map((one) => `later ${one.slice(0, 400)}`)].entries()) {
      const owner = await scene.hold(actor)
      const at = Math.floor(now) - (i < names.length ? 5000 : 5000 - (i - names.length) % 3)
      fences.set(actor, owner)
      all.set(actor, at)
      t.is(await store.commit(actor, owner, commitOf(1, '', at)), 'ok')
    }
    await scene.hold('never')
    const later = await scene.hold('in an hour')
    await store.commit('in an hour', later, commitOf(1, '', now + HOUR_MS))
    const whole = await store.due(1000)
    t.is(whole.length, all.size)
    for (const { actor, at } of whole) t.is(at, all.get(actor), actor)
    t.true(whole.every(({ at }, i) => i === 0 || at >= whole[i - 1].at), 'the earliest first')
    for (const size of [1, 2, 5, whole.length, 1000]) {
      const parts: Wake[] = []
      for (let part = await store.due(size); part.length > 0; part = await scene.client().due(size, parts.at(-1))) parts.push(...part)
      t.deepEqual(parts, whole, `in pages of ${size}`)
    }
    for (const [i, one] of whole.entries()) { // continues even after a wake that is no longer due
      await store.commit(one.actor, fences.get(one.actor)!, commitOf(2))
      t.deepEqual(await store.due(1000, one), whole.slice(i + 1))
    }
    t.deepEqual(await store.due(10, { actor: 'nobody', at: Math.floor(now) + HOUR_MS * 2 }), [])
    for (const bad of [{ actor: '', at: 1 }, { actor: 'x', at: NaN }, { actor: 'x', at: 0.5 }, { actor: 'x', at: 1e300 }, { actor: 'x', at: '1' as unknown as number }]) t.is(await code(store.due(10, bad)), 'BAD_ARGUMENT', JSON.stringify(bad))
  })

  check('an actor is listed when its wake time comes', async (t, scene) => {
    const { store } = scene
    const mine = claimOf()
    const { epoch, now } = await granted(store.claim('x', mine))
    const owner = { epoch, activation: mine.activation }
    await store.commit('x', owner, commitOf(1, '', now + 3_600_000))
    t.deepEqual(await due(store, 10), [])
    await store.commit('x', owner, commitOf(2, '', now + 1000))
    while ((await due(store, 10)).length === 0) await scene.pass(100)
    t.deepEqual(await due(store, 10), ['x'])
    t.true((await store.look('x'))!.now >= now + 1000, 'not before its wake time')
  })

  check('a closed store refuses everything, and leaves others alone', async (t, scene) => {
    const registry = scene.registry()
    const [one, other] = [registry.store(NS), registry.store(NS)]
    const mine = claimOf()
    const { epoch } = await granted(one.claim('x', mine))
    await Promise.all([one.close(), one.close()])
    await one.close()
    const owner = { epoch, activation: mine.activation }
    t.deepEqual(await everyCode(one, owner), Array(5).fill('CLOSED'))
    t.is(await other.commit('x', owner, commitOf(1, 'first')), 'ok')
    await registry.close()
    t.deepEqual(await everyCode(other, owner), Array(5).fill('CLOSED'), 'closing a registry closes its stores')
    t.deepEqual(await everyCode(registry.store(NS), owner), Array(5).fill('CLOSED'))
    t.is(String((await scene.store.look('x'))!.data), 'first')
  })

  check('a store can be closed unused, and during a request', async (t, scene) => {
    await scene.registry().store(NS).close()
    const registry = scene.registry()
    const store = registry.store(NS)
    const doing = [store.claim('x', claimOf()), store.look('x')].map(code)
    await registry.close()
    for (const one of await Promise.all(doing)) t.true([undefined, 'CLOSED'].includes(one), one)
  })

  check('an unreachable store fails with STORE_UNAVAILABLE, and works again afterwards', async (t, scene) => {
    if (!scene.place.fail) return void t.pass('skipped: the place has no fail()')
    const { store } = scene
    const owner = await scene.hold('x')
    await store.commit('x', owner, commitOf(1, 'first'))
    await scene.place.fail(true)
    t.deepEqual(await everyCode(store, owner), Array(5).fill('STORE_UNAVAILABLE'))
    await scene.place.fail(false)
    t.is(await store.commit('x', owner, commitOf(2, 'second')), 'ok')
    t.deepEqual([(await store.look('x'))!.version, (await store.look('x'))!.owner?.activation], [2, owner.activation])
  })

  check('a store has an address, and may warn of what it can lose', async (t, { store }) => {
    t.true(typeof store.address === 'string' && store.address !== '')
    t.true(['string', 'undefined'].includes(typeof await store.warning?.()))
  })
}

const claimOf = (change: Partial<Claim> = {}): Claim => ({ stage: fresh('stage'), activation: fresh('activation'), ...change })
const commitOf = (version: number, text = '', wake?: number): Commit => ({ id: fresh('commit'), version, data: Buffer.from(text), wake })

/** The answer to a claim that must succeed. */
async function granted(answer: Promise<Claimed>): Promise<Extract<Claimed, { epoch: number }>> {
  const claimed = await answer
  if (claimed.owner) throw new Error(`expected the claim to be granted, found the owner ${JSON.stringify(claimed.owner)}`)
  return claimed
}

/** The actors whose wake is due, the earliest first. */
const due = async (store: Store, limit: number): Promise<string[]> => (await store.due(limit)).map(({ actor }) => actor)

const code = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(() => undefined, (error: unknown) => error instanceof StageError ? error.code : String(error))

/** The error code of each method. */
const everyCode = (store: Store, owner: Fence): Promise<(string | undefined)[]> =>
  Promise.all([store.claim('x', claimOf()), store.commit('x', owner, commitOf(1)), store.release('x', owner), store.look('x'), store.due(1)].map(code))

/** One test's place and its clients. */
class Scene {
  readonly store: Store
  readonly #opened: Brings[] = []

  constructor(readonly place: StorePlace) {
    this.store = this.client()
  }

  registry(): Brings {
    const registry = this.place.open()
    this.#opened.push(registry)
    return registry
  }

  /** Opens a store on a separate client. */
  client(namespace = NS): Store {
    return this.registry().store(namespace)
  }

  /** Claims an actor that is free or may be taken over. */
  async hold(actor: string, change: Partial<Claim> = {}, store = this.store): Promise<Fence & { stage: string }> {
    const { stage, activation, ...rest } = claimOf(change)
    const { epoch } = await granted(store.claim(actor, { stage, activation, ...rest }))
    return { stage, activation, epoch }
  }

  pass(ms: number): Promise<unknown> {
    return this.place.advance ? this.place.advance(ms) : sleep(ms)
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((registry) => registry.close()))
    await this.place.close()
  }
}
