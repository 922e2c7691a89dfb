/** Types of values that go from one stage to another, of services and of events, checked by the compiler. */
import type { Readable } from 'node:stream'
import test from 'ava'
import type { Actor, CallContext, Stage } from '../../src/index.js'
import { checkTypes } from '../helpers/check-types.js'

class Money {
  #cents = 0
  constructor(public amount: number, public currency: string) {}
  format(): string { return `${this.amount} ${this.currency} ${this.#cents}` }
  plus(other: Money): Money { return new Money(this.amount + other.amount, this.currency) }
}
class Account { balance = new Money(1, 'EUR'); owner = 'bob'; history: Money[] = []; close(): void {} }

interface Shop {
  price(article: string): Money
  pay(money: Money, note?: string): boolean
  all(): Promise<Money[]>
  each(fn: (n: number) => string): void
  subscribe(): { id: string; stop: (why?: string) => void }
  tools(): { open(): string; shut(): void }
  rows(table: string): AsyncIterable<Money>
  file(): Readable
  byName(): Map<string, Money>
  anything(value: unknown): unknown
  same<T>(value: T): T
  later<T>(value: T): Promise<T>
  note<T>(value: T): void
  find(id: number): string
  find(name: string, exact: boolean): number
}

/** This file is checked by the compiler: each `@ts-expect-error` is an error that a user must get. It never runs. */
export async function typed(stage: Stage): Promise<void> {
  const shop = stage.to('shop').as<Shop>()

  // an instance of a class arrives as its data
  const price = await shop.price('apple')
  const amount: number = price.amount
  // @ts-expect-error its methods stay where it was
  price.format()
  // @ts-expect-error methods with parameters, too
  price.plus(price)
  // @ts-expect-error in lists
  ;(await shop.all())[0].format()
  for await (const row of await shop.rows('x')) {
    const currency: string = row.currency
    // @ts-expect-error in iterables
    row.format()
    void currency
  }
  // @ts-expect-error in maps
  ;(await shop.byName()).get('x')?.format()
  // and data is enough as an argument
  await shop.pay({ amount: 1, currency: 'EUR' })
  await shop.pay(new Money(1, 'EUR'), 'thanks')
  // @ts-expect-error all of the data
  await shop.pay({ amount: 1 })

  // functions arrive as functions that return promises
  await shop.each((n) => n.toFixed())
  await shop.each(async (n) => n.toFixed())
  // @ts-expect-error the result of the callback
  await shop.each((n) => n)
  const { id, stop } = await shop.subscribe()
  const stopped: Promise<void> = stop('why')
  const opened: Promise<string> = (await shop.tools()).open()
  const file: Readable = await shop.file()
  const anything: unknown = await shop.anything(1)
  void [amount, id, stopped, opened, file, anything]

  // several signatures and type parameters
  const text: string = await shop.find(1)
  const count: number = await shop.find('x', true)
  // @ts-expect-error no such signature
  await shop.find(true)
  const later: 'x' = await shop.later('x' as const)
  await shop.note('x')
  // @ts-expect-error the type parameters of a method that returns no promise would be lost
  await shop.same('x')
  void [text, count, later]

  // actors
  const account = stage.actor<Account>('accounts.1')
  const balance: number = (await account.balance).amount
  // @ts-expect-error a property is data as well
  ;(await account.balance).format()
  const closed: Promise<void> = account.close()
  for await (const { balance: now, history } of stage.observe<Account>('accounts.1', ['balance', 'history'])) {
    const left: number = now.amount + history.length
    // @ts-expect-error and what is watched
    now.format()
    void left
  }
  void [balance, closed]
  passesOn(account)
}

function passesOn(account: Actor<Account>): void { void account }

/** Proxies of a type that is a parameter. */
export async function generic<T extends { id: string }>(stage: Stage, value: T): Promise<string> {
  interface Box<V> { content: V; get(): V; put(value: V): void; name(): string }
  const box = stage.actor<Box<T>>('boxes.1')
  const name: string = await box.name()
  const got = await box.get()
  void [got, value]
  return name
}

