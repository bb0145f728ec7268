-- Cached answers: which calls may get one, and under which key.
--
-- nginx stores them, and decides by the answer (RFC 9111): `Cache-Control`, `Expires`, `Set-Cookie`, `Vary`. A call is
-- admitted and counted before its answer is looked up. An answer belongs to one profile unless the owner
-- shares it. The key always contains the credential and claims of the caller that the upstream received.

local calls = require "ostiary.calls"

local concat, floor, md5 = table.concat, math.floor, ngx.md5
local time, tonumber, var = ngx.time, tonumber, ngx.var

local M = {}

-- A file that is being read stays on the disk, even if it is deleted. So this worker looks up no more answers
-- while those that it is sending are as large as its share of the cache.
local open_bytes, most_open = 0, 0
local LARGEST = 10000000

function M.init_worker(options)
  most_open = options.cache_bytes
end

-- Suffix of the location that is the same except that it caches answers.
M.SUFFIX = "_cached"

-- What the upstream receives about a caller besides its profile.
local function caller_of(call)
  local presented = call.collection.forward_credential and call.presented or ""
  return md5(concat({ var.gw_authorization or "", var.gw_api_token or "", var.gw_claims or "", presented }, "\n"))
end

-- The answer may depend on a body, and the key does not contain the body. Over HTTP/2 a call may have a body
-- without any header that announces it.
local function has_body()
  if (var.http_content_length or "0") ~= "0" or var.http_transfer_encoding then return true end
  if var.server_protocol ~= "HTTP/2.0" then return false end
  ngx.req.read_body()
  return ngx.req.get_body_data() ~= nil or ngx.req.get_body_file() ~= nil
end

-- The most seconds that the endpoint's answers are cached, or nil for a call that always goes to the upstream.
local function seconds_for(call)
  local route = call.route
  local seconds = route.cache or call.collection.cache or 0
  if seconds == 0 or call.method ~= "GET" or call.upstream.http2 or call.is_stream or var.http_cookie or has_body() then
    return nil
  end
  -- nginx would compare these with its own answer, and refuse the call in HTML.
  if var.http_if_match or var.http_if_unmodified_since or open_bytes >= most_open then return nil end
  return seconds
end

-- Set the cache key of a call; false: the call has none. The key changes once in `seconds`, at another
-- moment for each target. So no answer is older than that, even if the upstream allows it.
function M.find(call, lease, upstream, target)
  local seconds = seconds_for(call)
  if not seconds then return false end
  local collection = call.collection
  local span = floor((time() + ngx.crc32_short(target) % seconds) / seconds)
  var.gw_cache_key = concat({
    collection.cache_generation, call.route.id, collection.cache_shared and "all" or lease.profile, caller_of(call),
    upstream.id, upstream.known_by, seconds, span, upstream.host, target,
  }, " ")
  return true
end

-- Called before the head of an answer is sent that is or may be cached.
function M.began()
  local call = calls.current()
  if not call or not call.cached or call.open_bytes then return end
  -- An answer without a length, or with 10 MB or more, is not cached; see nginx.conf.
  local length = tonumber(var.upstream_http_content_length) or LARGEST
  call.open_bytes = length < LARGEST and length or 0
  open_bytes = open_bytes + call.open_bytes
end

function M.ended(call)
  open_bytes = open_bytes - call.open_bytes
end

return M
