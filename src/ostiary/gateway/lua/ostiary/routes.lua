-- Finds the endpoint of a method and a path. Tests compare it with ostiary.access.paths.choose.
--
-- An endpoint whose template is literal, or has its only parameter as the last segment, is found by one
-- or two look-ups in `exact`; no other template is more specific than these. All others are found by
-- walking a tree of segments: literal text, then patterns of text and parameters, then a parameter, then
-- a wildcard.

local browsers = require "ostiary.browsers"
local contract = require "contract"
local paths = require "ostiary.paths"
local patterns = require "ostiary.patterns"
local places = require "ostiary.places"
local upstreams = require "ostiary.upstreams"

local find, gmatch, sub = string.find, string.gmatch, string.sub
local assert, concat, ipairs, next, pairs, type = assert, table.concat, ipairs, next, pairs, type

local M = {}

local ANY = contract.any_method
-- METHOD → path, or path with a trailing slash for a parameter at the end → route.
M.exact = {}
-- handle → collection
M.collections = {}
local by_id, endpoints = {}, {}

for _, method in ipairs(contract.methods) do M.exact[method] = {} end

local function segments_of(path)
  local parts, count = {}, 0
  for part in gmatch(path, "/([^/]*)") do
    count = count + 1
    parts[count] = part
  end
  return parts, count
end

local is_parameter, is_wildcard = patterns.is_parameter, patterns.is_wildcard

local function new_node()
  return { literal = {} }
end

-- The child of a node for a template's segment, or nil if there is none yet.
local function child_of(node, segment)
  if is_wildcard(segment) then return node.wildcard end
  if is_parameter(segment) then return node.parameter end
  if not patterns.is_pattern(segment) then return node.literal[segment] end
  return patterns.find(node.patterns, segment)
end

local function add_child(node, segment)
  local child = new_node()
  if is_wildcard(segment) then
    node.wildcard = child
  elseif is_parameter(segment) then
    node.parameter = child
  elseif patterns.is_pattern(segment) then
    node.patterns = node.patterns or {}
    patterns.insert(node.patterns, segment, child)
  else
    node.literal[segment] = child
  end
  return child
end

local function drop_child(node, segment)
  if is_wildcard(segment) then
    node.wildcard = nil
  elseif is_parameter(segment) then
    node.parameter = nil
  elseif patterns.is_pattern(segment) then
    if patterns.remove(node.patterns, segment) == 0 then node.patterns = nil end
  else
    node.literal[segment] = nil
  end
end

local function is_empty(node)
  return not (next(node.literal) or node.patterns or node.parameter or node.wildcard or next(node.methods or {}))
end

-- The nodes from the root of a tree to a template's leaf, as far as they exist; all of them with `make`.
local function trail_of(tree, segments, count, make)
  local trail = { tree }
  for i = 1, count do
    local node = trail[i]
    local child = child_of(node, segments[i]) or make and add_child(node, segments[i])
    if not child then return trail end
    trail[i + 1] = child
  end
  return trail
end

-- Prefix of a template's keys in `exact`: its segments except the last. Nil if only the tree can find it.
local function exact_start(collection, segments, count)
  for i = 1, count - 1 do
    if sub(segments[i], 1, 1) == "{" or patterns.is_pattern(segments[i]) then return nil end
  end
  local start = "/" .. collection.handle .. "/" .. concat(segments, "/", 1, count - 1)
  return count > 1 and start .. "/" or start
end

-- Only the tree finds HEAD, since a GET with a more specific template has priority.
local function set_exact(collection, key, methods)
  for _, method in ipairs(contract.methods) do
    local known = M.exact[method]
    local route = method ~= "HEAD" and methods and (methods[method] or methods[ANY]) or nil
    if route then
      known[key] = route
    elseif known[key] and known[key].collection == collection then
      known[key] = nil
    end
  end
end

-- Update `exact` after a template was added to the tree or removed from it.
local function refresh_exact(collection, segments, count, above)
  local last = segments[count]
  if last == "" or is_wildcard(last) then return end
  local start = exact_start(collection, segments, count)
  if not start then return end
  if not (is_parameter(last) or patterns.is_pattern(last)) then
    local leaf = above and above.literal[last]
    return set_exact(collection, start .. last, leaf and leaf.methods)
  end
  -- A pattern goes before the parameter beside it.
  local leaf = above and not above.patterns and above.parameter
  set_exact(collection, start, leaf and leaf.methods)
end

