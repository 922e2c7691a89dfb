/** The common part of registries, leases, stores and interfaces: an end. */

/** Something with an end. `close` is idempotent: every call returns the same promise or an equal one. */
export interface Closable {
  close(): Promise<void>
}
