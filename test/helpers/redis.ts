import test, { type ExecutionContext } from 'ava'
import { NO_REDIS, RedisServer, hasRedis } from './redis-server.js'

/** A test with a Redis of its own; where none can be had it is skipped, and its title says what is missing. */
export function onRedis(title: string, body: (t: ExecutionContext, server: RedisServer) => Promise<void>): void {
  if (!hasRedis) return test.skip(`${title} (${NO_REDIS})`, () => {})
  test(title, async (t) => {
    const server = await RedisServer.start()
    t.teardown(() => server.close())
    await body(t, server)
  })
}
