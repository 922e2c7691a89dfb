import test, { type ExecutionContext } from 'ava'
import { NO_REDIS, RedisServer, hasRedis } from './redis-server.js'

let said = false

/** A test with its own Redis; if there is no Redis, one line for each file says that it is missing. */
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
