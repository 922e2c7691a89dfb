/** Watches the player from its first hit point to its last, wherever the player is hosted meanwhile. */
import { Stage } from 'stagemesh'
import type { Player } from './arena.js'
import { play } from './role.js'

export interface Seen { hp: number[]; resets: number; isDead: boolean; version: number }

const stage = new Stage('watcher')
let begun = (): void => {}
const watching = new Promise<void>((resolve) => { begun = resolve })
const seen = watch()
seen.catch(() => {}) // the error goes to callers of `seen`

async function watch(): Promise<Seen> {
  const hps: number[] = []
  let resets = 0
  for await (const { hp, isDead, version, reset } of stage.observe<Player>('players.42', ['hp', 'isDead'], { mode: 'every' })) {
    begun()
    hps.push(hp)
    if (reset) resets++
    if (isDead) return { hp: hps, resets, isDead, version }
  }
  throw new Error('the player was not watched to its end')
}

stage.to('*').provide('watching', () => watching)
stage.to('*').provide('seen', () => seen)

await play(stage)
