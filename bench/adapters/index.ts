import type { Adapter } from '../adapter.js'
import type { Kind } from '../registries.js'

/** The module of an adapter, and its name in the table. A module is loaded only if it is measured. */
interface Known { title: string; load(): Promise<Adapter> }

/** One adapter for each kind of registry and each number of stages, such as `idle-redis-10`. */
function onRegistries(
  what: string, counts: Readonly<Record<'redis' | 'postgres', readonly number[]>>, load: (kind: Kind, count: number) => Promise<Adapter>,
): Record<string, Known> {
  const names = (['redis', 'postgres'] as const).flatMap((kind) => counts[kind].map((count) => ({ kind, count })))
  return Object.fromEntries(names.map(({ kind, count }) => [`${what}-${kind}-${count}`, {
    title: `${count} stages on ${kind}`, load: async () => load((await import('../registries.js'))[kind], count),
  }]))
}

export const adapters: Readonly<Record<string, Known>> = {
  'raw': { title: 'raw', load: async () => (await import('./raw.js')).raw },
  'raw-msgpack': { title: 'raw + msgpackr, plain maps', load: async () => (await import('./raw.js')).rawMsgpack },
  'raw-json': { title: 'raw + JSON', load: async () => (await import('./raw.js')).rawJson },
  'raw-beside': { title: 'raw, with an idle stage in both processes', load: async () => (await import('./stagemesh.js')).rawBeside },
  'raw-ipc': { title: 'raw, unix socket', load: async () => (await import('./raw.js')).rawIpc },
  'stagemesh': { title: '**stagemesh**', load: async () => (await import('./stagemesh.js')).stagemesh },
  'stagemesh-json': { title: '**stagemesh**, codec JSON', load: async () => (await import('./stagemesh.js')).stagemeshJson },
  'stagemesh-intercepted': { title: '**stagemesh**, an interceptor on each side', load: async () => (await import('./stagemesh.js')).stagemeshIntercepted },
  'stagemesh-ipc': { title: '**stagemesh**, ipc', load: async () => (await import('./stagemesh.js')).stagemeshIpc },
  'raw-tls': { title: 'raw, TLS', load: async () => (await import('./carriers.js')).rawTls },
  'raw-ws': { title: 'raw, over ws', load: async () => (await import('./carriers.js')).rawWs },
  'raw-port': { title: 'raw, over a MessagePort', load: async () => (await import('./carriers.js')).rawPort },
  'stagemesh-tls': { title: '**stagemesh**, TLS', load: async () => (await import('./carriers.js')).stagemeshTls },
  'stagemesh-ws': { title: '**stagemesh**, WebSocket', load: async () => (await import('./carriers.js')).stagemeshWs },
  'stagemesh-udp': { title: '**stagemesh**, UDP', load: async () => (await import('./carriers.js')).stagemeshUdp },
  'stagemesh-worker': { title: '**stagemesh**, a thread', load: async () => (await import('./carriers.js')).stagemeshWorker },
  'stagemesh-child': { title: '**stagemesh**, a forked child', load: async () => (await import('./carriers.js')).stagemeshChild },
  'raw-holding': { title: 'raw, in processes that hold 600 000 objects', load: async () => (await import('./holding.js')).rawHolding },
  'stagemesh-holding': { title: '**stagemesh**, in processes that hold 600 000 objects', load: async () => (await import('./holding.js')).stagemeshHolding },
  'stagemesh-empty-holding': { title: '**stagemesh**, empty chain, in processes that hold 600 000 objects', load: async () => (await import('./holding.js')).stagemeshEmptyHolding },
  'stagemesh-empty': { title: '**stagemesh**, empty chain', load: async () => (await import('./stagemesh.js')).stagemeshEmpty },
  'actor': { title: '**stagemesh**, an actor', load: async () => (await import('./stagemesh.js')).actor },
  'actor-durable': { title: '**stagemesh**, a durable actor (lmdb)', load: async () => (await import('./stagemesh.js')).actorDurable },
  'ws': { title: 'ws + JSON by hand', load: async () => (await import('./ws.js')).ws },
  'deepkit': { title: '@deepkit/rpc-tcp', load: async () => (await import('./deepkit.js')).deepkit },
  'moleculer-tcp': { title: 'moleculer, TCP', load: async () => (await import('./moleculer.js')).moleculerTcp },
  'moleculer-redis': { title: 'moleculer, Redis (CPU without that of Redis)', load: async () => (await import('./moleculer.js')).moleculerRedis },
  'grpc-bidi': { title: 'gRPC, one stream both ways', load: async () => (await import('./grpc.js')).grpcBidi },
  'grpc': { title: 'gRPC, unary', load: async () => (await import('./grpc.js')).grpcUnary },
  'promise': { title: 'a method, and a promise', load: async () => (await import('./within.js')).promise },
  'within-actor': { title: '**stagemesh**, an actor', load: async () => (await import('./within.js')).actor },
  'within-actor-intercepted': { title: '**stagemesh**, an actor, an interceptor on each side', load: async () => (await import('./within.js')).actorIntercepted },
  'within-actor-durable': { title: '**stagemesh**, a durable actor in memory', load: async () => (await import('./within.js')).actorDurable },
  'within-rpc': { title: '**stagemesh**, a stage to itself', load: async () => (await import('./within.js')).rpc },
  'within-memory': { title: '**stagemesh**, two stages over memory', load: async () => (await import('./within.js')).memory },
  'nact': { title: 'nact, a query', load: async () => (await import('./within.js')).nactQuery },
  'comedy': { title: 'comedy, in memory', load: async () => (await import('./within.js')).comedyMemory },
  'comedy-forked': { title: 'comedy, forked (CPU without that of the child)', load: async () => (await import('./within.js')).comedyForked },
  'moleculer-local': { title: 'moleculer, local', load: async () => (await import('./within.js')).moleculerLocal },
  'links': { title: 'links', load: async () => (await import('./footprint.js')).links },
  'actors': { title: 'actors', load: async () => (await import('./footprint.js')).actors },
  'observers': { title: 'observers', load: async () => (await import('./observers.js')).observers },
  ...onRegistries('idle', { redis: [10, 100, 300], postgres: [10, 100, 300] }, async (kind, count) => (await import('./idle.js')).idle(kind, count)),
  ...onRegistries('churn', { redis: [50, 200, 400, 1000], postgres: [50, 200, 400] }, async (kind, count) => (await import('./churn.js')).churn(kind, count)),
  'startup': { title: 'startup', load: async () => (await import('./startup.js')).startup },
  'capnweb': { title: 'capnweb over ws', load: async () => (await import('./capnweb.js')).capnweb },
}
