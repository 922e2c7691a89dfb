import test, { type ExecutionContext } from 'ava'
import { NO_REDIS, RedisServer, hasRedis } from './redis-server.js'

let said = false

/** A test with a Redis of its own; where none can be had, one line for each file says what is missing. */
export function onRedis(title: string, body: (t: ExecutionContext, server: RedisServer) => Promise<void>, run: typeof test | typeof test.serial = test): void {
  if (!hasRedis) {
    if (!said) test.skip(NO_REDIS, () => {})
    said = true
    return
  }
  run(title, async (t) => {
    const server = await RedisServer.start()
    t.teardown(() => server.close())
    await body(t, server)
  })
}
