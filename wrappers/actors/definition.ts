import { StageError, describe } from '../../src/errors.js'
import { knownOptions } from '../../src/known-options.js'
import { isError } from '../../src/realm.js'
import { isThenable } from '../../src/thenable.js'
import { Pattern } from './address.js'
import type { InterceptedCall, Rules } from '../rpc/interceptor.js'
import { rulesOf } from '../rpc/serving/provisions.js'
import { dataNames, hasData, hasMethod, isPublic, listed } from './members.js'
import type { Repeatable } from './calling/repeatable.js'
import type { ActorOptions, Self } from './types.js'

const OPTIONS = [
  'pattern', 'constructor', 'create', 'durable', 'commit', 'version', 'migrate', 'readonly', 'reentrant', 'placement', 'share',
  'idleMs', 'maxActors', 'mailbox', 'slowTurnMs', 'authorize', 'methods',
]

/** Defaults of the options of `define()`. */
const DEFAULTS = {
  durable: false,
  commit: 'turn',
  version: 1,
  reentrant: false,
  placement: 'any',
  share: false,
  idleMs: 300_000,
  maxActors: Infinity,
  mailbox: 1000,
  slowTurnMs: 5000,
} as const satisfies Omit<ActorOptions, 'pattern'>

/** Options as the user passes them, unchecked. */
type GivenOptions = ActorOptions & { readonly constructor?: unknown; readonly create?: unknown; readonly migrate?: unknown }

/** The two ways to create an object; a type has exactly one. */
interface Makers {
  constructor: new (params: Record<string, string>) => unknown
  create(params: Record<string, string>, self: Self): unknown
}

/** An actor type whose options have been checked. */
export class Definition {
  readonly pattern: Pattern
  readonly durable: boolean
  readonly explicit: boolean
  readonly version: number
  readonly readonly: ReadonlySet<string>
  readonly reentrant: boolean
  readonly local: boolean
  readonly share: boolean
  readonly idleMs: number
  readonly maxActors: number
  readonly mailbox: number
  readonly slowTurnMs: number
  /** Idempotent methods, whose calls may be retried; undefined if there are none. */
  readonly repeatable: Repeatable | undefined
  /** Whether the type or one of its methods has rules: `authorize` or schemas. */
  readonly guarded: boolean
  /** Rules of the type, for all its methods and properties, and rules per method; undefined if there are none. */
  readonly #rules: Rules | undefined
  readonly #byMethod: ReadonlyMap<string, Rules> | undefined
  readonly #names: readonly string[] | undefined
  #made: readonly string[] = []

