/** The contract of a name server: what is listed, for how long, and who hears of it. */
import type { Closable } from './closable.js'
import type { Entry } from './peer.js'
import type { Store } from './store.js'

/** The whole truth of one namespace at one moment, as the registry knows it. */
export interface View {
  /** Changes when the registry was emptied, replaced or rolled back: what is missing then may only be forgotten. */
  readonly generation: string
  /** Every live entry. An entry whose lease has passed stays until somebody's sweep has taken it out. */
  readonly entries: readonly Entry[]
  /** Ids that were taken out because their lease lapsed, for at least a minute after; the rest that vanish left by themselves. */
  readonly lapsed: readonly string[]
}

/**
 * The name server. An instance may be shared by several stages; the last of them that closes, closes it.
 *
 * Every method may reject, with `REGISTRY_UNAVAILABLE` where it may work later. Nothing here retries for long: the
 * stage does, whatever the code is, with one back-off for all registries.
 */
export interface Registry extends Closable {
  /** For messages: what and where, without credentials (`redis://127.0.0.1:6379`). */
  readonly address: string
  /**
   * Lists the entry for `ttlMs`, under its id. Resolves once watchers can see it.
   * An entry of the same id is replaced; ids never collide, so it was our own.
   * @throws StageError NAME_TAKEN if this or another live entry of that name is `unique`
   */
  publish(entry: Entry, ttlMs: number): Promise<Lease>
  /**
   * The present view at once, read after the call also where another watch is open: whoever is listed by then is in it.
   * Then one whenever it changed (equal views in a row are allowed, missed ones are not replayed). Throws when the
   * registry goes away: the caller keeps what it knew and watches again. Ends quietly when `signal` fires.
   */
  watch(namespace: string, signal: AbortSignal): AsyncIterable<View>
  /** Where claims and committed actor state of a namespace live, if this registry can hold them. The caller closes it. */
  store?(namespace: string): Store
}

/** The right to be listed. The registry's clock alone decides how long it lasts. */
export interface Lease extends Closable {
  /**
   * One heartbeat; `entry` replaces what is listed.
   * @returns 'ok'    renewed in time, or listed again after the registry itself had lost its memory
   *          'late'  it had lapsed but nobody had taken it out: renewed, and whoever acted on it must check
   *          'lost'  it was taken out: this id is gone for good
   */
  renew(entry?: Entry): Promise<'ok' | 'late' | 'lost'>
  /** It was lost from the start: the id had been listed by a try whose answer never came, and was taken out since. */
  readonly lost?: boolean
  /** Takes the entry out; watchers see it leave by itself. After the lease was lost it does nothing. */
  close(): Promise<void>
}

/** How long after a lease's end an entry may still be seen; sweeping and telling everybody happen within it. */
export const GRACE_MS = 2000
