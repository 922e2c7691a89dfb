import { bounded } from '../../src/bounded.js'
import { StageError, describe } from '../../src/errors.js'
import { HANDLE } from '../../src/handle.js'
import { OftenLog, log } from '../../src/log.js'
import type { Layer, Link, Mesh, Mounted, Peer, Selection } from '../../src/types.js'
import { Writer } from '../../src/writer.js'
import { msgpack, type Codec, type Refs } from '../codec.js'
import type { Framed } from '../framing.js'
import type { Answers } from './answers.js'
import { callAll } from './call-all.js'
import { dispose } from '../codec/dispose.js'
import { PROCESS } from './held.js'
import { Invocation, type Caller } from './invocation.js'
import type { ShownNews } from './methods.js'
import { CAST, DEPTH_MAX, HEAD, HELD_MAX_BYTES } from './messages.js'
import { Provisions, isMethod, noSuch } from './provisions.js'
import { Rpc, type RpcHost } from './rpc.js'
import type { Handler, RpcVerbs } from './types.js'
import type { Encode } from './item-writer.js'
import { referring } from './refs.js'
import { Slices } from './slices.js'
import { putName } from './wire.js'

export type * from './types.js'

export interface RpcOptions {
  /** How values become bytes; default msgpack. Both ends need the same, so it is part of the layer's name. */
  codec?: Codec
}

/** Calls, streams and functions over frames: the second layer of the default chain. */
export function rpc({ codec = msgpack() }: RpcOptions = {}): Layer<Framed, Rpc> {
  return { name: `rpc:${codec.name}`, infallible: true, mount: (mesh) => mount(mesh, codec) }
}

function mount(mesh: Mesh<Rpc>, codec: Codec): Mounted<Framed, Rpc> {
  const rpcs = new Set<Rpc>()
  /** Those of them whose peer is not listed yet. */
  const claimed = new Set<Rpc>()
  let drained: (() => void) | undefined
  const served = (): void => { if (drained && ![...rpcs].some((one) => one.serving > 0)) drained() }
  const provisions = new Provisions(() => { for (const one of rpcs) one.methods.announce() })
  const shown = new Shown(mesh)
  const { clock, deadlines, timeoutMs } = mesh
  const caller: Caller = { clock, deadlines, timeoutMs, waiting: new Set() }
  const casts = new Casts()
  const references = referring(mesh)
  const encode: Encode = (args, writer) => codec.encode(args, writer, { ...NO_REFS, ...references })
  deadlines.add((now) => expire(caller.waiting, now))
  const host: RpcHost = {
    clock, deadlines, codec, timeoutMs, references,
    held: PROCESS.calls, heldAnswers: PROCESS.answers, unfinished: PROCESS.unfinished, often: new OftenLog(clock, mesh.self.name),
    slices: new Slices(clock),
    get version() { return provisions.version },
    find: (method, peer) => provisions.find(method, peer),
    visible: (peer) => provisions.visible(peer),
    depends: (peer, method) => provisions.depends(peer, method),
    look: () => mesh.look(),
    target: (to, options) => mesh.target(to, options),
    actor: (...args) => (mesh.verb('actor') as (...args: unknown[]) => unknown)(...args),
    onmethods: (peer, news) => shown.changed(peer, news),
    onclose: (one) => {
      rpcs.delete(one)
      claimed.delete(one)
      shown.closed(one, rpcs)
      served()
    },
    onserved: served,
    get draining() { return drained !== undefined },
  }
  return {
    wrap: (framed, end) => {
      if (typeof (framed as Partial<Framed>).begin !== 'function') throw new TypeError('rpc() needs framing() right below it: put wrappers of bytes below framing() in the chain')
      const one = new Rpc(framed, host, end)
      rpcs.add(one)
      if (end.peer.claimed) claimed.add(one)
      return one
    },
    target: verbs(caller, provisions, casts, encode),
    host: { call: ((uri: string, ...args: unknown[]) => callUri(mesh, caller, uri, args)) },
    onpeers: () => {
      shown.trim(rpcs)
      // in the next tick, when the links know of it too
      if (claimed.size > 0) process.nextTick(() => { for (const one of claimed) if (!one.peer.claimed && claimed.delete(one)) one.methods.announce() })
    },
    stats: () => {
      const sum = { calls: caller.waiting.size, serving: 0, streams: 0, functions: 0, heldBytes: casts.bytes, unreadBytes: 0 }
      for (const one of rpcs) for (const [name, count] of Object.entries(one.counts())) sum[name as keyof typeof sum] += count
      return sum
    },
    drain: () => new Promise((resolve) => { drained = resolve; served() }),
    close: () => {
      for (const call of [...caller.waiting]) call.cancel(new StageError('CLOSED', 'this stage was closed'))
    },
  }
}

