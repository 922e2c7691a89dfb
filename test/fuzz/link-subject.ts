import type { Duplex } from 'node:stream'
import { MemoryInterface, MemoryNetwork } from '../../interfaces/memory.js'
import { StageError } from '../../src/errors.js'
import { systemRandom } from '../../src/random.js'
import type { Link, Mesh, Peer, Selection } from '../../src/types.js'
import type { Codec } from '../../wrappers/codec.js'
import { framing } from '../../wrappers/framing.js'
import { rpc } from '../../wrappers/rpc/layer.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'
import { Chance } from './chance.js'
import { conversation } from './messages.js'
import { mutated } from './mutate.js'
import type { Input, Subject } from './subject.js'

const PEER: Peer = { id: 'mallory-0001', name: 'mallory', namespace: 'default', addresses: [] } as unknown as Peer
/** Later than every deadline of a link. */
const LONG_MS = 90_000
const HELD_MAX = 40 * 1024 * 1024

/** Gives bytes to a link after its handshake, as input for framing and rpc. */
export function linkSubject(name: string, weight: number, codec: Codec): Subject {
  return {
    name, weight,
    make: (chance, corpus) => {
      const from = chance.below(10)
      if (from < 5) return { bytes: conversation(chance, codec) }
      if (from < 8) return { bytes: mutated(conversation(chance, codec), chance, corpus) }
      return { bytes: mutated(chance.pick(corpus), chance, corpus) }
    },
    run: (input) => new Scene(codec, input).run(),
  }
}

class Scene {
  readonly #clock = new VirtualClock()
  readonly #sweeps = new Set<(now: number) => number>()
  readonly #broken: string[] = []
  readonly #chance: Chance
  #link: Link | undefined
  #closing = false
  #begun = 0
  #settled = 0

  constructor(private readonly codec: Codec, private readonly input: Input) {
    this.#chance = new Chance(input.bytes.length, input.bytes[input.bytes.length >> 1] ?? 0)
  }

