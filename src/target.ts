import { Duplex } from 'node:stream'
import { bind, bounded, type Bounds } from './bounded.js'
import { StageError, asError } from './errors.js'
import { endWithPeer } from './half-open.js'
import { join, jointMethods, jointOptions, type Joint, type Modes } from './joint.js'
import type { Picked } from './selection.js'
import { ENDS, socketlike, stand, type Ends, type PeerStream } from './socketlike.js'
import type { Link, Mounted, Peer, Selection } from './types.js'

export type TargetClass = new (selection: Picked) => PeerStream

/** The parts of a stage that its targets use. */
export interface TargetContext extends Bounds {
  /** The stage's own name. */
  readonly name: string
  /** Whether streams over the stage's links carry objects. */
  modes(): Modes
}

interface Target extends Joint {
  readonly selection: Picked
}

/**
 * Makes a stage's class of targets, the objects that `to()` returns: a Duplex with the verbs of the chain.
 *
 * A stream costs microseconds to build, and most targets only make a call. So the constructor of the Duplex runs at the
 * first touch of its state: the prototype has accessors for the state, which every method and every property of a stream
 * reads first, and reading it builds the stream in place. (A Proxy would do it too, but `pump` and `pipeline` break on a
 * Proxy.)
 */
export function targetClass(context: TargetContext, verbs: NonNullable<Mounted['target']>): TargetClass {
  function Target(this: { selection: Picked }, selection: Picked): void {
    this.selection = selection // and nothing else: every call makes a target
  }
  const proto = Target.prototype = Object.create(Duplex.prototype) as Target & Record<string | symbol, unknown>
  socketlike(proto)
  Object.assign(proto, jointMethods, { allowHalfOpen: true, constructor: Target })

  const build = (target: Target): void => {
    for (const state of STATES) Object.defineProperty(target, state, { value: undefined, writable: true, configurable: true, enumerable: true })
    const modes = context.modes()
    const decided = Object.hasOwn(target, 'allowHalfOpen') ? target.allowHalfOpen : undefined
    const connection = new Connection(context, target)
    target.behind = {
      stream: undefined, failed: false, connect: () => connection.begin(), pull: nothing, wanted: false, writes: 0,
      held: undefined, written: undefined, unsure: modes.readable === undefined,
    }
    ;(Duplex as unknown as (this: Duplex, options: object) => void).call(target, jointOptions(modes))
    target.on('error', nothing) // a stream of the library never ends the process
    stand(target, connection)
    endWithPeer(target, context.clock, () => target.behind.writes, decided)
  }
  const listen = { configurable: true, writable: true, value(this: Target, event: string, listener: (...args: unknown[]) => void) {
    Duplex.prototype.on.call(this, event, listener)
    if (event === 'connect' || event === 'ready') this.behind.connect() // or stream and listener would wait for each other
    return this
  } }
  Object.defineProperties(proto, { on: listen, addListener: listen })
  for (const count of ['bytesRead', 'bytesWritten'] as const) {
    Object.defineProperty(proto, count, { configurable: true, get(this: Target) { return (this.behind?.stream as PeerStream | undefined)?.[count] ?? 0 } })
  }
  for (const state of STATES) {
    Object.defineProperty(proto, state, {
      configurable: true,
      get(this: Target & Record<string | symbol, unknown>) {
        if (this === proto) return undefined
        build(this)
        return this[state]
      },
    })
  }
  for (const [name, verb] of Object.entries(verbs)) {
    Object.defineProperty(proto, name, {
      configurable: true,
      writable: true,
      value(this: Target, ...args: never[]) {
        return verb(this.selection, ...args)
      },
    })
  }
  return Target as unknown as TargetClass
}

const STATES = ['_readableState', '_writableState', ENDS] as const
const nothing = (): void => {}

/** How one target gets its stream, and the two ends of that stream. */
class Connection implements Ends {
  connecting = false
  connected = false
  #begun = false
  #peer: Peer | undefined

  constructor(private readonly context: TargetContext, private readonly target: Target) {}

  get clock(): Ends['clock'] {
    return this.context.clock
  }

  get local(): string {
    return this.context.name
  }

  get remote(): string | undefined {
    return this.#peer?.name ?? this.target.selection.name
  }

  begin(): void {
    if (this.#begun) return
    this.#begun = this.connecting = true
    const { target, context } = this
    const giveUp = openStream(context, target.selection.others(), (error, stream, link) => {
      this.connecting = false
      if (!stream) return void target.destroy(error ?? undefined)
      this.connected = true
      this.#peer = link?.peer
      join(target, stream)
      for (const event of ['connect', 'ready']) if (!target.destroyed) process.nextTick(() => target.emit(event))
    })
    target.once('close', () => { this.connecting = false; giveUp() })
  }
}

/** Opens one stream to one match of the selection, within its deadline. The returned function gives up while not connected. */
export function openStream(context: TargetContext, selection: Selection, done: (error: StageError | null, stream?: PeerStream, link?: Link) => void): () => void {
  const { signal } = selection.options
  return bounded(context, selection, (found) => selection.acquire(undefined, found), (error, link) => {
    if (!link) return done(error)
    let stream: PeerStream
    try {
      stream = stand(link.top.openStream?.() ?? link.top, between(context, link.peer))
    } catch (thrown) {
      return done(thrown instanceof StageError ? thrown : new StageError('DISCONNECTED', asError(thrown).message, { cause: thrown }))
    }
    if (signal) bind(stream, signal)
    done(null, stream, link)
  })
}

/** The ends of a connected stream. */
export const between = ({ clock, name }: TargetContext, { name: remote }: Peer): Ends => ({ clock, local: name, remote, connecting: false, connected: true })
