-- Which endpoint a method and a path mean: the same as ostiary.access.paths.choose, and tested to be.
--
-- An endpoint whose template is literal, or has its only parameter in the last segment, is found by
-- one or two look-ups in `exact`; no other template is more specific than these. All others are found
-- by walking a tree of segments, literal before parameter.

local contract = require "contract"

local find, gmatch, sub = string.find, string.gmatch, string.sub
local assert, concat, ipairs, next, pairs, type = assert, table.concat, ipairs, next, pairs, type

local M = {}

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

local function is_parameter(segment)
  return sub(segment, 1, 1) == "{"
end

local function leaf_of(tree, segments, count)
  local node = tree
  for i = 1, count do
    local segment = segments[i]
    if is_parameter(segment) then
      node.parameter = node.parameter or { literal = {} }
      node = node.parameter
    else
      node.literal[segment] = node.literal[segment] or { literal = {} }
      node = node.literal[segment]
    end
  end
  node.methods = node.methods or {}
  return node
end

-- The key of `exact` for a route, or nil where it is found by the tree alone: a HEAD too, since a GET
-- whose template is more specific goes before it.
local function exact_key(collection, method, segments, count)
  if method == "HEAD" then return nil end
  for i = 1, count - 1 do
    if is_parameter(segments[i]) then return nil end
  end
  local last = segments[count]
  if last == "" then return nil end
  local start = "/" .. collection.handle .. "/" .. concat(segments, "/", 1, count - 1)
  if count > 1 then start = start .. "/" end
  return is_parameter(last) and start or start .. last
end

local function place(route)
  local collection = route.collection
  local segments, count = segments_of(route.path)
  leaf_of(collection.tree, segments, count).methods[route.method] = route
  local key = exact_key(collection, route.method, segments, count)
  if key then M.exact[route.method][key] = route end
end

local function displace(route)
  local collection = route.collection
  local segments, count = segments_of(route.path)
  local methods = leaf_of(collection.tree, segments, count).methods
  if methods[route.method] == route then methods[route.method] = nil end
  local key = exact_key(collection, route.method, segments, count)
  if key and M.exact[route.method][key] == route then M.exact[route.method][key] = nil end
end

-- Where each parameter of `target` is in the path, or its literal segment.
local function compile_target(path, target)
  local places = {}
  local segments = segments_of(path)
  for i, segment in ipairs(segments) do
    if is_parameter(segment) then places[segment] = i end
  end
  local parts = {}
  for i, segment in ipairs((segments_of(target))) do parts[i] = places[segment] or segment end
  return parts
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

-- Raise an error for what could not be placed, before anything is changed.
local function check_endpoint(object)
  assert(M.exact[object.method], "its method is not known")
  assert(type(object.path) == "string" and find(object.path, "^/"), "its path does not read")
  assert(type(object.target) == "string" and type(object.timeout) == "number", "its target does not read")
end

-- Put a published endpoint in place of what it was.
function M.set_endpoint(object)
  check_endpoint(object)
  M.drop_endpoint(object.id)
  local route = {
    id = object.id,
    collection_id = object.collection,
    method = object.method,
    path = object.path,
    target = object.target ~= "" and compile_target(object.path, object.target) or nil,
    timeout = object.timeout > 0 and object.timeout or nil,
    recipe = object.recipe,
    leases = {},
  }
  -- Nothing but the path below the collection goes to the upstream.
  route.simple = not route.target and not route.timeout and not route.recipe
  endpoints[object.id] = route
  attach(route)
end

function M.drop_endpoint(id)
  local route = endpoints[id]
  if not route then return end
  detach(route)
  endpoints[id] = nil
end

-- Put a published collection in place of what it was; `upstream` finds its connection.
function M.set_collection(object, upstream)
  assert(type(object.handle) == "string" and type(object.origins) == "table", "its handle does not read")
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
  local origins
  for _, origin in ipairs(object.origins) do
    origins = origins or {}
    origins[origin] = true
  end
  local collection = {
    id = object.id,
    handle = object.handle,
    connection = object.connection,
    upstream = upstream,
    recipes = object.recipes,
    forward_credential = object.forward_credential,
    forward_claims = object.forward_claims,
    origins = origins,
    tree = { literal = {} },
    routes = {},
  }
  collection.simple = not (origins or object.recipes or object.forward_credential or object.forward_claims)
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

-- A connection is another object now, or none.
function M.set_upstream(connection, upstream)
  for _, collection in pairs(by_id) do
    if collection.connection == connection then collection.upstream = upstream end
  end
end

-- Every lease that routes remember is forgotten.
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
  local methods = node.methods
  if not methods then return nil end
  return methods[method] or (method == "HEAD" and methods.GET) or nil
end

local function walk(node, segments, count, at, method)
  if at > count then return with_method(node, method) end
  local segment = segments[at]
  local deeper = node.literal[segment]
  local route = deeper and walk(deeper, segments, count, at + 1, method)
  if route then return route end
  deeper = node.parameter
  return deeper and segment ~= "" and walk(deeper, segments, count, at + 1, method) or nil
end

local function gather(node, segments, count, at, methods)
  if at > count then
    for method in pairs(node.methods or {}) do methods[method] = true end
    return
  end
  local segment = segments[at]
  if node.literal[segment] then gather(node.literal[segment], segments, count, at + 1, methods) end
  if node.parameter and segment ~= "" then gather(node.parameter, segments, count, at + 1, methods) end
end

-- The collection that a path in normal form lies in, and the path below it; nil where there is none.
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

-- The methods that a path takes, as an Allow header says them (RFC 9110, section 10.2.1), or nil.
function M.allow(collection, below)
  if not collection or not below then return nil end
  local segments, count = segments_of(below)
  local methods = {}
  gather(collection.tree, segments, count, 1, methods)
  if methods.GET then methods.HEAD = true end
  local names = {}
  for _, method in ipairs(contract.methods) do
    if methods[method] then names[#names + 1] = method end
  end
  return names[1] and concat(names, ",") or nil
end

-- The path on the upstream of a route that has a target of its own.
function M.target(route, below)
  local segments = segments_of(below)
  local parts = {}
  for i, part in ipairs(route.target) do
    parts[i] = segments[part] or part
  end
  return "/" .. concat(parts, "/")
end

return M
