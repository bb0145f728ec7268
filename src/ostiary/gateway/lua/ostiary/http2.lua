-- Calls to upstreams that speak HTTP/2, of gRPC and others. nginx's module for gRPC carries both.
--
-- It builds the path from its decoded form. A call is refused if that path would differ from the decided one.

local contract = require "contract"

local char, find, gsub, match, pairs = string.char, string.find, string.gsub, string.match, pairs
local tonumber = tonumber

local M = {}

local STRIPPED = contract.stripped

-- Remove headers that nginx.conf removes by name for other upstreams. nginx sets `TE` itself.
function M.strip(most)
  for name in pairs(ngx.req.get_headers(most)) do
    if STRIPPED[name] and name ~= "te" then ngx.req.clear_header(name) end
  end
end

local function decoded(code)
  return char(tonumber(code, 16))
end

-- As nginx encodes a path (NGX_ESCAPE_URI).
local function encoded(c)
  return string.format("%%%02X", c:byte())
end

-- Replace a call's path with its target. False: it cannot be forwarded unchanged.
function M.retarget(target)
  local path, query = match(target, "^([^?]*)%??(.*)$")
  if find(path, "%", 1, true) then
    local plain = gsub(path, "%%(%x%x)", decoded)
    if find(plain, "%z") or gsub(plain, "[^!$&-;=@-Z%[%]_a-z~]", encoded) ~= path then return false end
    path = plain
  end
  ngx.req.set_uri(path, false, true)
  ngx.req.set_uri_args(query)
  return true
end

return M