/** The verbs of `to()`, each with the selection that it was called on first. */
type Verbs = { [Name in keyof Omit<RpcVerbs, 'as' | 'callAll'>]: (selection: Selection<Rpc>, ...args: Parameters<RpcVerbs[Name]>) => ReturnType<RpcVerbs[Name]> } & {
  as(selection: Selection<Rpc>): object
  callAll(selection: Selection<Rpc>, method: string, ...args: unknown[]): Answers<unknown>
}

function verbs(caller: Caller, provisions: Provisions, casts: Casts, encode: Encode): Verbs {
  return {
     
    call: (selection, method, ...args) => call(caller, selection, method, args),
    callAll: (selection, method, ...args) => callAll(caller, selection, method, args),
    cast: (selection, method, ...args) => cast(caller, selection, method, args, casts, encode),
    provide: (selection, method, handler: Handler) => provisions.add(selection, method, handler),
    unprovide: (selection, method) => void provisions.remove(selection, method),
    as: (selection) => remote((method, args) => call(caller, selection, method, args)),
    methods: (selection) => methods(caller, selection),
  }
}

function expire(waiting: Set<Invocation>, now: number): number {
  let next = Infinity
  for (const call of waiting) {
    if (call.endsAt <= now) call.expire()
    else if (call.endsAt < next) next = call.endsAt
  }
  return next
}

function call(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (!isMethod(method)) {
      reject(noSuch(method))
      return dispose(args)
    }
    new Invocation(caller, selection, method, args, undefined, resolve, reject).start()
  })
}

function cast(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[], casts: Casts, encode: Encode): void {
  const { depth = 0 } = selection.options
  const dropped = (to: string, why: Error): void => log('cast', `${method} to ${to} was dropped: ${why.message}`)
  let message: Buffer
  try {
    if (!isMethod(method)) throw noSuch(method)
    message = encodeCast(encode, depth, method, args)
  } catch (error) {
    dispose(args)
    throw error
  }
  if (depth > DEPTH_MAX) return dropped(selection.label, new Error(`a chain of more than ${DEPTH_MAX}: do they cast to each other in a circle?`))
  casts.wait('', message, (done) => bounded(caller, selection, (known) => selection.known(known), done), (error) => {
    if (error) return dropped(selection.label, error)
    for (const peer of selection.matches()) {
      casts.wait(peer.id, message, (done) => bounded(caller, selection, (reached) => selection.reach(peer, reached), done), (failure, link) => {
        try {
          if (failure) throw failure
          link?.top.cast(message)
        } catch (thrown) {
          dropped(`${peer.name} (${peer.id})`, thrown as Error)
        }
      })
    }
  })
}

type Done = (error: StageError | null, link?: Link<Rpc>) => void

/** What waiting costs beside the message: a timer, and whom to tell. */
const CAST_BYTES = 1024

/** Casts that wait for a link, or for the registry to say who is there: so many bytes for each peer, and no more. */
class Casts {
  /** Of all of them. A message counts for each peer that it waits for. */
  bytes = 0
  readonly #byPeer = new Map<string, number>()

  /**
   * @param id     whom it waits for; '' for the registry
   * @param begin  calls what it is given once, perhaps at once
   * @param done   the same with OVERLOADED where too much waits already
   */
  wait(id: string, message: Buffer, begin: (done: Done) => void, done: Done): void {
    const held = this.#byPeer.get(id) ?? 0
    if (held > HELD_MAX_BYTES) return done(new StageError('OVERLOADED', `${held} bytes wait for a link`, { executed: 'no' }))
    let over = false
    let counted = 0
    begin((error, link) => {
      over = true
      this.#count(id, -counted)
      done(error, link)
    })
    if (!over) this.#count(id, counted = message.buffer.byteLength + CAST_BYTES)
  }

  #count(id: string, bytes: number): void {
    if (bytes === 0) return
    this.bytes += bytes
    const held = (this.#byPeer.get(id) ?? 0) + bytes
    if (held > 0) this.#byPeer.set(id, held)
    else this.#byPeer.delete(id)
  }
}

const NO_REFS: Refs = {
  give: () => { throw new StageError('BAD_ARGUMENT', 'a function cannot be cast to many: use callAll, whose links can carry it back') },
  take: () => undefined,
}

function encodeCast(encode: Encode, depth: number, method: string, args: readonly unknown[]): Buffer {
  const writer = new Writer(512)
  writer.bytes.fill(0, 0, HEAD)
  writer.bytes[0] = CAST
  writer.at = HEAD
  writer.bytes[writer.at++] = depth
  putName(writer, method)
  encode(args, writer)
  return writer.bytes.subarray(0, writer.at)
}

const AS = Object.freeze(Object.assign(Object.create(null) as object, { [HANDLE]: 'is what as() returned, and stands for methods of another stage: send the name of that stage, and let the other end call to(name).as()' }))

