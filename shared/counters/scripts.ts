import { createHash } from 'node:crypto'
import { RATE_WINDOW, SPENT_IDLE } from './counters.ts'

/** Bytes before the numbers in a lease, and before the limits in the numbers; positions count from 1. */
const HEAD = 19
const LIMITS_IN_LEASE = HEAD + 24 - 48 + 1
const LIMITS_IN_NUMBERS = 24 - 48 + 1

/**
 * The scripts of `redis.ts`. Everything is in one hash, so that an admission over any number of scopes is one read and one write of
 * it, and so that it is there as a whole or not at all:
 *
 *   `<scope>`   the numbers of a scope, packed doubles (exact to 2^53): end of its window, requests, tokens, parallel, spent, held, revision,
 *               time of last use
 *   `~<lease>`  a lease: kind (1 held, 2 settled), hold or cost, time of the admission, number of scopes, the numbers it was admitted with,
 *               names of its scopes, each ended by a zero byte
 *   `!epoch`    when admissions open; missing = the data was lost and has not been rebuilt
 *
 * Beside it two sorted sets: leases, by expiry while held and by SETTLED + time once settled; scopes, by when to look whether anybody still
 * uses them. All scripts take these three keys. ARGV[1] is the time for tests, else empty: the server's clock, milliseconds.
 *
 * The numbers of an admission are packed doubles too: tokens, hold, TTL, then of each scope its limits of requests, tokens, parallel, budget
 * (-1 = none) and the caller's spent and revision. What a lease reserved is still in the window that runs now if that had opened by its
 * admission.
 */
const PRELUDE = `
local STATE, LEASES, IDLE = KEYS[1], KEYS[2], KEYS[3]
local STATE_FORM, LIMITS_FORM, HEAD_FORM = '<dddddddd', '<dddddd', '<BddH'
local HELD, SETTLED = 1, 1e15
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function open(packed)
  if not packed then return 0, 0, 0, 0, 0, 0, 0, 0 end
  local w, r, t, p, s, h, v, u = struct.unpack(STATE_FORM, packed)
  if w <= now then w, r, t = 0, 0, 0 end
  return w, r, t, p, s, h, v, u
end
local function namesOf(lease, n)
  local names = { struct.unpack(string.rep('s', n), lease, ${HEAD + 24 + 1} + 48 * n) }
  names[n + 1] = nil
  return names
end
`

