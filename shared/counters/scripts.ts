import { createHash } from 'node:crypto'
import { RATE_WINDOW, SPENT_IDLE } from './counters.ts'

/**
 * The scripts of `redis.ts`. Everything is in one hash, so that an admission over any number of scopes is one read and one write of
 * it, and so that it is there as a whole or not at all:
 *
 *   `<scope>`   the numbers of a scope, packed doubles (exact to 2^53): end of its window, requests, tokens, parallel, spent, held, revision,
 *               time of last use
 *   `~<lease>`  a lease, msgpack: 1 held or 2 settled, hold or cost, tokens, then per scope its name, flags (1 requests, 2 tokens, 4 parallel,
 *               8 budget), the end of its window at the admission, its budget
 *   `!epoch`    when admissions open; missing = the data was lost and has not been rebuilt
 *
 * Beside it three sorted sets, each by milliseconds: held leases by expiry, settled ones by when, scopes by when to look whether anybody
 * still uses them. All scripts take these four keys; ARGV[1] is the time for tests, else empty: the server's clock.
 */
const PRELUDE = `
local STATE, HELD, SETTLED, IDLE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local FORM = '<dddddddd'
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function open(packed)
  if not packed then return 0, 0, 0, 0, 0, 0, 0, 0 end
  local w, r, t, p, s, h, v, u = struct.unpack(FORM, packed)
  if w <= now then w, r, t = 0, 0, 0 end
  return w, r, t, p, s, h, v, u
end
`

/** For scripts over many leases: states in tables, read and written in batches (a Lua call takes some thousand arguments). */
const BATCHES = `
local function batched(list, run)
  for first = 1, #list, 1000 do run(unpack(list, first, math.min(first + 999, #list))) end
end
local function fetch(fields)
  local values = {}
  batched(fields, function(...)
    for _, value in ipairs(redis.call('HMGET', STATE, ...)) do values[#values + 1] = value end
  end)
  return values
end
local cache, order = {}, {}
local function load(names)
  local missing, seen = {}, {}
  for _, name in ipairs(names) do
    if not cache[name] and not seen[name] then seen[name] = true missing[#missing + 1] = name end
  end
  for index, packed in ipairs(fetch(missing)) do
    cache[missing[index]] = { open(packed) }
    order[#order + 1] = missing[index]
  end
end
local function store()
  local write, fresh = {}, {}
  for _, name in ipairs(order) do
    local state = cache[name]
    if state[8] == 0 then fresh[#fresh + 1] = now + ${2 * RATE_WINDOW} fresh[#fresh + 1] = name end
    state[8] = now
    write[#write + 1] = name
    write[#write + 1] = struct.pack(FORM, unpack(state))
  end
  batched(write, function(...) redis.call('HSET', STATE, ...) end)
  batched(fresh, function(...) redis.call('ZADD', IDLE, ...) end)
end
local function learn(first)
  local names = {}
  for i = first, #ARGV, 3 do names[#names + 1] = ARGV[i] end
  load(names)
  for i = first, #ARGV, 3 do
    local state, revision = cache[ARGV[i]], tonumber(ARGV[i + 2])
    if revision > state[7] then state[5], state[7] = tonumber(ARGV[i + 1]), revision end
  end
end
local function finish(ids)
  local fields, names, gone, found = {}, {}, {}, {}
  for i, id in ipairs(ids) do fields[i] = '~' .. id end
  for i, packed in ipairs(fetch(fields)) do
    if packed then
      local lease = cmsgpack.unpack(packed)
      found[#found + 1] = lease
      gone[#gone + 1] = ids[i]
      for at = 4, #lease, 4 do names[#names + 1] = lease[at] end
    end
  end
  load(names)
  for _, lease in ipairs(found) do
    for at = 4, #lease, 4 do
      local state, flags = cache[lease[at]], lease[at + 1]
      if lease[1] == 1 and bit.band(flags, 4) ~= 0 then state[4] = math.max(0, state[4] - 1) end
      if bit.band(flags, 8) ~= 0 then state[6] = math.max(0, state[6] - lease[2]) end
    end
  end
  local dropped = {}
  for i, id in ipairs(gone) do dropped[i] = '~' .. id end
  batched(dropped, function(...) redis.call('HDEL', STATE, ...) end)
  batched(gone, function(...) redis.call('ZREM', HELD, ...) redis.call('ZREM', SETTLED, ...) end)
end
`

