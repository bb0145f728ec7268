-- Finds the credential of a call in one walk over its headers. Tests compare it with
-- tests.models.extraction. The same walk notices other headers that need a further check.

local contract = require "contract"
local ffi = require "ffi"
local get_request = require("resty.core.base").get_request
require "resty.core.request"

local C = ffi.C
local band, bor = bit.band, bit.bor
local byte, find, lower, match, sub = string.byte, string.find, string.lower, string.match, string.sub
local assert, ipairs, tonumber = assert, ipairs, tonumber
local text_of = ffi.string

ffi.cdef [[
int strncasecmp(const char *a, const char *b, size_t n);
unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
unsigned char *HMAC(const void *evp_md, const void *key, int key_len, const unsigned char *d, size_t n,
  unsigned char *md, unsigned int *md_len);
const void *EVP_sha256(void);
]]

local M = {}

-- A call with more headers than this is refused.
M.MOST_HEADERS = 100
-- Flags: other findings of the walk.
M.UPGRADE, M.STRAY, M.STREAM, M.LOOP = 1, 2, 4, 8
-- Where a credential was; also the name of a header that an owner adds, in lower case.
local HEADER, AUTHORIZATION = 1, 2
M.HEADER, M.AUTHORIZATION, M.ELSEWHERE = HEADER, AUTHORIZATION, 3

local codes = contract.codes
local MISSING, CONFLICT, MALFORMED = codes.credential_missing, codes.conflicting_credentials, codes.malformed_credential
local TOKEN, BEARER, BASIC = contract.forms.token, contract.forms.bearer, contract.forms.basic

local buffer = ffi.new("ngx_http_lua_ffi_table_elt_t[?]", M.MOST_HEADERS + 1)
local truncated = ffi.new("int[1]")

-- What usually follows `X-Forwarded-`, by its length: nginx.conf sets or removes these itself.
local USUAL = {
  [3] = { "for" }, [4] = { "host", "port" }, [5] = { "proto" }, [6] = { "prefix", "server" },
}

local function is_usual(data, length)
  local names = USUAL[length]
  if not names then return false end
  return C.strncasecmp(data, names[1], length) == 0
    or (names[2] ~= nil and C.strncasecmp(data, names[2], length) == 0)
end

-- Beginnings of names that say who calls, from where or by which path, of which nginx.conf cannot know every
-- name: ours, those of proxies, and of systems that identify callers for what is behind them.
local FAMILIES = {
  "x-ostiary", "x-forwarded-", "x-original-", "x-override-", "x-envoy-", "x-endpoint-api-", "x-consumer-",
  "x-client-cert", "x-authenticated-", "x-auth-request-", "x-authentik-", "x-amzn-oidc-", "x-goog-authenticated-",
  "x-goog-iap-", "x-ms-client-principal", "x-ms-token-", "x-middleware-", "x-remote-", "x-ssl-client-",
  "x-pomerium-", "x-webauth-", "x-vouch-", "remote-", "ssl-client-", "tailscale-", "impersonate-", "proxy-",
}

-- Three letters that tell families apart, as a number: the first ones, or those after `x-`.
local function family_key(a, b, c, d, e)
  if bor(a, 0x20) == 0x78 and b == 0x2d then
    return bor(bor(c, 0x20) * 65536, bor(d, 0x20) * 256, bor(e, 0x20), 0x1000000)
  end
  return bor(bor(a, 0x20) * 65536, bor(b, 0x20) * 256, bor(c, 0x20))
end

