-- How every script of a topic begins. KEYS[1] is its base `millrace:{topic}`; all other keys are
-- the base and a suffix, so a topic with its groups is one slot.
--   :t          settings of the topic (hash): partitions, retention in ms when there is one
--   :p:<n>      partition n (stream)            :g   groups that ever joined (set)
--   :g:<group>:m  members by the time they are dead unless they beat
--   :g:<group>:i  member -> number of its latest incarnation
--   :g:<group>:o  partition -> epoch and member that has it; `epoch`, the last one given; `v`, how
--                 often membership changed. Reads are guarded by WATCH of this key.
--   :g:<group>:n  stream with the newest change alone, which waiting members listen to
local call = redis.call
local base = KEYS[1]
local function partitions() return tonumber(call('HGET', base .. ':t', 'partitions')) end
local function stream(p) return base .. ':p:' .. p end
