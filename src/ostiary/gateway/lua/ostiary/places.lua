-- Where a call may carry its credential besides API-TOKEN and Authorization (identity/places.py). Owners set
-- this for all collections, or for one. `credentials.walk` finds named headers. This module removes query
-- parameters and subprotocols before the call is forwarded.

local ffi = require "ffi"
local get_request = require("resty.core.base").get_request
require "resty.core.var"
local trimmed = require("ostiary.texts").trimmed

local C = ffi.C
local find, gmatch, gsub, match, sub = string.find, string.gmatch, string.gsub, string.match, string.sub
local char, concat, ipairs, tonumber, type = string.char, table.concat, ipairs, tonumber, type

local M = {}

-- Places of the workspace, or nil.
M.default = nil

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- Lengths of names, so that most headers are passed over without making a text of them.
local function lengths_of(list)
  local lengths = {}
  for _, name in ipairs(list) do lengths[#name] = true end
  return lengths
end

-- Published places in the form for look-ups, or nil if there are none. Raises an error if one is invalid.
function M.compiled(object)
  if object == nil then return nil end
  local headers, schemes, query = object.headers, object.schemes, object.query
  local prefixes = object.subprotocols
  assert(type(headers) == "table" and type(schemes) == "table" and type(query) == "table"
    and type(prefixes) == "table", "its places do not read")
  return {
    headers = set_of(headers), lengths = lengths_of(headers),
    schemes = set_of(schemes), bare = object.bare == true,
    query = query[1] and set_of(query) or nil,
    prefixes = prefixes[1] and prefixes or nil,
    -- A call may carry its credential elsewhere than in a header that the walk sees.
    beyond = query[1] ~= nil or prefixes[1] ~= nil,
  }
end

function M.set(object)
  M.default = M.compiled(object)
end

-- The places of a collection, else of the workspace, or nil.
function M.of(collection)
  local own = collection and collection.places
  if own then return own end
  return M.default
end

local function unescaped(text)
  if not find(text, "%", 1, true) then return text end
  return (gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

-- Values of a query's parameters that are places, and the query without them (both with the `?`).
function M.in_query(places, query)
  local values, kept = {}, {}
  if not places.query or query == "" then return values, query end
  for pair in gmatch(sub(query, 2) .. "&", "([^&]*)&") do
    local name, value = match(pair, "^([^=]*)=?(.*)$")
    if places.query[unescaped(name)] then
      values[#values + 1] = unescaped(value)
    else
      kept[#kept + 1] = pair
    end
  end
  if not values[1] then return values, query end
  return values, kept[1] and "?" .. concat(kept, "&") or ""
end

local function prefix_of(places, offer)
  for _, prefix in ipairs(places.prefixes) do
    if sub(offer, 1, #prefix) == prefix then return prefix end
  end
end

-- A browser's page fails unless one of the subprotocols that it offered is selected. One that offers
-- the prefix alone, without its last character, beside its credential gets this one where the API
-- selects none.
local function is_marker(places, offer)
  for _, prefix in ipairs(places.prefixes) do
    if offer == sub(prefix, 1, -2) then return true end
  end
  return false
end

-- Credentials among the offered subprotocols, the others as one header's value (nil: none are left),
-- and the one that we may select ourselves.
function M.in_subprotocols(places, header)
  local values, kept, marker = {}, {}, nil
  if not places.prefixes or not header then return values end
  if type(header) == "table" then header = concat(header, ",") end
  for offer in gmatch(header .. ",", "([^,]*),") do
    offer = trimmed(offer)
    local prefix = prefix_of(places, offer)
    if prefix then
      values[#values + 1] = sub(offer, #prefix + 1)
    elseif is_marker(places, offer) then
      marker = offer
    elseif offer ~= "" then
      kept[#kept + 1] = offer
    end
  end
  return values, kept[1] and concat(kept, ", ") or nil, marker
end

local value_at, length_of = ffi.new("char *[1]"), ffi.new("size_t[1]")
local problem = ffi.new("char *[1]")

-- Overwrite the query in nginx's own memory of the call: its log of errors quotes the request line.
local function blank(name)
  local buffer = ffi.new("char[?]", #name + 1, name)
  local rc = C.ngx_http_lua_ffi_var_get(get_request(), name, #name, buffer, 0, value_at, length_of, problem)
  if rc ~= 0 then return end
  local data, inside = value_at[0], false
  for i = 0, tonumber(length_of[0]) - 1 do
    local byte = data[i]
    if byte == 0x20 and inside then return end
    if inside then data[i] = 0x2a end
    if byte == 0x3f then inside = true end
  end
end

-- No log contains a query.
function M.hide_query()
  blank("request_uri")
  blank("request")
end

return M
