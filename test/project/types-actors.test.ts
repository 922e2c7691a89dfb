/** Types of actors, checked by the compiler. */
import test, { type ExecutionContext } from 'ava'
import type { Params } from '../../wrappers/actors/types.js'
import { Stage, type Actor, type CallContext, type Self } from '../../src/index.js'

class Player {
  hp = 100
  armor = 0.5
  isDead = false
  nick?: string
  readonly seen = new Date(0)
  readonly tags = new Set<string>()
  version = 1
  self!: Self
  private readonly secret = 'x'
  constructor(readonly params: { id: string }) {}
  attack(damage: number): number {
    this.hp -= damage * (1 - this.armor)
    return this.hp
  }
  async heal(by: number, why?: string): Promise<string> { return `${this.secret} ${by} ${why}` }
  same<T>(value: T): Promise<T> { return Promise.resolve(value) }
  who(this: Player, short: boolean): string { return short ? this.params.id : this.self.address }
  async *log(from: number): AsyncGenerator<string> { yield String(from) }
  optional?(): boolean
  activate(): void {}
  deactivate(): void {}
  _hidden(): void {}
  _count = 0
  toString(): string { return 'Player' }
}

/** These functions are checked by the compiler: each `@ts-expect-error` is an error that a user must get. They never run. */
export async function called(stage: Stage): Promise<void> {
  const player = stage.actor<Player>('players.42', { timeoutMs: 300, signal: new AbortController().signal })
  const sync: number = await player.attack(10)
  const later: string = await player.heal(1)
  const same: 'x' = await player.same('x' as const)
  const who: string = await player.who(true)
  const maybe: boolean = await player.optional()
  for await (const line of await player.log(1)) { const text: string = line; void text }
  const hp: number = await player.hp
  const nick: string | undefined = await player.nick
  const seen: Date = await player.seen
  const [both, and]: [number, boolean] = await Promise.all([player.hp, player.isDead])
  // @ts-expect-error a property is not its value
  const value: number = player.hp
  // @ts-expect-error nor is what a method returns
  const result: number = player.attack(1)
  // @ts-expect-error it is read, and not written
  player.hp = 1
  // @ts-expect-error a wrong method
  await player.atack(1)
  // @ts-expect-error a wrong argument
  await player.attack('1')
  // @ts-expect-error a missing argument
  await player.heal()
  // @ts-expect-error a property is no method
  await player.hp()
  void [
    // @ts-expect-error private
    player.secret,
    // @ts-expect-error an underscore is private
    player._hidden,
    // @ts-expect-error and so is this one
    player._count,
    // @ts-expect-error a hook
    player.activate,
    // @ts-expect-error a hook too
    player.deactivate,
    // @ts-expect-error the actor's own
    player.self,
  ]
  // @ts-expect-error an unknown option
  stage.actor<Player>('players.42', { timeout: 3 })

  interface Sealed { key: symbol; later: Promise<number> }
  const sealed = stage.actor<Sealed>('sealed')
  const key: 'a symbol cannot be sent to another stage' = await sealed.key
  const promised: 'a promise cannot be sent to another stage: keep what it resolves to' = await sealed.later

  // nothing is known of it: like an untyped call
  const untyped = stage.actor('players.42')
  const read: number = await untyped.hp
  const answer: string = await untyped.anything(1, 'two')
  // the place where it goes says what it is
  const typed: Actor<Player> = stage.actor('players.42')
  const wider: Actor<{ hp: number }> = typed
  // @ts-expect-error another type of actors
  const other: Actor<{ mana: number }> = typed
  void [sync, later, same, who, maybe, hp, nick, seen, both, and, value, result, key, promised, read, answer, wider, other]
}

class Room {
  leader?: Actor<Player>
  readonly seats = new Map<string, Actor<Player>>()
  take(seat: string, who: Actor<Player>): void { this.seats.set(seat, who) }
  who(seat: string): Actor<Player> | undefined { return this.seats.get(seat) }
  async all(others: readonly Actor<Player>[]): Promise<Actor<Player>[]> { return [...others, ...this.seats.values()] }
}

