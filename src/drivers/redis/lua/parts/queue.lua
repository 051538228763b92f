-- How every script of a queue begins. KEYS[1] is the base `{prefix:queue}`; all other keys are the
-- base and a suffix, so they live in one slot. Arguments are read one by one, in the order of the
-- script's header.
--   :q       settings and counters (hash)       :lanes   lane -> priority, tenant, key, by range
--   :at      lane -> last offset, first one that nobody claimed, first of the chunk it is in
--   :b:<lane>  first offset -> chunk of plain jobs   :s:<lane>  first offset -> what has ended of it
--   :ready   lanes with plain jobs, by priority     :done    chunks that have ended, oldest first
--   :h:<epoch>  claim -> plain jobs held            :e:<epoch>  row -> claim it is held by
--   :xc:<epoch> held jobs that were cancelled       :alive   epoch -> '1', or when it died
--   :last    epoch -> its newest claim
--   :j:<id>  state row (hash)    :data :err :res :prog   id -> what a job is, its error, result, …
--   :w :x    rows that wait, and suspects (two crashes), by priority, time and place
--   :due     rows by the time they become due       :i:<status>, :rows   all rows, to be listed
--   :u :ut   unique keys, and when throttling ends  :kids :links :out   who waits for whom
--   :t       plain jobs taken out of their lane before anybody claimed them
--   :ks      keys with a limit -> what runs of them, and their tokens
--   :a0 :a1  answers to enqueues                    :fired   schedules' ticks   :keep  kept results
local call = redis.call
local base = KEYS[1]
local position = 0
local q = {}
-- Functions and state of the parts. As locals they would cost 40 us a call: for each local that a
-- function uses, Lua 5.1 searches the list of all locals that any function uses.
local m = {}

local function arg()
  position = position + 1
  return ARGV[position]
end

local function number()
  position = position + 1
  return tonumber(ARGV[position])
end

local time = call('TIME')
local exact = time[1] * 1000 + time[2] / 1000
local now = math.floor(exact)

local counters = { 'waiting', 'running', 'rows', 'cancelled', 'kept' }
local settings = {
  'concurrency', 'rate', 'rateMs', 'keyConcurrency', 'keyRate', 'keyRateMs', 'lengthMax',
  'tokens', 'countedAt', 'answersAt', 'paused',
}
m.counted, m.calm = false, false
m.lanes_changed, m.chunks_changed, m.keys_changed = false, false, false
do
  local values = call('HMGET', base .. ':q', 'waiting', 'running', 'rows', 'cancelled', 'kept',
    unpack(settings))
  for i = 1, 5 do q[counters[i]] = tonumber(values[i] or 0) end
  for i = 1, #settings do q[settings[i]] = tonumber(values[5 + i] or nil) end
  q.keyed = q.keyConcurrency or q.keyRate
  q.limited = q.keyed or q.concurrency or q.rate
end

-- waiting: plain jobs nobody claimed; running: plain jobs held; rows: rows held; cancelled: plain
-- jobs that are held although cancelled; kept: plain jobs that completed and can still be read.
function m.bump(counter, by)
  q[counter] = q[counter] + by
  m.counted = true
end

function m.save()
  if m.lanes_changed then m.save_lanes() end
  if m.chunks_changed then m.save_pieces() end
  if m.keys_changed then m.save_keys() end
  if not m.counted then return end
  local fields = { 'waiting', q.waiting, 'running', q.running, 'rows', q.rows, 'cancelled',
    q.cancelled, 'kept', q.kept }
  if q.countedAt == now then
    for _, field in ipairs({ 'tokens', q.tokens, 'countedAt', now }) do
      fields[#fields + 1] = field
    end
  end
  call('HSET', base .. ':q', unpack(fields))
end

-- When a delay from now is over, to the microsecond: not in the ms before.
function m.after(delay) return delay > 0 and exact + delay or now end

-- Sorts by lane and offset as text.
function m.pad(lane, offset) return string.format('%010d-%016d', lane, offset) end

function m.unpad(text)
  return tonumber(string.sub(text, 1, 10)), tonumber(string.sub(text, 12, 27))
end

function m.parse_id(id)
  local lane, offset = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(lane), tonumber(offset)
end

-- Whether there is any of these keys. None is there while `calm`: the hot path asks for all at
-- once.
function m.exists(...)
  if m.calm then return false end
  local keys = { ... }
  for i = 1, #keys do keys[i] = base .. keys[i] end
  return call('EXISTS', unpack(keys)) > 0
end

-- A command with any number of arguments: Lua can unpack some thousand at most.
function m.in_parts(command, key, args)
  for i = 1, #args, 4000 do call(command, key, unpack(args, i, math.min(i + 3999, #args))) end
end
