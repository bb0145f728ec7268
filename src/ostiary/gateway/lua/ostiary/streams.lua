-- Ends open streams: when a right ends, WebSockets, event streams, downloads and uploads that were admitted
-- by it end within a second. A call that still waits for its answer may finish.
--
-- nginx has no function for this, so this module shuts the request's connections down in the kernel: first
-- the upstream's, which ends this stream alone, and at the next look the client's, unless it carries other
-- streams (HTTP/2). It depends on the layout of nginx's structs, which it checks at each use.

local ffi = require "ffi"
local contract = require "contract"
local callers = require "ostiary.callers"
local calls = require "ostiary.calls"
local ends = require "ostiary.ends"
local epochs = require "ostiary.epochs"
local fence = require "ostiary.fence"
local leases = require "ostiary.leases"
local upcall = require "ostiary.upcall"
require "resty.core.var"

local C = ffi.C
local state = ngx.shared.state
local cast, ipairs, next, pairs, pcall, tonumber = ffi.cast, ipairs, next, pairs, pcall, tonumber
local now, spawn = ngx.now, ngx.thread.spawn
local remove = table.remove

-- The beginnings of ngx_connection_t, ngx_http_upstream_t and ngx_http_request_t, nginx 1.22 to 1.28.
ffi.cdef [[
typedef struct { void *data, *read, *write; int fd; } ostiary_connection_t;
typedef struct { void *read_handler, *write_handler; ostiary_connection_t *connection; } ostiary_upstream_t;
typedef struct {
  uint32_t signature; ostiary_connection_t *connection;
  void *ctx, *main_conf, *srv_conf, *loc_conf, *read_handler, *write_handler, *cache;
  ostiary_upstream_t *upstream;
} ostiary_request_t;
int shutdown(int fd, int how);
struct ostiary_address { unsigned short family; unsigned char bytes[26]; };
int connect(int fd, const struct ostiary_address *address, unsigned int length);
]]

local M = {}

-- "HTTP" of nginx's NGX_HTTP_MODULE, in every live request.
local SIGNATURE = 0x50545448
local request_type = ffi.typeof("ostiary_request_t *")
local number_type = ffi.typeof("uintptr_t")
local BOTH_WAYS = 2
-- Seconds that a stream with a void lease goes on while the authority does not answer.
local DOUBT_SECONDS = 2
-- Seconds in which a call may end by itself after its right ended: most calls are not streams.
local GRACE_SECONDS = 0.2
-- The most upcalls about open calls that run at the same time.
local MOST_RUNNERS = 16
-- Seconds after which a stopped worker's counts expire, and between renewals by a running worker.
local COUNT_SECONDS, RENEW_SECONDS = 30, 10
-- A body is ended if it is slower than LEAST_RATE bytes a second in MOST_SLOW spans of SPAN_SECONDS in a row.
-- nginx bounds only the time between two reads.
local LEAST_RATE, SPAN_SECONDS, MOST_SLOW = 500, 5, 3
local UNANSWERED, SWITCHED = "000", "101"

-- Key → how often the call was cut; when its doubt began; since when its lease is void (with the length
-- received by then); whether an upcall about it runs; and the progress of its body.
local ending, doubted, grace, asked, bodies = {}, {}, {}, {}, {}
-- Calls that were ended for their slow bodies.
local slow = {}
-- Calls that were looked at. Nearly all calls end before that, and have no entry in the tables above.
local seen = {}
local looked_changes, looked_at = -1, 0

-- --- nginx's requests ------------------------------------------------------------------------------

local function request_of(key)
  local request = cast(request_type, cast(number_type, key))
  return request.signature == SIGNATURE and request or nil
end

local lower_buffer = ffi.new("char[64]")
local value_buffer, length_buffer = ffi.new("char *[1]"), ffi.new("size_t[1]")
local error_buffer = ffi.new("char *[1]")

-- Read a variable of an open request that is not the current one. Each read takes a few bytes of the request's
-- memory in nginx, so do not use it at every look at a stream that is open for days.
local function variable(key, name)
  if not request_of(key) then return nil end
  local request = cast("ngx_http_request_t *", cast(number_type, key))
  local rc = C.ngx_http_lua_ffi_var_get(request, name, #name, lower_buffer, 0, value_buffer, length_buffer,
    error_buffer)
  return rc == 0 and ffi.string(value_buffer[0], length_buffer[0]) or nil
