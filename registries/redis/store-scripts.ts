/**
 * The rules of `registries/shared/ownership.ts` as scripts, so that each step is one atomic request that uses the time of Redis.
 * Every script may safely run twice, because a reply can be lost.
 *
 * An actor is a hash: `epoch`, `version`, `commit` (the id of the last commit), `data`, and `stage` and `activation` while it
 * has an owner. The wake of an actor is the score of its address in a sorted set that the actors of a namespace share.
 */
import { hash } from '../../src/hash.js'
import { script } from './script.js'
import { PREFIX } from './target.js'

/** Where the actors of a namespace are. */
export interface ActorKeys {
  /** The key of an actor. */
  actor(address: string): string
  /** The key of the sorted set of wakes of the actors that share a hash tag with this one. */
  wakes(address: string): string
  /** The keys of all these sorted sets. */
  readonly allWakes: readonly string[]
  /** The key of the facts that all stages must agree on. */
  readonly store: string
}

/**
 * A cluster keeps keys with one hash tag on one node, and the keys of one script must be on one node. So an actor and its wake
 * share a hash tag. With one shard it is the tag of the whole namespace. With more, each actor has one of that many tags, by
 * its address. The tag is the text between the first pair of braces; later braces, in an actor's address, do not matter.
 */
export function actorKeys(namespace: string, prefix: string = PREFIX, shards = 1): ActorKeys {
  const tags = shards === 1 ? [namespace] : Array.from({ length: shards }, (_, i) => `${namespace}/${i}`)
  const places = tags.map((tag) => `${prefix}{${tag}}`)
  const of = (address: string): string => places[hash(address) % shards]
  return {
    actor: (address) => `${of(address)}:actor:${address}`,
    wakes: (address) => `${of(address)}:wakes`,
    allWakes: places.map((place) => `${place}:wakes`),
    store: `${prefix}{${namespace}}:store`,
  }
}

// numbers are formatted with %.0f: Lua's default would write 1.7e+12
const common = `
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
local function count(text) return text and string.match(text, '^%d+$') and tonumber(text) end
-- what is no record is none, as if nobody had ever claimed the actor
local function read(key)
  local h = redis.call('HMGET', key, 'epoch', 'version', 'stage', 'activation')
  local epoch, version = count(h[1]), count(h[2])
  if not (epoch and version) then return nil, 0, false, false end
  return epoch, version, h[3], h[3] and h[4]
end
`

/** KEYS: store. ARGV: the number of shards, which counts if there is none yet. Answers the number that counts. */
export const AGREE = script('allow-oom', `
local shards = redis.call('HGET', KEYS[1], 'shards')
if shards then return shards end
redis.call('HSET', KEYS[1], 'shards', ARGV[1])
return ARGV[1]`)

/** KEYS: actor, wakes. ARGV: stage, activation, the activation to take over from or '', floor, address. */
export const CLAIM = script('', `${common}
local epoch, version, stage, activation = read(KEYS[1])
if activation and activation ~= ARGV[2] and activation ~= ARGV[3] then return { 'owned', num(epoch), stage, activation } end
if activation ~= ARGV[2] then
  if not epoch then -- deleted by hand, perhaps, and something was left
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], ARGV[5])
  end
  epoch = math.max(epoch and epoch + 1 or now, tonumber(ARGV[4]) + 1)
  redis.call('HSET', KEYS[1], 'epoch', num(epoch), 'stage', ARGV[1], 'activation', ARGV[2], 'version', num(version))
end
return { 'granted', num(epoch), num(version), num(now), redis.call('HGET', KEYS[1], 'data') }`)

/** KEYS: actor, wakes. ARGV: epoch, activation, id, version, wake or '', address, data. */
export const COMMIT = script('', `${common}
local epoch, version, stage, activation = read(KEYS[1])
if not epoch or epoch ~= tonumber(ARGV[1]) or activation ~= ARGV[2] then return 'fenced' end
if tonumber(ARGV[4]) ~= version + 1 then return redis.call('HGET', KEYS[1], 'commit') == ARGV[3] and 'ok' or 'fenced' end
redis.call('HSET', KEYS[1], 'version', ARGV[4], 'commit', ARGV[3], 'data', ARGV[7])
if ARGV[5] == '' then redis.call('ZREM', KEYS[2], ARGV[6]) else redis.call('ZADD', KEYS[2], ARGV[5], ARGV[6]) end
return 'ok'`)

/** KEYS: actor. ARGV: epoch, activation. A Redis out of memory runs it too, because it frees memory. */
export const RELEASE = script('allow-oom', `${common}
local epoch, version, stage, activation = read(KEYS[1])
if epoch and epoch == tonumber(ARGV[1]) and activation == ARGV[2] then redis.call('HDEL', KEYS[1], 'stage', 'activation') end
return 'ok'`)

/** KEYS: actor. Answers an empty list if there is no record. */
export const LOOK = script('no-writes', `${common}
local epoch, version, stage, activation = read(KEYS[1])
if not epoch then return {} end
return { num(epoch), num(version), num(now), stage, activation, redis.call('HGET', KEYS[1], 'data') }`)

/** KEYS: wakes. ARGV: limit, and optionally the score and address to continue after. Answers address, score, address, score … */
export const DUE = script('no-writes', `${common}
local least, from = ARGV[2] or '-inf', 0
-- whether the one at that place of those with its score is not there, or behind it: by their bytes, as Redis orders them, where Lua's own < goes by the locale
local function behind(place)
  local one, by = redis.call('ZRANGEBYSCORE', KEYS[1], least, least, 'LIMIT', num(place), '1')[1], ARGV[3]
  if not one then return true end
  for i = 1, math.min(#one, #by) do
    local a, b = string.byte(one, i), string.byte(by, i)
    if a ~= b then return a > b end
  end
  return #one > #by
end
if ARGV[3] then
  local to = 1
  while not behind(to - 1) do from, to = to, to * 2 end
  while from < to do
    local middle = math.floor((from + to) / 2)
    if behind(middle) then to = middle else from = middle + 1 end
  end
end
return redis.call('ZRANGEBYSCORE', KEYS[1], least, num(now), 'WITHSCORES', 'LIMIT', num(from), ARGV[1])`)