/** A scope is looked at for the first time after this. */
const FIRST_LOOK = 2 * RATE_WINDOW

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
    if not cache[name] and not seen[name] then
      seen[name] = true
      missing[#missing + 1] = name
    end
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
    if state[8] == 0 then
      fresh[#fresh + 1] = now + ${FIRST_LOOK}
      fresh[#fresh + 1] = name
    end
    state[8] = now
    write[#write + 1] = name
    write[#write + 1] = struct.pack(STATE_FORM, unpack(state))
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
  local fields, names, gone, dropped, found = {}, {}, {}, {}, {}
  for i, id in ipairs(ids) do fields[i] = '~' .. id end
  for i, lease in ipairs(fetch(fields)) do
    if lease then
      local kind, amount, admitted, n = struct.unpack(HEAD_FORM, lease)
      local own = namesOf(lease, n)
      found[#found + 1] = { kind, amount, own, lease }
      gone[#gone + 1] = ids[i]
      dropped[#dropped + 1] = fields[i]
      for _, name in ipairs(own) do names[#names + 1] = name end
    end
  end
  load(names)
  for _, one in ipairs(found) do
    local kind, amount, own, lease = unpack(one)
    for i, name in ipairs(own) do
      local state = cache[name]
      local requests, most, parallel, budget = struct.unpack(LIMITS_FORM, lease, i * 48 + ${LIMITS_IN_LEASE})
      if kind == HELD and parallel >= 0 then state[4] = math.max(0, state[4] - 1) end
      if budget >= 0 then state[6] = math.max(0, state[6] - amount) end
    end
  end
  batched(dropped, function(...) redis.call('HDEL', STATE, ...) end)
  batched(gone, function(...) redis.call('ZREM', LEASES, ...) end)
end
`

/**
 * ARGV: time, lease, numbers, scopes. Answers -1 (not rebuilt), {0, index, limit, state} or {1, states}; the time of use in a state is
 * that of the answer.
 */
const ADMIT = `${PRELUDE}
local numbers, id, n = ARGV[3], '~' .. ARGV[2], #ARGV - 3
local got = redis.call('HMGET', STATE, '!epoch', id, unpack(ARGV, 4))
if not got[1] or now < tonumber(got[1]) then return -1 end
local tokens, hold, ttl = struct.unpack('<ddd', numbers)
local old, without = nil, nil
if got[2] then
  local lease = got[2]
  local kind, amount, admitted, count = struct.unpack(HEAD_FORM, lease)
  local reserved = struct.unpack('<d', lease, ${HEAD + 1})
  old = {}
  for index, name in ipairs(namesOf(lease, count)) do old[name] = index end
  without = function(name, w, r, t, p, h)
    local requests, most, parallel, budget = struct.unpack(LIMITS_FORM, lease, old[name] * 48 + ${LIMITS_IN_LEASE})
    if budget >= 0 then h = math.max(0, h - amount) end
    if kind ~= HELD then return r, t, p, h end
    if parallel >= 0 then p = math.max(0, p - 1) end
    if w ~= 0 and w - ${RATE_WINDOW} <= admitted then
      if requests >= 0 then r = r - 1 end
      if most >= 0 then t = t - reserved end
    end
    return r, t, p, h
  end
end
local write, reply, fresh = { id, '' }, { 1 }, nil
for i = 1, n do
  local name = ARGV[i + 3]
  local requests, most, parallel, budget, spent, revision = struct.unpack(LIMITS_FORM, numbers, i * 48 + ${LIMITS_IN_NUMBERS})
  local w, r, t, p, s, h, v, u = open(got[i + 2])
  if u == 0 then
    fresh = fresh or {}
    fresh[#fresh + 1] = now + ${FIRST_LOOK}
    fresh[#fresh + 1] = name
  end
  if old and old[name] then
    r, t, p, h = without(name, w, r, t, p, h)
    old[name] = nil
  end
  if revision > v then s, v = spent, revision end
  local lacks = nil
  if requests >= 0 and r + 1 > requests then lacks = 1
  elseif most >= 0 and t + tokens > most then lacks = 2
  elseif parallel >= 0 and p + 1 > parallel then lacks = 3
  elseif budget >= 0 and hold > 0 and s + h + hold > budget then lacks = 4 end
  if lacks then return { 0, i - 1, lacks, struct.pack(STATE_FORM, w, r, t, p, s, h, v, now) } end
  if w == 0 and (requests >= 0 or most >= 0) then w = now + ${RATE_WINDOW} end
  if requests >= 0 then r = r + 1 end
  if most >= 0 then t = t + tokens end
  if parallel >= 0 then p = p + 1 end
  if budget >= 0 then h = h + hold end
  local packed = struct.pack(STATE_FORM, w, r, t, p, s, h, v, now)
  write[2 * i + 1], write[2 * i + 2], reply[i + 1] = name, packed, packed
end
if old then
  for name in pairs(old) do
    local w, r, t, p, s, h, v = open(redis.call('HGET', STATE, name))
    r, t, p, h = without(name, w, r, t, p, h)
    write[#write + 1] = name
    write[#write + 1] = struct.pack(STATE_FORM, w, r, t, p, s, h, v, now)
  end
end
write[2] = struct.pack(HEAD_FORM, HELD, hold, now, n) .. numbers .. table.concat(ARGV, '\\0', 4) .. '\\0'
redis.call('HSET', STATE, unpack(write))
redis.call('ZADD', LEASES, now + ttl, ARGV[2])
if fresh then redis.call('ZADD', IDLE, unpack(fresh)) end
return reply
`

/** ARGV as of ADMIT. Makes a lease that was lost, whatever room there is; one that is there is only renewed. */
const REMAKE = `${PRELUDE}${BATCHES}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local numbers, id, n = ARGV[3], '~' .. ARGV[2], #ARGV - 3
local tokens, hold, ttl = struct.unpack('<ddd', numbers)
local lease = redis.call('HGET', STATE, id)
if lease and struct.unpack(HEAD_FORM, lease) ~= HELD then return 0 end
redis.call('ZADD', LEASES, now + ttl, ARGV[2])
if lease then return 0 end
load({ unpack(ARGV, 4) })
for i = 1, n do
  local state = cache[ARGV[i + 3]]
  local requests, most, parallel, budget, spent, revision = struct.unpack(LIMITS_FORM, numbers, i * 48 + ${LIMITS_IN_NUMBERS})
  if revision > state[7] then state[5], state[7] = spent, revision end
  if parallel >= 0 then state[4] = state[4] + 1 end
  if budget >= 0 then state[6] = state[6] + hold end
end
redis.call('HSET', STATE, id, struct.pack(HEAD_FORM, HELD, hold, -1, n) .. numbers .. table.concat(ARGV, '\\0', 4) .. '\\0')
store()
return 1
`

/** Reads the held lease in ARGV[2] and its scopes; the script answers 0 when there is none. */
const HELD_LEASE = `
local id = '~' .. ARGV[2]
local lease = redis.call('HGET', STATE, id)
if not lease then return 0 end
local kind, amount, admitted, n = struct.unpack(HEAD_FORM, lease)
if kind ~= HELD then return 0 end
local reserved = struct.unpack('<d', lease, ${HEAD + 1})
local names = namesOf(lease, n)
local got = n > 0 and redis.call('HMGET', STATE, unpack(names)) or {}
local write, fresh = {}, nil
local function note(i, w, r, t, p, s, h, v, u)
  if u == 0 then
    fresh = fresh or {}
    fresh[#fresh + 1] = now + ${FIRST_LOOK}
    fresh[#fresh + 1] = names[i]
  end
  write[#write + 1] = names[i]
  write[#write + 1] = struct.pack(STATE_FORM, w, r, t, p, s, h, v, now)
end
local function save()
  if #write > 0 then redis.call('HSET', STATE, unpack(write)) end
  if fresh then redis.call('ZADD', IDLE, unpack(fresh)) end
end
`

/** ARGV: time, lease, hold. 1 = it is held now. */
const EXTEND = `${PRELUDE}${HELD_LEASE}
local hold = tonumber(ARGV[3])
local more = hold - amount
if more <= 0 then return 1 end
for i = 1, n do
  local requests, most, parallel, budget = struct.unpack(LIMITS_FORM, lease, i * 48 + ${LIMITS_IN_LEASE})
  if budget >= 0 then
    local w, r, t, p, s, h, v, u = open(got[i])
    if s + h + more > budget then return 0 end
    note(i, w, r, t, p, s, h + more, v, u)
  end
end
write[#write + 1] = id
write[#write + 1] = struct.pack(HEAD_FORM, HELD, hold, admitted, n) .. string.sub(lease, ${HEAD + 1})
save()
return 1
`

/** ARGV: time, lease, cost, tokens. */
const SETTLE = `${PRELUDE}${HELD_LEASE}
local cost, used, budgeted = tonumber(ARGV[3]), tonumber(ARGV[4]), false
for i = 1, n do
  local requests, most, parallel, budget = struct.unpack(LIMITS_FORM, lease, i * 48 + ${LIMITS_IN_LEASE})
  local w, r, t, p, s, h, v, u = open(got[i])
  if most >= 0 and w ~= 0 and w - ${RATE_WINDOW} <= admitted then t = math.max(0, t - reserved + used) end
  if parallel >= 0 then p = math.max(0, p - 1) end
  if budget >= 0 then
    budgeted = true
    h = math.max(0, h - amount) + cost
  end
  note(i, w, r, t, p, s, h, v, u)
end
if budgeted and cost > 0 then
  write[#write + 1] = id
  write[#write + 1] = struct.pack(HEAD_FORM, 2, cost, admitted, n) .. string.sub(lease, ${HEAD + 1})
  redis.call('ZADD', LEASES, SETTLED + now, ARGV[2])
else
  redis.call('HDEL', STATE, id)
  redis.call('ZREM', LEASES, ARGV[2])
end
save()
return 1
`

/** ARGV: time, lease. */
const RELEASE = `${PRELUDE}${HELD_LEASE}
for i = 1, n do
  local requests, most, parallel, budget = struct.unpack(LIMITS_FORM, lease, i * 48 + ${LIMITS_IN_LEASE})
  local w, r, t, p, s, h, v, u = open(got[i])
  if w ~= 0 and w - ${RATE_WINDOW} <= admitted then
    if requests >= 0 then r = math.max(0, r - 1) end
    if most >= 0 then t = math.max(0, t - reserved) end
  end
  if parallel >= 0 then p = math.max(0, p - 1) end
  if budget >= 0 then h = math.max(0, h - amount) end
  note(i, w, r, t, p, s, h, v, u)
end
redis.call('HDEL', STATE, id)
redis.call('ZREM', LEASES, ARGV[2])
save()
return 1
`

/** ARGV: time, TTL, leases. Answers -1 or the indices of those that are not there. */
const RENEW = `${PRELUDE}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local at, renewed, unknown = now + tonumber(ARGV[2]), {}, {}
local scores = redis.call('ZMSCORE', LEASES, unpack(ARGV, 3))
for i = 1, #ARGV - 2 do
  if not scores[i] then
    unknown[#unknown + 1] = i - 1
  elseif tonumber(scores[i]) < SETTLED then
    renewed[#renewed + 1] = at
    renewed[#renewed + 1] = ARGV[i + 2]
  end
end
if #renewed > 0 then redis.call('ZADD', LEASES, unpack(renewed)) end
return unknown
`

/** ARGV: time, scopes. Answers -1 or their states; the time of use is that of the answer. */
const PEEK = `${PRELUDE}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local reply = {}
for i = 2, #ARGV do
  local w, r, t, p, s, h, v = open(redis.call('HGET', STATE, ARGV[i]))
  reply[i - 1] = struct.pack(STATE_FORM, w, r, t, p, s, h, v, now)
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
local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, ARGV[2])
finish(ids)
store()
local names = redis.call('ZRANGEBYSCORE', IDLE, '-inf', now, 'LIMIT', 0, 1000)
local gone, later = {}, {}
for i, packed in ipairs(fetch(names)) do
  local w, r, t, p, s, h, v, u = open(packed)
  local idle = (v > 0 or s > 0) and ${SPENT_IDLE} or ${2 * RATE_WINDOW}
  if not packed or (p == 0 and h == 0 and u + idle <= now) then
    gone[#gone + 1] = names[i]
  else
    later[#later + 1] = math.max(u + idle, now + ${FIRST_LOOK})
    later[#later + 1] = names[i]
  end
end
batched(gone, function(...)
  redis.call('HDEL', STATE, ...)
  redis.call('ZREM', IDLE, ...)
end)
batched(later, function(...) redis.call('ZADD', IDLE, ...) end)
return ids
`

/** ARGV: time, age, most. */
const SETTLED_BEFORE = `${PRELUDE}
local before = string.format('(%.0f', SETTLED + now - tonumber(ARGV[2]))
return redis.call('ZRANGEBYSCORE', LEASES, SETTLED, before, 'LIMIT', 0, ARGV[3])
`

/** ARGV: time. Answers {epoch, milliseconds until it opens}, or -1. */
const PROBE = `${PRELUDE}
local epoch = redis.call('HGET', STATE, '!epoch')
if not epoch then return -1 end
epoch = tonumber(epoch)
return { epoch, math.max(0, epoch - now) }
`

/** ARGV: time. Leases and what all scopes hold; reads everything. */
const TOTALS = `${PRELUDE}
local all, held = redis.call('HGETALL', STATE), 0
for i = 1, #all, 2 do
  local first = string.sub(all[i], 1, 1)
  if first ~= '~' and first ~= '!' then
    local w, r, t, p, s, h = open(all[i + 1])
    held = held + h
  end
end
return { redis.call('ZCARD', LEASES), held }
`

/** What a rebuild runs before the others are loaded, so by its text. KEYS[4] is there while the data is. */
export const BEGIN_REBUILD = `
redis.call('HDEL', KEYS[1], '!epoch')
redis.call('SET', KEYS[4], '1', 'PX', 600000)
return 1
`

/** ARGV: time, then scope, spent, revision of each. 0 = the data was lost since the beginning. */
export const LOAD = `${PRELUDE}${BATCHES}
if redis.call('PEXPIRE', KEYS[4], 600000) == 0 then return 0 end
learn(2)
store()
return 1
`

/** ARGV: time, grace. */
export const OPEN = `${PRELUDE}
if redis.call('DEL', KEYS[4]) == 0 then return 0 end
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
