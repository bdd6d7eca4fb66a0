-- Takes one request of two rates (GCRA) and of two days, all of it or nothing.
--
-- KEYS  1, 2: the rate of the principal and of the server; 3, 4: their days
-- ARGV  1, 2 and 3, 4: microseconds for each request, 0 for no bound, and the burst, of the principal and of
--       the server; 5: the field of the day in which it counts, empty for none; 6, 7 and 8, 9: requests in that
--       field and bytes in one day, -1 for no bound, of the principal and of the server
-- gives what refuses and for how long: 0 nothing; 1, 2 a rate, in microseconds; 3, 4 a day's requests and 5, 6
--       its bytes, in seconds
local time = redis.call('TIME')
local seconds = tonumber(time[1])
-- Counted from 2023, so that a double holds hundredths of a microsecond.
local now = (seconds - 1700000000) * 1000000 + tonumber(time[2])
local day = math.floor(seconds / 86400)
local day_left = 86400 - seconds % 86400
local field = ARGV[5]

local rates = {}
for i = 1, 2 do
  local every, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if every > 0 then
    local arrival = tonumber(redis.call('GET', KEYS[i]) or now)
    -- Never further ahead than the burst, whatever the clock or the configuration did.
    arrival = math.min(math.max(arrival, now), now + every * burst) + every
    local wait = arrival - now - every * burst
    if wait >= 1 then
      return { i, math.ceil(wait) }
    end
    rates[i] = { string.format('%.3f', arrival), math.ceil((arrival - now) / 1000) + 1 }
  end
end

local begins = {}
if field ~= '' then
  for i = 1, 2 do
    local requests_max, bytes_max = tonumber(ARGV[2 * i + 4]), tonumber(ARGV[2 * i + 5])
    local used = redis.call('HMGET', KEYS[i + 2], 'day', field, 'bytes')
    begins[i] = tonumber(used[1] or 0) < day
    if not begins[i] then
      if field == 'requests' and bytes_max >= 0 and tonumber(used[3] or 0) >= bytes_max then
        return { i + 4, day_left }
      end
      if requests_max >= 0 and tonumber(used[2] or 0) >= requests_max then
        return { i + 2, day_left }
      end
    end
  end
end

for i = 1, 2 do
  if rates[i] then
    redis.call('SET', KEYS[i], rates[i][1], 'PX', rates[i][2])
  end
  if field ~= '' then
    if begins[i] then
      redis.call('DEL', KEYS[i + 2])
      redis.call('HSET', KEYS[i + 2], 'day', day)
      redis.call('EXPIRE', KEYS[i + 2], 172800)
    end
    redis.call('HINCRBY', KEYS[i + 2], field, 1)
  end
end
return { 0, 0 }