  /** @throws TypeError */
  constructor(private readonly options: GivenOptions) {
    if (typeof options !== 'object' || options === null) throw new TypeError(`define() got ${describe(options)}: expected { pattern, constructor or create, … }`)
    knownOptions('an actor type', options, OPTIONS)
    this.pattern = new Pattern(options.pattern)
    const made = Object.hasOwn(options, 'constructor') ? options.constructor : undefined
    if ((made === undefined) === (options.create === undefined)) throw this.#bad('needs either constructor or create, and not both')
    const maker = made === undefined ? 'create' : 'constructor'
    if (typeof options[maker] !== 'function') throw this.#bad(`has a ${maker} that is ${describe(options[maker])}: expected a function`)
    if (made !== undefined && !isConstructor(made)) throw this.#bad('has a constructor that cannot be called with new: pass an arrow function or a method as create')
    const { durable, commit, placement, version, idleMs, maxActors, mailbox, slowTurnMs, reentrant, share } = { ...DEFAULTS, ...defined(options) }
    if (typeof durable !== 'boolean' && !isNames(durable)) throw this.#bad(`has durable: ${describe(durable)}; expected true or the names of properties`)
    if (commit !== 'turn' && commit !== 'explicit') throw this.#bad(`has commit: ${describe(commit)}; expected 'turn' or 'explicit'`)
    if (placement !== 'any' && placement !== 'local') throw this.#bad(`has placement: ${describe(placement)}; expected 'local' or 'any'`)
    if (options.migrate !== undefined && typeof options.migrate !== 'function') throw this.#bad('has a migrate that is not a function')
    if (options.readonly !== undefined && !isNames(options.readonly)) throw this.#bad(`has readonly: ${describe(options.readonly)}; expected the names of methods`)
    this.durable = durable !== false
    this.#names = typeof durable === 'boolean' ? undefined : durable
    this.explicit = commit === 'explicit'
    this.version = this.#count('version', version)
    this.readonly = new Set(options.readonly)
    this.reentrant = this.#flag('reentrant', reentrant)
    this.local = placement === 'local'
    this.share = this.#flag('share', share)
    this.idleMs = this.#above0('idleMs', idleMs)
    this.maxActors = maxActors === Infinity ? Infinity : this.#count('maxActors', maxActors)
    this.mailbox = this.#count('mailbox', mailbox)
    this.slowTurnMs = this.#above0('slowTurnMs', slowTurnMs)
    const { authorize } = options
    if (authorize !== undefined && typeof authorize !== 'function') throw this.#bad(`has authorize: ${describe(authorize)}; expected a function (call) => boolean`)
    this.#rules = authorize && { authorize: [authorize], options }
    this.#byMethod = this.#methods(options.methods)
    this.guarded = this.#rules !== undefined || this.#byMethod !== undefined
    const repeatable = Object.entries(options.methods ?? {}).filter(([, one]) => one.idempotent).map(([name]) => name)
    this.repeatable = repeatable.length > 0 ? new Set(repeatable) : undefined
    const missing = [...this.readonly].find((name) => !isPublic(name))
    if (missing !== undefined) throw this.#bad(`lists ${describe(missing)} in readonly, which is not a public method`)
  }

  /** The options of `define()`. */
  get given(): Readonly<object> {
    return this.options
  }

