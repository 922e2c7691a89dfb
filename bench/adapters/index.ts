import type { Adapter } from '../adapter.js'

/** Where an adapter is found, and how the table calls it. A module is loaded only where it is measured. */
interface Known { title: string; load(): Promise<Adapter> }

export const adapters: Readonly<Record<string, Known>> = {
  'raw': { title: 'raw', load: async () => (await import('./raw.js')).raw },
  'raw-msgpack': { title: 'raw + msgpackr, plain maps', load: async () => (await import('./raw.js')).rawMsgpack },
  'raw-json': { title: 'raw + JSON', load: async () => (await import('./raw.js')).rawJson },
  'raw-ipc': { title: 'raw, unix socket', load: async () => (await import('./raw.js')).rawIpc },
  'stagemesh': { title: '**stagemesh**', load: async () => (await import('./stagemesh.js')).stagemesh },
  'stagemesh-json': { title: '**stagemesh**, codec JSON', load: async () => (await import('./stagemesh.js')).stagemeshJson },
  'stagemesh-ipc': { title: '**stagemesh**, ipc', load: async () => (await import('./stagemesh.js')).stagemeshIpc },
  'stagemesh-empty': { title: '**stagemesh**, empty chain', load: async () => (await import('./stagemesh.js')).stagemeshEmpty },
  'actor': { title: '**stagemesh**, an actor', load: async () => (await import('./stagemesh.js')).actor },
  'actor-durable': { title: '**stagemesh**, a durable actor (lmdb)', load: async () => (await import('./stagemesh.js')).actorDurable },
  'ws': { title: 'ws + JSON by hand', load: async () => (await import('./ws.js')).ws },
  'deepkit': { title: '@deepkit/rpc-tcp', load: async () => (await import('./deepkit.js')).deepkit },
  'moleculer-tcp': { title: 'moleculer, TCP', load: async () => (await import('./moleculer.js')).moleculerTcp },
  'moleculer-redis': { title: 'moleculer, Redis', load: async () => (await import('./moleculer.js')).moleculerRedis },
  'grpc-bidi': { title: 'gRPC, one stream both ways', load: async () => (await import('./grpc.js')).grpcBidi },
  'grpc': { title: 'gRPC, unary', load: async () => (await import('./grpc.js')).grpcUnary },
  'promise': { title: 'a method, and a promise', load: async () => (await import('./within.js')).promise },
  'within-actor': { title: '**stagemesh**, an actor', load: async () => (await import('./within.js')).actor },
  'within-actor-durable': { title: '**stagemesh**, a durable actor in memory', load: async () => (await import('./within.js')).actorDurable },
  'within-rpc': { title: '**stagemesh**, a stage to itself', load: async () => (await import('./within.js')).rpc },
  'within-memory': { title: '**stagemesh**, two stages over memory', load: async () => (await import('./within.js')).memory },
  'nact': { title: 'nact, a query', load: async () => (await import('./within.js')).nactQuery },
  'comedy': { title: 'comedy, in memory', load: async () => (await import('./within.js')).comedyMemory },
  'comedy-forked': { title: 'comedy, a process of its own', load: async () => (await import('./within.js')).comedyForked },
  'moleculer-local': { title: 'moleculer, local', load: async () => (await import('./within.js')).moleculerLocal },
  'links': { title: 'links', load: async () => (await import('./footprint.js')).links },
  'actors': { title: 'actors', load: async () => (await import('./footprint.js')).actors },
  'startup': { title: 'startup', load: async () => (await import('./startup.js')).startup },
  'idle-10': { title: '10 idle stages', load: async () => (await import('./idle.js')).idle(10) },
  'idle-100': { title: '100 idle stages', load: async () => (await import('./idle.js')).idle(100) },
  'idle-300': { title: '300 idle stages', load: async () => (await import('./idle.js')).idle(300) },
  'capnweb': { title: 'capnweb over ws', load: async () => (await import('./capnweb.js')).capnweb },
}
