-- The answer to a refused caller, and its log details. The answer does not reveal which objects exist.

local cjson = require "cjson.safe"
local contract = require "contract"
local browsers = require "ostiary.browsers"
local grpc = require "ostiary.grpc"
local calls = require "ostiary.calls"
local header_names = require "ostiary.header_names"

local find, match, var = string.find, string.match, ngx.var
local codes, reasons = contract.codes, contract.reasons

local M = {}

-- RFC 6750, section 3.1: a caller without a credential gets no error code.
local CHALLENGE = 'Bearer realm="api"'
local INVALID = CHALLENGE .. ', error="invalid_token"'
M.mark = ""

function M.request_id()
  return M.mark .. "-" .. var.connection .. "-" .. var.connection_requests
end

-- Send the body of a reason, with a status that may differ from the reason's own.
function M.print(code, status)
  if grpc.is_caller() then
    local face = reasons[code]
    return grpc.refuse(face.message .. " (" .. face.public_name .. ", " .. M.request_id() .. ")", status)
  end
  local text = reasons[code].body .. M.request_id() .. '"}'
  ngx.status = status
  ngx.header["Content-Type"], ngx.header["Content-Length"] = "application/json", #text
  ngx.print(text)
end

local function headers(call, code, face, retry)
  local header = ngx.header
  if face.status == 401 then
    header["WWW-Authenticate"] = code == codes.credential_missing and CHALLENGE or INVALID
  elseif face.status == 405 then
    header["Allow"] = call.allow
  end
  if retry or face.status == 503 then header["Retry-After"] = retry or 1 end
  if call.page then browsers.show(call.page) end
end

-- Answer a call with the public part of a reason, and remember the reason for count and log.
function M.refuse(call, code, details, retry)
  local face = reasons[code]
  call.is_call, call.reason = true, code
  if details then
    call.details = call.details or {}
    for name, value in pairs(details) do call.details[name] = value end
  end
  if face.status < 404 then
    call.details = call.details or {}
    call.details.dropped = header_names.dropped()
  end
  calls.begin(call)
  headers(call, code, face, retry)
  call.http_status = face.status
  M.print(code, face.status)
  return ngx.exit(ngx.status)
end

-- The path of a call as it came, without its query.
local function path_of(call)
  return call.shown_path or match(var.request_uri or "", "^[^?]*")
end

-- The last field of a log line: details of a call that was refused or that failed, for its owner.
function M.details(call, reason)
  local details = call.details or {}
  if reason ~= 0 then
    local path = path_of(call)
    if path ~= "" then details.path = path:sub(1, 1000) end
  end
  if call.trace and call.trace ~= 0 then details.trace = "" .. call.trace end
  if call.said or call.line then
    details.peer, details.forwarded, details.line = call.peer, call.said, call.line
  end
  -- Log the request id of trusted proxies only: anybody else could write any text to the log.
  local id = (call.said or call.proxied) and var.http_x_request_id
  if id and #id <= 128 and find(id, "^[%w._~+/=@:-]+$") then details.caller_request_id = id end
  if call.credentials and call.credentials > 1 then details.credentials = "" .. call.credentials end
  if next(details) == nil then return "-" end
  return cjson.encode(details) or "-"
end

return M
