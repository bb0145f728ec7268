-- Half-sent heads: bounds each address's connections whose head (or TLS handshake) is not complete, or that
-- speak HTTP/2 and have had no call. If an address has more, the oldest are ended. A burst of new connections
-- is given until the next look: only above several times the ceiling does a connection end that young.
--
-- nginx's own limits count only what has a whole head, so its connections are walked four times a second,
-- but only while there may be more half-sent heads than one address may have. The layout of nginx's structs
-- that this rests on is checked at the start of each worker: where it is another one, there is no ceiling,
-- the log says so, and the time for a head still bounds each.

local ffi = require "ffi"
local callers = require "ostiary.callers"
local calls = require "ostiary.calls"

local get_request = require("resty.core.base").get_request
require "ostiary.streams"

local C = ffi.C
local state = ngx.shared.state
local cast, pairs, pcall, tonumber = ffi.cast, pairs, pcall, tonumber
local now, sleep, spawn = ngx.now, ngx.sleep, ngx.thread.spawn
local sort = table.sort

-- The beginnings of nginx's structs, 1.22 to 1.28. Of a connection only what comes before any part that
-- depends on how nginx was built.
ffi.cdef [[
typedef struct {
  uintptr_t level; void *file; uintptr_t number; intptr_t disk_full_time;
  void *handler, *data, *writer, *wdata; const char *action;
} ostiary_log_t;
typedef struct {
  void *data, *read, *write; int fd; void *recv, *send, *recv_chain, *send_chain, *listening;
  int64_t sent; ostiary_log_t *log; void *pool; int type; const unsigned char *address; unsigned int length;
} ostiary_caller_t;
typedef struct {
  void *conf_ctx, *pool, *log; uintptr_t new_log[10]; uintptr_t log_use_stderr;
  void *files; ostiary_caller_t *free; uintptr_t free_n;
  void *modules; uintptr_t modules_n, modules_used; void *reusable[2]; uintptr_t reusable_n;
} ostiary_cycle_t;
extern ostiary_cycle_t *ngx_cycle;
extern uintptr_t *ngx_stat_reading, *ngx_connection_counter;
]]

local M = {}

-- The log actions of nginx while a head is not complete.
local ACTIONS = {
  ["SSL handshaking"] = true,
  ["reading PROXY protocol"] = true,
  ["reading client request line"] = true,
  ["reading client pipelined request line"] = true,
  ["reading client request headers"] = true,
}
-- The log action of every HTTP/2 connection, in any state.
local HTTP2 = "processing HTTP/2 connection"
local NONE, HALF, UNCALLED = 0, 1, 2
-- The most connections that are ended at the same time: nginx must close each, and calls wait meanwhile.
local AT_ONCE = 50
-- How many times the ceiling an address may have in half-sent heads that came since the last look.
local BURST = 4
-- Seconds between two walks for HTTP/2 alone, whose idle connections nginx does not tell from others.
local HTTP2_SECONDS = 1
-- Calls' connections that are remembered, twice: older ones are forgotten.
local MOST_CALLED = 50000
local AF_INET, AF_INET6 = 2, 10
-- A connection's size in bytes lies between these; free ones that are looked at to learn it.
local SMALLEST, LARGEST, SAMPLES = 144, 1024, 64
-- More than the bytes of what nginx keeps of a socket on which it listens.
local LISTENING = 1024

local caller_type = ffi.typeof("ostiary_caller_t *")
local bytes_type = ffi.typeof("uint8_t *")
local request_type = ffi.typeof("ostiary_request_t *")
local first, size, total
local most = 0
local is_busy, walked_at = false, 0
-- Numbers of connections: all below `settled` have had a quarter of a second or more; `newest` is its next value.
local settled, newest, newest_at = 0, 0, 0
-- Seconds in which a connection may complete its head before it counts as an old one.
local GRACE = 0.25
-- Whether callers may speak HTTP/2.
local http2 = false
-- Numbers of connections over which a call has come, and how many the newer ones are.
local called, called_before, called_count = {}, {}, 0

-- Whether a place is that of a connection on which nginx listens: one of the last two before the free ones
-- is, since the Lua module may have taken one. Its log is a part of what it listens with.
local function listens(at)
  local caller = cast(caller_type, at)
  local distance = tonumber(cast("uintptr_t", caller.log)) - tonumber(cast("uintptr_t", caller.listening))
  return caller.fd >= 0 and caller.listening ~= nil and distance > 0 and distance < LISTENING
end

-- The distance of free connections in memory: at a worker's start they form a list in their order.
local function learned()
  local cycle = C.ngx_cycle
  local free, left = cycle.free, tonumber(cycle.free_n)
  if left < SAMPLES + 1 then return nil end
  local at = cast(bytes_type, free)
  local step = tonumber(cast(bytes_type, free.data) - at)
  if step < SMALLEST or step > LARGEST or step % 8 ~= 0 then return nil end
  local one = free
  for _ = 1, SAMPLES do
    local following = cast(caller_type, one.data)
    if tonumber(cast(bytes_type, following) - cast(bytes_type, one)) ~= step then return nil end
    one = following
  end
  if not (listens(at - step) or listens(at - 2 * step)) then return nil end
  return at, step, left
