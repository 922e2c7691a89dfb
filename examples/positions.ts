/**
 * Positions in a game: a player moves 120 times a second, and only the last position matters. So positions go as datagrams over
 * UDP, which nobody sends again, while a shot goes as a call, which arrives. Needs `npm install udx-native`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Stage } from 'stagemesh'
import { UdpInterface } from 'stagemesh/interfaces/udp'

async function main(): Promise<void> {
  const options = { registry: 'memory:' }
  const server = new Stage('server', { ...options, interfaces: new UdpInterface() })
  const player = new Stage('player', { ...options, interfaces: new UdpInterface() })

  const positions = new Map<string, { step: number; x: number }>()
  server.to('*').provide({
    move: (name: string, step: number, x: number) => {
      // datagrams may overtake each other: an older position is of no use
      if (step > (positions.get(name)?.step ?? 0)) positions.set(name, { step, x })
    },
    shoot: (at: string) => `hit ${at}`,
  })

  const moves = player.to('server', { delivery: 'unreliable' })
  console.log(await player.to('server').call('shoot', 'the target'))
  for (let step = 1; step <= 120; step++) {
    moves.cast('move', 'ann', step, step / 10)
    await sleep(1000 / 120)
  }
  while ((positions.get('ann')?.step ?? 0) < 100) await sleep(10)
  console.log(`${player.stats()['datagrams']} datagrams were sent, ann is beyond 10: ${(positions.get('ann')?.x ?? 0) >= 10}`)
  await Promise.all([server.close(), player.close()])
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
