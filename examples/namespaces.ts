/**
 * A namespace per environment: the same names in each, and no configuration file to tell them apart.
 *
 *     NODE_ENV=production node dist/examples/namespaces.js
 */
import { MemoryRegistry, Stage, StageError } from 'stagemesh'

// one registry for all environments; separate processes would pass 'redis://…' here
const registry = new MemoryRegistry()
const environments = ['dev', 'production']

// a database in each environment, both with the same name
const databases = environments.map((environment) => {
  const stage = new Stage('db-server-1', { registry, namespace: environment })
  stage.to('*').provide('query', () => `rows of ${environment}`)
  return stage
})

// my-server-app finds the database of its own environment
const net = new Stage('my-server-app', { registry })
net.setPeerNamespace(process.env['NODE_ENV'] ?? 'dev')

if (environments.includes(net.namespace)) {
  console.log(`${net.namespace}: ${await net.to('db-server-1').call('query')}`)
  console.log(`peers: ${net.peers().map((peer) => `${peer.namespace}/${peer.name}`).join(', ')}`)
} else {
  const error: unknown = await net.to('db-server-1', { timeoutMs: 500 }).call('query').catch((thrown: unknown) => thrown)
  console.log(`${net.namespace}: ${error instanceof StageError ? error.code : String(error)}`)
}

// a stage cannot reach beyond its namespace, even with a full name
const other = environments.find((environment) => environment !== net.namespace)
const error: unknown = await net.call(`${other}://db-server-1/query`).catch((thrown: unknown) => thrown)
console.log(`${other}://db-server-1/query: ${error instanceof StageError ? error.code : String(error)}`)

await Promise.all([net, ...databases].map((stage) => stage.close()))
