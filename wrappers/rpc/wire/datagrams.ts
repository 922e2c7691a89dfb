/** Casts as datagrams of the carrier, beside the frames of a link. */
import { StageError } from '../../../src/errors.js'
import type { Datagrams, Delivery } from '../../../src/types.js'
import { CAST, HEAD } from './messages.js'

/** Totals of a stage, for `stats()`. */
export interface DatagramCounts { sent: number; dropped: number }

export class CastDatagrams {
  /** @param take  gets each cast that arrives; throws if it is malformed */
  constructor(private readonly carrier: Datagrams | undefined, private readonly counts: DatagramCounts, take: (bytes: Buffer, at: number, end: number) => void) {
    if (carrier) carrier.onmessage = (bytes) => this.#receive(bytes, take)
  }

  /** @returns false if the cast must go in order: nobody asked for less, the carrier has no datagrams, or it is too large for one */
  send(message: Buffer, delivery: Delivery | undefined): boolean {
    if (delivery !== 'unreliable' || !this.carrier || message.length > this.carrier.maxBytes) return false
    if (this.carrier.send(message)) this.counts.sent++
    else this.counts.dropped++
    return true
  }

  /** A datagram proves nothing about who has sent it, so a malformed one is dropped, and the link goes on. */
  #receive(bytes: Buffer, take: (bytes: Buffer, at: number, end: number) => void): void {
    try {
      if (bytes.length <= HEAD || bytes[0] !== CAST) throw new StageError('PROTOCOL_ERROR', 'a datagram that is no cast')
      take(bytes, HEAD, bytes.length)
    } catch {
      this.counts.dropped++
    }
  }
}
