/**
 * A program of node's cluster: `node cluster-child.js <registry> <workers> <interfaces>`. Each worker is a stage that
 * answers with its own name; once all are listed, the primary prints the addresses of each and its answer.
 */
import cluster from 'node:cluster'
import { IpcInterface, Stage, TcpInterface } from '../../src/index.js'
import { asError } from '../../src/errors.js'
import { until } from './until.js'

const [registry = '', workers = '', which = ''] = process.argv.slice(2)
const stage = (name: string): Stage => new Stage(name, registry, which === 'tcp' ? new TcpInterface() : which === 'ipc' ? new IpcInterface() : undefined)

if (cluster.isPrimary) {
  for (let i = 0; i < Number(workers); i++) cluster.fork({ WORKER: `worker-${i}` })
  const web = stage('web')
  await until(() => web.lookup('worker-*').length === Number(workers), 30_000)
  const answers = await Promise.all(web.lookup('worker-*').map(async ({ name, addresses }) =>
    ({ name, addresses, answer: await web.to(name).call<string>('who').catch((error: unknown) => asError(error).message) })))
  console.log(JSON.stringify(answers))
  for (const worker of Object.values(cluster.workers ?? {})) worker?.kill('SIGKILL')
  process.exit()
} else {
  process.once('disconnect', () => process.exit())
  const name = process.env['WORKER'] ?? ''
  stage(name).to('*').provide('who', () => name)
}
