-- Published objects: the publisher's objects in shared memory as JSON, and how each worker follows them.
--
-- Every change has a number. A worker that sees a new number reads the changes since its last one, or
-- everything if it missed too many.

local cjson = require "cjson.safe"
local contract = require "contract"
local callers = require "ostiary.callers"
local epochs = require "ostiary.epochs"
local places = require "ostiary.places"
local routes = require "ostiary.routes"
local upstreams = require "ostiary.upstreams"

local objects, imported = ngx.shared.objects, ngx.shared.imported
local ipairs, match, pairs, pcall, sub, tonumber = ipairs, string.match, pairs, pcall, string.sub, tonumber

local M = {}

-- How many changes are stored for workers that are behind.
local RING = 4096
local NUMBER = "#"
local seen = 0
local KINDS = contract.objects

local function is_object(key)
  return sub(key, 1, 1) ~= NUMBER
end

-- Read an object from its JSON. Fields that are null there are absent here.
local function decoded(text)
  local object, why = cjson.decode(text)
  if type(object) ~= "table" then return nil, why or "no object" end
  for name, value in pairs(object) do
    if value == cjson.null then object[name] = nil end
  end
  return object
end

-- Fill new shared memory from the last good state, a file of `key<TAB>JSON` lines.
function M.init(path)
  local ok, why = objects:safe_add(NUMBER, 0)
  if not ok then
    if why == "exists" then return end
    error("objects: " .. why)
  end
  local file = io.open(path)
  if not file then return end
  for line in file:lines() do
    local key, text = match(line, "^(%w+)\t(.+)$")
    if key then objects:safe_set(key, text) end
  end
  file:close()
end

local function set_connection(object)
  local upstream = upstreams.set(object)
  routes.set_upstream(object.id, upstream)
end

local SET = {
  [KINDS.connection] = set_connection,
  [KINDS.collection] = function(object)
    local upstream = upstreams.by_id[object.connection]
    routes.set_collection(object, object.recipes and upstreams.recipes or upstream)
  end,
  [KINDS.endpoint] = routes.set_endpoint,
  [KINDS.settings] = function(object)
    callers.trust(object.trusted)
    routes.set_public(object.public)
    places.set(object.places)
  end,
}
local DROP = {
  [KINDS.connection] = function(id)
    upstreams.drop(id)
    routes.set_upstream(id, nil)
  end,
  [KINDS.collection] = routes.drop_collection,
  [KINDS.endpoint] = routes.drop_endpoint,
  [KINDS.settings] = function()
    places.set(nil)
    callers.trust({})
  end,
}

-- Load one object into this worker. If the worker cannot take it, remove it and return the reason.
local function take(key, text)
  local kind, id = sub(key, 1, 1), tonumber(sub(key, 2))
  local drop = DROP[kind]
  if not drop then return "is of no known kind" end
  local ok, why
  if not text then
    ok, why = pcall(drop, id)
    return not ok and why or nil
  end
  ok, why = pcall(SET[kind], decoded(text))
  if ok then return nil end
  pcall(drop, id)
  return why
end

-- Collections need their connections, endpoints their collections.
local ORDER = { KINDS.settings, KINDS.connection, KINDS.collection, KINDS.endpoint }

local function take_all()
  routes.clear()
  upstreams.clear()
  places.set(nil)
  callers.trust({})
  local by_kind = {}
  for _, kind in ipairs(ORDER) do by_kind[kind] = {} end
  for _, key in ipairs(objects:get_keys(0)) do
    local list = by_kind[sub(key, 1, 1)]
    if list then list[#list + 1] = key end
  end
  for _, kind in ipairs(ORDER) do
    for _, key in ipairs(by_kind[kind]) do
      local why = take(key, objects:get(key))
      if why then ngx.log(ngx.ERR, "published object ", key, " was left out: ", why) end
    end
  end
end

-- Update this worker to the published state.
function M.follow()
  local number = objects:get(NUMBER)
  if number == seen then return end
  local from = seen
  seen = number
  if number - from > RING - 1 or number < from then return take_all() end
  for i = from + 1, number do
    local entry = objects:get(NUMBER .. i % RING)
    local at, key = match(entry or "", "^(%d+):(%w+)$")
    if tonumber(at) ~= i then return take_all() end
    local why = take(key, objects:get(key))
    if why then ngx.log(ngx.ERR, "published object ", key, " was left out: ", why) end
  end
end

function M.init_worker()
  seen = objects:get(NUMBER)
  take_all()
  if routes.collections == nil then error("no routes") end
end

-- Check an object before it is published: a worker must be able to take it.
local function problem(key, text)
  local kind = sub(key, 1, 1)
  if not SET[kind] or (kind ~= KINDS.settings and not tonumber(sub(key, 2))) then return "is of no known kind" end
  local object, why = decoded(text)
  if not object then return "does not read: " .. why end
  local ok, refused = pcall(SET[kind], object)
  if ok then return nil end
  -- Put back what this worker had.
  take(key, objects:get(key))
  return tostring(refused)
end

local function note(key)
  local number = objects:incr(NUMBER, 1)
  if not number then return end
  -- Entries of the ring exist from its first round on, and do not grow.
  objects:set(NUMBER .. number % RING, string.format("%d:%s", number, key))
end

local function publish_imported(key, text)
  local digest = sub(key, 2)
  if not text then
    imported:delete(digest)
    return nil
  end
  local ok, why = imported:safe_set(digest, true)
  return not ok and why or nil
end

-- Replace objects, each `{ key, text }`; without a text, delete it. Objects that a worker cannot take are
-- left out and returned with the reason.
function M.publish(list)
  local refused = {}
  M.follow()
  for _, change in ipairs(list) do
    local key, text = change[1], change[2]
    local why
    if sub(key, 1, 1) == KINDS.imported then
      why = publish_imported(key, text)
    elseif text then
      why = problem(key, text)
      if not why then
        local ok, full = objects:safe_set(key, text)
        if not ok then
          why = "the gateway's memory for published objects: " .. full
          take(key, objects:get(key))
        else
          note(key)
        end
      end
    else
      objects:delete(key)
      take(key, nil)
      note(key)
    end
    if why then refused[key] = why end
  end
  -- This worker has taken them. If other workers wrote meanwhile, it reads their changes with the next call.
  epochs.announce()
  return refused
end

-- Key and digest of every object.
function M.listed(which)
  local lines = {}
  if which then
    for _, digest in ipairs(imported:get_keys(0)) do lines[#lines + 1] = KINDS.imported .. digest .. "\t1" end
    return lines
  end
  for _, key in ipairs(objects:get_keys(0)) do
    local text = is_object(key) and objects:get(key)
    if text then lines[#lines + 1] = key .. "\t" .. ngx.md5(text) end
  end
  return lines
end

function M.is_imported(digest)
  return imported:get(digest) ~= nil
end

return M
