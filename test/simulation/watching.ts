import { StageError } from '../../src/index.js'
import { isForeign, sleep } from './calls.js'
import type { Host } from './host.js'
import { BEFORE, isKept, kindOf } from './play.js'
import type { Version } from './truth.js'

type Update = Record<string, unknown> & { readonly version: number; readonly reset?: true }

/** The plan for one watch. */
export interface Plan {
  readonly address: string
  readonly names: readonly string[]
  readonly mode: 'every' | 'latest'
  readonly timeoutMs: number
  /** The watcher waits this long after each update; once the world is quiet, it does so only in mode `latest`. */
  readonly slowMs: number
  /** The watcher leaves by its signal, and not by `return()`. */
  readonly bySignal: boolean
}

/** One loop over the updates of an actor, and the check of the updates that it may get next. */
export class Watch {
  /** The last update. */
  last: Update | undefined
  /** The loop was left. */
  left = false
  over = false
  /** No fault since the last update would justify a reset. */
  undisturbed = false
  /** The number of updates. */
  count = 0
  readonly #controller: AbortController | undefined
  readonly #updates: AsyncIterableIterator<Update>
  readonly #endsAt: number
  /** The earliest history of the actor that the last update can belong to. */
  #past = 0

  constructor(readonly host: Host, readonly plan: Plan) {
    const { world, stage, clock } = host
    const { address, names, mode, timeoutMs, bySignal } = plan
    host.watches.add(this)
    this.#controller = bySignal ? world.signal(host) : undefined
    this.#endsAt = clock.now() + timeoutMs
    world.tell(host.label, `watches ${address} ${names.join()} (${mode})`)
    this.#updates = stage.observe(address, names as never, { mode, timeoutMs, signal: this.#controller?.signal })
    void this.#run()
  }

  leave(): void {
    if (this.left || this.over) return
    const { host, plan } = this
    host.world.tell(host.label, `leaves ${plan.address}`)
    this.left = true
    if (this.#controller) this.#controller.abort(new Error('seen enough'))
    else void this.#updates.return?.()
  }

  /** Whether the first update is late. */
  late(): boolean {
    const { host } = this
    return this.count === 0 && !this.over && !host.clock.paused && host.clock.now() > host.due(this.#endsAt) + 100
  }

  async #run(): Promise<void> {
    const { host, plan } = this
    const { world } = host
    try {
      for (;;) {
        const { done, value } = await this.#updates.next()
        if (done || !host.alive) break
        world.tell(host.label, `sees ${JSON.stringify(value)} of ${plan.address}`)
        if (this.left) this.#fail(`P22: is shown version ${value.version} after it has left`)
        this.#judge(value as Update)
        if (plan.slowMs > 0 && (!world.quiet || plan.mode === 'latest')) await sleep(host, plan.slowMs)
      }
    } catch (error) {
      if (host.alive) this.#failed(error)
    }
    this.over = true
    host.watches.delete(this)
    host.unwatched.push(host.clock.now())
    host.left.push(host.world.clock.now())
  }

  #failed(error: unknown): void {
    const { host } = this
    if (!(error instanceof StageError)) return this.#fail(`failed with ${String(error)}`)
    host.world.tell(host.label, `watches ${this.plan.address} no more: ${error.code} ${error.message}`)
    if (isForeign(host.world, error.code)) return this.#fail(`failed: ${error.code} ${error.message}`)
    const meant = error.code === 'CANCELLED' ? this.left : error.code === 'CLOSED' ? host.closing !== undefined : this.count === 0
    if (!meant) this.#fail(`P21: ended with ${error.code} ${error.message}`)
  }

  #judge(update: Update): void {
    const { last, plan } = this
    this.last = update
    if (this.count++ === 0 && update.reset) this.#fail('P21: begins with a reset')
    if (update.reset && this.undisturbed) this.#fail('P21: is reset, and nothing has happened')
    if (!isKept(plan.address)) return this.#volatile(update, last)
    if (plan.names.includes('draft')) { if (last && !update.reset && update.version < last.version) this.#fail(`P21: goes from version ${last.version} to ${update.version} without a reset`) } else this.#kept(update, last)
  }

  /** The actor counts within an activation. */
  #volatile(update: Update, last: Update | undefined): void {
    if (!last) return
    const { count, born } = update
    const before = Number(last['count'])
    const good = born !== last['born'] ? update.reset : update.reset ?? this.plan.mode === 'latest' ? Number(count) >= before : count === before + 1
    if (!good) this.#fail(`P21: goes from ${String(last['born'])} ${before} to ${String(born)} ${String(count)}${update.reset ? ', reset' : ''}`)
  }

  /** The update belongs to one of the histories of the actor, after the update that was seen before. */
  #kept(update: Update, last: Update | undefined): void {
    const { address } = this.plan
    const { pasts } = this.host.world.truth.chain(address)
    const why = new Set<string>()
    for (let past = this.#past; past < pasts.length; past++) {
      const wrong = this.#wrong(update, last, past)
      if (!wrong) {
        this.#past = past
        return
      }
      why.add(wrong)
    }
    this.#fail(`P21: version ${update.version} ${[...why].join(', or ')}`)
  }

  /** The reason why the update cannot belong to that history. */
  #wrong(update: Update, last: Update | undefined, past: number): string | undefined {
    const { mode } = this.plan
    const { version, reset } = update
    const at = (number: number): Version | undefined => this.host.world.truth.at(this.plan.address, past, number)
    if (!this.#same(at(version), update)) return 'is not what was committed'
    if (!last) return undefined
    if (reset) return past === this.#past && version < last.version ? `goes back from ${last.version}` : undefined
    if (!this.#same(at(last.version), last)) return 'is of another past, without a reset'
    if (version <= last.version) return `follows upon ${last.version} without a reset`
    if (mode === 'latest') return undefined
    for (let between = last.version + 1; between < version; between++) if (!this.#same(at(between), last)) return `follows upon ${last.version}, and ${between} was left out`
    return this.#same(at(version), last) ? `changes nothing since ${last.version}` : undefined
  }

  #same(version: Version | undefined, update: Update): boolean {
    const { address, names } = this.plan
    return version !== undefined && names.every((name) => (version.values.has(name) ? version.values.get(name) : BEFORE[kindOf(address)][name]) === update[name])
  }

  /** P21: once the world is quiet, the watcher has seen the newest value. */
  checkNewest(): void {
    const { host, plan, last } = this
    if (this.over || this.left) return
    if (!isKept(plan.address) || plan.names.includes('draft')) return
    const newest = host.world.truth.newest(plan.address)
    if (!last || !this.#same(newest, last)) this.#fail(`P21: has not seen version ${newest.version}, but ${JSON.stringify(last)}`)
  }

  #fail(what: string): void {
    const { host, plan } = this
    host.world.fail(`${what} (${host.label} watches ${plan.names.join()} of ${plan.address}, ${plan.mode})`)
  }
}
