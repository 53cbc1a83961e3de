import { createHash } from 'node:crypto'
import { RATE_WINDOW, SPENT_IDLE } from './counters.ts'

/**
 * The scripts of `redis.ts`. Everything is in one hash, so that an admission over any number of scopes is one read and one write of
 * it, and so that it is there as a whole or not at all:
 *
 *   `<scope>`   the numbers of a scope, packed doubles (exact to 2^53): end of its window, requests, tokens, parallel, spent, held, revision,
 *               time of last use
 *   `~<lease>`  the request of a lease, as it came
 *   `^<lease>`  what became of it: kind (1 held, 2 settled), hold or cost, time of the admission
 *   `!epoch`    when admissions open; missing = the data was lost and has not been rebuilt
 *
 * What they write goes to replicas and not to the append-only file: a server that was restarted is rebuilt from the ledger whatever its file
 * says, and writing it cost the server a quarter of a call. The beginning of a rebuild is in the file, so that no epoch of an older one is.
 *
 * Beside it two sorted sets: leases, by expiry while held and by SETTLED + time once settled; scopes, by when to look whether anybody still
 * uses them. All scripts take these three keys. ARGV[1] is the time for tests, else empty: the server's clock, milliseconds.
 *
 * A request is packed doubles too: tokens, hold, TTL, number of scopes, then of each scope its limits of requests, tokens, parallel, budget
 * (-1 = none) and the caller's spent and revision; then the names of the scopes, each ended by a zero byte. What a lease reserved is still in
 * the window that runs now if that had opened by its admission.
 */
const PRELUDE = `
if redis.set_repl then redis.set_repl(redis.REPL_REPLICA) end
local STATE, LEASES, IDLE = KEYS[1], KEYS[2], KEYS[3]
local STATE_FORM, LIMITS_FORM, HEAD_FORM = '<dddddddd', '<dddddd', '<Bdd'
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
local function namesOf(request, n)
  local names = { struct.unpack(string.rep('s', n), request, 33 + 48 * n) }
  names[n + 1] = nil
  return names
end
local function limitsOf(request, i)
  return struct.unpack(LIMITS_FORM, request, i * 48 - 15)
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
  local heads, requests, gone, found, names = {}, {}, {}, {}, {}
  for i, id in ipairs(ids) do heads[i], requests[i] = '^' .. id, '~' .. id end
  local packed = fetch(requests)
  for i, head in ipairs(fetch(heads)) do
    if head and packed[i] then
      local tokens, hold, ttl, n = struct.unpack('<dddd', packed[i])
      local own = namesOf(packed[i], n)
      found[#found + 1] = { head, packed[i], own }
      gone[#gone + 1] = ids[i]
      for _, name in ipairs(own) do names[#names + 1] = name end
    end
  end
  load(names)
  for _, lease in ipairs(found) do
    local kind, amount = struct.unpack(HEAD_FORM, lease[1])
    for i, name in ipairs(lease[3]) do
      local state = cache[name]
      local requests, most, parallel, budget = limitsOf(lease[2], i)
      if kind == HELD and parallel >= 0 then state[4] = math.max(0, state[4] - 1) end
      if budget >= 0 then state[6] = math.max(0, state[6] - amount) end
    end
  end
  local fields = {}
  for _, id in ipairs(gone) do
    fields[#fields + 1] = '^' .. id
    fields[#fields + 1] = '~' .. id
  end
  batched(fields, function(...) redis.call('HDEL', STATE, ...) end)
  batched(gone, function(...) redis.call('ZREM', LEASES, ...) end)
end
`

/**
 * ARGV: time, lease, request. Answers -1 (not rebuilt), {0, index, limit, state} or {1, states}; the time of use in a state is that of
 * the answer.
 */
