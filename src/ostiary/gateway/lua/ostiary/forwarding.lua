-- Forwards an admitted call: sets and removes headers, chooses the upstream, and sets last the variable that
-- names it. Until then `$gw_to` names an upstream that is down.

local browsers = require "ostiary.browsers"
local caching = require "ostiary.caching"
local calls = require "ostiary.calls"
local contract = require "contract"
local credentials = require "ostiary.credentials"
local http2 = require "ostiary.http2"
local limits = require "ostiary.limits"
local loops = require "ostiary.loops"
local refusals = require "ostiary.refusals"
local upstreams = require "ostiary.upstreams"

local find, match = string.find, string.match
local var = ngx.var

local M = {}

local BEARER = contract.forms.bearer

-- The headers of a limited profile's answers.
function M.tell_limits(lease, now)
  var.gw_rate = limits.told(lease, now)
  var.gw_announced = lease.announced
  if lease.legacy_headers == 1 and lease.window then
    var.gw_limit = lease.window.text
    var.gw_remaining = limits.whole(lease.rate_left)
    var.gw_reset = limits.whole(lease.window.ends - now)
  end
end

-- Host and the lines behind it (see `upstreams.host_lines`), with those that say who calls: digits, which
-- cannot part a line. One variable of nginx for all of them costs no more than the Host alone.
local function lines_of(lease, host_lines)
  if lease.host_lines ~= host_lines then
    lease.lines = host_lines .. "\r\nX-Ostiary-Client: " .. lease.client .. "\r\nX-Ostiary-Profile: " .. lease.profile
    lease.host_lines = host_lines
  end
  return lease.lines
end

-- Forward a call to its upstream; the name `to` is set last.
function M.forward(lease, upstream, host_lines, to)
  var.gw_host = lines_of(lease, host_lines)
  if upstream.name then var.gw_name = upstream.name end
  var.gw_to = to
end
local forward = M.forward

-- The same for an upstream that speaks HTTP/2, where headers cannot be lines of one; nginx sets the path.
local function forward_http2(lease, upstream, host, to)
  var.gw_client, var.gw_profile = "" .. lease.client, "" .. lease.profile
  var.gw_host = host
  if upstream.name then var.gw_name = upstream.name end
  var.gw_to = to
end

-- The same for a call through a trusted proxy, which knows the caller's address. The call continues in a
-- location that sends the upstream that address.
function M.forward_for(call, upstream, to)
  var.gw_caller = call.address
  var.gw_loop = loops.told(call)
  local forwarded = upstreams.forwarded(upstream, call.address)
  if forwarded then var.gw_forwarded = forwarded end
  calls.begin(call)
  forward(call.lease, upstream, call.route.collection.host_lines, to)
end

local function claims_of(call)
  return call.form == BEARER and match(call.presented, "^[^.]+%.([^.]+)%.") or nil
end

local function with_query(target, added)
  return target .. (find(target, "?", 1, true) and "&" or "?") .. added
end

local AUTHORIZATION, API_TOKEN = "authorization", "api-token"

local function add_credential(upstream)
  local header = upstream.header
  if not header then return end
  local name = header.name:lower()
  if name == AUTHORIZATION then
    var.gw_authorization = header.value
  elseif name == API_TOKEN then
    var.gw_api_token = header.value
  else
    ngx.req.set_header(header.name, header.value)
  end
end

local METHOD_NAMES = contract.method_names

local function tell_recipe(call, lease)
  local route, set = call.route, ngx.req.set_header
  local recipe = route.recipe
  set("X-Ostiary-Recipe", recipe.name)
  set("X-Ostiary-Template", route.path)
  set("X-Ostiary-Base", "/" .. call.collection.handle)
  set("X-Ostiary-Timeout", recipe.timeout)
  set("X-Ostiary-Validate", recipe.validate and "1" or "0")
  set("X-Ostiary-Endpoint", route.id)
  set("X-Ostiary-Address", call.address)
  set("X-Ostiary-Auth-Method", METHOD_NAMES[lease.method])
end

-- Pass the caller's credential to the upstream only if the owner allows it.
local function pass_credential(call, collection)
  if collection.forward_credential then
    var.gw_authorization, var.gw_api_token = var.http_authorization, var.http_api_token
    return
  end
  if collection.leave then var.gw_authorization = var.http_authorization end
  if call.named then ngx.req.clear_header(call.named) end
end

local function ask_for_tunnel(call)
  call.is_stream, call.is_tunnel, call.request_id = true, true, refusals.request_id()
  var.gw_upgrade, var.gw_connection = "websocket", "upgrade"
  if call.subprotocol then var.gw_subprotocol = call.subprotocol end
end

-- Allow an upgrade only to WebSocket: any other protocol could carry calls that nobody decides on.
local function wants_tunnel(call)
  if bit.band(call.flags, credentials.UPGRADE) == 0 or call.method ~= "GET" then return false end
  local asked = ngx.req.get_headers(credentials.MOST_HEADERS)["upgrade"]
  return type(asked) == "string" and asked:lower() == "websocket" and var.server_protocol == "HTTP/1.1"
end

local function target_of(call, upstream)
  if call.collection.recipes then return call.path .. call.query end
  local target = upstream.base .. (call.target or call.below) .. call.query
  return upstream.query and with_query(target, upstream.query) or target
end

-- Remove headers of the caller that only Ostiary, or proxies, may set.
function M.strip(call)
  if bit.band(call.flags, credentials.STRAY) ~= 0 then
    for _, name in ipairs(credentials.strays()) do ngx.req.clear_header(name) end
  end
end

-- Set and remove all headers for a call of any kind, and then forward it.
function M.forward_any(call, lease, upstream)
  local collection = call.collection
  M.strip(call)
  if call.page then browsers.forward(call.page) else browsers.vary(collection) end
  pass_credential(call, collection)
  add_credential(upstream)
  if not collection.recipes then var.gw_loop = loops.told(call) end
  var.gw_forwarded = upstreams.forwarded(upstream, call.address)
  local signed = lease.method > 1 and (collection.recipes or collection.forward_claims)
  if signed then var.gw_claims = claims_of(call) end
  if collection.recipes then tell_recipe(call, lease) end
  if not upstream.http2 and wants_tunnel(call) then ask_for_tunnel(call) end
  if bit.band(call.flags, credentials.STREAM) ~= 0 then call.is_stream = true end
  local target = target_of(call, upstream)
  call.upstream = upstream
  calls.begin(call)
  local to = upstream.start
  if call.is_stream or call.route.timeout then to = upstream.dynamic_start or to end
  call.cached = collection.caches and caching.find(call, lease, upstream, target)
  if upstream.http2 and not http2.retarget(target) then return refusals.refuse(call, contract.codes.malformed_path) end
  if upstream.http2 then
    http2.strip(credentials.MOST_HEADERS)
    call.is_grpc = upstream.grpc
    forward_http2(lease, upstream, upstreams.tell_http2(upstream, collection.handle, call.address), to)
  else
    forward(lease, upstream, collection.host_lines, to .. target)
  end
  local location = upstream.location or "@any"
  return ngx.exec(call.cached and location .. caching.SUFFIX or location)
end

return M
