/**
 * An interface of one's own: TCP that dials some places by another way, as through an SSH tunnel or a forwarded port.
 * The same page, explained, is in `docs/extending.md`.
 */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { MemoryRegistry, Stage, TcpInterface, type Interface } from 'stagemesh'

export class DetourInterface implements Interface {
  readonly scheme = 'tcp'
  readonly #tcp: TcpInterface

  /** @param detours  what to dial in place of an address: `{ 'tcp://10.0.0.5:4000': 'tcp://127.0.0.1:14000' }` */
  constructor(private readonly detours: Readonly<Record<string, string>> = {}, tcp = new TcpInterface()) {
    this.#tcp = tcp
  }

  get secret(): TcpInterface['secret'] {
    return this.#tcp.secret
  }

  get exposed(): boolean {
    return this.#tcp.exposed
  }

  listen(onstream: (stream: Duplex) => void, onaddresses?: (addresses: readonly string[]) => void): Promise<readonly string[]> {
    return this.#tcp.listen(onstream, onaddresses)
  }

  connect(address: string, signal: AbortSignal): Promise<Duplex> {
    return this.#tcp.connect(this.detours[address] ?? address, signal)
  }

  close(): Promise<void> {
    return this.#tcp.close()
  }
}

// ── a stage behind an address that only the detour reaches ──────────────────────────────────────────────────────────────

async function main(): Promise<void> {
  const registry = new MemoryRegistry()
  // it publishes an address that cannot be dialled from here, as a stage in a container may
  const api = new Stage('api', { registry, interfaces: new TcpInterface({ host: 'api.invalid', bind: '127.0.0.1' }) })
  api.to('*').provide('greet', (name: string) => `hi there, ${name}`)
  const [addresses] = await once(api, 'listening') as [readonly string[]]
  const [address = ''] = addresses
  const web = new Stage('web', { registry, interfaces: new DetourInterface({ [address]: address.replace('api.invalid', '127.0.0.1') }) })

  console.log(await web.to('api').call('greet', 'bob'))
  console.log(`it lists ${web.peers()[0]?.addresses.join().replace(/\d+$/, '…')}`)

  await web.close()
  await api.close()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
