-- Where admitted calls go: published connections, and the choice among their servers.
--
-- A connection with one plain server that nginx.conf was rendered with has an upstream block of its
-- own. Every other is reached through a block whose server Lua names for each call; those with TLS
-- through one for each name and trust, since nginx reuses connections by address alone.

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
-- Seconds of silence that a tunnel or an event stream may have.
local STREAM_SECONDS = 3600
local DEFAULT_TIMEOUT = 30
local MOST_TRIES = 3

local rendered, tls_blocks = {}, 0
-- Name, verification and trust → number of the block that serves it, in this worker.
local blocks, taken = {}, 0
M.by_id = {}

local TOLD = contract.public_addresses
M.NOTHING = TOLD.none
-- The address that callers know the gateway by: `scheme`, `authority` (host, with a port that is not the
-- scheme's), `host`, `port`, and `origin`, empty where the owner has not set it. Empty: not known yet.
M.public = {}

-- Recipes and the token endpoint are reached like upstreams of ours.
M.recipes = { block = "recipes", scheme = "http", host = "recipes", base = "" }
M.oauth = { block = "oauth", scheme = "http", host = "oauth", base = "" }

function M.init_worker(options)
  rendered, tls_blocks = options.rendered, options.tls_blocks
end

local function tls_block(tls)
  local key = tls.name .. "\n" .. (tls.verify and "verified" or "unverified") .. "\n" .. tls.ca
  if not blocks[key] then
    if taken >= tls_blocks then return "tls_unpooled" end
    taken = taken + 1
    blocks[key] = "tls_" .. taken
  end
  return blocks[key]
end

local function location_of(tls)
  if not tls.verify then return "@https_unverified" end
  if tls.ca ~= "" then return "@https_" .. tls.ca end
end

local function bracketed(address)
  return address:find(":", 1, true) and "[" .. address .. "]" or address
end

local function servers_of(object)
  local servers = {}
  for i, server in ipairs(object.servers) do
    servers[i] = { address = bracketed(server.address), port = server.port, down = server.down, failed = 0 }
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

-- The name of the connection's own block in nginx.conf, if that still says what it is.
local function own_block(object)
  local server = object.servers[1]
  if object.tls or object.servers[2] or not server then return nil end
  local place = bracketed(server.address) .. ":" .. server.port
  return rendered["c" .. object.id] == place and "c" .. object.id or nil
end

-- A published connection as calls use it.
function M.set(object)
  local tls = object.tls
  local own = own_block(object)
  local upstream = {
    id = object.id,
    host = object.host,
    base = object.base,
    header = object.header,
    query = object.query ~= "" and object.query or nil,
    timeout = object.timeout,
    scheme = tls and "https" or "http",
    name = tls and tls.name or nil,
    location = tls and location_of(tls) or nil,
    block = own or (tls and tls_block(tls)) or "dynamic",
    dynamic = tls and tls_block(tls) or "dynamic",
    servers = servers_of(object),
    turn = 0,
    told = object.told or TOLD.none,
    translates = object.translate,
  }
  if upstream.translates then upstream.own, upstream.hosts = own_names(object) end
  upstream.missing = upstream.servers[1] == nil
  upstream.several = upstream.servers[2] ~= nil
  if own and object.timeout ~= DEFAULT_TIMEOUT then upstream.block = upstream.dynamic end
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

-- Replace the public address; what rests on it is for the caller to make anew.
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

-- The next server in turn that is not down and did not fail of late; else the next in turn.
local function choose(upstream, moment)
  local servers = upstream.servers
  local count = #servers
  if count == 1 then return servers[1] end
  for _ = 1, count do
    upstream.turn = upstream.turn % count + 1
    local server = servers[upstream.turn]
    if not server.down and server.failed <= moment then return server end
  end
  upstream.turn = upstream.turn % count + 1
  return servers[upstream.turn]
end

local function timeout_of(call, route, upstream)
  if call.is_call and call.is_stream then return STREAM_SECONDS end
  return route.timeout or upstream.timeout
end

-- Name the server of a call: for the blocks that have none.
function M.balance()
  local call = calls.current()
  local route = call and call.route
  local upstream = route and (call.upstream or route.collection and route.collection.upstream)
  if not upstream or not upstream.servers or not upstream.servers[1] then return ngx.exit(503) end
  local moment = now()
  if get_last_failure() then
    if call.server then call.server.failed = moment + PENALTY end
  elseif upstream.servers[2] then
    set_more_tries(min(#upstream.servers, MOST_TRIES) - 1)
  end
  local server = choose(upstream, moment)
  if upstream.servers[2] then call.server = server end
  local seconds = timeout_of(call, route, upstream)
  if seconds ~= DEFAULT_TIMEOUT then set_timeouts(CONNECT_SECONDS, seconds, seconds) end
  local ok, why = set_current_peer(server.address, tonumber(server.port))
  if not ok then
    ngx.log(ngx.ERR, "no server for connection ", upstream.id, ": ", why)
    return ngx.exit(503)
  end
end

return M