/**
 * ARGV: time, lease, tokens, hold, TTL, number of scopes, their names, then of each: limits of requests, tokens, parallel, budget (empty = none),
 * spent, revision. Answers -1 (not rebuilt), {0, index, limit, state} or {1, states}; a state is requests, tokens, parallel, spent, held,
 * revision, milliseconds until the window closes.
 */
const ADMIT = `${PRELUDE}
local tokens, hold, n = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local id = '~' .. ARGV[2]
local got = redis.call('HMGET', STATE, '!epoch', id, unpack(ARGV, 7, 6 + n))
if not got[1] or now < tonumber(got[1]) then return -1 end
local old, settled = nil, false
if got[2] then
  local lease = cmsgpack.unpack(got[2])
  old, settled = {}, lease[1] == 2
  for at = 4, #lease, 4 do
    old[lease[at]] = { flags = lease[at + 1], window = lease[at + 2], hold = lease[2], tokens = lease[3] }
  end
end
local function without(o, w, r, t, p, h)
  if bit.band(o.flags, 8) ~= 0 then h = math.max(0, h - o.hold) end
  if settled then return r, t, p, h end
  if bit.band(o.flags, 4) ~= 0 then p = math.max(0, p - 1) end
  if w ~= 0 and w == o.window then
    if bit.band(o.flags, 1) ~= 0 then r = r - 1 end
    if bit.band(o.flags, 2) ~= 0 then t = t - o.tokens end
  end
  return r, t, p, h
end
local write, lease, reply, fresh = { id, '' }, { 1, hold, tokens }, { 1 }, nil
local at, out, put, note = 6 + n, 1, 2, 3
for i = 1, n do
  local name = ARGV[6 + i]
  local requests, most, parallel, budget = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local spent, revision = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  at = at + 6
  local w, r, t, p, s, h, v, u = open(got[2 + i])
  if old and old[name] then r, t, p, h = without(old[name], w, r, t, p, h) end
  if revision > v then s, v = spent, revision end
  local lacks = nil
  if requests and r + 1 > requests then lacks = 1
  elseif most and t + tokens > most then lacks = 2
  elseif parallel and p + 1 > parallel then lacks = 3
  elseif budget and hold > 0 and s + h + hold > budget then lacks = 4 end
  if lacks then return { 0, i - 1, lacks, r, t, p, s, h, v, w == 0 and 0 or w - now } end
  if old then old[name] = nil end
  if w == 0 and (requests or most) then w = now + ${RATE_WINDOW} end
  local flags = 0
  if requests then r = r + 1 flags = 1 end
  if most then t = t + tokens flags = flags + 2 end
  if parallel then p = p + 1 flags = flags + 4 end
  if budget then h = h + hold flags = flags + 8 end
  if u == 0 then
    fresh = fresh or {}
    fresh[#fresh + 1] = now + ${2 * RATE_WINDOW}
    fresh[#fresh + 1] = name
  end
  write[put + 1], write[put + 2] = name, struct.pack(FORM, w, r, t, p, s, h, v, now)
  put = put + 2
  lease[note + 1], lease[note + 2], lease[note + 3], lease[note + 4] = name, flags, w, budget or 0
  note = note + 4
  reply[out + 1], reply[out + 2], reply[out + 3], reply[out + 4], reply[out + 5], reply[out + 6] = r, t, p, s, h, v
  reply[out + 7] = w == 0 and 0 or w - now
  out = out + 7
end
if old then
  for name, o in pairs(old) do
    local w, r, t, p, s, h, v = open(redis.call('HGET', STATE, name))
    r, t, p, h = without(o, w, r, t, p, h)
    write[put + 1], write[put + 2] = name, struct.pack(FORM, w, r, t, p, s, h, v, now)
    put = put + 2
  end
  if settled then redis.call('ZREM', SETTLED, ARGV[2]) end
end
write[2] = cmsgpack.pack(lease)
redis.call('HSET', STATE, unpack(write))
redis.call('ZADD', HELD, now + tonumber(ARGV[5]), ARGV[2])
if fresh then redis.call('ZADD', IDLE, unpack(fresh)) end
return reply
`

