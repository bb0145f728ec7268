-- Ending what is open: when a right ends, WebSockets, event streams and downloads that were admitted by
-- it end within a second.
--
-- nginx has no function for this, so the request's own descriptors are shut down: the upstream's
-- first, which ends this stream alone, and at the next look the client's, unless it carries other
-- streams (HTTP/2). The layout of nginx's structs that this rests on is checked at each use.

local ffi = require "ffi"
local contract = require "contract"
local calls = require "ostiary.calls"
local ends = require "ostiary.ends"
local epochs = require "ostiary.epochs"
local leases = require "ostiary.leases"
local upcall = require "ostiary.upcall"

local C = ffi.C
local state = ngx.shared.state
local cast, ipairs, next, pairs = ffi.cast, ipairs, next, pairs
local now = ngx.now

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
int getpeername(int fd, struct ostiary_address *address, unsigned int *length);
const char *inet_ntop(int family, const void *source, char *text, unsigned int size);
]]

local M = {}

-- "HTTP" of nginx's NGX_HTTP_MODULE, in every live request.
local SIGNATURE = 0x50545448
local request_type = ffi.typeof("ostiary_request_t *")
local number_type = ffi.typeof("uintptr_t")
local BOTH_WAYS = 2
-- Seconds that a stream whose right is in doubt goes on while nobody answers.
local DOUBT_SECONDS = 2
-- Seconds that a call may still take to end by itself when its right has ended: most are no streams.
local GRACE_SECONDS = 0.5
-- Seconds after which the count of a worker that died is forgotten.
local STREAM_SECONDS = 24 * 3600

-- key → how often it was cut, when the doubt about it began, and until when it may end by itself.
local ending, doubted, grace = {}, {}, {}
local looked_changes, looked_at = -1, 0
local streams = {}

local function request_of(key)
  local request = cast(request_type, cast(number_type, key))
  return request.signature == SIGNATURE and request or nil
end

local function lease_of(call)
  return call.is_call and call.lease or (not call.is_call and call) or nil
end

local function cut(key, call)
  local request = request_of(key)
  if not request then
    ngx.log(ngx.ERR, "an open call is not where it should be; it is not ended")
    return
  end
  local times = ending[key] or 0
  ending[key] = times + 1
  if times == 0 and request.upstream ~= nil and request.upstream.connection ~= nil then
    C.shutdown(request.upstream.connection.fd, BOTH_WAYS)
  elseif not (call.is_call and call.http2) then
    C.shutdown(request.connection.fd, BOTH_WAYS)
  end
end

local address_buffer = ffi.new("struct ostiary_address")
local length_buffer = ffi.new("unsigned int[1]")
local text_buffer = ffi.new("char[64]")

-- The peer of a call that was admitted without looking at its address.
local function peer_of(key)
  local request = request_of(key)
  if not request then return nil end
  length_buffer[0] = 28
  if C.getpeername(request.connection.fd, address_buffer, length_buffer) ~= 0 then return nil end
  local family = address_buffer.family
  local offset = family == 2 and 2 or 6
  if C.inet_ntop(family, address_buffer.bytes + offset, text_buffer, 64) == nil then return nil end
  return ffi.string(text_buffer)
end

local function question_of(key, call, lease)
  local question = lease.question
  if not question then return nil end
  return {
    form = question.form, endpoint = question.endpoint, collection = question.collection,
    credential = question.credential, trace = "",
    address = call.is_call and call.address or peer_of(key) or question.address,
  }
end

-- Decide again about an open call: a lease, nothing, or no answer (second: true).
local function decided(question)
  local text = upcall.ask(question)
  if not text then return nil, true end
  local lease = leases.read(text)
  if lease then
    lease.question = question
    return lease
  end
  return nil, leases.read_refusal(text) == nil
end

local function settle(key, call, lease, silent)
  if calls.open[key] ~= call then return end
  if lease then
    lease.route = call.route
    doubted[key], grace[key] = nil, nil
    if call.is_call then call.lease = lease else calls.open[key] = lease end
    return
  end
  if silent then
    doubted[key] = doubted[key] or now()
    if now() - doubted[key] < DOUBT_SECONDS then return end
  end
  cut(key, call)
end

-- Ask about every open call whose lease is void, once for those that ask the same.
local function ask_again(void)
  local answers = {}
  for key, call in pairs(void) do
    local lease = lease_of(call)
    local question = question_of(key, call, lease)
    if not question then
      settle(key, call, nil, false)
    else
      local id = question.form .. question.credential .. "\n" .. question.endpoint .. "\n" .. question.address
      if not answers[id] then answers[id] = { decided(question) } end
      settle(key, call, answers[id][1], answers[id][2])
    end
  end
end

-- The keys of the epochs that a lease rests on.
local function keys_of(lease)
  local keys = {}
  for name, letter in pairs(contract.epochs) do keys[#keys + 1] = "streams/" .. letter .. lease[name] end
  return keys
end

-- A stream is a call that is open at two looks; how many rest on each epoch is in shared memory.
local function note_stream(key, lease)
  if streams[key] then return end
  streams[key] = keys_of(lease)
  state:incr("streams", 1, 0)
  for _, name in ipairs(streams[key]) do state:incr(name, 1, 0, STREAM_SECONDS) end
end

function M.ended(key)
  ending[key], doubted[key], grace[key] = nil, nil, nil
  local names = streams[key]
  if not names then return end
  streams[key] = nil
  state:incr("streams", -1, 0)
  for _, name in ipairs(names) do
    if (state:incr(name, -1) or 0) <= 0 then state:delete(name) end
  end
end

local old = {}

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
      if old[key] == call then note_stream(key, lease) end
      if call.is_tunnel and not call.opened then ends.opened(call) end
      young[key] = call
      local over = lease.ends ~= 0 and lease.ends <= moment
      if ending[key] then
        cut(key, call)
      elseif over or (lease.checked ~= changes and not epochs.holds(lease)) then
        grace[key] = grace[key] or moment + GRACE_SECONDS
        if moment >= grace[key] then
          if over then cut(key, call) else void[key] = call end
        end
      else
        lease.checked = changes
      end
    end
  end
  old = young
  if next(void) then ask_again(void) end
end

-- How many open streams rest on epochs that are given by their keys.
function M.count(keys)
  local total = 0
  for key in pairs(keys) do total = total + (state:get("streams/" .. key) or 0) end
  return total
end

return M