/** A proxy whose every method is a call; what promises, inspection and iteration look for is not there. */
function remote(invoke: (method: string, args: unknown[]) => Promise<unknown>): object {
  const methods = new Map<string, (...args: unknown[]) => Promise<unknown>>()
  return new Proxy(Object.create(AS) as object, {
    get(_, name) {
      if (name === HANDLE) return AS[HANDLE]
      if (typeof name === 'symbol' || !isMethod(name)) return undefined
      let method = methods.get(name)
      if (!method) methods.set(name, method = (...args) => invoke(name, args))
      return method
    },
  })
}

function methods(caller: Caller, selection: Selection<Rpc>): Promise<string[]> {
  return new Promise((resolve, reject) => {
    bounded(caller, selection, (done) => selection.acquire(undefined, (error, link) => {
      if (link) link.top.methods.whenKnown(() => done(null, link))
      else done(error)
    }), (error, link) => {
      if (link?.top.methods.theirs) resolve([...link.top.methods.theirs].sort())
      else reject(error ?? new StageError('DISCONNECTED', `the link to ${selection.label} is gone`))
    })
  })
}

/** `namespace://peer/method`: en-masse's way to name a method anywhere. Each part may be percent-encoded. */
async function callUri(mesh: Mesh<Rpc>, caller: Caller, uri: string, args: readonly unknown[]): Promise<unknown> {
  let found: { selection: Selection<Rpc>; method: string }
  try {
    found = parsed(mesh, uri)
  } catch (error) {
    dispose(args)
    throw error
  }
  return await call(caller, found.selection, found.method, args)
}

/** @throws StageError BAD_ARGUMENT · BAD_NAME · WRONG_NAMESPACE */
function parsed(mesh: Mesh<Rpc>, uri: string): { selection: Selection<Rpc>; method: string } {
  const parts = /^([^/]+):\/\/([^/]+)\/([^/]+)$/.exec(String(uri))
  if (!parts) throw new StageError('BAD_ARGUMENT', `${describe(uri)} is not of the form namespace://peer/method`)
  const [namespace, peer, method] = parts.slice(1).map((part) => decoded(part, uri)) as [string, string, string]
  if (namespace !== mesh.self.namespace) {
    throw new StageError('WRONG_NAMESPACE', `${describe(uri)} is in the namespace ${describe(namespace)}, and this stage can only reach its own, ${mesh.self.namespace}`)
  }
  return { selection: mesh.select(peer), method }
}

/** @throws StageError BAD_NAME */
function decoded(part: string, uri: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new StageError('BAD_NAME', `${describe(part)} in ${describe(uri)} is not percent-encoded: pass each name through encodeURIComponent(), which writes a "%" as "%25"`, { cause })
  }
}

const NO_NAMES: ReadonlySet<string> = new Set()

/** What each peer shows, across its links, so that every method is told once. */
class Shown {
  /** What one link of each peer shows, the one that began to show last, whose `Methods` keep it up to date. */
  readonly #byPeer = new Map<string, ReadonlySet<string>>()

  constructor(private readonly mesh: Mesh<Rpc>) {}

  /** Only the first message of a link is compared with what the link before has shown: each further one says itself what has changed. */
  changed(peer: Peer, { all, gained, lost, first }: ShownNews): void {
    const { mesh } = this
    if (peer.id === mesh.id) return
    const before = this.#byPeer.get(peer.id)
    if (first) {
      this.#byPeer.set(peer.id, all)
      for (const name of all) if (!before?.has(name)) mesh.emit('methodAdded', name, peer)
      for (const name of before ?? []) if (!all.has(name)) mesh.emit('methodRemoved', name, peer)
    } else if (before === all) { // or it is a link that drains, and the one that took its place says the same
      for (const name of gained) mesh.emit('methodAdded', name, peer)
      for (const name of lost) mesh.emit('methodRemoved', name, peer)
    }
  }

  /** A link is gone; another one to the same peer may go on. */
  closed({ peer, methods: { theirs } }: Rpc, rpcs: Iterable<Rpc>): void {
    if (theirs && this.#byPeer.get(peer.id) === theirs) {
      for (const { peer: { id }, methods } of rpcs) if (id === peer.id && methods.theirs) this.changed(peer, { all: methods.theirs, first: true, gained: NO_NAMES, lost: [] })
    }
    this.trim(rpcs)
  }

  /** Forgets peers that are neither listed nor linked. */
  trim(rpcs: Iterable<Rpc>): void {
    if (this.#byPeer.size === 0) return
    const kept = new Set(this.mesh.peers().map((one) => one.id))
    for (const one of rpcs) kept.add(one.peer.id)
    for (const id of this.#byPeer.keys()) if (!kept.has(id)) this.#byPeer.delete(id)
  }
}
