import type { Layer, Mesh, Mounted, References, SelectOptions, To } from '../../src/types.js'
import { knownOptions } from '../../src/known-options.js'
import { checkOptions as checkTarget } from '../../src/options.js'
import { StageError, describe } from '../../src/errors.js'
import { outside } from '../../src/outside.js'
import { refuse } from '../codec/sendable.js'
import type { Hand } from '../codec/hand.js'
import { inherit, type Context } from '../rpc/context.js'
import { Interception } from '../rpc/interception.js'
import type { Rpc } from '../rpc/rpc.js'
import type { Service } from '../rpc/types.js'
import { admit, guards, type Begin } from './hosting/admission.js'
import { ArrivedByLink } from './hosting/arrived-by-link.js'
import { checkAddress } from './address.js'
import { WORD_MS } from './calling/call.js'
import { CHANGES, Notifying, UNWATCH } from './watching/changes.js'
import { DEPOSED } from './hosting/claims.js'
import { explain } from './hosting/explain.js'
import { Hosting } from './hosting/hosting.js'
import { dataRefs } from './state/snapshot.js'
import { NoSuchMethod } from './members.js'
import { Observers } from './watching/observers.js'
import { NAME_MAX, addressOf, remote } from './calling/proxy.js'
import { CALL } from './calling/route.js'
import { LOCATE, Routes } from './calling/routes.js'
import { EXPLAIN, WAKE, WATCH, prepare } from './tasks.js'
import { Turn } from './hosting/turn.js'
import type { ActorCallOptions, ActorOptions, ActorsOptions, HostOptions, ObserveOptions } from './types.js'
import { inWords } from './words.js'

export type * from './types.js'

/** The actors layer, third in the default chain: hosts actors and calls them over rpc. */
export function actors(): Layer<Rpc, Rpc> {
  return { name: 'actors', infallible: true, mount }
}

function mount(mesh: Mesh<Rpc>): Mounted<Rpc, Rpc> {
  const { namespace } = mesh.self
  const actor = (given: unknown, options: ActorCallOptions = {}, within?: () => Context | undefined, hand?: () => Hand): object => {
    const address = checkAddress(addressOf(given))
    const checked = checkOptions(options, 'actor')
    const inside = (): typeof checked => within ? inherit(within(), checked, mesh.clock.now(), hand?.()) : checked
    return remote(address, namespace, (name, args, done) => routes.call(address, name, args, inside(), done))
  }
  const references: References = {
    refer: (reference) => {
      if (reference.namespace === namespace) return checkAddress(reference.to)
      const other = `is the actor ${describe(reference.to)} of the namespace ${describe(reference.namespace)}`
      return refuse(`${other}, which cannot be called from ${namespace}: pass an actor of the namespace of this stage`)
    },
    resolve: (text) => actor(text),
  }
  const hosting: Hosting = new Hosting(mesh, {
    actor,
    target: (to: To, options: SelectOptions) => mesh.target(to, options),
    references,
    data: dataRefs(references),
  }, (address) => new Promise((resolve) => routes.call(address, WAKE, [], {}, (error) => resolve(error))))
  const interception = new Interception(mesh.clock, mesh.deadlines, mesh.options, mesh)
  const routes = new Routes(mesh, hosting, interception)
  const observers = new Observers(mesh, routes, hosting.outgoing.data)
  const notifying = new Notifying()
  const services = served(hosting, notifying, interception)
  return {
    attach: (rpc) => {
      if (!('serve' in rpc)) throw new TypeError('actors() needs rpc() right below it in the chain')
      for (const [name, service] of services) rpc.serve(name, service)
      hosting.claims.linked(rpc)
    },
    references,
    host: {
      define: (options: ActorOptions) => hosting.define(options),
      host: (address: string, object: object, options?: HostOptions) => hosting.host(checkAddress(address), object, options),
      actor,
      observe: (address: unknown, names: readonly string[], options: ObserveOptions = {}) =>
        observers.observe(checkAddress(addressOf(address)), names, checkOptions(options, 'observe')),
      actors: (options?: ActorsOptions) => hosting.actors(options),
      explain: (address: unknown) => explain(mesh, hosting, checkAddress(addressOf(address))),
    },
    onpeers: (changes) => {
      hosting.change(changes)
      routes.changed()
    },
    onlease: (what) => {
      if (what === 'renewed') return hosting.renewed()
      if (what === 'forgot') return hosting.forgot()
      hosting.lost()
      routes.lost()
    },
    drain: async () => {
      observers.close() // loops never end by themselves, and the links would wait for the streams that they read
      routes.leave()
      await hosting.drain()
      notifying.end()
      await routes.sent()
    },
    stats: () => ({ ...hosting.stats(), ...routes.stats, ...observers.stats, interceptedActorCalls: interception.size }),
    close: () => {
      observers.close()
      notifying.close()
      hosting.close()
      routes.close()
      interception.close()
    },
  }
}

