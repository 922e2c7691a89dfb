/**
 * Actors with another API: a function makes an actor by its id, methods take data and a callback, and actors are reachable
 * over HTTP at /invoke/id/method. A one-page adapter over define({ create }), and a program that uses the adapter.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { MemoryRegistry, Stage } from 'stagemesh'

type Callback = (error: unknown, data?: unknown) => void
interface Client { invoke(id: string | number, method: string, data: unknown, cb: Callback): void }
type CreateActor = (id: string, client: Client) => Record<string, (data: unknown, cb: Callback) => void>

/** Any stage of the same registry can serve a request; the actors are distributed among the stages. */
function towtruck(createActor: CreateActor, stage: Stage): Server {
  stage.define({
    pattern: 'towtruck.{id}',
    reentrant: true, // an actor may call itself
    idleMs: 60_000, // after this time without a call the actor is collected
    create: ({ id }, self) => {
      const client: Client = {
        invoke: (other, method, data, cb) => {
          const answer: Promise<unknown> = self.actor(`towtruck.${other}`)[method](data)
          answer.then((back) => cb(null, back), cb)
        },
      }
      const promised = (method: (data: unknown, cb: Callback) => void) => (data: unknown) => new Promise((resolve, reject) => {
        method(data, (error, back) => { if (error) reject(error); else resolve(back) })
      })
      return Object.fromEntries(Object.entries(createActor(id, client)).map(([name, method]) => [name, promised(method)]))
    },
  })
  return createServer((request, response) => {
    invoke(stage, request).then((data) => response.end(JSON.stringify(data)), (error: unknown) => {
      response.statusCode = 500
      response.end(JSON.stringify({ error: (error as Error).message }))
    })
  })
}

async function invoke(stage: Stage, request: IncomingMessage): Promise<unknown> {
  const [, verb, id, method] = (request.url ?? '').split('/').map(decodeURIComponent)
  const data: unknown = request.method === 'POST' ? await json(request) : undefined
  const actor = verb === 'invoke' ? stage.actor(`towtruck.${id}`) : undefined
  const called = actor?.[method] as ((data: unknown) => Promise<unknown>) | undefined
  if (!called) throw new Error(`no ${request.url}: expected /invoke/id/method`)
  return called(data)
}

// ── the program ─────────────────────────────────────────────────────────────────────────────────────────────────────

function createActor(id: string, client: Client): ReturnType<CreateActor> {
  return {
    hello: function(_data, cb){
      cb(null, {hello: "from actor " + id});
    },
    bar: function(_data, cb){
      // this will invoke the goodbye function on actor 1
      client.invoke(1, "goodbye", { data:"to send"}, function(err, dataBack){
        cb(err, {"hello from bar": dataBack});
      });
    },
    goodbye: function(_data, cb){
      cb(null, {farewell: true});
    }
  }
}

const registry = new MemoryRegistry()
const stages = [new Stage('truck-1', { registry }), new Stage('truck-2', { registry })]
const servers = stages.map((stage) => towtruck(createActor, stage).listen(0, '127.0.0.1'))
await Promise.all([...servers.map((server) => once(server, 'listening')), ...stages.map((stage) => stage.ready())])

for (const path of ['invoke/1/hello', 'invoke/2/bar', 'invoke/1/bar', 'invoke/1/constructor']) {
  for (const server of servers) {
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`)
    console.log(`${path}: ${await answer.text()}`)
  }
}

for (const server of servers) server.close().closeAllConnections()
await Promise.all(stages.map((stage) => stage.close()))
