-- gRPC: calls to upstreams that speak it, and refusals as its callers expect them.
--
-- nginx makes the path of such a call from its decoded form, so that only paths that decode to themselves are
-- forwarded. A refusal is an answer without a body whose head has the status (trailers-only).

local contract = require "contract"

local find, gsub, match, pairs, sub = string.find, string.gsub, string.match, pairs, string.sub
local var = ngx.var

local M = {}

-- Status of HTTP → code of gRPC.
local STATUSES = contract.grpc_statuses
local UNKNOWN = 2
local STRIPPED = contract.stripped
local CONTENT_TYPE = "application/grpc"

-- What is served for these connections, by what is trusted of their upstreams.
M.PREFIX = "@grpc"

-- Whether the caller of the current request is one of gRPC.
function M.is_caller()
  local type = var.content_type
  return type ~= nil and sub(type, 1, #CONTENT_TYPE) == CONTENT_TYPE
end

local function encoded(text)
  return (gsub(text, "[^ -$&-~]", function(c) return string.format("%%%02X", c:byte()) end))
end

-- Refuse the current call: the message in words, and the status that HTTP has for it.
function M.refuse(message, status)
  local header = ngx.header
  ngx.status = 200
  header["Content-Type"], header["Content-Length"] = CONTENT_TYPE, 0
  header["grpc-status"] = STATUSES[status] or UNKNOWN
  header["grpc-message"] = encoded(message)
  ngx.send_headers()
end

-- Take out headers that nginx.conf removes for other upstreams by their names. `TE` is nginx's.
function M.strip(most)
  for name in pairs(ngx.req.get_headers(most)) do
    if STRIPPED[name] and name ~= "te" then ngx.req.clear_header(name) end
  end
end

-- Put a call's target in place of its own path; false: it cannot be forwarded as it is.
function M.retarget(target)
  local path, query = match(target, "^([^?]*)%??(.*)$")
  if find(path, "[^%w/._~$@!*+,=:;-]") then return false end
  ngx.req.set_uri(path)
  ngx.req.set_uri_args(query)
  return true
end

return M