/** Services that this stage offers to other stages. */
function served(hosting: Hosting, notifying: Notifying, interception: Interception): ReadonlyMap<string, Service> {
  const bad = (what: unknown): StageError => new StageError('BAD_ARGUMENT', `${describe(what)} is not a request to an actor`)
  return new Map<string, Service>([
    [CALL, Object.assign<Service, Pick<Service, 'words'>>((call, [address, method, args], answer, link) => {
      if (typeof address !== 'string' || typeof method !== 'string' || !Array.isArray(args)) return answer(bad([address, method]))
      // the list of last turns would keep a longer name
      if (method.length > NAME_MAX) return answer(new StageError('NO_SUCH_METHOD', new NoSuchMethod(address, method).message))
      // the caller waits WORD_MS beyond its deadline for our error, which says where the time went
      const begin: Begin = (own, carried, done, within) => {
        const turn = new Turn(method, own, call.endsAt - WORD_MS, carried, (error, value) => {
          call.onend = undefined
          if (turn.id !== 0 && !turn.ended) turn.onended = call.keep() // the caller is gone, but the running code still uses the arguments
          done(error, value)
        })
        turn.within = within
        if (call.streams.length > 0) turn.until = () => call.endsAt - WORD_MS
        prepare(turn, method === WATCH ? notifying.of(link) : undefined)
        turn.from = call.peer.id
        call.hand = turn
        call.onend = () => turn.cancel(new StageError('CANCELLED', 'the caller no longer waits for the answer', { executed: turn.id === 0 ? 'no' : 'unknown' }))
        hosting.receive(address, turn)
      }
      const definition = hosting.definitionOf(address)
      if (!guards(interception, definition)) return begin(args, call.carried, answer)
      const arrived = new ArrivedByLink(call, address, method, args, hosting.outgoing.references)
      outside(() => admit(interception, definition, arrived, begin, answer))
    }, { words: ([address, method, args]) => inWords(method, args, address) })],
    [LOCATE, ({ carried, peer }, [address], answer) => {
      if (typeof address !== 'string') return answer(bad(address))
      hosting.asked(address, peer.id)
      hosting.locate(address, (error, owner = '') => answer(error, owner === hosting.mesh.id ? hosting.located(address) : owner), carried)
    }],
    [CHANGES, Object.assign<Service, Pick<Service, 'words'>>(({ peer }, _, answer, link) => answer(null, notifying.open(link, peer.name)), { words: () => 'watching' })],
    [UNWATCH, (_, [numbers], answer, link) => {
      if (!Array.isArray(numbers)) return answer(bad(numbers))
      for (const one of numbers as unknown[]) notifying.of(link)?.remove(one as number)
      answer(null)
    }],
    [DEPOSED, (_, [addresses], answer) => {
      if (Array.isArray(addresses)) hosting.claims.deposed(addresses)
      answer(null)
    }],
    [EXPLAIN, (_, [address], answer) => {
      if (typeof address !== 'string') return answer(bad(address))
      answer(null, hosting.described(address))
    }],
  ])
}

const OPTIONS = { actor: ['timeoutMs', 'signal', 'headers', 'idempotent'], observe: ['timeoutMs', 'signal', 'headers', 'mode'] }

/** @throws StageError BAD_ARGUMENT; TypeError for an unknown option */
function checkOptions<T extends ActorCallOptions>(options: T, verb: keyof typeof OPTIONS): T {
  knownOptions(`${verb}()`, options, OPTIONS[verb])
  const { timeoutMs, signal, headers, idempotent } = options
  return { ...options, headers: checkTarget({ timeoutMs, signal, headers, idempotent }).headers }
}

