-- Where admitted calls go: published connections, and the choice among their servers.
--
-- A connection with one plain server that was in nginx.conf when it was rendered has its own upstream block.
-- All others use a block whose server Lua names for each call. Those with TLS have one block for each name
-- and trust, since nginx reuses connections by address alone.

local balancer = require "ngx.balancer"
local calls = require "ostiary.calls"
local contract = require "contract"

local get_last_failure, set_current_peer = balancer.get_last_failure, balancer.set_current_peer
local set_more_tries, set_timeouts = balancer.set_more_tries, balancer.set_timeouts
local ipairs, min, now, tonumber = ipairs, math.min, ngx.now, tonumber
local lower, match = string.lower, string.match

local M = {}

-- Seconds that a server which failed is not chosen while there is another.
local PENALTY = 10
local CONNECT_SECONDS = 5
local DEFAULT_TIMEOUT = 30
-- Methods that may be retried although the upstream may have got the call: always, and if the owner allows it
-- (RFC 9110, section 9.2.2).
local SAFE = { GET = true, HEAD = true, OPTIONS = true }
local REPEATABLE = { PUT = true, DELETE = true }

local rendered, tls_blocks = {}, 0
-- Name, verification and trust → number of the block that serves it, in this worker.
local blocks, taken = {}, 0
M.by_id = {}

