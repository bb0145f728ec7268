-- Half-sent heads: an address may keep so many connections whose head (or TLS handshake) is not complete;
-- of those above, the oldest are ended.
--
-- nginx's own limits count only what has a whole head, so its connections are walked four times a second,
-- but only while there may be more half-sent heads than one address may have. The layout of nginx's structs
-- that this rests on is checked at the start of each worker: where it is another one, there is no ceiling,
-- the log says so, and the time for a head still bounds each.

local ffi = require "ffi"
local callers = require "ostiary.callers"
local calls = require "ostiary.calls"

local C = ffi.C
local state = ngx.shared.state
local cast, pairs, pcall, tonumber = ffi.cast, pairs, pcall, tonumber
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
extern uintptr_t *ngx_stat_reading;
]]

local M = {}

-- What nginx says in its log that it does, while a head is not complete.
local ACTIONS = {
  ["SSL handshaking"] = true,
  ["reading PROXY protocol"] = true,
  ["reading client request line"] = true,
  ["reading client pipelined request line"] = true,
  ["reading client request headers"] = true,
}
local AF_INET, AF_INET6 = 2, 10
-- A connection's size in bytes lies between these; free ones that are looked at to learn it.
local SMALLEST, LARGEST, SAMPLES = 144, 1024, 64
-- More than the bytes of what nginx keeps of a socket on which it listens.
local LISTENING = 1024

local caller_type = ffi.typeof("ostiary_caller_t *")
local bytes_type = ffi.typeof("uint8_t *")
local first, size, total
local most = 0

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
  most = options.heads_per_address
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

-- Whether a log's action, a literal in nginx's own memory, is that of a head that is not complete.
local function is_half(action)
  local place = tonumber(cast("uintptr_t", action))
  local half = known[place]
  if half == nil then
    half = ACTIONS[ffi.string(action)] == true
    known[place] = half
  end
  return half
end

local function address_of(caller)
  local bytes = caller.address
  local family = bytes[0] + bytes[1] * 256
  if family == AF_INET then return callers.spelled(bytes + 4, 4) end
  if family == AF_INET6 then return callers.spelled(bytes + 8, 16) end
end

-- The half-sent heads of each address.
local function gathered()
  local groups = {}
  for i = 0, total - 1 do
    local caller = cast(caller_type, first + i * size)
    if caller.fd >= 0 and caller.listening ~= nil and caller.log ~= nil and caller.log.action ~= nil
      and caller.address ~= nil and is_half(caller.log.action) then
      local address = address_of(caller)
      if address and not callers.is_trusted_peer(address) then
        local group = callers.group(address)
        local list = groups[group] or {}
        groups[group] = list
        list[#list + 1] = { number = tonumber(caller.log.number), fd = caller.fd }
      end
    end
  end
  return groups
end

local function older(a, b)
  return a.number < b.number
end

-- End the oldest half-sent heads of each address that has too many; `undo` ends a connection by its
-- descriptor. Returns how many were ended.
local function thin(groups, undo)
  local ended = 0
  for _, list in pairs(groups) do
    if #list > most then
      sort(list, older)
      for i = 1, #list - most do undo(list[i].fd) end
      ended = ended + #list - most
    end
  end
  return ended
end

-- Whether there may be more half-sent heads than one address may have: those with a first byte are counted
-- by nginx; TLS handshakes are among the connections in use that are neither idle nor a call's.
local function may_be_many()
  if C.ngx_stat_reading[0] > most then return true end
  local cycle = C.ngx_cycle
  return total - tonumber(cycle.free_n) - tonumber(cycle.reusable_n) > calls.count + most
end

function M.look(undo)
  if not first or not may_be_many() then return end
  local ended = thin(gathered(), undo)
  if ended > 0 then state:incr("ceiling_heads", ended, 0) end
end

return M
