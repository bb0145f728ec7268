-- Detects calls that have passed this workspace's gateways already (RFC 8586), and allows no second pass.

local credentials = require "ostiary.credentials"

local concat = table.concat
local gmatch, match = string.gmatch, string.match

local M = {}

local own = "ostiary"

-- Take over the name that this workspace's gateways have in the header.
function M.start(name) own = name end

-- A call's CDN-Loop headers as one value; empty if there are none.
local function said()
  local value = ngx.req.get_headers(credentials.MOST_HEADERS)["cdn-loop"]
  if type(value) == "table" then return concat(value, ", ") end
  return type(value) == "string" and value or ""
end

-- Whether a call has passed here before.
function M.passed()
  for hop in gmatch(said(), "[^,]+") do
    if match(hop, "^%s*([^%s;]+)") == own then return true end
  end
  return false
end

-- The CDN-Loop header for the upstream: the call's own entries and ours.
function M.told(call)
  local before = bit.band(call.flags, credentials.LOOP) ~= 0 and said() or ""
  return before == "" and own or before .. ", " .. own
end

return M