  /** Rules to check before a call, a read or a watch. Reads and watches have only the rules of the type. */
  rules(kind: InterceptedCall['kind'], method: string): Rules | undefined {
    return (kind === 'call' ? this.#byMethod?.get(method) : undefined) ?? this.#rules
  }

  /** Checks that every named method exists: options of a misspelt name would guard nothing. @throws TypeError */
  check(object: object): void {
    const method = Object.keys(this.options.methods ?? {}).find((name) => !hasMethod(object, name))
    if (method !== undefined) throw this.#bad(`has options for ${describe(method)} in methods, ${NO_METHOD}`)
  }

  /** Listed durable properties that a new object does not have. */
  absent(object: object): readonly string[] {
    return this.#names?.filter((name) => !hasData(object, name)) ?? NONE
  }

  /**
   * Checks that an activated object has its readonly methods, and the durable properties that it did not have when it was
   * made: a misspelt name would mean nothing. @throws TypeError
   */
  checkNamed(object: object, absent: readonly string[]): void {
    const unchanging = [...this.readonly].find((name) => !hasMethod(object, name))
    if (unchanging !== undefined) throw this.#bad(`lists ${describe(unchanging)} in readonly, ${NO_METHOD}`)
    const missing = absent.find((name) => !hasData(object, name))
    if (missing === undefined) return
    const there = listed(dataNames(object))
    throw this.#bad(`lists ${describe(missing)} in durable, but its activated object has no such property: set it in the constructor, even if only to undefined${there}`)
  }

  /** Creates a new object of this type. Exceptions of its constructor pass through. */
  make(params: Record<string, string>, self: Self): object {
    const { constructor, create } = this.options as unknown as Makers
    const made: unknown = Object.hasOwn(this.options, 'constructor') ? new constructor(params) : create(params, self)
    const bad = (what: string): TypeError => new TypeError(`create() of ${this.pattern.text} returned ${what}`)
    if (typeof made !== 'object' || made === null) throw bad(`${describe(made)}: expected an object`)
    if (isThenable(made)) throw bad('a promise: return the object synchronously, and await in its activate()')
    this.check(made)
    return made
  }

  /** Names of the durable properties that this object has now. */
  durableNames(object: object): string[] {
    if (!this.#names) return dataNames(object)
    return this.#names.filter((name) => hasData(object, name))
  }

  /** Names of the durable properties of a new object; objects with equal names share one list. */
  made(object: object): readonly string[] {
    const names = this.durableNames(object)
    const known = this.#made
    return this.#made = names.length === known.length && names.every((name, i) => name === known[i]) ? known : names
  }

  /** Migrates the state that version `from` kept to the present shape. @throws StageError STATE_CORRUPT */
  migrated(from: number, data: () => Record<string, unknown>): Record<string, unknown> {
    const { migrate } = this.options
    const corrupt = (why: string, details = {}): StageError => new StageError('STATE_CORRUPT', why, details)
    const kept = `its state was stored by version ${from} of ${this.pattern.text}`
    if (from > this.version) throw corrupt(`${kept}, but this stage has version ${this.version}: update this stage`)
    if (!migrate) throw corrupt(`${kept}, but this stage has version ${this.version} and no migrate()`)
    let made: unknown
    try {
      made = migrate(from, data())
    } catch (error) {
      const said = isError(error) ? error.message : describe(error)
      throw corrupt(`migrate() of ${this.pattern.text} failed on a state of version ${from}: ${said}`, { cause: error })
    }
    if (typeof made === 'object' && made !== null && !Array.isArray(made) && !isThenable(made)) return made as Record<string, unknown>
    throw corrupt(`migrate() of ${this.pattern.text} returned ${describe(made)} for a state of version ${from}: expected an object with the properties, returned synchronously`)
  }

  #methods(given: unknown): ReadonlyMap<string, Rules> | undefined {
    if (given === undefined) return undefined
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw this.#bad(`has methods: ${describe(given)}; expected an object with options by name of method`)
    }
    const rules = new Map<string, Rules>()
    for (const [name, options] of Object.entries(given)) {
      if (!isPublic(name)) throw this.#bad(`has options for ${describe(name)} in methods, which is not a public method`)
      const own = rulesOf(`methods of the actor type ${describe(this.options.pattern)}`, name, options)
      const authorize = [...this.#rules?.authorize ?? [], ...own.authorize]
      if (own.authorize.length > 0 || own.validation) rules.set(name, { ...own, authorize, options: this.options })
    }
    return rules.size > 0 ? rules : undefined
  }

  #above0(name: string, value: unknown): number {
    if (typeof value === 'number' && value > 0) return value
    throw this.#bad(`has ${name}: ${describe(value)}; expected a number above 0`)
  }

  #count(name: string, value: unknown): number {
    if (Number.isSafeInteger(value) && Number(value) > 0) return Number(value)
    throw this.#bad(`has ${name}: ${describe(value)}; expected a whole number above 0`)
  }

  #flag(name: string, value: unknown): boolean {
    if (typeof value === 'boolean') return value
    throw this.#bad(`has ${name}: ${describe(value)}; expected true or false`)
  }

  #bad(why: string): TypeError {
    return new TypeError(`the actor type ${describe(this.options.pattern)} ${why}`)
  }
}

const NONE: readonly string[] = []
const NO_METHOD = 'but its object has no public method of that name'
const isNames = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every(isPropertyName)
const isPropertyName = (name: unknown): boolean => typeof name === 'string' && !['', '__proto__', 'self'].includes(name)

/** Drops undefined options, so that their defaults apply. */
const defined = (options: ActorOptions): Partial<ActorOptions> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

/** Whether `new` works on `made`, checked without calling it. */
function isConstructor(made: unknown): boolean {
  try {
    Reflect.construct(Object, [], made as new () => unknown)
    return true
  } catch {
    return false
  }
}