end

local function received(key)
  return tonumber(variable(key, "request_length")) or 0
end

local UNSPECIFIED = ffi.new("struct ostiary_address")

-- Reset a TCP connection and drop its buffers; shut a connection of another kind down.
local function undo(fd)
  if C.connect(fd, UNSPECIFIED, 16) ~= 0 then C.shutdown(fd, BOTH_WAYS) end
end

M.undo = undo

local function cut(key)
  local request = request_of(key)
  if not request then
    ngx.log(ngx.ERR, "an open call is not where it should be; it is not ended")
    return
  end
  local times = ending[key] or 0
  ending[key] = times + 1
  local upstream = request.upstream ~= nil and request.upstream.connection ~= nil and request.upstream.connection
  if upstream and times == 0 then
    undo(upstream.fd)
  elseif variable(key, "server_protocol") ~= "HTTP/2.0" then
    undo(request.connection.fd)
  end
end

-- --- deciding again ----------------------------------------------------------------------------------

local function lease_of(call)
  return call.is_call and call.lease or (not call.is_call and call) or nil
end

-- The upcall's question about an open call. Calls that were admitted by their lease alone may share one; then
-- the address is that of the connection.
local function question_of(key, call, lease)
  local question = lease.question
  if not question then return nil end
  local address = call.is_call and call.address
  if not address then
    local peer = variable(key, "remote_addr")
    address = peer and callers.unmapped(peer) or question.address
  end
  return {
    form = question.form, endpoint = question.endpoint, collection = question.collection, usage = 0,
    credential = question.credential, trace = "", address = address,
  }
end

-- Ask the authority again about an open call. Returns a lease, or nothing; second result true: no answer.
local function decided(question)
  local text = upcall.ask_again(question)
  if not text then return nil, true end
  local lease = leases.read(text)
  if lease and leases.answers(lease, question) then
    lease.question = question
    return lease
  end
  local refusal = leases.read_refusal(text)
  return nil, refusal == nil or refusal.code == contract.codes.overloaded
end

local function settle(key, call, lease, silent)
  if calls.open[key] ~= call then return end
  if lease then
    lease.route = call.route
    doubted[key], grace[key] = nil, nil
    if call.is_call then call.lease = lease else calls.open[key] = lease end
    lease.decided_at = now()
    return
  end
  if silent and not fence.is_up(now()) then
    doubted[key] = doubted[key] or now()
    if now() - doubted[key] < DOUBT_SECONDS then return end
  end
  cut(key)
end

local queue, runners = {}, 0

local function answer_next()
  local group = remove(queue)
  if not group then return false end
  local ok, lease, silent = pcall(decided, group.question)
  if not ok then lease, silent = nil, true end
  for key in pairs(group.calls) do asked[key] = nil end
  for key, call in pairs(group.calls) do settle(key, call, lease, silent) end
  return true
end

local function run()
  repeat
    local ok, more = pcall(answer_next)
  until not (ok and more)
  runners = runners - 1
end

