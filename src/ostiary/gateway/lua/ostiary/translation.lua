-- URLs and cookies in upstreams' answers: references to the upstream are replaced by its public address.
--
-- An upstream's base URL and `/{handle}` on the gateway are the same place. A reference to the upstream's
-- host never reaches the caller; a reference to another host stays unchanged.

local calls = require "ostiary.calls"
local ffi = require "ffi"
local get_request = require("resty.core.base").get_request
local routes = require "ostiary.routes"
local trimmed = require("ostiary.texts").trimmed
local upstreams = require "ostiary.upstreams"
require "resty.core.response"

local C = ffi.C
local byte, find, gsub, lower = string.byte, string.find, string.gsub, string.lower
local match, sub = string.match, string.sub
local concat, ipairs, pairs, type = table.concat, ipairs, pairs, type

local M = {}

local name_buffer = ffi.new("unsigned char[32]")
local value_buffer = ffi.new("ngx_http_lua_ffi_str_t[1]")
local error_buffer = ffi.new("char *[1]")
-- Values of one header that nginx hands out at once; more cookies than that go on as they are.
local MOST_VALUES = 100
local SLASH, QUESTION, HASH, COLON, AT, DOT, ZERO, NINE = 0x2f, 0x3f, 0x23, 0x3a, 0x40, 0x2e, 0x30, 0x39
-- Bytes of a header's value that is looked through; a longer one goes on as it is.
local LONGEST = 8192

-- --- paths -----------------------------------------------------------------------------------------

