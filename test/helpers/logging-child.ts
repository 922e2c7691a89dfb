/**
 * Causes lines in the debug log, with texts from outside that would control a terminal: `NODE_DEBUG=stagemesh node
 * logging-child.js`.
 */
import { LocalRegistry, MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, StageError } from '../../src/index.js'
import { log } from '../../src/log.js'
import { HOSTILE } from './hostile-text.js'
import { until } from './until.js'

const network = new MemoryNetwork()
const make = (name: string): Stage => new Stage(name, new MemoryRegistry('logging'), new MemoryInterface(network), { timeoutMs: 300 })
const registry = new MemoryRegistry('logging')
const [api, web] = [make('api \u202eevil'), make('web\u2066')]
for (const stage of [api, web]) stage.on('error', () => {}).on('failed', () => {})
await Promise.all([api.ready(), web.ready()])

api.to('*').provide('fail', () => { throw new Error(HOSTILE) })
await web.to(api.name).call('fail').catch((error: unknown) => log(web.name, (error as Error).message))
for (const [i, text] of [HOSTILE, JSON.stringify({ name: HOSTILE }), `{"${HOSTILE}`].entries()) registry.edit('default', `by-hand-${i}`, text)
const entry = { id: 'ghost', name: 'ghost\u202e', namespace: 'default', addresses: ['memory://nowhere/1'], unique: false, draining: false, ttlMs: 15_000, announces: {}, meta: { [HOSTILE]: 5 } }
registry.edit('default', entry.id, JSON.stringify(entry))
await until(() => web.lookup(entry.name).length === 1)
web.to(entry.name).cast('fail')
await web.to(entry.name, { timeoutMs: 900 }).call('fail').catch(() => {})
network.cut()
log(HOSTILE, HOSTILE)
log(new LocalRegistry(`/tmp/${HOSTILE}`).address, new StageError('CLOSED', HOSTILE).message)
await Promise.all([api.close(), web.close(), registry.close()])