/** A proxy is a value wherever a parameter, a result or a property says `Actor<T>`. */
export async function passed(stage: Stage): Promise<void> {
  interface Api { seat(who: Actor<Player>): Promise<Actor<Player>>; pick(): Actor<Room> }
  const [room, player] = [stage.actor<Room>('rooms.1'), stage.actor<Player>('players.42')]
  await room.take('a', player)
  await room.take('a', stage.actor('players.43'))
  const who: Actor<Player> | undefined = await room.who('a')
  const all: Actor<Player>[] = await room.all([player])
  const leader: Actor<Player> | undefined = await room.leader
  const seats: Map<string, Actor<Player>> = await room.seats
  const hp: number | undefined = await (await room.leader)?.hp
  const remote = stage.to('api').as<Api>()
  const seated: Actor<Player> = await remote.seat(player)
  const picked: Actor<Room> = await remote.pick()
  await stage.to('api').call('seat', player)
  for await (const update of stage.observe(room, ['leader'])) { const one: Actor<Player> | undefined = update.leader; void one }
  // @ts-expect-error another type of actors
  await room.take('a', room)
  // @ts-expect-error its address is no proxy
  await room.take('a', 'players.42')
  // @ts-expect-error a property that was not awaited is not one either
  await room.take('a', room.leader)
  void [who, all, leader, seats, hp, seated, picked]
}

export async function watched(stage: Stage, signal: AbortSignal): Promise<void> {
  for await (const { hp, isDead, version } of stage.observe<Player>('players.42', ['hp', 'isDead'])) {
    const update: [number, boolean, number] = [hp, isDead, version]
    void update
  }
  const player = stage.actor<Player>('players.42')
  for await (const update of stage.observe(player, ['hp', 'tags', 'nick'], { mode: 'every', signal })) {
    const values: [number, Set<string>, string | undefined, number, true | undefined] = [update.hp, update.tags, update.nick, update.version, update.reset]
    // @ts-expect-error nobody asked for it
    void [values, update.armor]
  }
  // @ts-expect-error an unknown property
  stage.observe<Player>('players.42', ['hp', 'mana'])
  // @ts-expect-error by proxy too
  stage.observe(player, ['mana'])
  // @ts-expect-error a method has no values
  stage.observe(player, ['attack'])
  // @ts-expect-error an underscore is private
  stage.observe(player, ['_count'])
  // @ts-expect-error each update has a version of its own
  stage.observe(player, ['version'])
  // @ts-expect-error no such mode
  stage.observe(player, ['hp'], { mode: 'all' })
  // @ts-expect-error not an actor
  stage.observe(new Player({ id: '1' }), ['hp'])
  for await (const { hp, version } of stage.observe('players.42', ['hp'])) {
    const untyped: [number, number] = [hp, version]
    void untyped
  }
  for await (const { hp } of stage.observe(stage.actor('players.42'), ['hp'])) { const untyped: number = hp; void untyped }
  await stage.explain(player)
  // @ts-expect-error not an actor
  await stage.explain({ address: 'players.42' })
}

class Seat {
  taken?: string
  constructor(readonly at: { room: string; n: string }) {}
  take(who: string): void { this.taken = who }
}
interface Old { id: string; hp: number }
function Old(this: Old, { id }: { id: string }): void { this.id = id; this.hp = 100 }

