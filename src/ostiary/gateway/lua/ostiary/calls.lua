-- The current calls of a worker, from when they are admitted or refused to their end.
--
-- By the request's address, which stays the same over internal redirects, where `ngx.ctx` is lost. The
-- value is the lease that a call was admitted by, or, of all but the simplest, a table of its own with
-- `is_call`.

local ffi = require "ffi"
local get_request = require("resty.core.base").get_request

local cast, tonumber = ffi.cast, tonumber
local address_type = ffi.typeof("uintptr_t")

local M = {}

M.open = {}
M.count = 0
local open = M.open

-- No tail call: LuaJIT gives up on a trace with more than 15.
local function key()
  return (tonumber(cast(address_type, get_request())))
end
M.key = key

function M.begin(value)
  local k = key()
  if open[k] == nil then M.count = M.count + 1 end
  open[k] = value
end

function M.current()
  return open[key()]
end

function M.finish()
  local k = key()
  local value = open[k]
  if value ~= nil then
    open[k] = nil
    M.count = M.count - 1
  end
  return value, k
end

return M
