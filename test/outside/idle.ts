import { Aedes } from 'aedes'
import { once } from 'node:events'
import { Agent, createServer, request, type IncomingMessage } from 'node:http'
import * as http2 from 'node:http2'
import { MqttClient } from 'mqtt'
import { Client } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'
import { closed, connector, next, text, type Ends } from './program.js'
import { readsWhole } from './mqtt.js'
import { client as redisClient, serve as serveRedis } from './redis.js'
import { connect as sshConnect, serve as serveSsh } from './ssh.js'
import { hasRedis } from '../helpers/redis-server.js'

/** A program that has an idle connection, and does not mind. */
export interface Idle {
  readonly name: string
  /** Leaves the connection open. The returned function ends the program, when the connection is gone. */
  leave(ends: Ends): Promise<() => Promise<unknown> | void>
}

const quiet = (): void => {}

const answering = (ends: Ends): void => {
  const server = createServer((_, res) => { res.end('ok') })
  server.keepAliveTimeout = 60_000
  ends.onconnection((stream) => server.emit('connection', stream))
}

export const idles: readonly Idle[] = [
  {
    name: 'http.Agent',
    leave: async (ends) => {
      answering(ends)
      const agent = new Agent({ keepAlive: true })
      Object.assign(agent, { createConnection: connector(ends) })
      const asked = request({ agent, host: 'far' }).end()
      await text(await next<IncomingMessage>(asked, 'response'))
      return () => { agent.destroy() }
    },
  },
  {
    name: 'undici',
    leave: async (ends) => {
      answering(ends)
      const stream = await ends.dial()
      const client = new Client('http://far', { connect: (_, done) => { process.nextTick(done, null, stream) }, keepAliveTimeout: 60_000 })
      await (await client.request({ path: '/', method: 'GET' })).body.text()
      return () => client.destroy()
    },
  },
  {
    name: 'node:http2',
    leave: async (ends) => {
      const server = http2.createServer((_, res) => { res.end('ok') })
      ends.onconnection((stream) => server.emit('connection', stream))
      const stream = await ends.dial()
      const session = http2.connect('http://far', { createConnection: () => stream }).on('error', quiet)
      const asked = session.request().on('error', quiet) // the stages may close before the session reports that it is closed
      await text(asked)
      return () => { session.destroy() }
    },
  },
  {
    name: 'ws',
    leave: async (ends) => {
      const http = createServer()
      const server = new WebSocketServer({ noServer: true })
      http.on('upgrade', (req, socket, head) => { server.handleUpgrade(req, socket, head, (one) => { one.on('error', quiet) }) })
      ends.onconnection((stream) => http.emit('connection', stream))
      const stream = await ends.dial()
      const client = new WebSocket('ws://far', { createConnection: () => stream }).on('error', quiet)
      await once(client, 'open')
      const over = closed(client)
      return () => over
    },
  },
  ...readsWhole ? [{
    name: 'mqtt',
    leave: async (ends: Ends) => {
      const broker = await Aedes.createBroker()
      ends.onconnection((stream) => { broker.handle(stream) })
      const stream = await ends.dial()
      const client = new MqttClient(() => stream, { reconnectPeriod: 0 }).on('error', quiet)
      await new Promise((resolve) => { client.once('connect', resolve) })
      return async () => {
        await client.endAsync(true)
        await new Promise<void>((resolve) => { broker.close(resolve) })
      }
    },
  }] : [],
  {
    name: 'ssh2',
    leave: async (ends) => {
      serveSsh(ends, [], quiet)
      const client = await sshConnect(ends, [])
      return () => { client.end() }
    },
  },
  ...hasRedis ? [{
    name: 'ioredis',
    leave: async (ends: Ends) => {
      await serveRedis(ends)
      const redis = redisClient(ends, [], { retryStrategy: () => null })
      await redis.ping()
      return () => { redis.disconnect() }
    },
  }] : [],
]
