/** Attacks the player until it is dead, even while the process that hosts it is killed. */
import { performance } from 'node:perf_hooks'
import { Stage, StageError } from 'stagemesh'
import type { Player } from './arena.js'
import { expect, line, play, tell, title, type Message } from './role.js'
import type { Seen } from './watcher.js'

const DAMAGE = 2 // the armor absorbs half of it
const KILL_AT = 60

const stage = new Stage('attacker')
const player = stage.actor<Player>('players.42')

await play(stage, async () => {
  title('6. An actor, attacked from here and watched from another process; its owner is killed (SIGKILL) in between')
  await stage.to('watcher').call('watching')
  let hp = await player.hp
  const owner = await home()
  line(`players.42 lives in process ${owner}, with ${hp} hp`)

  let [attacks, outage] = [0, 0]
  let killed = false
  const unknown: string[] = []
  process.on('message', (message: Message) => { if ('killed' in message) killed = true })
  const begun = performance.now()
  for (let last = begun; hp > 0; last = performance.now()) {
    if (hp === KILL_AT && !killed) tell({ kill: owner })
    const before = hp
    try {
      hp = await player.attack(DAMAGE)
      attacks++
    } catch (error) {
      // 'no': the attack did not run. 'unknown': only the player's hp shows whether it ran
      if (!(error instanceof StageError)) throw error
      if (error.executed !== 'no') unknown.push(`${error.code}, executed: ${error.executed}`)
      hp = await player.hp
      if (hp < before) attacks++
    }
    if (hp !== before && hp !== before - 1) throw new Error(`${before} hp became ${hp}`)
    outage = Math.max(outage, performance.now() - last)
  }

  const now = await home()
  line(`process ${owner} was killed; the longest wait for an attack was ${Math.round(outage)} ms; players.42 lives in process ${now}`)
  for (const what of unknown) line(`  1 × ${what}`)
  expect(killed && now !== owner, 'the player lives in another process')
  expect(attacks === 100 && await player.hp === 0 && await player.isDead, `every attack counted once: dead after ${attacks}`)

  const seen: Seen = await stage.to('watcher').call('seen')
  line(`the watcher saw ${seen.hp.length} values in ${seen.version} commits, ${seen.resets} of them after a gap`)
  const falling = seen.hp.every((one, i) => i === 0 || one < seen.hp[i - 1])
  expect(seen.isDead && seen.hp.at(-1) === 0 && falling, 'it saw them in order and to the end')
})

/** The process that hosts the player. */
async function home(): Promise<number> {
  const { owner } = await stage.explain(player)
  const peer = stage.peers().find(({ id }) => id === owner?.id)
  if (!peer) throw new Error(`the player is on no stage: ${owner?.name}`)
  return Number((await stage.to(peer).call<string>('role')).replace('arena ', ''))
}
