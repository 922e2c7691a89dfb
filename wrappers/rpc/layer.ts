import { bounded } from '../../src/bounded.js'
import { StageError, describe } from '../../src/errors.js'
import { knownOptions } from '../../src/known-options.js'
import { OftenLog } from '../../src/log.js'
import type { Layer, Mesh, Mounted, Selection } from '../../src/types.js'
import { msgpack, type Codec } from '../codec.js'
import type { Framed } from '../framing.js'
import type { Answers } from './calling/answers.js'
import { callAll } from './calling/call-all.js'
import { call } from './calling/call.js'
import { Casts, NO_REFS, cast } from './calling/cast.js'
import { PROCESS } from './serving/held.js'
import { Interception, checkInterception } from './interception.js'
import type { Authorize, Interceptor } from './interceptor.js'
import type { Invocation, Caller } from './calling/invocation.js'
import type { Encode } from './streams/item-writer.js'
import { Provisions, checkProvided } from './serving/provisions.js'
import { referring } from './wire/functions.js'
import { remote } from './calling/remote.js'
import { Retries } from './calling/retries.js'
import type { RpcHost } from './host.js'
import { Rpc } from './rpc.js'
import { Shown } from './serving/shown.js'
import { Slices } from './serving/slices.js'
import { serve } from './serving/served.js'
import type { Handler, ProvideOptions, ProvidedMethod, RpcVerbs, ServeOptions } from './types.js'
import { send } from './calling/send.js'
import { callUri } from './calling/uri.js'

export type * from './types.js'
export type * from './interceptor.js'
export { method } from './serving/provisions.js'

/** Options of `rpc()`. */
export interface RpcOptions {
  /** Encodes values as bytes; default msgpack. The codec is part of the layer's name, since both ends need the same. */
  codec?: Codec
  /** Methods provided to every peer from the first moment of each link; default none. */
  provide?: Provided
}

/** Defaults of `rpc()`. Each layer gets a codec of its own, since a codec keeps an encoder and a decoder. */
const DEFAULTS = { codec: msgpack, provide: {} } as const satisfies { codec: () => Codec; provide: Provided }

/** Options of a stage whose chain has this layer. */
export interface RpcStageOptions {
  /** Functions around each call that this stage makes or serves, the outermost first; default none. */
  interceptors?: readonly Interceptor[] | undefined
  /** Whether an incoming call may be made, beside the rules of `provide()` and `define()`; all but `true` is FORBIDDEN. Default: yes. */
  authorize?: Authorize | undefined
  /** Methods provided to every peer from the first moment of each link; default none. */
  provide?: Provided | undefined
}

/** Methods by name: a handler, or a handler with options. */
export type Provided = Readonly<Record<string, Handler | ProvidedMethod>>

/** Calls, streams and functions over frames: the second layer of the default chain. */
export function rpc(options: RpcOptions = {}): Layer<Framed, Rpc> {
  knownOptions('rpc()', options, ['codec', 'provide'])
  const { codec = DEFAULTS.codec(), provide = DEFAULTS.provide } = options
  return {
    name: `rpc:${codec.name}`,
    infallible: true,
    options: ['interceptors', 'authorize', 'provide'],
    check: (given) => check(given, provide),
    mount: (mesh) => mount(mesh, codec, provide),
  }
}

/** @throws StageError BAD_NAME; TypeError */
function check(options: RpcStageOptions, provided: Provided): void {
  checkInterception(options)
  const { provide = {} } = options
  if (typeof provide !== 'object' || (provide as object | null) === null) {
    throw new TypeError(`provide is ${describe(provide)}: expected an object of methods by their names`)
  }
  for (const one of eachProvided({ ...provided, ...provide })) checkProvided(...one)
}

/** Arguments of `provide()` for each of these methods. */
const eachProvided = (all: Provided): [method: string, given: Handler | ProvideOptions, behind?: Handler][] =>
  Object.entries(all).map(([method, one]) => {
    if (typeof one !== 'object' || (one as object | null) === null) return [method, one]
    const { handler, ...rules } = one
    return [method, rules, handler]
  })