-- Ask about every open call whose lease is void, once for calls with the same question.
local function ask_again(void)
  local groups = {}
  for key, call in pairs(void) do
    local question = question_of(key, call, lease_of(call))
    if not question then
      cut(key)
    else
      asked[key] = true
      local id = question.form .. question.credential .. "\n" .. question.endpoint .. "\n" .. question.address
      local group = groups[id]
      if not group then
        group = { question = question, calls = {} }
        groups[id] = group
        queue[#queue + 1] = group
      end
      group.calls[key] = call
    end
  end
  while runners < MOST_RUNNERS and runners < #queue do
    runners = runners + 1
    spawn(run)
  end
end

-- --- how many there are ----------------------------------------------------------------------------

-- A stream is a call that is open at two looks. Shared memory has the number of streams that depend on each
-- epoch, separately for each worker, so that the counts of a dead worker expire.
local streams, counted = {}, {}
local place, renewed_at = nil, 0
local ALL = "all"

local function show(name)
  place = place or state:incr("places", 1, 0)
  local total = counted[name]
  if total and total > 0 then
    -- If there is no room, the count of streams is too low.
    state:safe_set("streams/" .. place .. "/" .. name, total, COUNT_SECONDS)
  else
    counted[name] = nil
    state:delete("streams/" .. place .. "/" .. name)
  end
end

local function add(names, amount)
  for _, name in ipairs(names) do
    counted[name] = (counted[name] or 0) + amount
    show(name)
  end
end

local function note_stream(key, lease)
  if streams[key] then return end
  local names = { ALL }
  for name, letter in pairs(contract.epochs) do
    if lease[name] then names[#names + 1] = letter .. lease[name] end
  end
  for _, id in ipairs(lease.lists or {}) do names[#names + 1] = contract.epochs.address_list .. id end
  streams[key] = names
  add(names, 1)
end

local function renew(moment)
  if moment - renewed_at < RENEW_SECONDS then return end
  renewed_at = moment
  for name in pairs(counted) do show(name) end
end

-- How many open streams depend on the epochs with these keys.
function M.count(keys)
  local total = 0
  for i = 1, state:get("places") or 0 do
    local prefix = "streams/" .. i .. "/"
    if state:get(prefix .. ALL) then
      for key in pairs(keys) do total = total + (state:get(prefix .. key) or 0) end
    end
  end
  return total
end

function M.total()
  return M.count({ [ALL] = true })
end

-- --- slow bodies ---------------------------------------------------------------------------------------

local function watch_body(key, moment)
  local body = bodies[key]
  if not body then
    bodies[key] = { length = received(key), at = moment, slow = 0, quiet = 0 }
    return
  end
  local seconds = moment - body.at
  if seconds < SPAN_SECONDS or body.quiet > MOST_SLOW then return end
  local length = received(key)
  local grown = length - body.length
  body.length, body.at = length, moment
  if grown == 0 then
    -- No byte for longer than nginx waits for one: the body is complete.
    body.quiet = body.quiet + 1
    return
  end
  body.quiet = 0
  body.slow = grown < LEAST_RATE * seconds and body.slow + 1 or 0
  if body.slow >= MOST_SLOW then
    slow[key] = true
    cut(key)
  end
end

-- Whether a call was ended because its body came too slowly.
function M.was_slow(key)
  return slow[key] == true
end

-- --- looking -------------------------------------------------------------------------------------------

function M.ended(key)
  if not seen[key] then return end
  seen[key] = nil
  ending[key], doubted[key], grace[key], bodies[key], slow[key] = nil, nil, nil, nil, nil
  local names = streams[key]
  if not names then return end
  streams[key] = nil
  add(names, -1)
end

-- Whether a call is a stream: its answer has begun, or it received more since its right ended.
local function goes_on(key, since)
  return variable(key, "status") ~= UNANSWERED or received(key) > since.length
end

-- End a call whose right has ended, or list a call whose lease is void for a new decision.
local function look_at_void(key, call, over, moment, void)
  local since = grace[key]
  if not since then
    grace[key] = { at = moment, length = received(key) }
    return
  end
  if moment - since.at < GRACE_SECONDS or asked[key] or not goes_on(key, since) then return end
  if over then cut(key) else void[key] = call end
end

-- Whether an open call needs a new decision: something changed, or the node does not know what did.
local function is_void(lease, changes, moment)
  if lease.checked ~= changes and not epochs.holds(lease) then return true end
  return fence.is_up(moment) and moment - (lease.decided_at or 0) >= 1
end

local old = {}

local function look_at(key, call, lease, changes, moment, void)
  if old[key] == call then
    note_stream(key, lease)
    if not call.is_tunnel and not call.is_grpc then watch_body(key, moment) end
  end
  if call.is_tunnel and not call.opened and variable(key, "status") == SWITCHED then ends.opened(call) end
  local over = lease.ends ~= 0 and lease.ends <= moment
  if ending[key] then
    cut(key)
  elseif over or is_void(lease, changes, moment) then
    look_at_void(key, call, over, moment, void)
  else
    lease.checked = changes
  end
end

-- Look at every open call, if anything changed or a second has passed.
function M.look()
  local changes, moment = epochs.changes(), now()
  if not changes or (changes == looked_changes and moment - looked_at < 1 and not next(ending)
    and not next(doubted) and not next(grace)) then
    return
  end
  looked_changes, looked_at = changes, moment
  local void, young = {}, {}
  for key, call in pairs(calls.open) do
    local lease = lease_of(call)
    if lease then
      seen[key] = true
      look_at(key, call, lease, changes, moment, void)
      young[key] = call
    end
  end
  old = young
  renew(moment)
  if next(void) then ask_again(void) end
end

return M
