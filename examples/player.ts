/**
 * Actors in their oldest form: a constructor, a prototype, and a pattern of addresses. `stage` may host players; `client`
 * attacks a player and observes its properties. Neither creates the player, and neither knows where it is hosted.
 */
/* eslint-disable no-var -- ES5, as in the original program */
import { MemoryRegistry, Stage } from 'stagemesh'

const registry = new MemoryRegistry()
const stage = new Stage('server', { registry })

stage.define({
  pattern: 'players.{id}',
  constructor: Player
});

function Player(this: Player, opts: { id: string }) {
  this.id = opts.id;
  this.hp = 100;
  this.armor = 0.5;
  this.isDead = false;
}

Player.prototype = {
  attack: function(this: Player, damage: number) {
    var dr = Math.random() * this.armor * damage;
    damage = damage - dr;
    this.hp -= damage;
    this.isDead = this.hp <= 0;
  }
};

/** The type of a player for the compiler; plain JavaScript needs neither this interface nor the types above. */
interface Player { id: string; hp: number; armor: number; isDead: boolean; attack(damage: number): void }

// ── another stage, which could be in another process ────────────────────────────────────────────────────────────────

const client = new Stage('client', { registry })
const player = client.actor<Player>('players.42')
console.log(`${await player.id} has ${await player.hp} hp`) // the first read activates the player

const watching = (async () => {
  for await (const { hp, isDead } of client.observe(player, ['hp', 'isDead'], { mode: 'every' })) {
    console.log(`hp ${Math.round(hp)}${isDead ? ', dead' : ''}`)
    if (isDead) return
  }
})()
while (!await player.isDead) await player.attack(60)
await watching

await client.close()
await stage.close()
