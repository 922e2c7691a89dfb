import type { StageError } from '../../../src/errors.js'
import type { Peer, References } from '../../../src/types.js'
import type { Carried } from '../../rpc/context.js'
import type { ServiceCall } from '../../rpc/types.js'
import { snapshotOf } from '../calling/copy.js'
import type { Arrived } from './admission.js'

/** A call that arrived over a link, as interceptors and rules see it. */
export class ArrivedByLink implements Arrived {
  constructor(
    private readonly call: ServiceCall, readonly address: string, readonly name: string, readonly args: readonly unknown[],
    private readonly references: References,
  ) {}

  get carried(): Carried {
    return this.call.carried
  }

  get peer(): Peer {
    return this.call.peer
  }

  get endsAt(): number {
    return this.call.endsAt
  }

  get over(): boolean {
    return this.call.over
  }

  get signal(): AbortSignal {
    return this.call.signal
  }

  expire(error: StageError): void {
    this.call.expire(error)
  }

  snapshot(value: unknown): unknown {
    return snapshotOf(value, this.references)
  }
}
