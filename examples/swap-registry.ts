/**
 * The registry is an option of the constructor: the rest of the program stays as it is.
 *
 *     node dist/examples/swap-registry.js                            a registry in this process
 *     node dist/examples/swap-registry.js local:                     the registry of this machine, without a server
 *     node dist/examples/swap-registry.js redis://127.0.0.1:6379     a registry on a Redis
 */
import { Stage } from 'stagemesh'

const registry = process.argv[2] ?? 'memory:'
const options = { registry, namespace: `swap-registry-${process.pid}` } // so that two runs of this example do not see each other

const api = new Stage('api', options)
api.to('*').provide('greet', (name: string) => `hi there, ${name}`)

const web = new Stage('web', options)
console.log(await web.to('api').call('greet', 'bob'))
console.log(`found on ${registry} at ${web.peers()[0]?.addresses.join(', ')}`)

await web.close()
await api.close()
