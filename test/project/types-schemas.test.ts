/** What schemas say to the compiler: each `@ts-expect-error` is an error that a user must get. Nothing of it runs, but for the budget. */
import test from 'ava'
import * as v from 'valibot'
import { z } from 'zod'
import { Stage, method, rpc, type Issue, type ProvideOptions, type StageError } from '../../src/index.js'
import { checkTypes } from '../helpers/check-types.js'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const same = <A, B>(is: Same<A, B>): void => void is

export function provided(stage: Stage): void {
  const all = stage.to('*')
  all.provide('one', { input: z.string(), output: z.number() }, (name) => { same<typeof name, string>(true); return name.length })
  all.provide('several', { input: [v.string(), z.number()] }, function (name, n) { same<[typeof name, typeof n], [string, number]>(true); return this.peer.name + name + n })
  all.provide('none', { input: [] }, () => 1)
  all.provide('later', { input: z.string(), output: z.number() }, async (name) => name.length)
  all.provide('transformed', { input: z.string().transform(Number), output: v.pipe(v.number(), v.transform(String)) }, (n) => { same<typeof n, number>(true); return n + 1 })
  all.provide('optional', { input: [z.string(), z.number().optional()] }, (name: string, n?: number) => name + (n ?? 0))
  all.provide('object', { input: z.object({ name: z.string(), tags: z.array(z.string()) }) }, ({ name, tags }) => { same<typeof tags, string[]>(true); return [name, tags] })
  all.provide('fewer', { input: [z.string(), z.number()] }, (name) => name)
  all.provide('result', { output: z.number() }, (a: string) => a.length)
  all.provide('rule', { authorize: ({ args }) => args.length === 0 }, () => 'told')
  const widened: ProvideOptions = { input: z.string() }
  all.provide('widened', widened, (name: string) => name)
  // @ts-expect-error the result is no number
  all.provide('x', { input: z.string(), output: z.number() }, (name) => name)
  // @ts-expect-error nor is that of a promise
  all.provide('x', { input: z.string(), output: z.number() }, async (name) => name)
  // @ts-expect-error the argument is a text
  all.provide('x', { input: z.string() }, (name: number) => name)
  // @ts-expect-error the second one is a number
  all.provide('x', { input: [z.string(), v.number()] }, (name, n: string) => name + n)
  // @ts-expect-error there is one argument
  all.provide('x', { input: z.string() }, (name, more) => [name, more])
  // @ts-expect-error no schema
  all.provide('x', { input: (name: string) => name }, (name) => name)
  // @ts-expect-error no schema in the list
  all.provide('x', { input: [z.string(), 5] }, () => 1)
  // @ts-expect-error the result has one schema
  all.provide('x', { output: [z.string()] }, () => 'x')
  // @ts-expect-error no such option
  all.provide('x', { inputs: z.string() }, () => 1)
}

export function byOption(): void {
  const provide = {
    greet: method({ input: z.string(), output: z.string(), handler: (name) => { same<typeof name, string>(true); return name } }),
    several: method({ input: [z.string(), v.number()], handler(name, n) { same<[typeof name, typeof n], [string, number]>(true); return this.peer.name + name + n } }),
    rule: method({ authorize: () => true, handler: (name: string) => name }),
    // @ts-expect-error the argument is a text
    wrong: method({ input: z.string(), handler: (name: number) => name }),
    // @ts-expect-error the result is no number
    worse: method({ output: z.number(), handler: () => 'x' }),
    plain: { input: z.string(), handler: (name: string) => name },
    bare: (name: string) => name,
  }
  void new Stage('a', { provide })
  void rpc({ provide })
  void new Stage('b', { provide: { greet: { input: z.string(), handler: (name) => { same<typeof name, unknown>(true); return name } } } })
  // @ts-expect-error no handler
  void new Stage('c', { provide: { greet: { input: z.string() } } })
  // @ts-expect-error no schema
  void new Stage('d', { provide: { greet: { input: 5, handler: () => 1 } } })
}

class Player {
  hp = 100
  constructor(readonly params: { id: string }) {}
  attack(damage: number, how?: string): number { return this.hp - damage - (how?.length ?? 0) }
  async say(text: string): Promise<string> { return text }
  same<T>(value: T): T { return value }
  many(...all: number[]): number { return all.length }
  none(): void {}
  optional?(n: number): boolean
  activate(): void {}
  _hidden(): void {}
}