export function defined(stage: Stage, anywhere: string): void {
  stage
    .define({ pattern: 'players.{id}', constructor: Player, durable: true })
    .define({ pattern: 'rooms.{room}.seats.{n}', constructor: Seat, durable: ['taken', '_since'], readonly: ['take'] })
    .define({ pattern: 'old.{id}', constructor: Old, durable: ['hp'] })
    .define({ pattern: 'clock', constructor: class { now = 0 } })
    .define({ pattern: 'a.{x}.b.{y}', create: ({ x, y }, self) => ({ text: `${x}${y}`, address: self.address, stop: () => self.deactivate() }), durable: ['text'] })
    .define({ pattern: anywhere, constructor: Seat })
    .define({ pattern: anywhere, create: (params) => ({ id: params['id'] }) })
  const params: Params<'rooms.{room}.seats.{n}'> = { room: 'a', n: '1' }
  void params
  // @ts-expect-error neither of the two
  stage.define({ pattern: 'players.{id}' })
  // @ts-expect-error both of them
  stage.define({ pattern: 'players.{id}', constructor: Player, create: () => new Player({ id: '' }) })
  // @ts-expect-error the pattern has no id
  stage.define({ pattern: 'players.{name}', constructor: Player })
  // @ts-expect-error nor has this one
  stage.define({ pattern: 'old.{name}', constructor: Old })
  // @ts-expect-error no such parameter
  stage.define({ pattern: 'a.{x}', create: ({ y }) => ({ y }) })
  // @ts-expect-error not an object
  stage.define({ pattern: 'a.{x}', create: () => 3 })
  // @ts-expect-error no such property
  stage.define({ pattern: 'players.{id}', constructor: Player, durable: ['hpp'] })
  // @ts-expect-error no such method
  stage.define({ pattern: 'players.{id}', constructor: Player, readonly: ['look'] })
  // @ts-expect-error an unknown option
  stage.define({ pattern: 'players.{id}', constructor: Player, durabel: true })
  // @ts-expect-error no such moment
  stage.define({ pattern: 'players.{id}', constructor: Player, commit: 'never' })
}

export function fromWithin(stage: Stage): void {
  stage.to('*').provide('strike', async function (id: string) {
    const left: number = await this.actor<Player>(`players.${id}`, { timeoutMs: 100 }).attack(1)
    // @ts-expect-error a wrong method
    await this.actor<Player>(`players.${id}`).strike()
    return left
  })
  class Arena {
    self!: Self
    async fight(this: Arena, a: string): Promise<number> {
      const hp: number = await this.self.actor<Player>(`players.${a}`).attack(1)
      return hp
    }
    async served(this: CallContext): Promise<number> { return this.actor<Player>('players.1').hp }
  }
  void Arena
}

function host(t: ExecutionContext): Stage {
  const stage = new Stage('host', `memory:${t.title.slice(0, 30)}`)
  t.teardown(() => stage.close())
  return stage
}

test('define() takes either a constructor or create, and a constructor is one that makes objects', (t) => {
  const stage = host(t)
  const define = stage.define.bind(stage) as (type: unknown) => Stage
  t.throws(() => define({ pattern: 'a.{id}' }), { instanceOf: TypeError, message: /either constructor or create/ })
  t.throws(() => define({ pattern: 'a.{id}', constructor: Seat, create: () => ({}) }), { instanceOf: TypeError, message: /either constructor or create/ })
  for (const constructor of [() => ({}), { method() {} }.method, async () => ({})]) {
    t.throws(() => define({ pattern: 'a.{id}', constructor }), { instanceOf: TypeError, message: /cannot be called with new/ })
  }
  let made = 0
  define({ pattern: 'a.{id}', constructor: class { constructor() { made++ } } })
  t.is(made, 0, 'nothing was made to find that out')
})

test('a class with a field for its self gets it', async (t) => {
  const stage = host(t)
  class Plain {
    self!: Self
    hits = 0
    before = typeof this.self
    where(): string { this.hits++; return this.self.address }
  }
  class Declared {
    declare readonly self: Self
    where(): string { return this.self.address }
  }
  stage.define({ pattern: 'plain.{id}', constructor: Plain, durable: true }).define({ pattern: 'declared.{id}', constructor: Declared })
  t.is(await stage.actor<Plain>('plain.1').where(), 'plain.1')
  t.is(await stage.actor<Plain>('plain.1').before, 'undefined', 'it is given when the object is made')
  t.is(await stage.actor<Declared>('declared.1').where(), 'declared.1')
  const error = await t.throwsAsync(async () => stage.actor('plain.1').self(), { instanceOf: TypeError })
  t.regex(error.message, /not a function/)
})