local function place(route)
  local collection = route.collection
  local segments, count = segments_of(route.path)
  local trail = trail_of(collection.tree, segments, count, true)
  local leaf = trail[count + 1]
  leaf.methods = leaf.methods or {}
  -- Between two changes of one moment, another endpoint may still be here.
  route.beneath = leaf.methods[route.method]
  leaf.methods[route.method] = route
  refresh_exact(collection, segments, count, trail[count])
end

-- Remove a route from one method's routes at a leaf. Returns whether it was there.
local function unstack(leaf, route)
  local above, each = nil, leaf and leaf.methods and leaf.methods[route.method]
  while each and each ~= route do
    above, each = each, each.beneath
  end
  if not each then return false end
  if above then
    above.beneath = route.beneath
  else
    leaf.methods[route.method] = route.beneath
  end
  route.beneath = nil
  return true
end

local function displace(route)
  local collection = route.collection
  local segments, count = segments_of(route.path)
  local trail = trail_of(collection.tree, segments, count, false)
  if not unstack(trail[count + 1], route) then return end
  for i = count, 1, -1 do
    if not is_empty(trail[i + 1]) then break end
    drop_child(trail[i], segments[i])
  end
  refresh_exact(collection, segments, count, trail[count])
end

local function attach(route)
  local collection = by_id[route.collection_id]
  if not collection then return end
  route.collection = collection
  route.skip = #collection.handle + 2
  collection.routes[route.id] = route
  place(route)
end

local function detach(route)
  if not route.collection then return end
  displace(route)
  route.collection.routes[route.id] = nil
  route.collection = nil
end

-- Raise an error for an invalid endpoint, before anything is changed.
local function check_endpoint(object)
  assert(M.exact[object.method] or object.method == ANY, "its method is not known")
  assert(type(object.path) == "string" and find(object.path, "^/"), "its path does not read")
  assert(type(object.target) == "string" and type(object.timeout) == "number", "its target does not read")
end

-- Add or replace a published endpoint.
function M.set_endpoint(object)
  check_endpoint(object)
  M.drop_endpoint(object.id)
  local route = {
    id = object.id,
    collection_id = object.collection,
    method = object.method,
    path = object.path,
    takes_any = object.method == ANY or nil,
    target = object.target ~= "" and patterns.compile_target(object.path, object.target) or nil,
    timeout = object.timeout > 0 and object.timeout or nil,
    recipe = object.recipe,
    -- Seconds that answers are cached; nil: as the collection says.
    cache = object.cache,
    leases = {},
  }
  -- Simple: the call needs only the path below the collection.
  route.simple = not route.target and not route.timeout and not route.recipe and not route.cache
  endpoints[object.id] = route
  attach(route)
end

function M.drop_endpoint(id)
  local route = endpoints[id]
  if not route then return end
  detach(route)
  endpoints[id] = nil
end

-- Add or replace a published collection; `upstream` is its connection.
function M.set_collection(object, upstream)
  assert(type(object.handle) == "string" and type(object.origins) == "table", "its handle does not read")
  local own_places, for_browsers = places.compiled(object.places), browsers.compiled(object.origins, object.browsers)
  local old = by_id[object.id]
  local routes = {}
  if old then
    for id in pairs(old.routes) do routes[id] = endpoints[id] end
    M.drop_collection(object.id)
  else
    -- Endpoints may come before their collection.
    for id, route in pairs(endpoints) do
      if route.collection_id == object.id then routes[id] = route end
    end
  end
  local collection = {
    id = object.id,
    handle = object.handle,
    connection = object.connection,
    upstream = upstream,
    recipes = object.recipes,
    forward_credential = object.forward_credential,
    forward_claims = object.forward_claims,
    encoded_slashes = object.encoded_slashes,
    tree = new_node(),
    -- Whether Authorization belongs to the upstream.
    leave = object.leave_authorization,
    -- Places of this collection; nil: those of the workspace.
    places = own_places,
    browsers = for_browsers,
    -- Whether calls may get a cached answer, for how many seconds, and of which profiles.
    caches = object.connection ~= 0,
    cache = object.cache,
    cache_shared = object.cache_shared,
    cache_generation = object.cache_generation or 0,
    routes = {},
  }
  collection.host_lines = upstream and upstreams.host_lines(upstream, object.handle)
  collection.simple = not (for_browsers or object.recipes or object.forward_credential or object.forward_claims
    or object.leave_authorization or (object.cache or 0) > 0)
  by_id[object.id] = collection
  M.collections[object.handle] = collection
  for _, route in pairs(routes) do attach(route) end
