/**
 * Two stages without a name server: one is told the address of the other, and both send each other values. After the example in
 * the README of masterless.
 */
import { pathToFileURL } from 'node:url'
import { Stage, type Peer } from 'stagemesh'

interface Counter { type: 'counter'; total: number }

async function main(): Promise<void> {
  let finish!: () => void
  const finished = new Promise<void>((resolve) => { finish = resolve })
  const left = new Stage('left', 'none:')
  const right = new Stage('right', 'none:')

  left.on('listening', (addresses) => void right.connect(addresses))
  right.on('link', (peer) => right.send(peer, { type: 'counter', total: 0 } satisfies Counter))

  left.on('message', onmessage)
  right.on('message', onmessage)

  function onmessage(this: Stage, sender: Peer, value: unknown): void {
    const { total } = value as Counter
    if (total % 100 === 0) console.log(`${this.name} has ${total} from ${sender.name}`)
    if (total === 300) finish()
    else this.send(sender, { type: 'counter', total: total + 1 } satisfies Counter)
  }

  await finished
  await Promise.all([left.close(), right.close()])
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
