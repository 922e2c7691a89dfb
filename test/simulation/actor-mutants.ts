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

/** Mutants of the code of actors. */
export const actorMutants: readonly Rest[] = [
  // P15
  ['a commit of a former owner is performed', 'P15', 'registries/shared/ownership.js', 'if (!record || !owns(record, fence))', 'if (!record)', { slow: true }],
  ['an epoch is used twice', 'P15', 'registries/shared/ownership.js', 'record ? record.epoch + 1', 'record ? record.epoch'],
  ['a claim takes an actor from any owner', 'P15', 'registries/shared/ownership.js', 'owner.activation !== over', 'false'],
  ['a former owner releases the actor of the next one', 'P15', 'registries/shared/ownership.js', 'return record && owns(record, fence) ?', 'return record ?', { slow: true }],
  ['an owner that cannot be asked is considered dead', 'P15', 'wrappers/actors/hosting/claims.js', 'await mesh.alive(owner.stage)', 'false'],
  // P16
  ['a commit of any version is performed', 'P16', 'registries/shared/ownership.js', 'if (version !== record.version + 1)', 'if (false)', { slow: true }],
  ['a turn is answered before its commit', 'P16', MAILBOX, 'commit = persistence.afterTurn(turn);', 'commit = persistence.afterTurn(turn), turn.answer(null, value);'],
  ['a commit that failed leaves the actor as it is', 'P16', PERSISTENCE, "activation.drop('store', failure);\n                throw failure;", 'throw failure;'],
  ['a fenced activation continues', 'P15, P16', PERSISTENCE, "activation.drop('fenced', fenced);", '', { slow: true }],
  ['the changes of a turn that threw stay', 'P16', MAILBOX, 'if (error && !activation.putBack(turn, error))', 'if (false)'],
  ['a takeover looks first and then claims', 'P16', 'wrappers/actors/hosting/claims.js', 'const found = await this.#claimed(address, { stage, activation, over });',
    'const seen = await this.store().look(address).catch(() => undefined);\n const found = { ...await this.#claimed(address, { stage, activation, over }), ...(seen ? { version: seen.version, data: seen.data } : {}) };', { seeds: 2000, slow: true }],
  ['a reminder that ran is not taken out', 'P16', 'wrappers/actors/hosting/reminders.js', 'this.#now.delete(name);\n            else', 'this.#now.set(name, { ...reminder, at: now + 5000 });\n            else', { slow: true }],
  ['a reminder is forgotten with its activation', 'reminders', 'wrappers/actors/hosting/reminders.js', 'return times.length > 0 ? Math.min(...times) : undefined;', 'return undefined;'],
  // P17
  ['two turns run at once', 'P17', MAILBOX, 'return this.#alone === undefined;', 'return true;'],
  ['a turn begins beside readonly turns', 'P17', MAILBOX, '(this.#shared?.size && !turn.shared)', 'false'],
  ['a readonly turn may write', 'P17', MAILBOX, 'const changed = putBackData(activation, this.#fixed);', 'const changed = [];'],
  ['a cycle of calls waits for itself', 'P17', MAILBOX, 'turn.carried.chain.length > 0 ? this.#cycle(turn) : undefined', 'undefined'],
  ['an inner turn is committed by itself', 'P17', MAILBOX, 'this.#inner?.delete(turn);', 'this.#inner?.delete(turn);\n void activation.persistence.commit(Infinity);'],
  // P18
  ['turns begin on a lease that may be over', 'P18', MAILBOX, 'if (!mesh.valid(now))', 'if (false)', { slow: true }],
  ['a lease counts from its answer', 'P18', 'src/tenure.js', 'this.#sentAt = sentAt;\n        this.#sentWall = sentWall;', 'this.#sentAt = clock.now();\n this.#sentWall = clock.wall();', { seeds: 2000, slow: true }],
  // P19, P20
  ['only the registry knows who is dead', 'P19', 'src/alive.js', 'if (directory.isSuspect(id) || dials === DIALS)', 'if (false)', { slow: true }],
  ['an actor that is deactivated drops the calls that wait', 'P20', ACTIVATION, "this.host.ended(this, this.mailbox.handOver(), this.#reason !== 'closing');", "this.host.ended(this, [], this.#reason !== 'closing');"],
  ['a stage that closes drops the calls that wait', 'P20', 'wrappers/actors/hosting/hosting.js', 'turn.move(owner);', 'void turn;'],
  ['a call that is moved fails', 'P20', 'wrappers/actors/hosting/turn.js', 'this.answer(moved(', "this.answer(new StageError('CANCELLED', 'moved', { executed: 'unknown' }) ?? moved("],
  // P21
  ['every fifth change is sent with the next one', 'P21', HISTORY, 'if (values.size === 0)', 'if (values.size === 0 || activation.persistence.version % 5 === 0)'],
  ['a watcher comes back to the present', 'P21', HISTORY, 'more.length === 0 ? seen.seq', 'more.length === 0 ? this.seq', { slow: true }],
  ['a reset is not marked', 'P21', SUBSCRIPTION, "before !== undefined && (!same || this.mode === 'every')", 'false', { slow: true }],
  ['the waiting update of a watcher is not replaced by the newest', 'P21', OBSERVER, 'this.#queue = [{', 'void [{'],
  ['a watcher ends with the link', 'P21', SUBSCRIPTION, 'if (FINAL.has(error.code) || error === this.#full)', 'if (true)'],
  // P22
  ['waiting updates are delivered after the watcher has left', 'P22', OBSERVER, 'this.#queue = NONE;\n                this.fail(cancelled(signal));', 'this.fail(cancelled(signal));'],
  ['a watcher that has left still gets updates', 'stats().observers', OBSERVER, 'this.#queue = NONE;\n        this.subscription.remove(this);', 'this.#queue = NONE;'],
  ['the owner continues to send updates', 'watchers at the owner', WATCHES, 'void this.#batches?.return?.();', ''],
  // P21, over the stream that the watches of a link share
  ['a watcher that got one update counts as up to date', 'P21', CHANGES, 'if (watcher.isBehind())\n                    ready.add(watcher);', '', { slow: true }],
  ['an actor that is deactivated does not notify its watchers', 'P21', WATCHER, 'this.failed = error;\n        this.changes.ready(this);', 'this.failed = error;', { slow: true }],
  // P11
  ['calls that wait for the owner go in the wrong order', 'P11', ROUTE, '(call = this.#queue.shift())', '(call = this.#queue.pop())'],
  ['a call that was sent on goes behind those made after it', 'P11', ROUTE, 'const at = this.#queue.findIndex((one) => one.seq > call.seq);', 'const at = -1;', { slow: true }],
  // resources that are held
  ['turns that have ended stay until their deadline, and calls for ever', 'stats().actorCalls', ROUTE, 'this.routes.unnote(call);', '', { slow: true }],
  ['no stage looks for reminders or for idle actors', 'stats().actors', 'wrappers/actors/hosting/upkeep.js', "one.stop('idle');", '{}'],
]