/** ARGV as of ADMIT. Makes a lease that was lost, whatever room there is; one that is there is only renewed. */
const REMAKE = `${PRELUDE}${BATCHES}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local hold, n = tonumber(ARGV[4]), tonumber(ARGV[6])
local id = '~' .. ARGV[2]
local packed = redis.call('HGET', STATE, id)
if packed and cmsgpack.unpack(packed)[1] == 2 then return 0 end
redis.call('ZADD', HELD, now + tonumber(ARGV[5]), ARGV[2])
if packed then return 0 end
load({ unpack(ARGV, 7, 6 + n) })
local lease, at = { 1, hold, 0 }, 6 + n
for i = 1, n do
  local name = ARGV[6 + i]
  local state, budget, revision, flags = cache[name], tonumber(ARGV[at + 4]), tonumber(ARGV[at + 6]), 0
  if revision > state[7] then state[5], state[7] = tonumber(ARGV[at + 5]), revision end
  if tonumber(ARGV[at + 3]) then state[4] = state[4] + 1 flags = 4 end
  if budget then state[6] = state[6] + hold flags = flags + 8 end
  at = at + 6
  for _, value in ipairs({ name, flags, -1, budget or 0 }) do lease[#lease + 1] = value end
end
redis.call('HSET', STATE, id, cmsgpack.pack(lease))
store()
return 1
`

/** ARGV: time, lease, hold. 1 = it is held now. */
const EXTEND = `${PRELUDE}
local id, hold = '~' .. ARGV[2], tonumber(ARGV[3])
local packed = redis.call('HGET', STATE, id)
if not packed then return 0 end
local lease = cmsgpack.unpack(packed)
if lease[1] ~= 1 then return 0 end
local more = hold - lease[2]
if more <= 0 then return 1 end
lease[2] = hold
local write = { id, cmsgpack.pack(lease) }
for at = 4, #lease, 4 do
  if bit.band(lease[at + 1], 8) ~= 0 then
    local w, r, t, p, s, h, v = open(redis.call('HGET', STATE, lease[at]))
    if s + h + more > lease[at + 3] then return 0 end
    write[#write + 1] = lease[at]
    write[#write + 1] = struct.pack(FORM, w, r, t, p, s, h + more, v, now)
  end
end
redis.call('HSET', STATE, unpack(write))
return 1
`

/** Reads a held lease and its scopes into \`lease\` and \`got\`; 0 when there is none. */
const LEASE = `
local id = '~' .. ARGV[2]
local packed = redis.call('HGET', STATE, id)
if not packed then return 0 end
local lease = cmsgpack.unpack(packed)
if lease[1] ~= 1 then return 0 end
local names, fresh = {}, {}
for at = 4, #lease, 4 do names[#names + 1] = lease[at] end
local got = #names > 0 and redis.call('HMGET', STATE, unpack(names)) or {}
redis.call('ZREM', HELD, ARGV[2])
local function rest(write)
  if #write > 0 then redis.call('HSET', STATE, unpack(write)) end
  if #fresh > 0 then redis.call('ZADD', IDLE, unpack(fresh)) end
end
local function touch(u, name)
  if u == 0 then fresh[#fresh + 1] = now + ${2 * RATE_WINDOW} fresh[#fresh + 1] = name end
end
`

