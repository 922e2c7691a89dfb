/** @deepkit/rpc over TCP, with types, as its users use it. */
import { rpc, RpcClient, RpcKernel } from '@deepkit/rpc'
import { RpcTcpClientAdapter, RpcTcpServer } from '@deepkit/rpc-tcp'
import type { Adapter, SMALL } from '../adapter.js'
import { freePort } from '../free-port.js'

// The output of deepkit's type compiler for the class, because that compiler would patch the TypeScript of the whole project
const nested = ['x', 'y', 'z', 'Nested', 'P\'4!\'4"&4#Mw$y']
const small = ['id', 'name', 'email', 'tags', 'active', 'score', () => nested, 'nested', 'Small', 'P\'4!&4"&4#&F4$)4%\'4&n\'4(Mw)y']

class Api {
  static __type = [() => small, 'value', () => small, 'small', 'text', 'bytes', 'any', 'Api', 'Pn!2"n#0$P&2"&0%PW2"W0&P"2""0\'5w(']
  small(value: typeof SMALL): typeof SMALL { return value }
  text(value: string): string { return value }
  bytes(value: Uint8Array): Uint8Array { return value }
}
rpc.controller('api')(Api)
for (const method of ['small', 'text', 'bytes']) rpc.action()(Api.prototype, method)

export const deepkit: Adapter = {
  async serve() {
    const kernel = new RpcKernel()
    kernel.registerController(Api, 'api')
    const where = `127.0.0.1:${await freePort()}`
    await new RpcTcpServer(kernel, where).start()
    return where
  },
  async connect(where) {
    const client = new RpcClient(new RpcTcpClientAdapter(where))
    const api = client.controller<Api>('api')
    await client.connect()
    return { call: (value) => typeof value === 'string' ? api.text(value) : value instanceof Uint8Array ? api.bytes(value) : api.small(value as typeof SMALL) }
  },
}
