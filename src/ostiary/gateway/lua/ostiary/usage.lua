-- `GET /usage`: shows a consumer, by its own credential, how much of its limits it has used. Such a request
-- counts in no limit; a profile may send only some in a second.

local cjson = require "cjson.safe"
local calls = require "ostiary.calls"
local contract = require "contract"
local limits = require "ostiary.limits"
local refusals = require "ostiary.refusals"

local addresses = ngx.shared.addresses
local time = ngx.time

local M = {}

M.PATH = contract.usage_path
-- The scope under which refusals of this path are stored.
M.SCOPE = "u"
-- Stands for an endpoint: its leases are for this path alone, since no endpoint has this id.
M.route = { id = 0, leases = {} }
local PER_SECOND = 10
local codes = contract.codes

function M.forget()
  M.route.leases, M.route.bearers = {}, nil
end

local function too_often(lease, now)
  return (addresses:incr("u" .. lease.profile .. "/" .. now, 1, 0, 2) or 0) > PER_SECOND
end

-- Debian's cjson cannot tell an empty list from an empty object: the list is put together here.
local function text_of(lease, now)
  local windows = limits.usage(lease, now)
  for i, window in ipairs(windows) do windows[i] = cjson.encode(window) end
  local policy = cjson.encode(lease.policy ~= 0 and lease.policy_name or cjson.null)
  return '{"policy": ' .. policy .. ', "watch_only": ' .. tostring(lease.report_only == 1) .. ', "windows": ['
    .. table.concat(windows, ", ") .. "]}"
end

function M.answer(call, lease)
  local now = time()
  if call.method ~= "GET" and call.method ~= "HEAD" then
    call.allow, call.profile = "GET,HEAD", lease.profile
    return refusals.refuse(call, codes.method_not_allowed)
  end
  if too_often(lease, now) then
    call.profile = lease.profile
    return refusals.refuse(call, codes.rate_limited, { ceiling = "usage" }, 1)
  end
  local text = text_of(lease, now)
  calls.begin(call)
  ngx.status = 200
  ngx.header["Content-Type"], ngx.header["Content-Length"] = "application/json", #text
  ngx.header["Cache-Control"] = "no-store"
  ngx.print(text)
  return ngx.exit(200)
end

return M