-- Key → up to three families, in fields, since a second loop in the walk would be too slow.
local by_key = {}
for _, name in ipairs(FAMILIES) do
  local key = family_key(byte(name, 1, 5))
  local found = by_key[key] or {}
  by_key[key] = found
  found[#found + 1] = { name = name, length = #name }
  assert(#found <= 3, "too many families begin alike")
end

local function is_of(data, family)
  return family ~= nil and C.strncasecmp(data, family.name, family.length) == 0
end

-- Names of these families, but for those of proxies that are removed by name.
local function is_stray(data, length)
  local found = by_key[family_key(data[0], data[1], data[2], data[3], data[4])]
  if not found then return false end
  if not (is_of(data, found[1]) or is_of(data, found[2]) or is_of(data, found[3])) then return false end
  return C.strncasecmp(data, "x-forwarded-", 12) ~= 0 or length == 12 or not is_usual(data + 12, length - 12)
end

-- Walk the headers. Returns how many could contain a credential, the credential, where it was (HEADER,
-- AUTHORIZATION, or the name of a header that `places` adds), and flags. With `leave`, Authorization belongs
-- to the upstream. Returns nothing if there are too many headers.
function M.walk(places, leave)
  local request = get_request()
  local n = C.ngx_http_lua_ffi_req_get_headers_count(request, M.MOST_HEADERS + 1, truncated)
  if n < 0 or n > M.MOST_HEADERS then return nil end
  if n > 0 and C.ngx_http_lua_ffi_req_get_headers(request, buffer, n, 1) ~= 0 then return nil end
  local count, at, where, flags, lines = 0, 0, HEADER, 0, 0
  local lengths = places and places.lengths
  for i = 0, n - 1 do
    local length, data = buffer[i].key.len, buffer[i].key.data
    if length == 9 and C.strncasecmp(data, "api-token", 9) == 0 then
      count, at, where = count + 1, i, HEADER
    elseif length == 13 and C.strncasecmp(data, "authorization", 13) == 0 then
      lines = lines + 1
      if not leave then count, at, where = count + 1, i, AUTHORIZATION end
    elseif length == 7 and C.strncasecmp(data, "upgrade", 7) == 0 then
      flags = bor(flags, 1)
    elseif length == 6 and buffer[i].value.len >= 10 and C.strncasecmp(data, "accept", 6) == 0
      and C.strncasecmp(buffer[i].value.data, "text/event", 10) == 0 then
      flags = bor(flags, 4)
    elseif length == 8 and C.strncasecmp(data, "cdn-loop", 8) == 0 then
      flags = bor(flags, 8)
    elseif lengths and lengths[tonumber(length)] and places.headers[lower(text_of(data, length))] then
      count, at, where = count + 1, i, lower(text_of(data, length))
    elseif length > 7 and is_stray(data, length) then
      flags = bor(flags, 2)
    end
  end
  -- If there are two, nginx forwards only the first.
  if leave and lines > 1 then return 2, "", AUTHORIZATION, flags end
  if count == 0 then return 0, "", HEADER, flags end
  return count, text_of(buffer[at].value.data, buffer[at].value.len), where, flags
end

-- Names of the caller's headers that only Ostiary, or proxies, may set.
function M.strays()
  local names = {}
  local n = C.ngx_http_lua_ffi_req_get_headers_count(get_request(), M.MOST_HEADERS + 1, truncated)
  if n < 1 or C.ngx_http_lua_ffi_req_get_headers(get_request(), buffer, n, 1) ~= 0 then return names end
  for i = 0, n - 1 do
    local length, data = buffer[i].key.len, buffer[i].key.data
    if length > 7 and is_stray(data, length) then names[#names + 1] = text_of(data, length) end
  end
  return names
end

-- Names of the headers that could hold a credential, as they came.
function M.carriers(places, leave)
  local names = {}
  local n = C.ngx_http_lua_ffi_req_get_headers_count(get_request(), M.MOST_HEADERS + 1, truncated)
  if n < 1 or C.ngx_http_lua_ffi_req_get_headers(get_request(), buffer, n, 1) ~= 0 then return names end
  for i = 0, n - 1 do
    local name = text_of(buffer[i].key.data, buffer[i].key.len)
    local plain = lower(name)
    if plain == "api-token" or (plain == "authorization" and not leave) or (places and places.headers[plain]) then
      names[#names + 1] = name
    end
  end
  return names
end

local function visible(form, value)
  if value == "" then return nil, MISSING end
  if not find(value, "^[ -~\128-\255]+$") then return nil, MALFORMED end
  return form, value
end

local function basic(rest)
  if #rest % 4 ~= 0 or not find(rest, "^[A-Za-z0-9+/]*=?=?$") then return nil, MALFORMED end
  local decoded = ngx.decode_base64(rest)
  local colon = decoded and find(decoded, ":", 1, true)
  if not colon then return nil, MALFORMED end
  if lower(sub(decoded, 1, colon - 1)) ~= "api-token" then return nil, MISSING end
  return visible(BASIC, sub(decoded, colon + 1))
end

local function authorized(value, places)
  local scheme, rest = match(value, "^([!#$%%&'*+.^_`|~%w-]+) +(.*)$")
  if not scheme then scheme = match(value, "^([!#$%%&'*+.^_`|~%w-]+)$") end
  scheme = scheme and lower(scheme)
  if scheme == "basic" then return basic(rest or "") end
  if scheme == "bearer" or (places and rest and places.schemes[scheme]) then
    rest = rest or ""
    if rest ~= "" and not find(rest, "^[!-+%-.-~]+$") then return nil, MALFORMED end
    return visible(BEARER, rest)
  end
  if places and places.bare and find(value, "^[!-~]+$") then return visible(BEARER, value) end
  return nil, MISSING
end

-- Form and credential of a call, or nothing and the code of the refusal, from the results of `walk`. A place
-- that an owner adds may also carry a signed token, like a bearer token; so may API-TOKEN if there is no other
-- header for it.
function M.read(count, value, where, places, leave)
  if count > 1 or (where == AUTHORIZATION and find(value, ",", 1, true)) then return nil, CONFLICT end
  if count == 0 then return nil, MISSING end
  if where == AUTHORIZATION then return authorized(value, places) end
  return visible(where == HEADER and not leave and TOKEN or BEARER, value)
end

local digest = ffi.new("unsigned char[64]")
local digest_length = ffi.new("unsigned int[1]")

local function hex(bytes, n)
  local parts = {}
  for i = 0, n - 1 do parts[i + 1] = string.format("%02x", bytes[i]) end
  return table.concat(parts)
end

function M.sha256(text)
  C.SHA256(text, #text, digest)
  return hex(digest, 32)
end

-- Whether one of our tokens has the mark that only this workspace can make (identity.tokens).
function M.marked(token, key)
  local body = sub(token, 5, 47)
  if C.HMAC(C.EVP_sha256(), key, #key, body, #body, digest, digest_length) == nil then return false end
  local expected, difference = hex(digest, 6), 0
  local shown = sub(token, 48, 59)
  for i = 1, 12 do difference = bor(difference, expected:byte(i) - shown:byte(i)) end
  return difference == 0 and band(digest_length[0], 32) == 32
end

return M
