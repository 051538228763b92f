-- How every script of the registry begins. KEYS[1] is its base `{prefix}`.
--   :queues  names          :lane :epoch  the last numbers given   :lanes :names  number <-> lane
--   :workers epoch -> who   :beats  epoch -> ms, running, concurrency     :wq:<epoch>  its queues
--   :dying   epoch -> since when, '1' if it was silent: until its jobs wait again in every queue
local call = redis.call
local base = KEYS[1]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
