-- Leases: decisions of the authority by which calls are admitted, until they expire or become void.
--
-- Shared memory stores them as text and evicts those least used when it is full; each worker stores the
-- busiest as tables. The key contains a credential as it came only if it has the form of our own tokens, and
-- else a digest. So a digest that leaks does not work as a credential.

local contract = require "contract"
local epochs = require "ostiary.epochs"
local fence = require "ostiary.fence"
local limits = require "ostiary.limits"

local shared = ngx.shared.leases
local find, gmatch, sub = string.find, string.gmatch, string.sub
local ipairs, time, tonumber = ipairs, ngx.time, tonumber

local M = {}

-- Leases that a worker remembers as tables, 1.3 KB each, before it forgets all of them.
local MOST_REMEMBERED = 20000
-- The most addresses of one credential that a worker remembers at the same time.
local MOST_ADDRESSES = 64
local remembered = 0
M.forget = nil

local FIELDS, TEXTS = contract.lease, contract.lease_texts
local REFUSAL = contract.refusal
local LEASE_MARK, REFUSAL_MARK = contract.answers.lease .. "\t", contract.answers.refusal .. "\t"

-- A whole number as the authority writes it: no sign, no other notation, and exact in a double.
local function whole(word)
  return #word <= 15 and find(word, "^%d+$") and tonumber(word) or nil
end

local function fields(text, names, texts)
  local values, i = {}, 0
  for word in gmatch(text, "\t([^\t]*)") do
    i = i + 1
    local name = names[i]
    if not name then return nil end
    local value = texts[name] and word or whole(word)
    if not value then return nil end
    values[name] = value
  end
  return i == #names and values or nil
end

local function is_sound(lease)
  return lease.profile > 0 and lease.sequence > 0 and lease.expires > 0 and contract.method_names[lease.method]
    and lease.weight > 0 and lease.bound <= 1 and lease.report_only <= 1 and lease.legacy_headers <= 1
end

-- The ids of a lease's address lists, or nil. Second result: whether the text is valid.
local function lists_of(lease)
  local text = lease.address_lists
  if text == "" then return nil, true end
  if not find("," .. text, "^[%d,]+$") then return nil, false end
  local lists = {}
  for id in gmatch(text, "%d+") do lists[#lists + 1] = tonumber(id) end
  return lists, lists[1] ~= nil
end

-- Read a lease from its text; nil if the text is invalid.
function M.read(text)
  if sub(text, 1, 2) ~= LEASE_MARK then return nil end
  local lease = fields(text, FIELDS, TEXTS)
  if not lease or not is_sound(lease) or not limits.prepare(lease) then return nil end
  local lists, reads = lists_of(lease)
  if not reads then return nil end
  lease.lists = lists
  local tail = lease.profile .. "/" .. lease.client .. "/" .. lease.collection .. "/" .. lease.endpoint
    .. "/" .. lease.credential .. "/"
  lease.count_tail = tail
  lease.subject = lease.endpoint .. "/" .. lease.collection .. "/" .. lease.profile .. "/" .. lease.client
    .. "/" .. lease.credential .. "/"
  lease.hour, lease.keys = 0, {}
  lease.checked = -1
  return lease
end

-- Read a refusal from its text; nil if the text is invalid.
function M.read_refusal(text)
  if sub(text, 1, 2) ~= REFUSAL_MARK then return nil end
  local refusal = fields(text, REFUSAL, {})
  if not refusal or not contract.reasons[refusal.code] then return nil end
  return refusal
end

-- Whether a lease is for the endpoint that was asked about, and not for another question's.
function M.answers(lease, question)
  return lease.endpoint == question.endpoint and lease.collection == question.collection
end

-- Whether a lease that was just granted may be spent now; `changes` is what `epochs.changes` says.
function M.holds(lease, now, changes)
  if lease.expires <= now then return false end
  if lease.checked == changes then return true end
  if not epochs.holds(lease) then return false end
  lease.checked = changes
  return true
end

-- The same for a lease that was granted before.
function M.fresh(lease, now, changes)
  if lease.expires <= now or fence.holds_until <= now then return false end
  if lease.checked == changes then return true end
  return M.holds(lease, now, changes)
end

local function remember(route, by, key, value)
  if remembered >= MOST_REMEMBERED then
    M.forget()
    remembered = 0
    by = M.table_of(route, by == route.bearers)
  end
  if by[key] == nil then remembered = remembered + 1 end
  by[key] = value
end

-- The table in which a route remembers leases by credential: bearer tokens apart from API tokens.
function M.table_of(route, bearer)
  if bearer then
    route.bearers = route.bearers or {}
    return route.bearers
  end
  return route.leases
end

-- The lease that this worker remembers for a credential on a route.
function M.recall(route, form, presented, address)
  local by = M.table_of(route, form == contract.forms.bearer)
  local value = by[presented]
  if value and value.by_address then return value.by_address[address] end
  return value
end

local function note(route, form, presented, address, lease)
  lease.route = route
  -- The end of its log lines: a dash for the endpoint's own method; nil where calls may have any.
  lease.line_end = not route.takes_any and "/-" or nil
  local by = M.table_of(route, form == contract.forms.bearer)
  if lease.bound == 0 then
    remember(route, by, presented, lease)
    return
  end
  local bound = by[presented]
  if not bound or not bound.by_address or bound.count >= MOST_ADDRESSES then
    bound = { by_address = {}, count = 0 }
    remember(route, by, presented, bound)
  end
  if not bound.by_address[address] then bound.count = bound.count + 1 end
  bound.by_address[address] = lease
end

-- Load a fresh lease from shared memory: for any address, or for this one.
function M.load(call, now, changes)
  local route = call.route
  local key = call.key .. "/" .. route.id
  for _, name in ipairs({ key, key .. "/" .. call.address }) do
    local text = shared:get(name)
    local lease = text and M.read(text)
    -- A bound lease must not serve every address: ignore a lease under the wrong key.
    if lease and (lease.bound == 0) == (name == key) and M.fresh(lease, now, changes) then
      note(route, call.form, call.presented, call.address, lease)
      return lease
    end
  end
end

-- Store an answer of the authority. If there is no room, the next call only causes another upcall.
function M.keep(call, text, lease)
  local key = call.key .. "/" .. call.route.id
  local bound = lease.bound == 1
  if bound then key = key .. "/" .. call.address end
  local seconds = lease.expires - time()
  if seconds > 0 then
    local ok, _, evicted = shared:set(key, text, seconds)
    if ok and evicted then ngx.shared.state:incr("evicted_leases", 1, 0) end
  end
  note(call.route, call.form, call.presented, call.address, lease)
end

-- Whether a credential has the form of our own tokens (identity.tokens).
function M.is_native(presented)
  return #presented == 65 and find(presented, "^ost_[%w_-]+$") ~= nil
end

return M
