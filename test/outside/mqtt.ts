import { Aedes } from 'aedes'
import { MqttClient, type IClientOptions } from 'mqtt'
import { broken, cut } from './differences.js'
import { code, until, type Ends, type Program } from './program.js'

async function broker(ends: Ends, lines: string[]): Promise<Aedes> {
  const broker = await Aedes.createBroker()
  for (const event of ['clientReady', 'clientDisconnect', 'keepaliveTimeout'] as const) broker.on(event, (client) => lines.push(`broker ${event} ${client.id}`))
  broker.on('clientError', (client, error) => lines.push(`broker clientError ${client.id} ${code(error)}`))
  broker.on('connectionError', (_, error) => lines.push(`broker connectionError ${code(error)}`))
  ends.onconnection((stream) => { broker.handle(stream) })
  return broker
}

async function client(ends: Ends, lines: string[], options: IClientOptions): Promise<MqttClient> {
  const stream = await ends.dial()
  const client = new MqttClient(() => stream, { reconnectPeriod: 0, ...options })
  for (const event of ['disconnect', 'offline', 'close', 'end'] as const) client.on(event, () => lines.push(`${options.clientId} ${event}`))
  client.on('error', (error) => lines.push(`${options.clientId} error ${code(error)}`))
  await new Promise((resolve) => { client.once('connect', resolve) })
  return client
}

const gone = (told: readonly string[], id: string): Promise<void> => until(() => told.includes(`broker clientDisconnect ${id}`))

const messages: Program = {
  name: 'mqtt and aedes: subscribe, publish with each qos, end',
  differs: [...cut('speaker close', 1, (code) => [`speaker error ${code}`, 'speaker close']), ...cut('dialled', 2)],
  run: async (ends) => {
    const [heard, told]: [string[], string[]] = [[], []]
    const server = await broker(ends, told)
    const listener = await client(ends, [], { clientId: 'listener' })
    await listener.subscribeAsync('news/#', { qos: 2 })
    const speaker = await client(ends, heard, { clientId: 'speaker', will: { topic: 'news/will', payload: Buffer.from('was cut off'), qos: 1, retain: false } })
    for (const qos of [0, 1, 2] as const) {
      const come = new Promise<string>((resolve) => listener.once('message', (topic, payload) => { resolve(`${topic} ${payload.length}`) }))
      await speaker.publishAsync(`news/${qos}`, Buffer.alloc(10 ** (qos + 3)), { qos })
      heard.push(await come)
    }
    await speaker.endAsync()
    await gone(told, 'speaker')
    await listener.endAsync()
    await gone(told, 'listener')
    await new Promise<void>((resolve) => { server.close(resolve) })
    return [...heard, ...told]
  },
}

const will: Program = {
  name: 'mqtt and aedes: the will of one that was cut off',
  differs: [...cut('broker clientReady speaker', 1, (code) => ['broker clientReady speaker', `broker clientError speaker ${code}`]), ...cut('accepted'), ...cut('dialled')],
  run: async (ends) => {
    const [heard, told]: [string[], string[]] = [[], []]
    const server = await broker(ends, told)
    const listener = await client(ends, [], { clientId: 'listener' })
    await listener.subscribeAsync('#')
    const speaker = await client(ends, heard, { clientId: 'speaker', will: { topic: 'will', payload: Buffer.from('was cut off'), qos: 1, retain: false } })
    const come = new Promise<string>((resolve) => listener.on('message', (topic, payload) => { if (topic === 'will') resolve(`${topic} ${String(payload)}`) }))
    await until(() => told.includes('broker clientReady speaker'))
    speaker.stream.destroy()
    heard.push(await come)
    await listener.endAsync()
    await gone(told, 'listener')
    await new Promise<void>((resolve) => { server.close(resolve) })
    return [...heard, ...told]
  },
}

const kept: Program = {
  name: 'mqtt and aedes: pings keep a client, and one that does not ping is closed by the broker',
  differs: [
    ...broken('silent close', 1, (code) => [`silent error ${code}`, 'silent close']), ...cut('pinging close', 1, (code) => [`pinging error ${code}`, 'pinging close']),
    ...broken('dialled'), ...cut('dialled'),
  ],
  run: async (ends) => {
    const [heard, told]: [string[], string[]] = [[], []]
    const server = await broker(ends, told)
    const pinging = await client(ends, heard, { clientId: 'pinging', keepalive: 3 })
    const silent = await client(ends, heard, { clientId: 'silent', keepalive: 3 })
    Object.assign(silent, { sendPing: () => {}, reschedulePing: () => {} })
    silent.keepaliveManager?.destroy()
    await new Promise<void>((resolve) => { silent.once('close', resolve) })
    heard.push(`the pinging one is connected: ${pinging.connected}`)
    await pinging.endAsync()
    await gone(told, 'pinging')
    await new Promise<void>((resolve) => { server.close(resolve) })
    return [...heard, ...told]
  },
}

/**
 * Since Node 26 `read()` returns a single chunk of those that have come, and aedes 1.2 reads once for each `readable`: it
 * hangs over a bare socket too, when two segments come at once.
 */
export const readsWhole = Number(process.versions.node.split('.')[0]) < 26

export default readsWhole ? [messages, will, kept] : []