end

function M.drop_collection(id)
  local collection = by_id[id]
  if not collection then return end
  for _, route in pairs(collection.routes) do
    displace(route)
    route.collection = nil
  end
  by_id[id] = nil
  if M.collections[collection.handle] == collection then M.collections[collection.handle] = nil end
end

-- A connection was replaced or deleted.
function M.set_upstream(connection, upstream)
  for _, collection in pairs(by_id) do
    if collection.connection == connection then
      collection.upstream = upstream
      collection.host_lines = upstream and upstreams.host_lines(upstream, collection.handle)
    end
  end
end

-- The public address has changed.
function M.set_public(public)
  upstreams.set_public(public)
  for _, collection in pairs(by_id) do
    local upstream = collection.upstream
    collection.host_lines = upstream and upstreams.host_lines(upstream, collection.handle)
  end
end

-- Forget all leases that routes remember.
function M.forget_leases()
  for _, route in pairs(endpoints) do
    if next(route.leases) then route.leases = {} end
  end
end

function M.clear()
  for _, method in ipairs(contract.methods) do M.exact[method] = {} end
  M.collections, by_id, endpoints = {}, {}, {}
end

local function with_method(node, method)
  local methods = node and node.methods
  -- A call must have a known method; ANY is valid only for endpoints.
  if not methods or not M.exact[method] then return nil end
  return methods[method] or (method == "HEAD" and methods.GET) or methods[ANY]
end

local walk

local function walk_patterns(node, segments, count, at, method)
  local segment = segments[at]
  for _, pattern in ipairs(node.patterns) do
    local route = patterns.fits(pattern, segment) and walk(pattern.node, segments, count, at + 1, method)
    if route then return route end
  end
end

function walk(node, segments, count, at, method)
  if at > count then return with_method(node, method) end
  local segment = segments[at]
  local deeper = node.literal[segment]
  local route = deeper and walk(deeper, segments, count, at + 1, method)
  if route then return route end
  if segment == "" then return nil end
  route = node.patterns and walk_patterns(node, segments, count, at, method)
  if route then return route end
  deeper = node.parameter
  route = deeper and walk(deeper, segments, count, at + 1, method)
  return route or with_method(node.wildcard, method)
end

local function add_methods(node, methods)
  for method in pairs(node and node.methods or {}) do methods[method] = true end
end

local function gather(node, segments, count, at, methods)
  if at > count then return add_methods(node, methods) end
  local segment = segments[at]
  if node.literal[segment] then gather(node.literal[segment], segments, count, at + 1, methods) end
  if segment == "" then return end
  for _, pattern in ipairs(node.patterns or {}) do
    if patterns.fits(pattern, segment) then gather(pattern.node, segments, count, at + 1, methods) end
  end
  if node.parameter then gather(node.parameter, segments, count, at + 1, methods) end
  add_methods(node.wildcard, methods)
end

-- The collection of a path in normal form, and the path below it; nil if there is none.
function M.collection_of(path)
  local slash = find(path, "/", 2, true)
  if not slash then return M.collections[sub(path, 2)] end
  return M.collections[sub(path, 2, slash - 1)], sub(path, slash)
end

-- The route of a call, or nil.
function M.find(collection, method, below)
  if not collection or not below then return nil end
  local segments, count = segments_of(below)
  return walk(collection.tree, segments, count, 1, method)
end

-- The methods that a path accepts, as the value of an Allow header (RFC 9110, section 10.2.1), or nil.
function M.allow(collection, below)
  if not collection or not below then return nil end
  local segments, count = segments_of(below)
  local methods = {}
  gather(collection.tree, segments, count, 1, methods)
  if methods.GET then methods.HEAD = true end
  local names = {}
  for _, method in ipairs(contract.methods) do
    if methods[method] or methods[ANY] then names[#names + 1] = method end
  end
  return names[1] and concat(names, ",") or nil
end

-- Path in normal form and query of a target that has no usual normal form, but lies in a collection whose
-- segments may hold encoded slashes; nil: refused.
function M.split_encoded(target)
  local path, query = paths.split(target, true)
  local collection = path and M.collection_of(path)
  if collection and collection.encoded_slashes then return path, query end
end

-- The path on the upstream of a route that has a target of its own; nil: it would have a dot segment.
function M.target(route, below)
  local target = patterns.fill(route.target, below)
  if paths.has_dots(target) then return nil end
  return target
end

return M