function mount(mesh: Mesh<Rpc>, codec: Codec, provided: Provided): Mounted<Framed, Rpc> {
  const rpcs = new Set<Rpc>()
  /** Links whose peer is not listed yet. */
  const claimed = new Set<Rpc>()
  let drained: (() => void) | undefined
  const served = (): void => { if (drained && ![...rpcs].some((one) => one.serving > 0)) drained() }
  const { clock, deadlines, timeoutMs } = mesh
  const options = mesh.options as RpcStageOptions
  const { name } = mesh.self
  const often = new OftenLog(clock, name)
  const interception = new Interception(clock, deadlines, options, {
    error: (error) => mesh.error(error),
    failed: (thrown, run) => mesh.failed(thrown, run),
    dropped: (peer, what) => often.note(`dropped ${peer?.id}`, () => `${peer?.name} (${peer?.id}): ${what}`),
  })
  const provisions = new Provisions(interception, name, () => { for (const one of rpcs) one.methods.announce() })
  for (const [method, ...given] of eachProvided({ ...provided, ...options.provide })) provisions.add(mesh.select('*'), method, ...given)
  const shown = new Shown(mesh)
  const caller: Caller = {
    clock, deadlines, timeoutMs,
    waiting: new Set(),
    interception: interception.intercepts ? interception : undefined,
    retries: new Retries(mesh.random),
  }
  const casts = new Casts()
  const datagrams = { sent: 0, dropped: 0 }
  const references = referring(mesh)
  const encode: Encode = (args, writer) => codec.encode(args, writer, { ...NO_REFS, ...references })
  deadlines.add((now) => expire(caller.waiting, now))
  const host: RpcHost<Rpc> = {
    clock, deadlines, codec, timeoutMs, references,
    interception: caller.interception,
    passed: (fn, method) => interception.serving(fn as Handler, method, name, undefined, true),
    datagrams,
    held: PROCESS.calls, heldAnswers: PROCESS.answers, unfinished: PROCESS.unfinished, often,
    failed: (thrown, run) => mesh.failed(thrown, run),
    slices: new Slices(clock),
    get version() { return provisions.version },
    find: (method, peer) => provisions.find(method, peer),
    visible: (peer) => provisions.visible(peer),
    depends: (peer, method) => provisions.depends(peer, method),
    look: () => mesh.look(),
    target: (to, options) => mesh.target(to, options),
    actor: (...args) => (mesh.verb('actor') as (...args: unknown[]) => unknown)(...args),
    onvalue: (peer, value) => mesh.emit('message', peer, value),
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
  const announceToListed = (): void => {
    for (const one of claimed) if (!one.peer.claimed && claimed.delete(one)) one.methods.announce()
  }
  return {
    wrap: (framed, end) => {
      if (typeof (framed as Partial<Framed>).begin !== 'function') {
        throw new TypeError('rpc() needs framing() right below it: put wrappers of bytes below framing() in the chain')
      }
      const one = new Rpc(framed, host, end)
      rpcs.add(one)
      if (end.peer.claimed) claimed.add(one)
      return one
    },
    target: verbs(caller, provisions, casts, encode),
    host: {
      call: ((uri: string, ...args: unknown[]) => callUri(mesh, caller, uri, args)),
      send: ((to: unknown, value: unknown) => send(mesh, encode, to, value)),
    },
    onpeers: ({ gone }) => {
      shown.trim(gone, rpcs)
      if (claimed.size > 0) process.nextTick(announceToListed) // by then the links know of the change too
    },
    stats: () => {
      const sum = {
        calls: caller.waiting.size, intercepted: interception.size,
        serving: 0, streams: 0, functions: 0, heldBytes: casts.bytes, unreadBytes: 0,
      }
      for (const one of rpcs) for (const [name, count] of Object.entries(one.counts())) sum[name as keyof typeof sum] += count
      const { retries, refused } = caller.retries.budget
      return { ...sum, retries, retriesRefused: refused, datagrams: datagrams.sent, datagramsDropped: datagrams.dropped }
    },
    drain: () => new Promise((resolve) => { drained = resolve; served() }),
    close: () => {
      for (const call of [...caller.waiting]) call.cancel(new StageError('CLOSED', 'this stage was closed'))
      interception.close()
    },
  }
}

/** A verb with its selection as the first parameter. */
type On<Verb extends (...args: never[]) => unknown> = (selection: Selection<Rpc>, ...args: Parameters<Verb>) => ReturnType<Verb>

/** The verbs of `to()`; verbs with a type parameter or two signatures cannot be derived, and are declared by themselves. */
type Verbs = { [Name in keyof Omit<RpcVerbs, 'as' | 'callAll' | 'provide' | 'serve'>]: On<RpcVerbs[Name]> } & {
  as(selection: Selection<Rpc>): object
  provide(selection: Selection<Rpc>, method: string | object, given: Handler | ProvideOptions | ServeOptions, behind?: Handler): unknown
  serve(selection: Selection<Rpc>, object: object, options?: ServeOptions): () => void
  callAll(selection: Selection<Rpc>, method: string, ...args: unknown[]): Answers<unknown>
}

function verbs(caller: Caller, provisions: Provisions, casts: Casts, encode: Encode): Verbs {
  return {
    call: (selection, method, ...args) => call(caller, selection, method, args),
    callAll: (selection, method, ...args) => callAll(caller, selection, method, args),
    cast: (selection, method, ...args) => cast(caller, selection, method, args, casts, encode),
    provide: (selection, method, given, behind) => typeof method === 'object' && typeof given !== 'function'
      ? serve(provisions, selection, method, given)
      : provisions.add(selection, method as string, given, behind),
    serve: (selection, object, options) => serve(provisions, selection, object, options),
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
