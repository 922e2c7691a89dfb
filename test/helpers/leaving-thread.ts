/** A worker thread with a stage in it, which ends on request without closing the stage. */
import { parentPort, workerData } from 'node:worker_threads'
import { Stage } from '../../src/index.js'
import { leave, type Way } from './leaving.js'

const { registry, way } = workerData as { registry: string, way: Exclude<Way, 'kill'> }
const stage = new Stage('thread', registry)
await stage.ready()
parentPort!.postMessage(stage.id)
parentPort!.once('message', () => leave(way))