-- Whether a path lies at or below another, which has no slash at its end.
local function is_below(path, base)
  if sub(path, 1, #base) ~= base then return false end
  local after = byte(path, #base + 1)
  return after == nil or after == SLASH or after == QUESTION or after == HASH
end

-- The public path of a path on the upstream, or nil. An upstream that got its public prefix in a header may
-- have added it itself, before its own base path or instead of it.
local function public_path(at, path)
  if at.told and is_below(path, at.prefix) then
    local rest = sub(path, #at.prefix + 1)
    if at.base ~= "" and is_below(rest, at.base) then rest = sub(rest, #at.base + 1) end
    return at.prefix .. rest
  end
  if is_below(path, at.base) then return at.prefix .. sub(path, #at.base + 1) end
end

-- A path that browsers take for one: with more slashes at its beginning it would name a host.
local function local_path(path)
  return "/" .. gsub(path, "^[/\\]+", "")
end

local function without_dots(path)
  local parts, count = {}, 0
  for part in string.gmatch(path, "/([^/]*)") do
    if part == ".." then
      parts[count], count = nil, count > 0 and count - 1 or 0
    elseif part ~= "." then
      count = count + 1
      parts[count] = part
    end
  end
  if find(path, "/%.%.?$") then parts[count + 1] = "" end
  return "/" .. concat(parts, "/")
end

-- A relative reference where the upstream's path is not the caller's.
local function resolved(at, reference)
  if sub(reference, 1, 1) == "#" then return reference end
  local path, rest = match(reference, "^([^?#]*)(.*)$")
  path = path == "" and at.target or without_dots((match(at.target, "^.*/") or "/") .. path)
  return (public_path(at, path) or local_path(path)) .. rest
end

-- --- references --------------------------------------------------------------------------------------

local USUAL_PORTS = { http = ":80", https = ":443", ws = ":80", wss = ":443" }

-- Host and port of a URL in one spelling.
local function authority_of(text, scheme)
  local from = #text
  while from > 0 and byte(text, from) ~= AT do from = from - 1 end
  text = lower(sub(text, from + 1))
  -- Find the port from the end: a pattern would try each digit of a long row again.
  local stop = #text
  while stop > 0 and byte(text, stop) >= ZERO and byte(text, stop) <= NINE do stop = stop - 1 end
  local host, port = text, ""
  if byte(text, stop) == COLON then host, port = sub(text, 1, stop - 1), sub(text, stop) end
  if byte(host, #host) == DOT then host = sub(host, 1, -2) end
  if port == ":" or port == USUAL_PORTS[scheme] then port = "" end
  return host .. port
end

local function is_of_another_collection(at, path)
  local handle = match(path, "^/([^/?#]*)")
  return handle ~= nil and "/" .. handle ~= at.prefix and routes.collections[handle] ~= nil
end

local function absolute(at, reference, scheme, authority, rest)
  authority = authority_of(authority, scheme)
  local path = public_path(at, rest)
  if at.own[authority] then
    if path then return at.origin .. path end
    -- The reference is above the base URL and has no public address; do not reveal the upstream's host.
    return local_path(rest)
  end
  if at.told and authority == at.authority and path and not is_of_another_collection(at, rest) then
    return at.origin .. path
  end
  return reference
end

-- A URL or relative reference as the caller is to see it (RFC 3986, section 4.1).
local function translated(at, reference)
  local scheme, authority, rest = match(reference, "^(%a[%w+.-]*)://([^/?#]*)(.*)$")
  if not scheme then
    authority, rest = match(reference, "^//([^/?#]*)(.*)$")
    scheme = at.scheme
  end
  scheme = lower(scheme)
  if authority then
    return USUAL_PORTS[scheme] and absolute(at, reference, scheme, authority, rest) or reference
  end
  if byte(reference) == SLASH then return public_path(at, reference) or reference end
  if not at.target or find(reference, "^%a[%w+.-]*:") then return reference end
  return resolved(at, reference)
end

-- --- headers -----------------------------------------------------------------------------------------

local function end_of_quoted(text, from)
  local at = from + 1
  while at <= #text do
    local c = sub(text, at, at)
    if c == '"' then return at end
    at = at + (c == "\\" and 2 or 1)
  end
  return #text
end

-- Link targets stand between angle brackets (RFC 8288, section 3); a comma or bracket in a quoted text
-- is part of it. An anchor is a reference too.
local function translated_links(at, text)
  local parts, from = {}, 1
  while true do
    local start = find(text, '[<"]', from)
    if not start then break end
    local is_target = byte(text, start) == 0x3c
    local stop = is_target and find(text, ">", start, true) or end_of_quoted(text, start)
    if not stop or stop == start then break end
    local inside = sub(text, start + 1, stop - 1)
    if is_target or find(lower(sub(text, from, start - 1)), "anchor%s*=%s*$") then inside = translated(at, inside) end
    parts[#parts + 1] = sub(text, from, start) .. inside .. sub(text, stop, stop)
    from = stop + 1
  end
  parts[#parts + 1] = sub(text, from)
  return concat(parts)
end

local function translated_refresh(at, text)
  local from = match(text, "^%s*[%d.]+%s*[;,]%s*[uU][rR][lL]%s*=%s*[\"']?()")
  return from and sub(text, 1, from - 1) .. translated(at, sub(text, from)) or text
end

local function cookie_path(at, path)
  if byte(path) ~= SLASH then return path end
  local stop = #path
  while byte(path, stop) == SLASH do stop = stop - 1 end
  local bare = sub(path, 1, stop)
  -- A cookie of the upstream's whole host is one of its base URL: other collections do not get it.
  if is_below(at.base, bare) then return at.prefix end
  return public_path(at, path) or path
end

local function is_in_domain(host, domain)
  return host == domain or sub(host, -#domain - 1) == "." .. domain
end

-- Whether a cookie's domain is the upstream's, and not the public host's as well.
local function is_inner_domain(at, domain)
  domain = lower(gsub(domain, "^%.", ""))
  if at.host and is_in_domain(at.host, domain) then return false end
  for host in pairs(at.hosts) do
    if is_in_domain(host, domain) then return true end
  end
  return false
end

-- A cookie's Path and Domain (RFC 6265, section 5.2). The path of a `__Host-` cookie must stay `/`.
local function translated_cookie(at, text)
  local whole_host = find(text, "^%s*__[hH][oO][sS][tT]%-") ~= nil
  return (gsub(text, ";([^;]*)", function(attribute)
    local equals = find(attribute, "=", 1, true)
    if not equals then return nil end
    local name, value = lower(trimmed(sub(attribute, 1, equals - 1))), trimmed(sub(attribute, equals + 1))
    if name == "path" and not whole_host then return "; Path=" .. cookie_path(at, value) end
    if name == "domain" and is_inner_domain(at, value) then return "" end
  end))
end

local TRANSLATE = {
  { "Location", translated }, { "Content-Location", translated }, { "Link", translated_links },
  { "Set-Cookie", translated_cookie }, { "Refresh", translated_refresh },
}

local function rewrite(at, name, translate)
  local values = ngx.header[name]
  if type(values) == "string" then
    if #values <= LONGEST then ngx.header[name] = translate(at, values) end
  elseif values and #values < MOST_VALUES then
    for i, value in ipairs(values) do values[i] = #value <= LONGEST and translate(at, value) or value end
    ngx.header[name] = values
  end
end

-- The values to translate an answer with; nil: the answer stays unchanged.
local function context()
  local call = calls.current()
  local route = call and call.route
  local collection = route and route.collection
  local upstream = collection and collection.upstream
  if not upstream or not upstream.translates then return nil end
  local public = upstreams.public
  return {
    base = upstream.base, prefix = "/" .. collection.handle, scheme = upstream.scheme,
    own = upstream.own, hosts = upstream.hosts, told = upstream.told ~= upstreams.NOTHING and public.scheme ~= nil,
    origin = public.origin, authority = public.authority, host = public.host,
    target = route.target and match(ngx.var.gw_to, "^%a+://[^/]+([^?]*)") or nil,
  }
end

local function has(request, name, length)
  return C.ngx_http_lua_ffi_get_resp_header(request, name, length, name_buffer, value_buffer, 1, error_buffer) > 0
end

-- The head of every answer that an upstream may have given. Nearly all have none of these headers.
function M.translate()
  local r = get_request()
  if not (has(r, "location", 8) or has(r, "set-cookie", 10) or has(r, "link", 4) or has(r, "content-location", 16)
    or has(r, "refresh", 7)) then
    return
  end
  local at = context()
  if not at then return end
  for _, header in ipairs(TRANSLATE) do rewrite(at, header[1], header[2]) end
end

M.reference, M.links, M.cookie, M.refresh = translated, translated_links, translated_cookie, translated_refresh

return M
