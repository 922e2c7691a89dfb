/** Moleculer's own TCP transporter, with the address of the other node given, and its transporter on Redis. */
import { ServiceBroker, type BrokerOptions } from 'moleculer'
import type { Adapter, Place } from '../adapter.js'
import { freePort } from '../free-port.js'
import { startRedis } from '../redis.js'

const broker = (nodeID: string, transporter: NonNullable<BrokerOptions['transporter']>): ServiceBroker => new ServiceBroker({ nodeID, transporter, logger: false })

/** @param place  the text that both ends get
 *  @param transporter  makes the transporter from it */
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
