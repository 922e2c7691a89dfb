/** The contract of a carrier of bytes between two stages: an interface, and what its streams may offer beside their bytes. */
import type { Duplex } from 'node:stream'
import type { Closable } from './closable.js'

/** A carrier of bytes between two stages. Nothing else in the library knows what a socket is. */
export interface Interface extends Closable {
  /** "tcp" serves "tcp://…". */
  readonly scheme: string
  /** Every scheme that `connect` takes, if it takes others than `scheme`. */
  readonly dials?: readonly string[] | undefined
  /** Proves both ends of its streams to each other; overrides the stage's. At least 16 bytes; several while it is replaced. */
  readonly secret?: string | readonly string[] | undefined
  /** Reachable from beyond this machine without a proof of its own, so the stage must have a secret. */
  readonly exposed?: boolean | undefined
  /** The cheapest address of a peer is dialled first: 0 within this process, 1 within this machine, 2 (the default) beyond it. */
  readonly cost?: number | undefined
  /** Expendable if the stage has other interfaces: a failure to listen raises an `error` event and does not fail `ready()`. */
  readonly optional?: boolean | undefined
  /**
   * Accepts streams from now on. `onstream` owns each stream that it receives, including its errors.
   * @param onaddresses called when the addresses change later
   * @param ontrouble   called when it goes on listening, but something needs attention: an `error` event of the stage
   * @returns the addresses that peers should dial, which may differ from the bound ones and never have port 0
   */
  listen(
    onstream: (stream: Duplex) => void, onaddresses?: (addresses: readonly string[]) => void, ontrouble?: (error: Error) => void,
  ): Promise<readonly string[]>
  /**
   * @throws the carrier's own error, or the signal's reason. ECONNREFUSED means that the process that listened there has ended,
   *   unless the cause is ENOENT: a missing place says nothing about the process that listened there
   */
  connect(address: string, signal: AbortSignal): Promise<Duplex>
}

/** Messages of at most one packet beside a stream, as its member `datagrams`: they may be lost, and overtake each other and the stream. */
export interface Datagrams {
  /** The largest message, in bytes. */
  readonly maxBytes: number
  /** Sends one message of at most that size; nobody learns whether it arrived. @returns false if too many wait to be sent: it is dropped */
  send(bytes: Uint8Array): boolean
  /** Called with each message that arrives; valid only during the call. Set by the layer that uses them. */
  onmessage: ((bytes: Buffer) => void) | undefined
}

/** The knowledge of a carrier about the other end of its stream, whose member `security` it is. */
export interface Security {
  /** Bytes that only the two ends of this connection know: the proofs of a secret are bound to them. */
  binding?(): Buffer
  /**
   * Asked once the other end has said its name.
   * @param unexpected  this end dialled the address and expected nobody, so any name will do: the address itself is to be proven
   * @returns by what the carrier proves that name, such as `certificate DNS:api`; undefined if it proves nothing
   * @throws StageError AUTH_FAILED the other end must prove its name, and does not
   */
  proves?(name: string, unexpected: boolean): string | undefined
}
