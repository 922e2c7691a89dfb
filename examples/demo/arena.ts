/** One of the two stages on which players may live. On which of them one does, nobody has to know. */
import { Stage } from 'stagemesh'
import { play } from './role.js'

export class Player {
  hp = 100
  armor = 0.5
  isDead = false

  constructor(readonly params: { id: string }) {}

  attack(damage: number): number {
    this.hp -= damage * (1 - this.armor)
    this.isDead = this.hp <= 0
    return this.hp
  }
}

const stage = new Stage('arena')
stage.define({ pattern: 'players.{id}', constructor: Player, durable: true })
stage.to('*').provide('role', () => `arena ${process.pid}`)

await play(stage)
