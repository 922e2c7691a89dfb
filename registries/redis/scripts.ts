/**
 * The rules of `registries/shared/ledger.ts` as scripts, so that each step is one atomic request that uses the time of Redis.
 * Every script may safely run twice, because a reply can be lost.
 *
 * Keys of namespace `ns`, in this order: state, peers, leases, names, lapsed, log (see `keysOf`). The first argument is
 * always a fresh random string: the generation, if a new one begins, and the mark of any change that this run makes.
 */
import { LAPSED_MS, MOURN_TTLS, SWEEP_MAX, SWEEP_MS } from '../shared/ledger.js'
import { GRACE_MS } from '../../src/registry.js'
import { script as whole } from './script.js'
import type { Script } from './script.js'
import { PREFIX } from './target.js'

/** All keys of a namespace, with one hash tag, so that a cluster keeps them on one node. */
export const keysOf = (namespace: string, prefix: string = PREFIX): string[] =>
  ['state', 'peers', 'leases', 'names', 'lapsed', 'log'].map((kind) => `${prefix}{${namespace}}:${kind}`)

const LOG_MAX = 10_000
/** An entry that is longer than this, in bytes of JSON, is not in the log too: the log has a bound in memory. */
const LOGGED_MAX = 1024
/** How many changes a watch reads one by one; beyond, it reads the whole listing. */
export const CHANGES_MAX = 1000

// numbers are formatted with %.0f: Lua's default would write 1.7e+12
const common = `
local STATE, PEERS, LEASES, NAMES, LAPSED, LOG = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local fresh = ARGV[1]
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
local s = redis.call('HMGET', STATE, 'generation', 'born', 'revision', 'mark')
local generation, born, revision, mark = s[1], tonumber(s[2] or ''), tonumber(s[3] or ''), s[4]

-- text: the entry that is listed, so that those who wait for a change need not ask for it
local function change(op, id, text)
  revision = revision + 1
  mark = fresh
  redis.call('HSET', STATE, 'revision', num(revision), 'mark', mark)
  local entry = { 'XADD', LOG, 'MAXLEN', '~', '${LOG_MAX}', num(revision) .. '-0', 'h', mark, 'op', op, 'id', id }
  if text and #text <= ${LOGGED_MAX} then
    entry[#entry + 1] = 'entry'
    entry[#entry + 1] = text
  end
  local added = redis.pcall(unpack(entry))
  if type(added) == 'table' and added.err then -- the log is from a later time than the state: one of the two was restored
    redis.call('DEL', LOG)
    redis.call(unpack(entry))
  end
end

-- a new history; it starts at the time in milliseconds, beyond any revision of the one before, which wakes those who wait
local function begin(beyond)
  generation, born = fresh, now
  redis.call('HSET', STATE, 'generation', generation, 'born', num(born))
  revision = math.max(beyond, now)
  change('begin', '')
end
if not (generation and born and revision and mark) then begin(0) end

local function mark_at(rev)
  local found = redis.call('XRANGE', LOG, num(rev) .. '-0', num(rev) .. '-0')
  if not found[1] then return '' end
  for i = 1, #found[1][2], 2 do if found[1][2][i] == 'h' then return found[1][2][i + 1] end end
  return ''
end

local function answer(what)
  local first = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
  return { what, generation, num(revision), mark, num(now), first[2] and num(tonumber(first[2])) or '' }
end

-- a name as NAMES has it: between a name and what follows stands a space, so that in a name it is %20
local function indexed(name) return (string.gsub(name, '[%% ]', { ['%'] = '%25', [' '] = '%20' })) end

local function list(id, text, name, unique, ttl)
  redis.call('ZADD', LEASES, num(now + ttl), id)
  redis.call('ZADD', NAMES, 0, indexed(name) .. ' ' .. unique .. ' ' .. id)
  if redis.call('HGET', PEERS, id) == text then return end
  redis.call('HSET', PEERS, id, text)
  change('list', id, text)
end

-- who has the name, where one of the two would have it alone
local function holder(id, name, unique)
  name = indexed(name)
  for _, member in ipairs(redis.call('ZRANGEBYLEX', NAMES, '[' .. name .. ' ', '(' .. name .. '!')) do
    local alone, other = string.sub(member, #name + 2, #name + 2), string.sub(member, #name + 4)
    local ends = redis.call('ZSCORE', LEASES, other)
    if not ends or other == id then redis.call('ZREM', NAMES, member)
    elseif unique == '1' or alone == '1' then return other, ends end
  end
end

local function drop(op, id)
  local ok, entry = pcall(cjson.decode, redis.call('HGET', PEERS, id) or '')
  if ok and type(entry) == 'table' and type(entry.name) == 'string' then
    local name = indexed(entry.name)
    redis.call('ZREM', NAMES, name .. ' 0 ' .. id, name .. ' 1 ' .. id)
  end
  redis.call('ZREM', LEASES, id)
  redis.call('HDEL', PEERS, id)
  redis.call('HDEL', STATE, 'missed ' .. id)
  change(op, id)
end

local function lapse(id)
  drop('lapse', id)
  redis.call('ZADD', LAPSED, num(now), id)
end

local function forget()
  redis.call('ZREMRANGEBYSCORE', LAPSED, '-inf', num(now - ${LAPSED_MS}))
end
`

