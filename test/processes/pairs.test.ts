/** Two stages that dial each other at the same time have one link. */
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, StageError, TcpInterface, type Interface } from '../../src/index.js'
import { asError } from '../../src/errors.js'
import { advance, seeded, virtualMesh } from '../helpers/mesh.js'
import { until } from '../helpers/until.js'
import { settle } from '../helpers/virtual-clock.js'

const CALLS = 4
const DISTURBED_MS = 1500

/** Two stages that call each other, and the outcomes. */
class Pair {
  readonly #begun: string[] = []
  readonly #ended: { id: string; error?: unknown }[] = []
  #sent = 0

  /** @param timeoutMs  for each call: the test is about which link the calls use, not about their latency */
  constructor(readonly a: Stage, readonly b: Stage, private readonly timeoutMs = 10_000) {
    for (const stage of [a, b]) stage.to('*').provide('work', async (id: string) => { this.#begun.push(id); return id })
  }

  get met(): boolean {
    return this.a.peers().length === 1 && this.b.peers().length === 1
  }

  get failures(): number {
    return this.#ended.filter(({ error }) => error).length
  }

  /** Each stage calls the other in the same tick. */
  async clash(): Promise<void> {
    const call = async (from: Stage, to: string) => {
      const id = `${from.name}-${this.#sent++}`
      try {
        await from.to(to, { timeoutMs: this.timeoutMs }).call('work', id)
        this.#ended.push({ id })
      } catch (error) {
        this.#ended.push({ id, error })
      }
    }
    await Promise.all(Array.from({ length: CALLS }, () => [call(this.a, 'b'), call(this.b, 'a')]).flat())
  }

  /** The deviations from the promise, in words; empty if there are none. */
  faults({ failures = false } = {}): string[] {
    const { a, b } = this
    const faults: string[] = []
    const links = [a.links(), b.links()]
    if (links[0].length !== 1 || links[1].length !== 1) faults.push(`links: ${links[0].length} and ${links[1].length}`)
    else {
      if (links[0][0].id !== links[1][0].id) faults.push('the ends have different links')
      if (links[0][0].dialled === links[1][0].dialled) faults.push('both or neither dialled it')
      if (links[0][0].peer.id !== b.id || links[1][0].peer.id !== a.id) faults.push('it leads elsewhere')
    }
    for (const stage of [a, b]) {
      const { links: linked, draining, handshakes, calls } = stage.stats()
      if (linked !== 1 || draining || handshakes || calls) faults.push(`${stage.name} holds ${JSON.stringify(stage.stats())}`)
    }
    const did = new Set(this.#begun)
    if (did.size !== this.#begun.length) faults.push('a call ran twice')
    if (this.#ended.length !== this.#sent) faults.push(`${this.#sent - this.#ended.length} calls have not ended`)
    for (const { id, error } of this.#ended) {
      if (!error) {
        if (!did.has(id)) faults.push(`${id} was answered and did not run`)
      } else if (!failures) faults.push(`${id} failed: ${asError(error).message}`)
      else if (!(error instanceof StageError) || error.code !== 'DISCONNECTED') faults.push(`${id} failed otherwise: ${asError(error).message}`)
      else if (error.executed === 'no' && did.has(id)) faults.push(`${id} ran and was said not to have`)
    }
    return faults
  }
}

test('P7: 500 pairs that dial each other at once have one link each', async (t) => {
  const network = new MemoryNetwork({ latencyMs: (_from, _to, random) => random.float() * 5 })
  const pairs = Array.from({ length: 500 }, (_, i) => {
    const stage = (name: string): Stage => {
      const carrier: Interface = i % 10 === 0 ? new TcpInterface() : new MemoryInterface(network)
      return new Stage(name, new MemoryRegistry(`pairs-${process.pid}-${i}`), carrier)
    }
    return new Pair(stage('a'), stage('b'), 60_000)
  })
  t.teardown(async () => { await Promise.all(pairs.flatMap(({ a, b }) => [a.close(), b.close()])) })
  await Promise.all(pairs.flatMap(({ a, b }) => [a.ready(), b.ready()]))
  await until(() => pairs.every((pair) => pair.met))
  await Promise.all(pairs.map((pair) => pair.clash()))
  await until(() => pairs.every((pair) => pair.faults().length === 0)).catch(() => {}) // the losing connection of each pair ends
  t.deepEqual(pairs.flatMap((pair) => pair.faults()), [])
})

/** One pair per seed on a clock of its own; `disturb` may cause faults. */
async function seeds(t: ExecutionContext, count: number, failures: boolean, disturb: (network: MemoryNetwork, at: (ms: number, what: () => void) => void, chance: () => number) => void): Promise<void> {
  const faults: string[] = []
  for (let seed = 1; seed <= count; seed++) {
    const closing: (() => Promise<void>)[] = []
    const { clock, network, stage } = virtualMesh({ teardown: (fn) => void closing.push(async () => fn()) }, { seed })
    const slowest = [0, 1, 20, 300][seed % 4]
    network.latencyMs = (_from, _to, random) => random.float() * slowest
    const random = seeded(`faults ${seed}`)
    const pair = new Pair(stage('a'), stage('b'))
    await advance(clock, Promise.all([pair.a.ready(), pair.b.ready()]), 5000, 1)
    await settle()
    if (!pair.met) faults.push(`seed ${seed}: they did not see each other`)
    disturb(network, (ms, what) => void clock.setTimeout(what, ms), () => random.float())
    for (let round = 0; round < 3; round++) {
      await advance(clock, pair.clash(), 60_000, 10).catch((error: unknown) => faults.push(`seed ${seed}: ${String(error)}`))
    }
    // without further faults, the pair behaves like any other pair
    const before = pair.failures
    await clock.advance(DISTURBED_MS + 5 * slowest)
    await advance(clock, pair.clash(), 60_000, 10).catch((error: unknown) => faults.push(`seed ${seed}: ${String(error)}`))
    await clock.advance(5 * slowest + 10)
    if (pair.failures > before) faults.push(`seed ${seed}: calls failed although nothing was broken`)
    faults.push(...pair.faults({ failures }).map((fault) => `seed ${seed}: ${fault}`))
    await Promise.all(closing.map((close) => close()))
  }
  t.deepEqual(faults, [])
}

test('P7: with any delays, two stages that dial each other at once settle on one link (500 seeds)', async (t) => {
  await seeds(t, 500, false, () => {})
})

test('P7: nor does a connection that breaks on the way make two links, lose a call or run one twice (500 seeds)', async (t) => {
  await seeds(t, 500, true, (network, at, chance) => {
    for (let i = 0; i < 3; i++) at(chance() * chance() * DISTURBED_MS, () => network.cut())
  })
})