type Json = string | number | boolean | null | Json[] | { [key: string]: Json }
interface Job { id: string; payload: any; tags: string[]; done: () => void } // eslint-disable-line @typescript-eslint/no-explicit-any -- as users write it
interface Lists extends Array<Money> { extra: number }
interface Odd { json(): Json; put(value: Json): void; submit(job: Job): void; job(): Job; nested(): number | Nested; lists(lists: Lists): void }
type Nested = (number | Nested)[]

/** Types that a mapping could lose or not end with. */
export async function odd(stage: Stage, lists: Lists): Promise<void> {
  const there = stage.to('odd').as<Odd>()
  const json: Json = await there.json()
  await there.put({ deep: [1, { deeper: null }] })
  await there.submit({ id: 'x', payload: { any: 'thing' }, tags: [], done: () => {} })
  const { payload, done } = await there.job()
  const over: Promise<void> = done()
  const nested: number | Nested = await there.nested()
  await there.lists(lists)
  void [json, payload, over, nested]
}

/** A service whose type is a parameter. */
export async function repository<T extends { id: string }>(stage: Stage, item: T): Promise<void> {
  interface Repository { put(item: T): void; get(id: string): T }
  await stage.to('items').as<Repository>().put(item)
}

/** The callee's end. */
export function served(stage: Stage): void {
  interface Api { greet(name: string): string; each(fn: (n: number) => string): void; pay(money: Money): number; slow(n: number): Promise<number> }
  const to = stage.to('*')
  to.serve<Api>({
    greet: (name) => name.toUpperCase(),
    async each(fn) { const one: string = await fn(1); void one },
    pay: ({ amount }) => amount,
    slow: (n) => n, // async or not
  })
  class Impl implements Pick<Api, 'greet'> { #n = 0; greet(name: string): string { return name + this.#n } }
  to.serve<Pick<Api, 'greet'>>(new Impl())
  to.serve(new Impl(), { methods: {} })
  to.serve<Pick<Api, 'greet'>>({ greet: (call, name) => call.peer.name + name }, { withCall: true })
  // @ts-expect-error a missing method
  to.serve<Api>({ greet: (name) => name })
  // @ts-expect-error a wrong result
  to.serve<Pick<Api, 'greet'>>({ greet: () => 1 })
  // @ts-expect-error a wrong parameter
  to.serve<Pick<Api, 'greet'>>({ greet: (name: number) => String(name) })
  // @ts-expect-error what arrives is no instance
  to.serve<Pick<Api, 'pay'>>({ pay: (money: Money) => money.format().length })
  // @ts-expect-error the result of a callback is a promise
  to.serve<Pick<Api, 'each'>>({ each(fn) { fn(1).toUpperCase() } })
  // @ts-expect-error a method that is not there
  to.serve<Pick<Api, 'greet'>>(new Impl(), { methods: { great: {} } })
  // @ts-expect-error no object
  to.serve('greet')

  to.provide<Api>('greet', (name: string) => name)
  to.provide<Api>('greet', { idempotent: true }, function (this: CallContext, name: string) { return name + this.peer.name })
  // @ts-expect-error a wrong name
  to.provide<Api>('great', (name: string) => name)
  // @ts-expect-error a wrong parameter
  to.provide<Api>('greet', (name: number) => String(name))
  // @ts-expect-error a wrong result
  to.provide<Api>('greet', (name: string) => name.length)
  to.provide(new Impl())
}

const HEAD = "import { Stage } from 'stagemesh'\nconst stage = new Stage('a')\n"
const errorsOf = (text: string): string => checkTypes(`${HEAD}${text}`).errors.join('\n')

test('the examples above compile, with an error wherever a user must get one', (t) => {
  t.is(typeof typed, 'function')
})

test('a misspelt event is answered with the names that there are', (t) => {
  const errors = errorsOf("stage.on('jion', () => {})")
  t.regex(errors, /"jion"/)
  for (const name of ['listening', 'join', 'part', 'update']) t.true(errors.includes(`"${name}"`), errors)
})

test('what keeps a method from being called is said in words', (t) => {
  t.regex(errorsOf("interface Api { same<T>(value: T): T }\nvoid stage.to('x').as<Api>().same(1)"), /type parameters of this method, or more than four signatures, would be lost: declare that it returns a Promise/)
})
