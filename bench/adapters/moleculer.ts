/** Its own TCP transporter with the address of the other given, and the one on Redis. */
import { ServiceBroker, type BrokerOptions } from 'moleculer'
import type { Adapter, Place } from '../adapter.js'
import { freePort } from '../free-port.js'
import { startRedis } from '../redis.js'

const broker = (nodeID: string, transporter: NonNullable<BrokerOptions['transporter']>): ServiceBroker => new ServiceBroker({ nodeID, transporter, logger: false })

/** @param place  what both ends are told
 *  @param transporter  made of it */
const adapter = (place: (place: Place) => Promise<string>, transporter: (where: string) => NonNullable<BrokerOptions['transporter']>): Adapter => ({
  async serve(around) {
    const where = await place(around)
    const server = broker('server', transporter(where))
    server.createService({ name: 'echo', actions: { echo: (context: { params: { value: unknown } }) => context.params.value } })
    await server.start()
    return where
  },
  async connect(where) {
    const client = broker('client', transporter(where))
    await client.start()
    await client.waitForServices('echo')
    return { call: (value) => client.call('echo.echo', { value }) }
  },
})

export const moleculerTcp = adapter(
  async () => `127.0.0.1:${await freePort()}/server,127.0.0.1:${await freePort()}/client`,
  (where) => ({ type: 'TCP', options: { udpDiscovery: false, urls: where.split(',') } }),
)
export const moleculerRedis = adapter(({ folder }) => startRedis(folder), (url) => url)
