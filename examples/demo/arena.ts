/** A stage that may host players; the demo starts two. Callers need not know which of the two hosts a player. */
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