/** ARGV: time, lease, cost, tokens. */
const SETTLE = `${PRELUDE}${LEASE}
local cost, used, budgets, write = tonumber(ARGV[3]), tonumber(ARGV[4]), false, {}
for i, name in ipairs(names) do
  local at = i * 4
  local flags, window = lease[at + 1], lease[at + 2]
  local w, r, t, p, s, h, v, u = open(got[i])
  if bit.band(flags, 2) ~= 0 and w ~= 0 and w == window then t = math.max(0, t - lease[3] + used) end
  if bit.band(flags, 4) ~= 0 then p = math.max(0, p - 1) end
  if bit.band(flags, 8) ~= 0 then budgets = true h = math.max(0, h - lease[2]) + cost end
  touch(u, name)
  write[#write + 1] = name
  write[#write + 1] = struct.pack(FORM, w, r, t, p, s, h, v, now)
end
if budgets and cost > 0 then
  lease[1], lease[2] = 2, cost
  write[#write + 1] = id
  write[#write + 1] = cmsgpack.pack(lease)
  redis.call('ZADD', SETTLED, now, ARGV[2])
else
  redis.call('HDEL', STATE, id)
end
rest(write)
return 1
`

/** ARGV: time, lease. */
const RELEASE = `${PRELUDE}${LEASE}
local write = {}
for i, name in ipairs(names) do
  local at = i * 4
  local flags, window = lease[at + 1], lease[at + 2]
  local w, r, t, p, s, h, v, u = open(got[i])
  if w ~= 0 and w == window then
    if bit.band(flags, 1) ~= 0 then r = math.max(0, r - 1) end
    if bit.band(flags, 2) ~= 0 then t = math.max(0, t - lease[3]) end
  end
  if bit.band(flags, 4) ~= 0 then p = math.max(0, p - 1) end
  if bit.band(flags, 8) ~= 0 then h = math.max(0, h - lease[2]) end
  touch(u, name)
  write[#write + 1] = name
  write[#write + 1] = struct.pack(FORM, w, r, t, p, s, h, v, now)
end
redis.call('HDEL', STATE, id)
rest(write)
return 1
`

/** ARGV: time, TTL, leases. Answers -1 or the indices of those that are not there. */
const RENEW = `${PRELUDE}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local at, renewed, unknown = now + tonumber(ARGV[2]), {}, {}
local n = #ARGV - 2
if n == 0 then return {} end
local held = redis.call('ZMSCORE', HELD, unpack(ARGV, 3))
for i = 1, n do
  if held[i] then renewed[#renewed + 1] = at renewed[#renewed + 1] = ARGV[i + 2]
  elseif not redis.call('ZSCORE', SETTLED, ARGV[i + 2]) then unknown[#unknown + 1] = i - 1 end
end
if #renewed > 0 then redis.call('ZADD', HELD, unpack(renewed)) end
return unknown
`

/** ARGV: time, scopes. Answers -1 or their states in a row. */
const PEEK = `${PRELUDE}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local reply = {}
for i = 2, #ARGV do
  local w, r, t, p, s, h, v = open(redis.call('HGET', STATE, ARGV[i]))
  for _, value in ipairs({ r, t, p, s, h, v, w == 0 and 0 or w - now }) do reply[#reply + 1] = value end
end
return reply
`

/** ARGV: time, number of leases, leases, then scope, spent, revision of each. */
const BOOK = `${PRELUDE}${BATCHES}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local n, ids = tonumber(ARGV[2]), {}
for i = 1, n do ids[i] = ARGV[i + 2] end
finish(ids)
learn(3 + n)
store()
return 1
`