end

-- `options.heads_per_address`: for this worker.
function M.init_worker(options)
  most, http2 = options.heads_per_address, options.http2 == true
  local ok, at, step, left = pcall(learned)
  if not ok or not at then
    ngx.log(ngx.ERR, "nginx's connections are not laid out as expected: half-sent heads have no ceiling")
    state:set("heads_unbounded", 1)
    return
  end
  state:set("heads_unbounded", 0)
  first, size, total = at, step, left
end

local known = {}

-- A call has come over the current request's connection; a stream of HTTP/2 has the number of its connection.
function M.called()
  if not http2 then return end
  local caller = cast(caller_type, cast(request_type, get_request()).connection)
  local number = tonumber(caller.log.number)
  if called[number] then return end
  if called_count >= MOST_CALLED then called, called_before, called_count = {}, called, 0 end
  called[number], called_count = true, called_count + 1
end

-- The meaning of a connection's log action, a literal in nginx's memory.
local function kind_of(action)
  local place = tonumber(cast("uintptr_t", action))
  local kind = known[place]
  if kind == nil then
    local text = ffi.string(action)
    kind = ACTIONS[text] and HALF or text == HTTP2 and UNCALLED or NONE
    known[place] = kind
  end
  return kind
end

-- Whether a caller's connection has no complete head yet.
local function is_half(caller)
  if caller.fd < 0 or caller.listening == nil or caller.log == nil or caller.log.action == nil
    or caller.address == nil then
    return false
  end
  local kind = kind_of(caller.log.action)
  if kind ~= UNCALLED then return kind == HALF end
  local number = tonumber(caller.log.number)
  return not (called[number] or called_before[number])
end

local function spelled(bytes, length)
  local address = callers.spelled(bytes, length)
  return not callers.is_trusted_peer(address) and callers.group(address)
end

-- What a connection is counted under, false for a trusted proxy's; `names` remembers it by the address's bytes.
local function group_of(caller, names)
  local bytes = caller.address
  local family = bytes[0] + bytes[1] * 256
  local length = family == AF_INET and 4 or family == AF_INET6 and 16
  if not length then return false end
  local at = bytes + (length == 4 and 4 or 8)
  local key = ffi.string(at, length)
  if names[key] == nil then names[key] = spelled(at, length) end
  return names[key]
end

-- The half-sent heads of each address.
local function gathered()
  local groups, names = {}, {}
  for i = 0, total - 1 do
    local caller = cast(caller_type, first + i * size)
    local group = is_half(caller) and group_of(caller, names)
    if group then
      local list = groups[group] or {}
      groups[group] = list
      list[#list + 1] = { number = tonumber(caller.log.number), caller = caller }
    end
  end
  return groups
end

local function older(a, b)
  return a.number < b.number
end

-- The oldest half-sent heads of each address that has too many.
local function surplus()
  local ends = {}
  for _, list in pairs(gathered()) do
    if #list > most then
      sort(list, older)
      for i = 1, #list - most do
        if list[i].number < settled or i <= #list - BURST * most then ends[#ends + 1] = list[i] end
      end
    end
  end
  return ends
end

-- End them, some at a time, if they are still the same connections; `undo` ends one by its descriptor.
local function thin(undo)
  local ends = surplus()
  for i = 1, #ends do
    local caller = ends[i].caller
    if is_half(caller) and tonumber(caller.log.number) == ends[i].number then undo(caller.fd) end
    if i % AT_ONCE == 0 then sleep(0.001) end
  end
  if #ends > 0 then state:incr("ceiling_heads", #ends, 0) end
end

local function run(undo)
  local ok, why = pcall(thin, undo)
  is_busy = false
  if not ok then ngx.log(ngx.ERR, "half-sent heads: ", why) end
end

-- Whether there may be more half-sent heads than one address may have: those with a first byte are counted
-- by nginx; TLS handshakes are among the connections in use that are neither idle nor a call's.
local function may_be_many()
  if C.ngx_stat_reading[0] > most then return true end
  local cycle = C.ngx_cycle
  local used = total - tonumber(cycle.free_n)
  if used - tonumber(cycle.reusable_n) > calls.count + most then return true end
  return http2 and used > most and now() - walked_at >= HTTP2_SECONDS
end

function M.look(undo)
  if not first then return end
  local moment = now()
  -- Looks that were late come soon after each other.
  if moment - newest_at >= GRACE then
    settled, newest, newest_at = newest, tonumber(C.ngx_connection_counter[0]), moment
  end
  if is_busy or not may_be_many() then return end
  is_busy, walked_at = true, moment
  spawn(run, undo)
end

return M