local TOLD = contract.public_addresses
M.NOTHING = TOLD.none
-- The address that callers know the gateway by: `scheme`, `authority` (host, with a port that is not the
-- scheme's), `host`, `port`, and `origin`, empty where the owner has not set it. Empty: not known yet.
M.public = {}

-- Ostiary's own upstreams: recipes and the token endpoint.
M.recipes = { start = "http://recipes", scheme = "http", host = "recipes", base = "" }
M.oauth = { start = "http://oauth", scheme = "http", host = "oauth", base = "" }

function M.init_worker(options)
  rendered, tls_blocks = options.rendered, options.tls_blocks
end

local function tls_block(tls, speaks_http2)
  local key = tls.name .. "\n" .. (tls.verify and "verified" or "unverified") .. "\n" .. tls.ca
    .. (speaks_http2 and "\nhttp2" or "")
  if not blocks[key] then
    if taken >= tls_blocks then return "tls_unpooled" end
    taken = taken + 1
    blocks[key] = "tls_" .. taken
  end
  return blocks[key]
end

local function location_of(tls, http2)
  if http2 then
    if not tls then return http2 end
    return http2 .. (not tls.verify and "_unverified" or tls.ca ~= "" and "_" .. tls.ca or "")
  end
  if not tls then return nil end
  if not tls.verify then return "@https_unverified" end
  if tls.ca ~= "" then return "@https_" .. tls.ca end
end

local function bracketed(address)
  return address:find(":", 1, true) and "[" .. address .. "]" or address
end

local function servers_of(object)
  local servers = {}
  for i, server in ipairs(object.servers) do
    servers[i] = {
      address = bracketed(server.address), port = server.port, down = server.down, failed = 0,
      weight = server.weight or 1, due = 0, open = 0,
    }
  end
  return servers
end

-- Hosts with ports by which an upstream may name itself, and the hosts alone.
local function own_names(object)
  local own, hosts = {}, {}
  local usual = object.tls and 443 or 80
  local function add(authority)
    own[lower(authority)] = true
    hosts[lower(match(authority, "^(.-):%d+$") or authority)] = true
  end
  add(object.host)
  for _, authority in ipairs(object.authorities or {}) do add(authority) end
  for _, server in ipairs(object.servers) do
    add(bracketed(server.address) .. (server.port == usual and "" or ":" .. server.port))
  end
  return own, hosts
end

-- The name of the connection's own block in nginx.conf, if that block is still correct.
local function own_block(object)
  local server = object.servers[1]
  if object.tls or object.grpc or object.http2 or object.servers[2] or not server then return nil end
  local place = bracketed(server.address) .. ":" .. server.port
  return rendered["c" .. object.id] == place and "c" .. object.id or nil
end

-- A published connection as calls use it.
function M.set(object)
  local tls = object.tls
  local own = own_block(object)
  local http2 = object.grpc and "@grpc" or object.http2 and "@http2" or nil
  -- nginx would take a kept connection of HTTP/1.1 for one of HTTP/2.
  local block = tls and tls_block(tls, http2) or http2 and "dynamic_http2" or "dynamic"
  local upstream = {
    id = object.id,
    host = object.host,
    base = object.base,
    header = object.header,
    query = object.query ~= "" and object.query or nil,
    timeout = object.timeout,
    grpc = object.grpc,
    http2 = http2 ~= nil,
    scheme = http2 and (tls and "grpcs" or "grpc") or tls and "https" or "http",
    name = tls and tls.name or nil,
    location = location_of(tls, http2),
    servers = servers_of(object),
    turn = 0,
    stream_timeout = object.stream_timeout or 3600,
    fewest = object.balancing == "least_connections",
    retries = object.retries or 0,
    retries_writes = object.retry_writes,
    told = object.told or TOLD.none,
    translates = object.translate,
  }
  if upstream.translates then upstream.own, upstream.hosts = own_names(object) end
  upstream.missing = upstream.servers[1] == nil
  -- Part of the cache key: the upstream's address and our credential. If one changes, no cached answer is used.
  local header = object.header or { name = "", value = "" }
  upstream.known_by = ngx.md5(table.concat({
    object.host, object.base, header.name, header.value, object.query or "", unpack(object.authorities or {}),
  }, "\n"))
  -- Calls that are more than their lease: their server, or that they were tried before, is remembered.
  upstream.several = upstream.servers[2] ~= nil or upstream.retries > 0
  if own and (object.timeout ~= DEFAULT_TIMEOUT or upstream.retries > 0) then own = nil end
  -- How its calls' URLs begin, where the server is named by Lua, and elsewhere.
  upstream.dynamic_start = upstream.scheme .. "://" .. block
  upstream.start = upstream.scheme .. "://" .. (own or block)
  upstream.to = upstream.start .. upstream.base
  -- Nothing is added to the call, and no location of its own is needed.
  upstream.simple = not (object.header or upstream.query or upstream.location or upstream.missing
    or upstream.told == TOLD.forwarded)
  M.by_id[object.id] = upstream
  return upstream
end

function M.drop(id)
  M.by_id[id] = nil
end

function M.clear()
  M.by_id = {}
end

-- Replace the public address; the caller must rebuild all that depends on it.
function M.set_public(public)
  M.public = public or {}
end

-- The value of the Host header for calls of a collection, with the header lines that tell its public
-- address: one variable of nginx for all of them costs no more than the Host alone. All parts are of
-- our own spelling, or were checked before they were published.
function M.host_lines(upstream, handle)
  local public, told = M.public, upstream.told
  if not public.scheme or not told or told == TOLD.none then return upstream.host end
  local prefix = "\r\nX-Forwarded-Prefix: /" .. handle
  if told == TOLD.forwarded then return upstream.host .. prefix end
  local host = told == TOLD.host and public.authority or upstream.host
  return host .. "\r\nX-Forwarded-Proto: " .. public.scheme .. "\r\nX-Forwarded-Host: " .. public.authority
    .. "\r\nX-Forwarded-Port: " .. public.port .. prefix
end

-- The Forwarded header of a call (RFC 7239), for connections that want it.
function M.forwarded(upstream, address)
  local public = M.public
  if upstream.told ~= TOLD.forwarded or not public.scheme then return nil end
  if address:find(":", 1, true) then address = '"[' .. address .. ']"' end
  return "for=" .. address .. ';host="' .. public.authority .. '";proto=' .. public.scheme
end

-- The same as variables, where they cannot be lines of one header (HTTP/2); returns the Host.
function M.tell_http2(upstream, handle, address)
  local var, public, told = ngx.var, M.public, upstream.told
  if not public.scheme or told == TOLD.none then return upstream.host end
  var.gw_told_prefix = "/" .. handle
  if told == TOLD.forwarded then
    var.gw_forwarded = M.forwarded(upstream, address)
    return upstream.host
  end
  var.gw_told_proto, var.gw_told_host, var.gw_told_port = public.scheme, public.authority, public.port
  return told == TOLD.host and public.authority or upstream.host
end

-- Whether a server is not down and has not failed recently.
local function is_good(server, moment)
  return not server.down and server.failed <= moment
end

-- Weighted round robin: each server's due grows by its weight; the server with the highest due is chosen and
-- pays the total of the weights.
local function most_due(servers, moment)
  local best, total = nil, 0
  for _, server in ipairs(servers) do
    if not moment or is_good(server, moment) then
      server.due, total = server.due + server.weight, total + server.weight
      if not best or server.due > best.due then best = server end
    end
  end
  if best then best.due = best.due - total end
  return best
end

-- The server with the fewest open calls of this worker for its weight; among equals, the next in turn.
local function least_busy(upstream, moment)
  local servers, count = upstream.servers, #upstream.servers
  upstream.turn = upstream.turn % count + 1
  local best
  for i = 0, count - 1 do
    local server = servers[(upstream.turn + i - 1) % count + 1]
    local better = not best or server.open * best.weight < best.open * server.weight
    if better and is_good(server, moment) then best = server end
  end
  return best
end

-- Choose a server; if none is good, choose among all.
local function choose(upstream, moment)
  local servers = upstream.servers
  if not servers[2] then return servers[1] end
  local server
  if upstream.fewest then server = least_busy(upstream, moment) else server = most_due(servers, moment) end
  return server or most_due(servers)
end

local function leave(call)
  local server = call.server
  if server then server.open, call.server = server.open - 1, nil end
end

-- A call to an upstream with several servers has ended.
M.ended = leave

local function take(call, server)
  call.server, server.open = server, server.open + 1
end

local function timeout_of(call, route, upstream)
  if upstream.grpc then return route.timeout or upstream.stream_timeout end
  if call.is_call and call.is_stream then return upstream.stream_timeout end
  return route.timeout or upstream.timeout
end

-- Whether the failed attempt had a connection, so that the upstream may have got the call. nginx ends this
-- variable with a colon while the next attempt has no server yet.
local function was_sent()
  return match(ngx.var.upstream_connect_time or "", "([%d.-]+) : $") ~= "-"
end

-- nginx does not retry POST and PATCH once they were sent, nor a call whose body it no longer has.
local function may_try_again(upstream)
  local method = ngx.req.get_method()
  return SAFE[method] or (upstream.retries_writes and REPEATABLE[method]) or not was_sent()
end

local function tries_of(upstream)
  local others = #upstream.servers - 1
  return others > 0 and min(upstream.retries, others) or upstream.retries
end

-- End a call without a server. nginx answers 500 for any exit status of a balancer, so remember the status here.
local function give_up(call, status)
  if call and call.is_call then call.tried = status end
  return ngx.exit(status)
end

-- Set the server of a call, for blocks without their own.
function M.balance()
  local call = calls.current()
  local route = call and call.route
  local upstream = route and (call.upstream or route.collection and route.collection.upstream)
  if not upstream or not upstream.servers or not upstream.servers[1] then return give_up(call, 503) end
  local moment = now()
  local failure, status = get_last_failure()
  if failure then
    if call.server then
      call.server.failed = moment + PENALTY
      leave(call)
    end
    if not may_try_again(upstream) then return give_up(call, status == 504 and 504 or 502) end
  elseif upstream.retries > 0 and upstream.several then
    set_more_tries(tries_of(upstream))
  end
  local server = choose(upstream, moment)
  if upstream.several and call.is_call then take(call, server) end
  local seconds = timeout_of(call, route, upstream)
  if seconds ~= DEFAULT_TIMEOUT then set_timeouts(CONNECT_SECONDS, seconds, seconds) end
  local ok, why = set_current_peer(server.address, tonumber(server.port))
  if not ok then
    ngx.log(ngx.ERR, "no server for connection ", upstream.id, ": ", why)
    return give_up(call, 503)
  end
end

return M