/** ARGV: time, most. Also forgets scopes that nobody uses. */
const SWEEP = `${PRELUDE}${BATCHES}
local ids = redis.call('ZRANGEBYSCORE', HELD, '-inf', now, 'LIMIT', 0, ARGV[2])
finish(ids)
store()
local names = redis.call('ZRANGEBYSCORE', IDLE, '-inf', now, 'LIMIT', 0, 1000)
local gone, later = {}, {}
for i, packed in ipairs(fetch(names)) do
  local w, r, t, p, s, h, v, u = open(packed)
  local idle = (v > 0 or s > 0) and ${SPENT_IDLE} or ${2 * RATE_WINDOW}
  if not packed or (p == 0 and h == 0 and u + idle <= now) then gone[#gone + 1] = names[i]
  else later[#later + 1] = math.max(u + idle, now + ${2 * RATE_WINDOW}) later[#later + 1] = names[i] end
end
batched(gone, function(...) redis.call('HDEL', STATE, ...) redis.call('ZREM', IDLE, ...) end)
batched(later, function(...) redis.call('ZADD', IDLE, ...) end)
return ids
`

/** ARGV: time, age, most. */
const SETTLED_BEFORE = `${PRELUDE}
return redis.call('ZRANGEBYSCORE', SETTLED, '-inf', '(' .. string.format('%.0f', now - tonumber(ARGV[2])), 'LIMIT', 0, ARGV[3])
`

/** ARGV: time. Answers {epoch, milliseconds until it opens}, or -1. */
const PROBE = `${PRELUDE}
local epoch = redis.call('HGET', STATE, '!epoch')
if not epoch then return -1 end
return { tonumber(epoch), math.max(0, tonumber(epoch) - now) }
`

/** ARGV: time. Leases and what all scopes hold; reads everything. */
const TOTALS = `${PRELUDE}
local all, held = redis.call('HGETALL', STATE), 0
for i = 1, #all, 2 do
  local first = string.byte(all[i])
  if first ~= 126 and first ~= 33 then
    local _, _, _, _, _, h = open(all[i + 1])
    held = held + h
  end
end
return { redis.call('ZCARD', HELD) + redis.call('ZCARD', SETTLED), held }
`

/** What a rebuild runs before the others are loaded, so by its text. KEYS[5] is there while the data is. */
export const BEGIN_REBUILD = `
redis.call('HDEL', KEYS[1], '!epoch')
redis.call('SET', KEYS[5], '1', 'PX', 600000)
return 1
`

/** ARGV: time, then scope, spent, revision of each. 0 = the data was lost since the beginning. */
export const LOAD = `${PRELUDE}${BATCHES}
if redis.call('PEXPIRE', KEYS[5], 600000) == 0 then return 0 end
learn(2)
store()
return 1
`

/** ARGV: time, grace. */
export const OPEN = `${PRELUDE}
if redis.call('DEL', KEYS[5]) == 0 then return 0 end
redis.call('HSET', STATE, '!epoch', string.format('%.0f', now + tonumber(ARGV[2])))
return 1
`

const TEXTS = {
  admit: ADMIT,
  remake: REMAKE,
  extend: EXTEND,
  settle: SETTLE,
  release: RELEASE,
  renew: RENEW,
  peek: PEEK,
  book: BOOK,
  sweep: SWEEP,
  settledBefore: SETTLED_BEFORE,
  probe: PROBE,
  totals: TOTALS,
} as const

export type ScriptName = keyof typeof TEXTS

export interface Script {
  text: string
  /** SHA-1, by which the server knows it. */
  sha: string
}

/** The scripts that are called by their hash. */
export function scripts(): Record<ScriptName, Script> {
  const entries = Object.entries(TEXTS).map(([name, text]) => [
    name,
    { text, sha: createHash('sha1').update(text).digest('hex') },
  ])
  return Object.fromEntries(entries) as Record<ScriptName, Script>
}