export async function defined(stage: Stage, untyped: ReturnType<typeof JSON.parse>): Promise<void> {
  const pattern = 'players.{id}', constructor = Player
  stage
    .define({ pattern, constructor, methods: { attack: { input: [z.number(), v.optional(v.string())], output: z.number(), authorize: ({ args }) => args.length > 0 }, say: { input: z.coerce.string(), output: v.string() } } })
    .define({ pattern, constructor, durable: true, methods: { attack: { input: z.number() }, none: { input: [] }, many: { input: [z.number(), z.number()] }, same: { input: z.string() }, optional: { input: z.number() } } })
    .define({ pattern, constructor, methods: { attack: { output: z.union([z.number(), z.string()]) } } })
    .define({ pattern, create: ({ id }) => ({ hit: (by: number) => id.length + by }), methods: { hit: { input: z.number(), output: z.number() } } })
    .define({ pattern, create: () => untyped, methods: { hit: { input: z.number() } } })
  await stage.host('door', { open: (who: string) => who }, { methods: { open: { input: z.string(), output: z.string() } } })
  await stage.host('door', untyped, { methods: { open: { input: z.string(), output: z.string() } } })
  await stage.host('door', { open: () => 1 }, { authorize: () => true })
  // @ts-expect-error the damage is a number
  stage.define({ pattern, constructor, methods: { attack: { input: z.string() } } })
  // @ts-expect-error the second one is a text
  stage.define({ pattern, constructor, methods: { attack: { input: [z.number(), z.number()] } } })
  // @ts-expect-error it returns a number
  stage.define({ pattern, constructor, methods: { attack: { output: z.string() } } })
  // @ts-expect-error it resolves to a text
  stage.define({ pattern, constructor, methods: { say: { output: z.number() } } })
  // @ts-expect-error it takes nothing
  stage.define({ pattern, constructor, methods: { none: { input: z.string() } } })
  // @ts-expect-error no such method
  stage.define({ pattern, constructor, methods: { atack: { input: z.number() } } })
  // @ts-expect-error a property is no method
  stage.define({ pattern, constructor, methods: { hp: { authorize: () => true } } })
  // @ts-expect-error an underscore is private
  stage.define({ pattern, constructor, methods: { _hidden: {} } })
  // @ts-expect-error a hook is no method
  stage.define({ pattern, constructor, methods: { activate: {} } })
  // @ts-expect-error no such option
  stage.define({ pattern, constructor, methods: { attack: { inputs: z.number() } } })
  // @ts-expect-error no schema
  stage.define({ pattern, constructor, methods: { attack: { input: 5 } } })
  // @ts-expect-error no schema, of those that a function makes
  stage.define({ pattern, create: () => ({ hit: (by: number) => by }), methods: { hit: { input: 5 } } })
  // @ts-expect-error it takes a text
  await stage.host('door', { open: (who: string) => who }, { methods: { open: { input: z.number() } } })
  // @ts-expect-error no such method
  await stage.host('door', { open: (who: string) => who }, { methods: { shut: {} } })
}

export function told({ issues }: StageError): readonly (string | number)[] {
  const first: Issue | undefined = issues?.[0]
  return first?.path ?? []
}

const METHODS = 100
/** Beside what it costs without schemas, for each that is provided and each that is an actor's. Measured: 948, most of it for lists of schemas in `define()`. */
const PER_METHOD_MAX = 1200

const times = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => line(i)).join('\n')
const program = (methods: number, schemas: boolean): string => `
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Stage } from '../../src/index.js'
declare const number: StandardSchemaV1<number, number>
declare const text: StandardSchemaV1<string, string>
class Big {
  ${times(methods, (i) => `m${i}(a: number, b?: string): string { return String(a + ${i}) + b }`)}
}
export function use(stage: Stage): void {
  ${schemas ? times(methods, (i) => `stage.to('*').provide('m${i}', { input: [number, text], output: text }, (a, b) => b + (a + ${i}))`) : ''}
  stage.define({ pattern: 'big.{id}', constructor: Big, methods: {
    ${schemas ? times(methods, (i) => `m${i}: { input: [number, text], output: text },`) : ''}
  } })
}`

test('schemas for a hundred methods are cheap for the compiler', (t) => {
  const [without, half, whole] = [program(METHODS, false), program(METHODS / 2, true), program(METHODS, true)].map(checkTypes)
  t.deepEqual([without.errors, half.errors, whole.errors], [[], [], []])
  const perMethod = (whole.instantiations - without.instantiations) / METHODS
  const growth = whole.instantiations / half.instantiations
  t.log(`${whole.instantiations} instantiations, ${perMethod.toFixed(1)} for each method; ${growth.toFixed(2)} times those of half as many`)
  t.true(perMethod > 1 && perMethod <= PER_METHOD_MAX, `${perMethod} for each method`)
  t.true(growth < 2.1, 'twice as many methods cost twice as much, not more')
})
