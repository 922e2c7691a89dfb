import { Cluster } from 'ioredis'
import { freePort } from './free-port.js'
import { RedisServer } from './redis-server.js'
import { until } from './until.js'

const SLOTS = 16_384

/** A cluster of three real masters, each with as many replicas as one asks for. */
export class RedisCluster {
  private constructor(readonly masters: readonly RedisServer[], readonly replicas: readonly RedisServer[]) {}

  static async start(replicasEach = 0): Promise<RedisCluster> {
    const start = async (): Promise<RedisServer> => RedisServer.start(
      '--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-port', String(await freePort()),
      '--cluster-node-timeout', '1000', '--cluster-require-full-coverage', 'no', '--repl-diskless-sync-delay', '0',
    )
    const masters = await Promise.all([start(), start(), start()])
    const replicas = await Promise.all(Array.from({ length: replicasEach * masters.length }, start))
    const cluster = new RedisCluster(masters, replicas)
    try {
      await cluster.#join()
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  get url(): string {
    return `redis+cluster://${this.masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  }

  /** A client that is not connected; a registry uses its options only. */
  client(): Cluster {
    return new Cluster(this.masters.map(({ port }) => ({ host: '127.0.0.1', port })), { lazyConnect: true })
  }

  /** The master that has the slot of a key. */
  async masterOf(key: string): Promise<RedisServer> {
    const slot = Number(await this.masters[0]!.run(['CLUSTER', 'KEYSLOT', key]))
    return this.masters[Math.floor(slot / SLOTS * this.masters.length)]!
  }

  async each(...commands: (string | number)[][]): Promise<unknown[]> {
    return Promise.all(this.masters.map((server) => server.run(...commands)))
  }

  async close(): Promise<void> {
    await Promise.all([...this.masters, ...this.replicas].map((server) => server.close()))
  }

  async #join(): Promise<void> {
    const { masters, replicas } = this
    const all = [...masters, ...replicas]
    const bus = await Promise.all(all.map(async (server) => (await server.run(['CONFIG', 'GET', 'cluster-port']) as string[])[1]!))
    for (const [i, server] of masters.entries()) {
      const from = Math.ceil(SLOTS / masters.length * i)
      await server.run(['CLUSTER', 'ADDSLOTSRANGE', from, Math.ceil(SLOTS / masters.length * (i + 1)) - 1], ['CLUSTER', 'SET-CONFIG-EPOCH', i + 1])
    }
    for (const server of all.slice(1)) await server.run(['CLUSTER', 'MEET', '127.0.0.1', all[0]!.port, bus[0]!])
    const info = async (server: RedisServer): Promise<string> => String(await server.run(['CLUSTER', 'INFO']))
    for (const server of all) await until(async () => (await info(server)).includes(`cluster_known_nodes:${all.length}`), 20_000)
    for (const [i, replica] of replicas.entries()) {
      const id = String(await masters[i % masters.length]!.run(['CLUSTER', 'MYID']))
      await until(() => replica.run(['CLUSTER', 'REPLICATE', id]).then(() => true, () => false), 20_000)
    }
    for (const server of all) await until(async () => (await info(server)).includes('cluster_state:ok'), 20_000)
    for (const replica of replicas) {
      await until(async () => String(await replica.run(['INFO', 'replication'])).includes('master_link_status:up'), 20_000)
    }
  }
}
