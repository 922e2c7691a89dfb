/** @grpc/grpc-js, with unary calls, and with one bidirectional stream that has an id in each message. */
import { fileURLToPath } from 'node:url'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { Adapter } from '../adapter.js'

interface Envelope { id: number; value?: unknown; text?: string; bytes?: Buffer }
interface Echoes extends grpc.Client {
  call(request: Envelope, done: (error: Error | null, response: Envelope) => void): void
  calls(): grpc.ClientDuplexStream<Envelope, Envelope>
}
type Api = { Echo: { service: grpc.ServiceDefinition } & (new (where: string, credentials: grpc.ChannelCredentials) => Echoes) }

// what is read from a .proto when it runs has no types
const { Echo } = grpc.loadPackageDefinition(loadSync(fileURLToPath(new URL('../../adapters/grpc.proto', import.meta.url)))) as unknown as Api
const wrap = (id: number, value: unknown): Envelope => typeof value === 'string' ? { id, text: value } : Buffer.isBuffer(value) ? { id, bytes: value } : { id, value }
const unwrap = ({ value, text, bytes }: Envelope): unknown => value ?? (text || bytes)

async function serve(): Promise<string> {
  const server = new grpc.Server()
  server.addService(Echo.service, {
    call: (call: grpc.ServerUnaryCall<Envelope, Envelope>, done: grpc.sendUnaryData<Envelope>) => done(null, call.request),
    calls: (stream: grpc.ServerDuplexStream<Envelope, Envelope>) => { stream.on('data', (message: Envelope) => stream.write(message)) },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => error ? reject(error) : resolve(bound))
  })
  return `127.0.0.1:${port}`
}

const open = (where: string): Promise<Echoes> => new Promise((resolve, reject) => {
  const client = new Echo(where, grpc.credentials.createInsecure())
  client.waitForReady(Date.now() + 5000, (error) => error ? reject(error) : resolve(client))
})

export const grpcUnary: Adapter = {
  serve,
  async connect(where) {
    const client = await open(where)
    return { call: (value) => new Promise((resolve, reject) => client.call(wrap(0, value), (error, response) => error ? reject(error) : resolve(unwrap(response)))) }
  },
}

export const grpcBidi: Adapter = {
  serve,
  async connect(where) {
    const stream = (await open(where)).calls()
    const waiting = new Map<number, (value: unknown) => void>()
    let next = 1
    stream.on('data', (message: Envelope) => {
      waiting.get(message.id)?.(unwrap(message))
      waiting.delete(message.id)
    })
    return {
      call: (value) => new Promise((done) => {
        const id = next++
        waiting.set(id, done)
        stream.write(wrap(id, value))
      }),
    }
  },
}
