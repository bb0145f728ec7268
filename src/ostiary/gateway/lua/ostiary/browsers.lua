-- Calls of browsers' pages from other origins (WHATWG Fetch, section 3.2): a page may read answers of
-- the collections that name its origin.

local var = ngx.var

local M = {}

local SHOWN = "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"

-- The page's origin, if the collection lets it call.
function M.allowed(collection)
  local origins = collection and collection.origins
  local origin = origins and var.http_origin
  return origin and origins[origin] and origin or nil
end

-- Let the page read an answer of our own.
function M.show(origin)
  local header = ngx.header
  header["Access-Control-Allow-Origin"] = origin
  header["Access-Control-Expose-Headers"] = SHOWN
  header["Vary"] = "Origin"
end

-- Let it read the upstream's answer.
function M.forward(origin)
  var.gw_origin, var.gw_exposed, var.gw_vary = origin, SHOWN, "Origin"
end

-- Whether a browser asks before it calls.
function M.is_preflight()
  return ngx.req.get_method() == "OPTIONS" and var.http_access_control_request_method ~= nil
end

-- Answer it; such a question has no credential.
function M.preflight(origin)
  local header = ngx.header
  header["Access-Control-Allow-Origin"] = origin
  header["Access-Control-Allow-Methods"] = "GET,HEAD,POST,PUT,PATCH,DELETE"
  header["Access-Control-Allow-Headers"] = var.http_access_control_request_headers
  header["Access-Control-Max-Age"] = "600"
  header["Vary"] = "Origin"
  return ngx.exit(204)
end

return M
