/** Types of calls and stages, checked by the compiler. */
import test from 'ava'
import type { Link, Mesh, Mounted } from 'stagemesh/types'
import type { Watchable } from 'stagemesh/wrappers/actors'
import { Stage, framing, rpc, type CallContext, type Registry, type StageError } from '../../src/index.js'

/** This file is checked by the compiler: each `@ts-expect-error` is an error that a user must get. It never runs. */
export async function typed(stage: Stage, registry: Registry): Promise<void> {
  interface Api {
    greet(name: string): string
    count(from: number, to?: number): Promise<number>
    size: number
    _hidden(): void
  }
  const api = stage.to('api').as<Api>()
  const text: string = await api.greet('bob')
  const count: number = await api.count(1)
  // @ts-expect-error a wrong method
  await api.great('bob')
  // @ts-expect-error a wrong argument
  await api.greet(1)
  // @ts-expect-error a missing argument
  await api.greet()
  // @ts-expect-error a property is no method
  await api.size()
  // @ts-expect-error an underscore is private
  await api._hidden()
  // @ts-expect-error the answer is no number
  const wrong: number = await api.greet('bob')

  class Impl { constructor(readonly n: number) {} plus(m: number): number { return this.n + m } }
  const sum: number = await stage.to('impl').as<Impl>().plus(2)
  class Served { async slow(this: CallContext, n: number): Promise<number> { return this.to('db').call<number>('query', n) } same<T>(value: T): Promise<T> { return Promise.resolve(value) } }
  const answer: number = await stage.to('served').as<Served>().slow(3)
  const same: 'x' = await stage.to('served').as<Served>().same('x' as const)
  void [answer, same]

  // en-masse's form, without annotations
  stage.to('*').provide('greet', (name, cb) => cb('hi there, ' + name))
  stage.to('*').provide('who', function () { return this.peer.name.toUpperCase() })
  stage.to('*').provide('slow', async function (n: number) { return this.to('db').call('query', n) })
  // @ts-expect-error a handler is a function
  stage.to('*').provide('greet', 'hello')

  for await (const r of stage.to('*').callAll<number>('f')) {
    if (r.error) { const error: StageError = r.error; void error } else { const value: number = r.value; void value }
  }
  stage.on('part', (peer, reason) => { const why: 'closed' | 'timeout' = reason; void [peer.name, why] })
  // @ts-expect-error no such event
  stage.on('parted', () => {})
  stage.to('late-*', { persist: true }, (err, stream, peer) => void [err?.code, stream.destroyed, peer.id])
  // @ts-expect-error an unknown option
  stage.to('x', { timeout: 3 })
  void new Stage('a', registry, [], { chain: [framing(), rpc()], ttlMs: 3000 })
  void new Stage('b', 'local:', undefined, { namespace: 'dev' })
  void new Stage('c', { namespace: 'dev' })
  void [text, count, wrong, sum]
}

/** What is seldom needed is there under names of its own. */
export function seldom(mesh: Mesh, link: Link): Mounted {
  const watchable: Watchable<{ hp: number; hit(): void }> = 'hp'
  return { stats: () => ({ [watchable]: link.load, [mesh.self.name]: 1 }) }
}

test('the types are checked by the compiler', (t) => t.pass())
