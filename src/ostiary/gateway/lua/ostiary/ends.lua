-- The end of a call: count it, and write its log line. Above a rate, only one of several calls gets a line.

local contract = require "contract"
local counts = require "ostiary.counts"
local refusals = require "ostiary.refusals"

local time, var = ngx.time, ngx.var
local get_method = ngx.req.get_method
local concat, lower, tonumber = table.concat, string.lower, tonumber

local M = {}

local ONE_OF = contract.one_of
-- nginx's status of a call whose caller closed the connection.
local CALLER_LEFT = 499
-- The status of a tunnel.
local SWITCHED = 101
local rate = 0
local second, ended, skipped = 0, 0, 0

function M.init_worker(options)
  rate = options.log_rate / ngx.worker.count()
end

-- How many calls the log line of a call stands for; 0: write no line.
local function weight_of(status)
  local now = time()
  if now ~= second then second, ended = now, 0 end
  ended = ended + 1
  if status >= 400 or status < 200 or ended <= rate then return 1 end
  skipped = skipped + 1
  if skipped < ONE_OF then return 0 end
  skipped = 0
  return ONE_OF
end

local function write(subject, details)
  var.gw_log = "1"
  var.gw_subject = subject
  if details then var.gw_details = details end
end

local function tally(tallies, status, received, sent)
  local class = status < 200 and "1xx" or status < 300 and "2xx" or status < 400 and "3xx"
    or status < 500 and "4xx" or "5xx"
  tallies[class] = tallies[class] + 1
  tallies.requests = tallies.requests + 1
  tallies.bytes_in = tallies.bytes_in + received
  tallies.bytes_out = tallies.bytes_out + sent
end

-- Bytes of a call, times the calls that its line stands for: to read them from nginx costs as much as counting.
local function sizes(weight)
  return (tonumber(var.request_length) or 0) * weight, (tonumber(var.bytes_sent) or 0) * weight
end

-- If the caller left before it got any byte, the status is that, and not the one that nginx was going to send.
local function answered(status)
  return status >= 400 and var.bytes_sent == "0" and CALLER_LEFT or status
end

local function finish_lease(lease, status, tallies)
  status = answered(status)
  local weight = weight_of(status)
  local received, sent = 0, 0
  if weight > 0 then
    received, sent = sizes(weight)
    write(lease.subject .. lease.would .. "/0/" .. weight .. (lease.line_end or "/" .. get_method()))
  end
  tally(tallies, status, received, sent)
  counts.admitted(lease, status, received, sent)
end

-- Ids of a call, for its counter and its line.
local function ids_of(call)
  local lease = call.lease
  if lease and not call.reason then
    return {
      profile = lease.profile, client = lease.client, collection = lease.collection, endpoint = lease.endpoint,
      credential = lease.credential, would = call.would or lease.would, reason = 0,
    }
  end
  return {
    profile = lease and lease.profile or call.profile or 0, client = lease and lease.client or 0,
    collection = call.collection and call.collection.id or 0, endpoint = call.route and call.route.id or 0,
    credential = lease and lease.credential or 0, would = 0, reason = call.reason or 0,
  }
end

local function subject_of(ids, reason, weight, method)
  return concat({
    ids.endpoint, ids.collection, ids.profile, ids.client, ids.credential, ids.would, reason, weight, method,
  }, "/")
end

-- The code of a recipe's failure, or of the failed answer of the upstream.
local function failure_of(call)
  if call.collection and call.collection.recipes then
    return tonumber(var.upstream_http_x_ostiary_reason) or call.failure or 0
  end
  return call.failure or 0
end

-- Write the log line of an opened tunnel now, since it may end days later. `seconds`: how long ago it opened,
-- for a tunnel that ended before the first look.
function M.opened(call, seconds)
  call.opened = true
  local subject = subject_of(ids_of(call), 0, 1, call.method)
  counts.line(concat({
    string.format("%.3f", ngx.now() - (seconds or 0)), call.request_id, SWITCHED, subject, call.address, "0.000", 0, 0,
    '{"tunnel":"opened"}',
  }, "\t"))
end

local function finish_call(call, status, tallies)
  status = answered(status)
  local weight = weight_of(status)
  local received, sent = sizes(weight)
  tally(tallies, status, received, sent)
  if not call.reason and not call.lease then return end
  counts.other(ids_of(call), status, received, sent)
  if weight == 0 then return end
  if call.is_tunnel then
    if not call.opened and status == SWITCHED then M.opened(call, tonumber(var.request_time)) end
    call.details = { tunnel = "ended" }
  end
  if call.cached then
    call.details = call.details or {}
    call.details.cache = lower(var.upstream_cache_status or "none")
  end
  local reason = call.reason or failure_of(call)
  write(subject_of(ids_of(call), reason, weight, call.method or "-"), refusals.details(call, reason))
end

-- Count and log a call that ended with `status`.
function M.finish(call, status, tallies)
  if not call.is_call then return finish_lease(call, status, tallies) end
  -- Unless it failed, a call of the fast path has no details beyond its lease.
  if call.is_quick and not (call.reason or call.failure) then
    return finish_lease(call.lease, status, tallies)
  end
  return finish_call(call, status, tallies)
end

return M
