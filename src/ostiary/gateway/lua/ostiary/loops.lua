-- Calls that have come through this workspace's gateways already (RFC 8586): one pass, and no more.

local credentials = require "ostiary.credentials"

local concat = table.concat
local gmatch, match = string.gmatch, string.match

local M = {}

local own = "ostiary"

-- Take over the name that this workspace's gateways have in the header.
function M.start(name) own = name end

-- What a call's CDN-Loop lines say, in one; empty: it has none.
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

-- What the upstream is told: whom the call has passed, and us.
function M.told(call)
  local before = bit.band(call.flags, credentials.LOOP) ~= 0 and said() or ""
  return before == "" and own or before .. ", " .. own
end

return M