/** ARGV: fresh, id, JSON, name, unique (0 or 1), ttl. A Redis out of memory rejects it: new stages must wait, listed stages stay. */
export const PUBLISH = script('', `
local id, text, name, unique, ttl = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local function ttl_of(json)
  local ok, entry = pcall(cjson.decode, json)
  return ok and type(entry) == 'table' and tonumber(entry.ttlMs) or 0
end
-- see Ledger.#mourn
local patience = #redis.call('ZRANGEBYSCORE', LEASES, '(' .. num(now), '+inf', 'LIMIT', '0', '1') > 0 and ${MOURN_TTLS} or 1
for _, other in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', num(now - ${SWEEP_MS}), 'LIMIT', '0', '${SWEEP_MAX}')) do
  local ends = redis.call('ZSCORE', LEASES, other)
  local since, of = string.match(redis.call('HGET', STATE, 'missed ' .. other) or '', '^(%d+) (.*)$')
  if of ~= ends then redis.call('HSET', STATE, 'missed ' .. other, num(now) .. ' ' .. ends)
  elseif now - tonumber(since) >= ttl_of(redis.call('HGET', PEERS, other) or '') * patience then lapse(other) end
end
local other, ends = holder(id, name, unique)
if other then
  local text = redis.call('HGET', PEERS, other) or ''
  local since = tonumber(string.match(redis.call('HGET', STATE, 'missed ' .. other) or '', '^(%d+) ') or '')
  local free = since and since + ttl_of(text) - now or tonumber(ends) + ${GRACE_MS} - now
  return { 'taken', other, text, num(free) }
end
if redis.call('ZSCORE', LAPSED, id) then return answer('lost') end
forget()
list(id, text, name, unique, ttl)
return answer('ok')`)

/** ARGV: as for PUBLISH, then the generation, revision and mark that the lease saw last. */
export const RENEW = script('allow-oom', `
local id, text, name, unique, ttl = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local ends = redis.call('ZSCORE', LEASES, id)
local seen = tonumber(ARGV[8])
if generation == ARGV[7] then
  -- the history was reset: the server was restored, or took over without the last writes
  local back = revision < seen or (revision == seen and mark ~= ARGV[9])
  if not back and not ends then
    local then_mark = mark_at(seen)
    back = then_mark ~= '' and then_mark ~= ARGV[9]
  end
  if back then begin(seen) end
end
local reborn = generation ~= ARGV[7] and now - born <= ttl and not redis.call('ZSCORE', LAPSED, id)
if not ends and (not reborn or holder(id, name, unique)) then return answer('lost') end
list(id, text, name, unique, ttl)
return answer(ends and tonumber(ends) <= now and 'late' or 'ok')`)

/** ARGV: fresh, id of the caller, whose entry is never swept. */
export const SWEEP = script('allow-oom', `
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', num(now - ${SWEEP_MS}), 'LIMIT', '0', '${SWEEP_MAX}')) do
  if id ~= ARGV[2] then
    lapse(id)
  end
end
forget()
return answer('ok')`)

/** ARGV: fresh, id. */
export const REMOVE = script('allow-oom', `
if redis.call('ZSCORE', LEASES, ARGV[2]) then drop('leave', ARGV[2]) end
return answer('ok')`)

/**
 * ARGV: fresh, generation, revision and mark that the watch saw last ('' if none).
 * Answers 'same'; or 'changes' with the present point in history and, for each id in the log since then, the id, its JSON
 * ('' if it is not listed) and '1' if it lapsed; or, where the log does not go back that far, 'view' with the present point,
 * the log's mark for the given revision ('' if unknown), the lapsed ids, and id, JSON, id, JSON …
 */
export const READ = script('allow-oom', `
if generation == ARGV[2] and num(revision) == ARGV[3] and mark == ARGV[4] then return { 'same' } end
local past, seen = '', tonumber(ARGV[3])
if generation == ARGV[2] and seen then past = mark_at(seen) end
local records = {}
if past ~= '' and past == ARGV[4] and revision - seen <= ${CHANGES_MAX} then
  local found = redis.call('XRANGE', LOG, num(seen + 1) .. '-0', '+')
  local known = {}
  for _, one in ipairs(found) do
    for i = 1, #one[2], 2 do
      local id = one[2][i + 1]
      if one[2][i] == 'id' and not known[id] then
        known[id] = true
        local text = redis.call('ZSCORE', LEASES, id) and redis.call('HGET', PEERS, id) or ''
        records[#records + 1] = id
        records[#records + 1] = text
        records[#records + 1] = text == '' and redis.call('ZSCORE', LAPSED, id) and '1' or ''
      end
    end
  end
  if #found == revision - seen then return { 'changes', generation, num(revision), mark, records } end
  records = {}
end
local ids = redis.call('ZRANGE', LEASES, 0, -1)
for from = 1, #ids, 1000 do
  local to = math.min(from + 999, #ids)
  local texts = redis.call('HMGET', PEERS, unpack(ids, from, to))
  for i = from, to do
    local text = texts[i - from + 1]
    if text then
      records[#records + 1] = ids[i]
      records[#records + 1] = text
    end
  end
end
return { 'view', generation, num(revision), mark, past, redis.call('ZRANGE', LAPSED, 0, -1), records }`)

function script(flags: string, body: string): Script {
  return whole(flags, common + body)
}
