import Duplexify from 'duplexify'
import type { Duplex } from 'node:stream'
import { StageError, asError } from './errors.js'
import { onAbort } from './abort.js'
import { bounded, cancelled, type Bounds } from './bounded.js'
import type { Picked } from './selection.js'
import type { Mounted, Selection } from './types.js'

export type TargetClass = new (selection: Picked) => Duplex

/** What a `to()` has beside its verbs; set once by the constructor or by the first use as a stream. */
interface Inner {
  selection: Picked
  connecting: boolean
}

/**
 * Makes the class of what one stage's `to()` returns: a Duplex with the verbs of the chain.
 *
 * A stream costs microseconds to build, and most targets only make a call. So the constructor of the Duplex runs at
 * the first touch of what it would have set up: the prototype has accessors for the two states, which every method of
 * a stream asks first, and reading one builds the stream in place. (A Proxy would do it too, but `pump` and
 * `pipeline` break on one.)
 */
export function targetClass(context: Bounds, verbs: NonNullable<Mounted['target']>): TargetClass {
  const inner = new WeakMap<object, Inner>()

  function Target(this: { selection: Picked }, selection: Picked): void {
    this.selection = selection // plain: one is made for every call
  }
  const proto = Target.prototype = Object.create(Duplexify.prototype as object) as Record<string, unknown>

  const build = (target: Duplex): void => {
    const { selection } = target as unknown as { selection: Picked }
    for (const state of STATES) Object.defineProperty(target, state, { value: undefined, writable: true, configurable: true, enumerable: true })
    inner.set(target, { selection, connecting: false })
    ;(Duplexify as unknown as (this: Duplex, writable: null, readable: null) => void).call(target, null, null)
    target.on('error', () => {}) // a stream of ours is never the one that ends the process
  }
  for (const state of STATES) {
    Object.defineProperty(proto, state, {
      configurable: true,
      get(this: Duplex) {
        if (this === (proto as unknown)) return undefined
        build(this)
        return (this as unknown as Record<string, unknown>)[state]
      },
    })
  }
  const connect = (target: Duplex): void => {
    const own = inner.get(target)
    if (!own || own.connecting) return
    own.connecting = true
    const giveUp = openStream(context, own.selection.others(), (error, stream) => {
      if (!stream) return void target.destroy(error ?? undefined)
      join(target as Joint, stream)
    })
    target.once('close', giveUp)
  }
  const duplexify = Duplexify.prototype as unknown as Record<string, (...args: unknown[]) => unknown>
  // connects on the first read or write, and on an end without either
  proto['_read'] = function (this: Duplex, ...args: unknown[]) {
    connect(this)
    return duplexify['_read'].apply(this, args)
  }
  proto['_write'] = function (this: Duplex & { _corked: number }, data: unknown, encoding: unknown, done: (error?: Error) => void) {
    connect(this)
    // duplexify writes within uncork(): whoever listens for `drain` behind it, as with Node's own streams, must hear it
    return duplexify['_write'].call(this, data, encoding, this._corked ? (error?: Error) => { process.nextTick(done, error) } : done)
  }
  // duplexify takes the callback of an inner end() for its finish, and Node calls that one for an error as well
  proto['_finish'] = function (this: Joint, done: () => void) {
    const { _writable: writable } = this
    const complete = (): void => {
      this._writableState.prefinished = true
      this.emit('prefinish')
      done()
    }
    this.emit('preend')
    if (!writable || writable.writableFinished) return complete()
    writable.once('finish', complete)
    writable.end()
  }
  for (const [name, verb] of Object.entries(verbs)) {
    proto[name] = function (this: { selection: Picked }, ...args: never[]) {
      return verb(this.selection, ...args)
    }
  }
  proto['constructor'] = Target
  return Target as unknown as TargetClass
}

const STATES = ['_readableState', '_writableState'] as const

interface Joint extends Duplex {
  _writable: Duplex | null
  _writableState: { prefinished: boolean }
  setReadable(stream: Duplex): void
  setWritable(stream: Duplex): void
}

/** Puts the stream behind the one that was handed out before its address was known. */
function join(target: Joint, stream: Duplex): void {
  if (target.destroyed) return void stream.destroy()
  // duplexify turns an abrupt end of the inner stream into a bare `close`; a cut stream must not look complete (P13)
  let failure: Error | undefined
  stream.on('error', (error) => { failure = error; target.destroy(error) })
  stream.on('close', () => {
    if (stream.readableEnded && (stream.writableFinished || !stream.writable)) return
    if (!target.destroyed) target.destroy(failure ?? new StageError('DISCONNECTED', 'the stream was cut off', { executed: 'unknown' }))
  })
  target.setReadable(stream)
  target.setWritable(stream)
}

/** One stream to one match of the selection, within its deadline. The result gives up while it is not connected. */
export function openStream(context: Bounds, selection: Selection, done: (error: StageError | null, stream?: Duplex) => void): () => void {
  const { signal } = selection.options
  return bounded(context, selection, (found) => selection.acquire(undefined, found), (error, link) => {
    if (!link) return done(error)
    let stream: Duplex
    try {
      stream = link.top.openStream?.() ?? link.top
    } catch (thrown) {
      return done(thrown instanceof StageError ? thrown : new StageError('DISCONNECTED', asError(thrown).message, { cause: thrown }))
    }
    if (signal) stream.once('close', onAbort(signal, () => stream.destroy(cancelled(signal))))
    done(null, stream)
  })
}