const ADMIT = `${PRELUDE}
local lease, request = ARGV[2], ARGV[3]
local tokens, hold, ttl, n = struct.unpack('<dddd', request)
local names = namesOf(request, n)
local got = redis.call('HMGET', STATE, '!epoch', '^' .. lease, unpack(names))
if not got[1] or now < tonumber(got[1]) then return -1 end
local old, without = nil, nil
if got[2] then
  local kind, amount, admitted = struct.unpack(HEAD_FORM, got[2])
  local before = redis.call('HGET', STATE, '~' .. lease)
  local reserved, _, _, count = struct.unpack('<dddd', before)
  old = {}
  for index, name in ipairs(namesOf(before, count)) do old[name] = index end
  without = function(name, w, r, t, p, h)
    local requests, most, parallel, budget = limitsOf(before, old[name])
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
local write, reply, fresh = { '^' .. lease, struct.pack(HEAD_FORM, HELD, hold, now), '~' .. lease, request }, { 1 }, nil
for i = 1, n do
  local name = names[i]
  local requests, most, parallel, budget, spent, revision = limitsOf(request, i)
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
  elseif budget >= 0 and s + h + math.max(hold, 1) > budget then lacks = 4 end
  if lacks then return { 0, i - 1, lacks, struct.pack(STATE_FORM, w, r, t, p, s, h, v, now) } end
  if w == 0 and (requests >= 0 or most >= 0) then w = now + ${RATE_WINDOW} end
  if requests >= 0 then r = r + 1 end
  if most >= 0 then t = t + tokens end
  if parallel >= 0 then p = p + 1 end
  if budget >= 0 then h = h + hold end
  local packed = struct.pack(STATE_FORM, w, r, t, p, s, h, v, now)
  write[2 * i + 3], write[2 * i + 4], reply[i + 1] = name, packed, packed
end
if old then
  for name in pairs(old) do
    local w, r, t, p, s, h, v = open(redis.call('HGET', STATE, name))
    r, t, p, h = without(name, w, r, t, p, h)
    write[#write + 1] = name
    write[#write + 1] = struct.pack(STATE_FORM, w, r, t, p, s, h, v, now)
  end
end
redis.call('HSET', STATE, unpack(write))
redis.call('ZADD', LEASES, now + ttl, lease)
if fresh then redis.call('ZADD', IDLE, unpack(fresh)) end
return reply
`

/** ARGV as of ADMIT. Makes a lease that was lost, whatever room there is; one that is there is only renewed. */
const REMAKE = `${PRELUDE}${BATCHES}
if redis.call('HEXISTS', STATE, '!epoch') == 0 then return -1 end
local lease, request = ARGV[2], ARGV[3]
local tokens, hold, ttl, n = struct.unpack('<dddd', request)
local head = redis.call('HGET', STATE, '^' .. lease)
if head and struct.unpack(HEAD_FORM, head) ~= HELD then return 0 end
redis.call('ZADD', LEASES, now + ttl, lease)
if head then return 0 end
local names = namesOf(request, n)
load(names)
for i, name in ipairs(names) do
  local state = cache[name]
  local requests, most, parallel, budget, spent, revision = limitsOf(request, i)
  if revision > state[7] then state[5], state[7] = spent, revision end
  if parallel >= 0 then state[4] = state[4] + 1 end
  if budget >= 0 then state[6] = state[6] + hold end
end
redis.call('HSET', STATE, '^' .. lease, struct.pack(HEAD_FORM, HELD, hold, -1), '~' .. lease, request)
store()
return 1
`

/** Reads the held lease in ARGV[2] and its scopes; the script answers 0 when there is none. */
const HELD_LEASE = `
local lease = ARGV[2]
local found = redis.call('HMGET', STATE, '^' .. lease, '~' .. lease)
local head, request = found[1], found[2]
if not head or not request then return 0 end
local kind, amount, admitted = struct.unpack(HEAD_FORM, head)
if kind ~= HELD then return 0 end
local reserved, _, _, n = struct.unpack('<dddd', request)
local names = namesOf(request, n)
local got = n > 0 and redis.call('HMGET', STATE, unpack(names)) or {}
local function drop()
  redis.call('HDEL', STATE, '^' .. lease, '~' .. lease)
  redis.call('ZREM', LEASES, lease)
end
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
  local requests, most, parallel, budget = limitsOf(request, i)
  if budget >= 0 then
    local w, r, t, p, s, h, v, u = open(got[i])
    if s + h + more > budget then return 0 end
    note(i, w, r, t, p, s, h + more, v, u)
  end
end
write[#write + 1] = '^' .. lease
write[#write + 1] = struct.pack(HEAD_FORM, HELD, hold, admitted)
save()
return 1
`

/** ARGV: time, lease, cost, tokens. */
const SETTLE = `${PRELUDE}${HELD_LEASE}
local cost, used, budgeted = tonumber(ARGV[3]), tonumber(ARGV[4]), false
for i = 1, n do
  local requests, most, parallel, budget = limitsOf(request, i)
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
  write[#write + 1] = '^' .. lease
  write[#write + 1] = struct.pack(HEAD_FORM, 2, cost, admitted)
  redis.call('ZADD', LEASES, SETTLED + now, lease)
else
  drop()
end
save()
return 1
`

/** ARGV: time, lease. */
const RELEASE = `${PRELUDE}${HELD_LEASE}
for i = 1, n do
  local requests, most, parallel, budget = limitsOf(request, i)
  local w, r, t, p, s, h, v, u = open(got[i])
  if w ~= 0 and w - ${RATE_WINDOW} <= admitted then
    if requests >= 0 then r = math.max(0, r - 1) end
    if most >= 0 then t = math.max(0, t - reserved) end
  end
  if parallel >= 0 then p = math.max(0, p - 1) end
  if budget >= 0 then h = math.max(0, h - amount) end
  note(i, w, r, t, p, s, h, v, u)
end
drop()
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
  if first ~= '^' and first ~= '~' and first ~= '!' then
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
