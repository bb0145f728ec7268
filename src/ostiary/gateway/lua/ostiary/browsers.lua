-- Calls of browsers' pages from other origins (WHATWG Fetch, section 3.2): a page may read answers of
-- the collections that allow its origin.

local var = ngx.var
local assert, concat, find, ipairs, match, sub = assert, table.concat, string.find, ipairs, string.match, string.sub
local type = type

local M = {}

local ANY = "*"
-- What pages may always read.
local SHOWN = {
  "RateLimit", "RateLimit-Policy", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining",
  "X-RateLimit-Reset", "X-Request-Id",
}

-- A file of an older release has origins alone.
local UNSAID = { exposed = {}, max_age = 600 }

local function exposed_by(names)
  local shown = { concat(SHOWN, ", ") }
  for _, name in ipairs(names) do shown[#shown + 1] = name end
  return concat(shown, ", ")
end

-- A collection's published rules as they are looked up; nil: no page may call.
function M.compiled(list, object)
  if not list[1] then return nil end
  object = object or UNSAID
  assert(type(object.exposed) == "table", "its rules for browsers do not read")
  local rules = {
    exact = {}, below = nil, any = false,
    credentials = object.credentials and "true" or nil,
    exposed = exposed_by(object.exposed), max_age = object.max_age,
  }
  for _, origin in ipairs(list) do
    if origin == ANY then
      rules.any = true
    elseif find(origin, "://*.", 1, true) then
      rules.below = rules.below or {}
      rules.below[origin] = true
    else
      rules.exact[origin] = true
    end
  end
  return rules
end

-- Whether a wildcard allows an origin: one for a parent of its host name.
local function is_below(rules, origin)
  local scheme, rest = match(origin, "^(https?://)([a-z0-9_.:-]+)$")
  if not scheme or #origin > 300 then return false end
  local from = find(rest, ".", 2, true)
  while from do
    if rules.below[scheme .. "*" .. sub(rest, from)] then return not find(sub(rest, 1, from), ":", 1, true) end
    from = find(rest, ".", from + 1, true)
  end
  return false
end

local function is_allowed(rules, origin)
  if rules.exact[origin] then return origin end
  if rules.below and is_below(rules, origin) then return origin end
  return rules.any and ANY or nil
end

-- The collection's rules for the calling page, `{ origin, rules }`; nil: no page calls, or it may not.
function M.allowed(collection)
  local rules = collection and collection.browsers
  local origin = rules and var.http_origin
  local told = origin and is_allowed(rules, origin)
  return told and { origin = told, rules = rules } or nil
end

-- Let the page read an answer of our own.
function M.show(page)
  local header = ngx.header
  header["Access-Control-Allow-Origin"] = page.origin
  header["Access-Control-Expose-Headers"] = page.rules.exposed
  header["Access-Control-Allow-Credentials"] = page.rules.credentials
  header["Vary"] = "Origin"
end

-- Let it read the upstream's answer.
function M.forward(page)
  var.gw_origin, var.gw_exposed, var.gw_vary = page.origin, page.rules.exposed, "Origin"
  if page.rules.credentials then var.gw_with_credentials = page.rules.credentials end
end

-- The answer depends on the page's origin, and caches must know that.
function M.vary(collection)
  if collection.browsers then var.gw_vary = "Origin" end
end

-- Whether the request is a browser's preflight.
function M.is_preflight()
  return ngx.req.get_method() == "OPTIONS" and var.http_access_control_request_method ~= nil
end

-- Answer a preflight, which has no credential.
function M.preflight(page)
  local header = ngx.header
  header["Access-Control-Allow-Origin"] = page.origin
  header["Access-Control-Allow-Methods"] = "GET,HEAD,POST,PUT,PATCH,DELETE"
  header["Access-Control-Allow-Headers"] = var.http_access_control_request_headers
  header["Access-Control-Allow-Credentials"] = page.rules.credentials
  header["Access-Control-Max-Age"] = page.rules.max_age
  header["Vary"] = "Origin"
  return ngx.exit(204)
end

return M
