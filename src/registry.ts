/** The contract of a name server: which entries are listed, for how long, and who is notified. */
import type { Closable } from './closable.js'
import type { Entry } from './peer.js'
import type { Store } from './store.js'

/**
 * The state of one namespace at one moment, as the registry knows it: complete, or as the changes since the view before.
 * A simple registry yields complete views only. In a large mesh that is expensive: each change then costs each stage a
 * list of all stages.
 */
export interface View {
  /** Changes when the registry was emptied, replaced or rolled back: entries that are missing then may only be forgotten. */
  readonly generation: string
  /**
   * Every live entry; in a view with `removed`, the entries that are new or have changed. An entry whose lease has expired
   * stays until somebody's sweep removes it.
   */
  readonly entries: readonly Entry[]
  /**
   * Ids that were removed because their lease expired, for at least a minute after; in a view with `removed`, those among
   * them. All other entries that vanish left by themselves.
   */
  readonly lapsed: readonly string[]
  /**
   * If given, the view holds only the changes since the view before it in the same watch, of the same generation: these
   * ids are not listed any more. All other entries are as they were.
   */
  readonly removed?: readonly string[]
}

/** The complete view after `view`, which may hold changes of `before` only. */
export function complete(before: View | undefined, view: View): View {
  if (!view.removed) return view
  const entries = new Map(before?.entries.map((entry) => [entry.id, entry]))
  for (const entry of view.entries) entries.set(entry.id, entry)
  for (const id of view.removed) entries.delete(id)
  return { generation: view.generation, entries: [...entries.values()], lapsed: [...new Set([...before?.lapsed ?? [], ...view.lapsed])] }
}

/**
 * The name server. Several stages may share one instance; the last of them to close closes it.
 *
 * Every method may reject, with `REGISTRY_UNAVAILABLE` if it may work later. No method retries for long: the stage retries
 * after any code, with one back-off for all registries.
 */
export interface Registry extends Closable {
  /** `false`: it lists nobody but the stage itself, so peers are found by `connect()` alone. */
  readonly lists?: boolean | undefined
  /** Kind and place for messages, without credentials (`redis://127.0.0.1:6379`). */
  readonly address: string
  /**
   * Lists the entry for `ttlMs`, under its id. Resolves once watchers can see it.
   * Replaces an entry of the same id; ids never collide, so that entry was our own.
   * @throws StageError NAME_TAKEN if this or another live entry of that name is `unique`
   */
  publish(entry: Entry, ttlMs: number): Promise<Lease>
  /**
   * Yields the present view at once, complete, and read after the call even if another watch is open: every stage listed
   * before the call is in it. Then yields a view after each change; changes that follow each other quickly may be one view,
   * and a view may tell nothing new. Throws when the registry goes away: the caller keeps its last view and watches again.
   * Ends quietly when `signal` fires.
   */
  watch(namespace: string, signal: AbortSignal): AsyncIterable<View>
  /** The store for claims and committed actor state of a namespace, if this registry can hold them. The caller closes it. */
  store?(namespace: string): Store
}

/** The right to be listed. Only the registry's clock decides how long it lasts. */
export interface Lease extends Closable {
  /**
   * Sends one heartbeat; `entry` replaces the listed entry.
   * @returns 'ok'    renewed in time, or listed again after the registry had lost its memory
   *          'late'  the lease had expired and the entry was still there: renewed, and a caller that acted on the expiry must check
   *          'lost'  the entry was removed: this id is gone for good
   */
  renew(entry?: Entry): Promise<'ok' | 'late' | 'lost'>
  /** Lost from the start: an earlier attempt had listed the id, its answer never came, and the entry was removed since. */
  readonly lost?: boolean
  /** Removes the entry; watchers see the stage leave by itself. Does nothing after the lease was lost. */
  close(): Promise<void>
}

/**
 * How long an entry may still be seen after its lease expired. Sweeping it and notifying every watcher fit into that time; in
 * a namespace of more than 400 stages, watches of some registries pause for longer while much changes.
 */
export const GRACE_MS = 2000
