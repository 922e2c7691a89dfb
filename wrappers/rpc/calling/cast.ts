/** One-way messages, encoded once for all receivers. */
import { bounded } from '../../../src/bounded.js'
import { StageError, asError } from '../../../src/errors.js'
import { log } from '../../../src/log.js'
import type { Link, Selection } from '../../../src/types.js'
import { Writer } from '../../../src/writer.js'
import type { Refs } from '../../codec.js'
import { dispose } from '../../codec/dispose.js'
import { carriedWith, factsOf, passageOf } from './call.js'
import { DEPTH_MAX, carriedBy, putCarried, type Carried } from '../context.js'
import type { Caller } from './invocation.js'
import type { Encode } from '../streams/item-writer.js'
import { CAST, HEAD, HELD_MAX_BYTES } from '../wire/messages.js'
import { isMethod, noSuch } from '../serving/provisions.js'
import type { Rpc } from '../rpc.js'
import { putName } from '../wire/wire.js'

/** Casts to every match, through the interceptors once. @throws StageError BAD_ARGUMENT */
export function cast(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[], casts: Casts, encode: Encode): void {
  const { interception } = caller
  if (!interception) return send(caller, selection, method, args, carriedBy(selection.options), casts, encode)
  let refused: Error | undefined
  let now = true
  interception.out(factsOf('cast', selection, method, args), passageOf(caller, selection, method), (call) => {
    try {
      send(caller, selection, method, call.args, carriedWith(selection, call.headers), casts, encode)
      return Promise.resolve()
    } catch (error) {
      if (now) refused = error as Error
      return Promise.reject(error)
    }
  }).catch((error: unknown) => log('cast', `${method} to ${selection.label} was dropped: ${asError(error).message}`))
  now = false
  if (refused) throw refused
}

function send(caller: Caller, selection: Selection<Rpc>, method: string, args: readonly unknown[], carried: Carried, casts: Casts, encode: Encode): void {
  const dropped = (to: string, why: Error): void => log('cast', `${method} to ${to} was dropped: ${why.message}`)
  let message: Buffer
  try {
    if (!isMethod(method)) throw noSuch(method)
    message = encodeCast(encode, carried, method, args)
  } catch (error) {
    dispose(args)
    throw error
  }
  if (carried.depth > DEPTH_MAX) return dropped(selection.label, new Error(`casts are nested more than ${DEPTH_MAX} deep: do methods cast to each other in a cycle?`))
  casts.wait('', message, (done) => bounded(caller, selection, (known) => selection.known(known), done), (error) => {
    if (error) return dropped(selection.label, error)
    for (const peer of selection.matches()) {
      casts.wait(peer.id, message, (done) => bounded(caller, selection, (reached) => selection.reach(peer, reached), done), (failure, link) => {
        try {
          if (failure) throw failure
          link?.top.cast(message, selection.options.delivery)
        } catch (thrown) {
          dropped(`${peer.name} (${peer.id})`, thrown as Error)
        }
      })
    }
  })
}

type Done = (error: StageError | null, link?: Link<Rpc>) => void

/** Memory that a waiting cast takes beside its message: a timer, and a callback. */
const CAST_BYTES = 1024

/** Casts that wait for a link, or for the registry to list the matches, up to a number of bytes for each peer. */
export class Casts {
  /** Bytes of all waiting casts; a message counts once for each peer that it waits for. */
  bytes = 0
  readonly #byPeer = new Map<string, number>()

  /**
   * @param id     the peer that the cast waits for; '' for the registry
   * @param begin  begins the wait, and calls its argument once, perhaps at once
   * @param done   gets the outcome of the wait, or OVERLOADED if too many bytes wait already
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

export const NO_REFS: Refs = {
  give: () => { throw new StageError('BAD_ARGUMENT', 'a function cannot be sent with cast(): use callAll()') },
  take: () => undefined,
}

/** @throws StageError BAD_ARGUMENT */
export function encodeCast(encode: Encode, carried: Carried, method: string, args: readonly unknown[]): Buffer {
  const writer = new Writer(512)
  writer.bytes.fill(0, 0, HEAD)
  writer.bytes[0] = CAST
  writer.at = HEAD
  putCarried(writer, carried)
  putName(writer, method)
  encode(args, writer)
  return writer.bytes.subarray(0, writer.at)
}