  async run(): Promise<string | undefined> {
    const chance = this.#chance
    const { near, far } = await this.#streams()
    const framed = framing().mount(this.#mesh())
    const layer = rpc({ codec: this.codec }).mount(this.#mesh())
    const lower = framed.wrap!(near, { peer: PEER, dialled: false })
    const top = layer.wrap!(lower, { peer: PEER, dialled: false })
    this.#link = { id: 'x', peer: PEER, dialled: false, top, open: true, loopback: false, load: 0 } as unknown as Link
    // an error of a built-in kind is an unforeseen failure
    top.on('error', (error: Error) => { if (/^(Range|Type|Reference|Syntax|Eval)Error$/.test(error.name)) this.#broken.push(`the link died of ${error.stack}`) })
    provide(layer.target as unknown as Verbs)
    top.ondrain = () => { this.#closing = true }
    top.on('close', () => { this.#closing = true })
    top.onstream = (stream: Duplex) => { use(stream); return true }
    this.#call(layer.target as unknown as Verbs)
    use(top)
    const own = top.openStream!()
    own.on('error', () => {})
    own.write('x'.repeat(1000))
    if (!chance.once(4)) far.resume()
    await settle(1)
    for (const piece of pieces(chance, this.input.bytes)) far.write(piece)
    await this.#pass(5)
    if (chance.once(3)) far.end()
    else if (chance.once(2)) far.destroy()
    await this.#pass(LONG_MS)
    const stats = layer.stats!()
    if ((stats['heldBytes'] ?? 0) > HELD_MAX || (stats['unreadBytes'] ?? 0) > HELD_MAX) this.#broken.push(`it holds ${JSON.stringify(stats)}`)
    top.destroy()
    far.destroy()
    await this.#pass(100)
    const after = layer.stats!()
    for (const what of ['calls', 'streams', 'functions']) if (after[what] !== 0) this.#broken.push(`behind its end the link has ${after[what]} ${what}`)
    if (this.#settled !== this.#begun) this.#broken.push(`${this.#begun - this.#settled} calls did not settle`)
    return this.#broken[0]
  }

  async #streams(): Promise<{ near: Duplex; far: Duplex }> {
    const network = new MemoryNetwork({ clock: this.#clock })
    const listener = new MemoryInterface(network)
    let near: Duplex | undefined
    await listener.listen((stream) => { near = stream })
    const far = await new MemoryInterface(network).connect(listener.address, new AbortController().signal)
    far.on('error', () => {})
    near!.on('error', () => {})
    return { near: near!, far }
  }

  async #pass(ms: number): Promise<void> {
    await this.#clock.run(ms)
    await settle(2)
    for (const sweep of this.#sweeps) sweep(this.#clock.now())
    await settle(1)
  }

  /** Makes calls of our own, so that the peer has something to answer: their ids are 2 and above. */
  #call(verbs: Verbs): void {
    for (const args of [['plain'], [(one: unknown) => one, new Map([[1, 'x']])], [(async function* () { yield 1; yield { two: 2 } })()]]) {
      this.#begun++
      verbs.call(this.#selection(), 'ask', ...args).then(
        (value) => { this.#settled++; use(value) },
        (error: unknown) => {
          this.#settled++
          if (!(error instanceof StageError)) this.#broken.push(`a call failed with ${String(error)}`)
        },
      )
    }
  }

  #selection(): Selection {
    const none = (): StageError => new StageError('NO_SUCH_PEER', 'there is one link, and it was tried or is closing')
    const acquire: Selection['acquire'] = (tried, done) => {
      if (tried?.size) done(none())
      else if (!this.#closing) done(null, this.#link)
      return () => {}
    }
    return {
      label: '*', options: {}, includes: () => true, matches: () => [PEER], acquire, reach: (_, done) => acquire(undefined, done),
      known: (done) => { done(null); return () => {} }, why: none,
    }
  }

  #mesh<T>(): Mesh<T> {
    return {
      self: { id: 'victim-0001', name: 'victim', namespace: 'default' }, options: {}, clock: this.#clock, random: systemRandom, timeoutMs: 10_000,
      deadlines: { note: () => {}, add: (sweep: (now: number) => number) => { this.#sweeps.add(sweep); return () => this.#sweeps.delete(sweep) } },
      peers: () => [PEER], find: (id: string) => id === PEER.id ? PEER : undefined, links: () => (this.#link ? [this.#link] : []), select: () => this.#selection(), target: () => ({}),
      references: () => ({ refer: ({ to }: { to: string }) => to, resolve: (text: string) => ({ text }) }),
      announce: () => {}, valid: () => true, emit: () => {}, failed: () => {}, error: (error: Error) => { this.#broken.push(`the stage was told of ${String(error)}`) },
    } as unknown as Mesh<T>
  }
}

interface Verbs {
  call(selection: Selection, method: string, ...args: unknown[]): Promise<unknown>
  provide(selection: Selection, method: string, handler: (...args: unknown[]) => unknown): void
}

function provide(verbs: Verbs): void {
  const selection = { label: '*', options: {}, includes: () => true } as unknown as Selection
  const handlers: Record<string, (...args: unknown[]) => unknown> = {
    echo: (...args) => args[0],
    later: async (...args) => { await settle(1); return args },
    fail: () => { throw new RangeError('no') },
    invoke: async (fn, ...args) => (typeof fn === 'function' ? (fn as (...args: unknown[]) => unknown)(...args) : undefined),
    rows: async function* () { for (let i = 0; i < 5; i++) yield { i } },
    read: (...args) => { for (const one of args) use(one) },
    hang: () => new Promise(() => {}),
    both: (one) => { use(one); return [one, (async function* () { yield 1 })()] },
  }
  for (const [name, handler] of Object.entries(handlers)) verbs.provide(selection, name, handler)
}

/** Uses each received value as a user would. */
function use(one: unknown): void {
  if (typeof one === 'function') void Promise.resolve((one as () => unknown)()).catch(() => {})
  if (typeof one !== 'object' || one === null) return
  const stream = one as Duplex
  if (typeof stream.on === 'function') {
    stream.on('error', () => {})
    if (typeof stream.resume === 'function') stream.resume()
    if (typeof stream.write === 'function' && stream.writable) stream.write('used')
  } else if (Symbol.asyncIterator in one) void drain(one as AsyncIterable<unknown>)
}

async function drain(values: AsyncIterable<unknown>): Promise<void> {
  try {
    for await (const one of values) use(one)
  } catch {
    // the peer made it fail, which it may
  }
}

function pieces(chance: Chance, bytes: Buffer): Buffer[] {
  if (chance.once(2)) return [bytes]
  const cut: Buffer[] = []
  for (let at = 0; at < bytes.length && cut.length < 200;) {
    const size = cut.length === 199 ? bytes.length : 1 + chance.below(chance.pick([2, 20, 2000]))
    cut.push(bytes.subarray(at, at += size))
  }
  return cut
}
