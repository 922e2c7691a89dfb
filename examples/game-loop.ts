/**
 * Hosts an existing object of a game that draws 30 times a second: under its address, the object can be called and watched
 * from anywhere, while the game loop uses it as before.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MemoryRegistry, Stage } from 'stagemesh'

class Player {
  hp = 100

  bomb({ damage }: { damage: number }): void {
    this.hp -= damage
    console.log(`I took ${damage} damage from the bomb`)
  }
}

const registry = new MemoryRegistry()
const game = new Stage('game', { registry })
const player = new Player()
const leave = await game.host('players.1', player)

// another stage, which knows only the address
const enemy = new Stage('enemy', { registry })
const throwing = (async () => {
  const target = enemy.actor<Player>('players.1')
  await target.bomb({ damage: 10 })
  await target.bomb({ damage: 90 })
  return target.hp
})()

while (player.hp > 0) await sleep(33)
console.log(`the game sees ${player.hp} hp; the enemy reads ${await throwing}`)

await leave()
const error: unknown = await enemy.actor<Player>('players.1', { timeoutMs: 500 }).bomb({ damage: 1 }).catch((thrown: unknown) => thrown)
console.log(`taken away again: ${(error as { code: string }).code}`)

await enemy.close()
await game.close()
