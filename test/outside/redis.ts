import { connect } from 'node:net'
import pump from 'pump'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'
import { RedisServer, hasRedis } from '../helpers/redis-server.js'
import { broken } from './differences.js'
import { code, next, pause, type Ends, type Program } from './program.js'

let server: Promise<RedisServer> | undefined

/** The server of all rows; `stop` ends it. */
const started = (): Promise<RedisServer> => server ??= RedisServer.start()
export const stop = async (): Promise<void> => { await (await server)?.close() }

/** The far end forwards each connection to a real server. */
export async function serve(ends: Ends): Promise<void> {
  const { port } = await started()
  ends.onconnection((stream) => {
    const socket = connect(port, '127.0.0.1')
    pump(stream, socket, stream)
  })
}

export function client(ends: Ends, lines: string[], options: Partial<RedisOptions> = {}): Redis {
  class Connector extends AbstractConnector {
    constructor() { super(0) }
    connect(): Promise<Awaited<ReturnType<Ends['dial']>>> {
      const made = Promise.resolve(ends.dial())
      return made.then((stream) => { this.stream = stream; return stream })
    }
  }
  const redis = new Redis({ Connector: Connector as unknown as NonNullable<RedisOptions['Connector']>, retryStrategy: () => 10, ...options })
  for (const event of ['connect', 'ready', 'close', 'reconnecting', 'end']) redis.on(event, () => lines.push(event))
  redis.on('error', (error) => lines.push(`error ${code(error)}`))
  return redis
}

const commands: Program = {
  name: 'ioredis: commands, pipelines, large values, quit',
  run: async (ends) => {
    const lines: string[] = []
    await serve(ends)
    const redis = client(ends, lines, { keepAlive: 1000 })
    const key = `key-${Math.random()}`
    lines.push(await redis.set(key, 'value'), String(await redis.get(key)))
    await redis.set(key, Buffer.alloc(2_000_000, 'x'))
    lines.push(String((await redis.getBuffer(key))?.length))
    const piped = await redis.pipeline().set(key, 1).incr(key).incr(key).exec()
    lines.push(JSON.stringify(piped))
    lines.push(await redis.call('nothing').catch((error: Error) => error.message.split(',')[0]) as string)
    const over = next(redis, 'end')
    lines.push(await redis.quit())
    await over
    return lines
  },
}

const subscriptions: Program = {
  name: 'ioredis: subscriptions',
  run: async (ends) => {
    const lines: string[] = []
    await serve(ends)
    const [subscriber, publisher] = [client(ends, []), client(ends, [])]
    const channel = `channel-${Math.random()}`
    await subscriber.subscribe(channel)
    const message = new Promise<string>((resolve) => subscriber.once('message', (_, text) => { resolve(text) }))
    lines.push(`heard by ${await publisher.publish(channel, 'hello')}`, await message)
    const over = [subscriber, publisher].map((one) => next(one, 'end'))
    await Promise.all([subscriber.quit(), publisher.quit(), ...over])
    return lines
  },
}

const reconnects: Program = {
  name: 'ioredis: reconnects when it was disconnected',
  run: async (ends) => {
    const lines: string[] = []
    await serve(ends)
    const redis = client(ends, lines)
    await redis.client('SETNAME', 'first')
    const id = await redis.client('ID')
    const gone = next(redis, 'close')
    await redis.call('client', 'kill', 'id', id, 'skipme', 'no').catch(() => {})
    await gone
    lines.push(await redis.ping())
    const over = next(redis, 'end')
    await redis.quit()
    await over
    return lines
  },
}

const timeouts: Program = {
  name: 'ioredis: connectTimeout does not come when it is connected, socketTimeout does',
  differs: broken('accepted'),
  run: async (ends) => {
    const lines: string[] = []
    await serve(ends)
    const redis = client(ends, lines, { connectTimeout: 1000, socketTimeout: 1500, retryStrategy: () => null })
    lines.push(await redis.ping())
    await pause(1200)
    lines.push(String(await redis.blpop('nothing-there', 0).catch((error: Error) => error.message)))
    redis.disconnect()
    return lines
  },
}

export default hasRedis ? [commands, subscriptions, reconnects, timeouts] : []
