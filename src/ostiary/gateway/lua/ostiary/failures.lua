-- Bodies of answers that nginx gives by itself: to requests that are not calls, and to admitted calls whose
-- upstream did not answer. Nothing is forwarded from here.

local browsers = require "ostiary.browsers"
local calls = require "ostiary.calls"
local contract = require "contract"
local refusals = require "ostiary.refusals"
local routes = require "ostiary.routes"
local streams = require "ostiary.streams"

local match, sub = string.match, string.sub
local state, tonumber, var = ngx.shared.state, tonumber, ngx.var

local M = {}

local codes = contract.codes

local FAILURES = {
  [504] = { code = codes.upstream_timeout, tally = "upstream_timeout" },
  [502] = { code = codes.upstream_failed, tally = "upstream_response" },
  [503] = { code = codes.upstream_unavailable, tally = "upstream_connect" },
}

-- Why an admitted call has no answer from its upstream.
local function failure_of(call)
  local status = call.tried or ngx.status
  local failure = FAILURES[status]
  if status == 502 and not call.tried and not tonumber(match(var.upstream_connect_time or "", "[%d.]+$")) then
    return FAILURES[503]
  end
  return failure
end

-- The page that called, also if the access phase did not run for its call.
local function page_of(call)
  if call and call.page then return call.page end
  return browsers.allowed(routes.collections[match(var.request_uri or "", "^/([^/?#]*)")])
end

local function answer_with(call, code, status)
  status = status or contract.reasons[code].status
  if call then call.http_status = status end
  local page = page_of(call)
  if page then browsers.show(page) end
  if status == 503 then ngx.header["Retry-After"] = 1 end
  return refusals.print(code, status)
end

-- The full table of a call that was admitted by its lease alone.
local function as_call(call)
  if call == nil or call.is_call then return call end
  return { is_call = true, lease = call, route = call.route, flags = 0 }
end

-- The body of an answer to a call that nginx could not complete.
function M.failed()
  local call = as_call(calls.current())
  local failure = call and call.lease and failure_of(call)
  if not failure then return answer_with(call, codes.authority_unavailable, 503) end
  if streams.was_slow(calls.key()) then return answer_with(call, codes.malformed_request, 408) end
  call.failure = failure.code
  calls.begin(call)
  state:incr(failure.tally, 1, 0)
  return answer_with(call, failure.code)
end

-- The body of an answer to a request that is not a call; the last part of the internal path is nginx's status.
function M.malformed()
  local refusal = contract.nginx_refusals[tonumber(sub(var.uri, -3))]
  local code, status = refusal[1], refusal[2]
  local call = as_call(calls.current()) or { is_call = true }
  if not call.lease then
    call.reason = code
  end
  calls.begin(call)
  return answer_with(call, code, status)
end

return M
