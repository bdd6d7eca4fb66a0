-- Adds what one replica has counted by itself to the days of those who used it.
--
-- KEYS  their days
-- ARGV  three numbers for each: requests, vended requests, bytes
local day = math.floor(tonumber(redis.call('TIME')[1]) / 86400)
local fields = { 'requests', 'vended_requests', 'bytes' }
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('HGET', key, 'day') or 0) < day then
    redis.call('DEL', key)
    redis.call('HSET', key, 'day', day)
    redis.call('EXPIRE', key, 172800)
  end
  for j, field in ipairs(fields) do
    local number = ARGV[3 * (i - 1) + j]
    if number ~= '0' then
      redis.call('HINCRBY', key, field, number)
    end
  end
end
return { 0, 0 }
