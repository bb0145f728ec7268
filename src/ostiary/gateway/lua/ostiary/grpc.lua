-- gRPC: refusals in the form that its clients expect: an answer without a body whose head has the status
-- (trailers-only).

local contract = require "contract"

local gsub, sub = string.gsub, string.sub
local var = ngx.var

local M = {}

-- Status of HTTP → code of gRPC.
local STATUSES = contract.grpc_statuses
local UNKNOWN = 2
local CONTENT_TYPE = "application/grpc"

-- Whether the current request is a gRPC call, which is always a POST. The method is read from the original
-- request: if nginx itself refuses one, it continues as a GET.
function M.is_caller()
  local type = var.content_type
  if type == nil or sub(type, 1, #CONTENT_TYPE) ~= CONTENT_TYPE then return false end
  local after = sub(type, #CONTENT_TYPE + 1, #CONTENT_TYPE + 1)
  return (after == "" or after == "+" or after == ";") and sub(var.request or "", 1, 5) == "POST "
end

local function encoded(text)
  return (gsub(text, "[^ -$&-~]", function(c) return string.format("%%%02X", c:byte()) end))
end

-- Refuse the current call, with a message and the HTTP status of the refusal.
function M.refuse(message, status)
  local header = ngx.header
  ngx.status = 200
  header["Content-Type"], header["Content-Length"] = CONTENT_TYPE, 0
  header["grpc-status"] = STATUSES[status] or UNKNOWN
  -- Its status is 200, whatever it says.
  header["Cache-Control"] = "no-store"
  header["grpc-message"] = encoded(message)
  ngx.send_headers()
end

return M
