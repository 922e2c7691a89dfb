type Rest = readonly [name: string, caughtBy: string, file: string, text: string, by: string, more?: { readonly seeds?: number; readonly slow?: boolean }]

const ACTIVATION = 'wrappers/actors/hosting/activation.js'
const MAILBOX = 'wrappers/actors/hosting/mailbox.js'
const PERSISTENCE = 'wrappers/actors/state/persistence.js'
const SUBSCRIPTION = 'wrappers/actors/watching/subscription.js'
const OBSERVER = 'wrappers/actors/watching/observer.js'
const WATCHES = 'wrappers/actors/watching/watches.js'
const CHANGES = 'wrappers/actors/watching/changes.js'
const HISTORY = 'wrappers/actors/watching/history.js'
const WATCHER = 'wrappers/actors/watching/watcher.js'
const ROUTE = 'wrappers/actors/calling/route.js'

/** What may be wrong with actors. */
export const actorMutants: readonly Rest[] = [
  // P15
  ['a commit of whoever had the actor is performed', 'P15', 'registries/shared/ownership.js', 'if (!record || !owns(record, fence))', 'if (!record)', { slow: true }],
  ['an epoch comes back', 'P15', 'registries/shared/ownership.js', 'record ? record.epoch + 1', 'record ? record.epoch'],
  ['a claim takes an actor from anybody', 'P15', 'registries/shared/ownership.js', 'owner.activation !== over', 'false'],
  ['an actor is released for its next owner', 'P15', 'registries/shared/ownership.js', 'return record && owns(record, fence) ?', 'return record ?', { slow: true }],
  ['whoever cannot be asked is dead', 'P15', 'wrappers/actors/hosting/claims.js', 'await mesh.alive(owner.stage)', 'false'],
  // P16
  ['a commit of any version is performed', 'P16', 'registries/shared/ownership.js', 'if (version !== record.version + 1)', 'if (false)', { slow: true }],
  ['a turn is answered before its commit', 'P16', MAILBOX, 'commit = persistence.afterTurn(turn);', 'commit = persistence.afterTurn(turn), turn.answer(null, value);'],
  ['a commit that failed leaves the actor as it is', 'P16', PERSISTENCE, "activation.drop('store', failure);\n                throw failure;", 'throw failure;'],
  ['one that was fenced goes on', 'P15, P16', PERSISTENCE, "activation.drop('fenced', fenced);", '', { slow: true }],
  ['what a turn changed before it threw stays', 'P16', MAILBOX, 'if (error && !activation.putBack(turn, error))', 'if (false)'],
  ['who takes over looks first and claims then', 'P16', 'wrappers/actors/hosting/claims.js', 'const found = await this.#claimed(address, { stage, activation, over });',
    'const seen = await this.store().look(address).catch(() => undefined);\n const found = { ...await this.#claimed(address, { stage, activation, over }), ...(seen ? { version: seen.version, data: seen.data } : {}) };', { seeds: 2000, slow: true }],
  ['a reminder that ran is not taken out', 'P16', 'wrappers/actors/hosting/reminders.js', 'this.#now.delete(name);\n            else', 'this.#now.set(name, { ...reminder, at: now + 5000 });\n            else', { slow: true }],
  ['a reminder is forgotten with its activation', 'reminders', 'wrappers/actors/hosting/reminders.js', 'return times.length > 0 ? Math.min(...times) : undefined;', 'return undefined;'],
  // P17
  ['two turns run at once', 'P17', MAILBOX, 'return this.#alone === undefined;', 'return true;'],
  ['a turn begins beside those that read', 'P17', MAILBOX, '(this.#shared?.size && !turn.shared)', 'false'],
  ['what only reads may write', 'P17', MAILBOX, 'const changed = putBackData(activation, this.#fixed);', 'const changed = [];'],
  ['a circle of calls waits for itself', 'P17', MAILBOX, 'turn.carried.chain.length > 0 ? this.#cycle(turn) : undefined', 'undefined'],
  ['what comes back to a turn is committed by itself', 'P17', MAILBOX, 'this.#inner?.delete(turn);', 'this.#inner?.delete(turn);\n void activation.persistence.commit(Infinity);'],
  // P18
  ['turns begin on a lease that may be over', 'P18', MAILBOX, 'if (!mesh.valid(now))', 'if (false)', { slow: true }],
  ['a lease counts from its answer', 'P18', 'src/tenure.js', 'this.#sentAt = sentAt;\n        this.#sentWall = sentWall;', 'this.#sentAt = clock.now();\n this.#sentWall = clock.wall();', { seeds: 2000, slow: true }],
  // P19, P20
  ['only the registry knows who is dead', 'P19', 'src/alive.js', 'if (directory.isSuspect(id) || dials === DIALS)', 'if (false)', { slow: true }],
  ['one that is put away forgets who waits', 'P20', ACTIVATION, "this.host.ended(this, this.mailbox.handOver(), this.#reason !== 'closing');", "this.host.ended(this, [], this.#reason !== 'closing');"],
  ['who closes drops the calls that wait', 'P20', 'wrappers/actors/hosting/hosting.js', 'turn.move(owner);', 'void turn;'],
  ['a call that is moved fails', 'P20', 'wrappers/actors/hosting/turn.js', 'this.answer(moved(', "this.answer(new StageError('CANCELLED', 'moved', { executed: 'unknown' }) ?? moved("],
  // P21
  ['every fifth change is told with the next one', 'P21', HISTORY, 'if (values.size === 0)', 'if (values.size === 0 || activation.persistence.version % 5 === 0)'],
  ['a watcher comes back to the present', 'P21', HISTORY, 'more.length === 0 ? seen.seq', 'more.length === 0 ? this.seq', { slow: true }],
  ['nobody is told of a reset', 'P21', SUBSCRIPTION, "before !== undefined && (!same || this.mode === 'every')", 'false', { slow: true }],
  ['what waits for a watcher is not replaced by the newest', 'P21', OBSERVER, 'this.#queue = [{', 'void [{'],
  ['a watcher ends with the link', 'P21', SUBSCRIPTION, 'if (FINAL.has(error.code) || error === this.#full)', 'if (true)'],
  // P22
  ['what waited is shown to who has left', 'P22', OBSERVER, 'this.#queue = NONE;\n                this.fail(cancelled(signal));', 'this.fail(cancelled(signal));'],
  ['who has left is still told', 'stats().observers', OBSERVER, 'this.#queue = NONE;\n        this.subscription.remove(this);', 'this.#queue = NONE;'],
  ['the owner goes on telling', 'watchers at the owner', WATCHES, 'void this.#batches?.return?.();', ''],
  // P21, over the stream that watches share
  ['one that was told has heard all there was', 'P21', CHANGES, 'if (watcher.isBehind())\n                    ready.add(watcher);', '', { slow: true }],
  ['an actor that is put away tells nobody', 'P21', WATCHER, 'this.failed = error;\n        this.changes.ready(this);', 'this.failed = error;', { slow: true }],
  // P11
  ['calls that wait for a way go in the wrong order', 'P11', ROUTE, '(call = this.#queue.shift())', '(call = this.#queue.pop())'],
  ['a call that was sent on goes behind those made after it', 'P11', ROUTE, 'const at = this.#queue.findIndex((one) => one.seq > call.seq);', 'const at = -1;', { slow: true }],
  // what is held
  ['turns that have ended stay until their deadline, and calls for ever', 'stats().actorCalls', ROUTE, 'this.routes.unnote(call);', '', { slow: true }],
  ['nobody looks for reminders, nor for idle actors', 'stats().actors', 'wrappers/actors/hosting/upkeep.js', "one.stop('idle');", '{}'],
]
