/** What registries, leases, stores and interfaces have in common: an end. */

/** Something with an end. `close` is idempotent: every call returns the same promise or an equal one. */
export interface Closable {
  close(): Promise<void>
}
