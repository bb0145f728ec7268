-- The gateway's side of the control socket: receives epochs and objects, reports what it holds and its state.
-- Only Ostiary's own processes can open the socket.

local cjson = require "cjson.safe"
local epochs = require "ostiary.epochs"
local fence = require "ostiary.fence"
local limits = require "ostiary.limits"
local plan = require "ostiary.plan"
local streams = require "ostiary.streams"

local state, shared = ngx.shared.state, ngx.shared
local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub
local ipairs, tonumber = ipairs, tonumber

local M = {}

local DICTIONARIES = {
  "leases", "epochs", "limits_short", "limits_long", "usage", "objects", "imported", "refused", "addresses", "state",
}

local function answer(status, value)
  ngx.status = status
  if type(value) == "table" then
    ngx.header["Content-Type"] = "application/json"
    value = cjson.encode(value)
  end
  ngx.print(value)
  return ngx.exit(status)
end

local function body()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  if text then return text end
  local path = ngx.req.get_body_file()
  local file = path and io.open(path, "rb")
  text = file and file:read("*a") or ""
  if file then file:close() end
  return text
end

-- `FROM TO`, then `KEY SEQUENCE` lines: epochs of the changes after FROM up to TO.
local function revoke()
  local text = body()
  local from, to = match(text, "^(%d+) (%d+)\n")
  from, to = tonumber(from), tonumber(to)
  if not from then return answer(400, { problem = "the first line is FROM TO" }) end
  if epochs.applied() ~= from then
    return answer(409, { birth = state:get("birth"), applied = epochs.applied() })
  end
  local list, first = {}, find(text, "\n", 1, true)
  for key, sequence in gmatch(sub(text, first), "(%w+) (%d+)\n") do list[key] = tonumber(sequence) end
  local full = epochs.write(list, to)
  return answer(200, { birth = state:get("birth"), applied = to, streams = streams.count(list), full = full })
end

-- A sequence below which every lease is void, and up to which all epochs count as written.
local function floor()
  local sequence = tonumber(match(body(), "^(%d+)"))
  if not sequence then return answer(400, { problem = "a sequence is missing" }) end
  epochs.raise_floor(sequence)
  epochs.write({}, sequence)
  return answer(200, { birth = state:get("birth"), applied = sequence })
end

-- `BIRTH AGO`: how many seconds ago the authority began to read the feed, of which all is applied to the nginx
-- with this birth.
local function heard()
  local birth, ago = match(body(), "^(%S+) ([%d.]+)$")
  ago = tonumber(ago)
  if not ago then return answer(400, { problem = "a birth and seconds are expected" }) end
  if birth == state:get("birth") then fence.heard(ago) end
  return answer(200, { birth = state:get("birth") })
end

local function publish()
  local list = {}
  for line in gmatch(body(), "[^\n]+") do
    local key, text = match(line, "^set\t(%w+)\t(.+)$")
    key = key or match(line, "^del\t(%w+)$")
    if not key then return answer(400, { problem = "a line is neither set nor del" }) end
    list[#list + 1] = { key, text }
  end
  local refused = plan.publish(list)
  setmetatable(refused, next(refused) == nil and cjson.empty_array_mt or nil)
  return answer(200, { birth = state:get("birth"), refused = next(refused) and refused or cjson.null })
end

local function published()
  local lines = plan.listed(ngx.var.arg_imported == "1")
  table.insert(lines, 1, "birth " .. state:get("birth"))
  return answer(200, table.concat(lines, "\n") .. "\n")
end

local function ticks()
  local workers = {}
  for i = 0, ngx.worker.count() - 1 do
    local pid, at = match(state:get("tick/" .. i) or "", "^(%d+) ([%d.]+)$")
    if pid then workers[pid] = tonumber(at) end
  end
  return workers
end

local function alive()
  ngx.update_time()
  return answer(200, { birth = state:get("birth"), workers = ticks(), now = ngx.now() })
end

local function memory()
  local sizes = {}
  for _, name in ipairs(DICTIONARIES) do
    local dictionary = shared[name]
    sizes[name] = { capacity = dictionary:capacity(), free = dictionary:free_space() }
  end
  return sizes
end

-- Callers' connections: nginx's count includes our own on this socket.
local function accepted()
  local shown = ngx.location.capture("/accepted").body
  local all = tonumber(match(shown, "requests%s+(%d+)"))
  return all and all - (state:get("control_connections") or 0) or 0
end

local function connections()
  local var = ngx.var
  return {
    active = tonumber(var.connections_active), reading = tonumber(var.connections_reading),
    writing = tonumber(var.connections_writing), waiting = tonumber(var.connections_waiting),
    limit = state:get("connections_limit"), accepted = accepted(),
    requests = state:get("requests") or 0,
  }
end

local function numbers(prefix, names)
  local values = {}
  for _, name in ipairs(names) do values[name] = state:get(prefix .. name) or 0 end
  return values
end

local function unpushed()
  local total = 0
  for i = 0, ngx.worker.count() - 1 do total = total + (state:get("unpushed/" .. i) or 0) end
  return total
end

local function told()
  local process = require "ngx.process"
  return answer(200, {
    birth = state:get("birth"), version = state:get("version"), started = state:get("started"),
    applied = epochs.applied(), floor = epochs.floor(), master = process.get_master_pid(), workers = ticks(),
    connections = connections(), answers = numbers("answers_", { "1xx", "2xx", "3xx", "4xx", "5xx" }),
    bytes = numbers("bytes_", { "in", "out" }), dictionaries = memory(),
    evicted_leases = state:get("evicted_leases") or 0,
    upcalls = numbers("upcalls_", { "asked", "failed", "refused" }),
    upstream_errors = numbers("upstream_", { "connect", "response", "timeout" }),
    ceilings = numbers("ceiling_", { "heads", "address", "profile", "project" }),
    heads_unbounded = state:get("heads_unbounded") or 0,
    streams = streams.total(), unpushed = unpushed(), silence = fence.silence(),
  })
end

-- Keys of limits' counters, one a line; what each has counted, those that have. If limits are shared, also what
-- this gateway holds of each unspent.
local function used()
  local counted, held = {}, {}
  for key in gmatch(body(), "[^\n]+") do counted[key], held[key] = limits.counted(key), limits.held(key) end
  return answer(200, { birth = state:get("birth"), used = counted, held = held })
end

-- What this gateway was granted of windows that several share.
local function granted()
  return answer(200, { birth = state:get("birth"), granted = limits.granted() })
end

local HANDLERS = {
  ["POST /revoke"] = revoke,
  ["POST /floor"] = floor,
  ["POST /heard"] = heard,
  ["POST /publish"] = publish,
  ["GET /published"] = published,
  ["POST /used"] = used,
  ["GET /granted"] = granted,
  ["GET /alive"] = alive,
  ["GET /state"] = told,
}

function M.handle()
  if ngx.var.connection_requests == "1" then state:incr("control_connections", 1, 0) end
  local handler = HANDLERS[ngx.req.get_method() .. " " .. ngx.var.uri]
  if not handler then return answer(404, { problem = "there is no such thing here" }) end
  local ok, why = pcall(handler)
  if not ok then
    ngx.log(ngx.ERR, "control: ", why)
    return answer(500, { problem = "failed" })
  end
end

return M
