-- Segments of templates that hold both text and parameters (`{id}.json`), and what parameters take: the
-- same as ostiary.access.paths, and tested to be.
--
-- Each parameter takes as little as it can, at least one character, and the last one of a segment all the
-- rest. No backtracking, and no pattern of Lua's: a literal is looked for where the last one ended.

local byte, find, gmatch, sub = string.byte, string.find, string.gmatch, string.sub
local concat, insert, ipairs, remove = table.concat, table.insert, ipairs, table.remove

local M = {}

local PERCENT = 0x25

function M.is_wildcard(segment)
  return sub(segment, 1, 1) == "{" and sub(segment, -4) == "...}"
end

-- Whether a segment is one parameter and nothing else.
function M.is_parameter(segment)
  return sub(segment, 1, 1) == "{" and find(segment, "}", 1, true) == #segment and not M.is_wildcard(segment)
end

function M.is_pattern(segment)
  return find(segment, "{", 1, true) ~= nil and not M.is_parameter(segment) and not M.is_wildcard(segment)
end

-- The literal texts of a segment (they may be empty), and the parameters between them as they are written.
local function pieces_of(segment)
  local literals, parameters, at = {}, {}, 1
  while true do
    local from = find(segment, "{", at, true)
    local to = from and find(segment, "}", from, true)
    if not to then break end
    literals[#literals + 1] = sub(segment, at, from - 1)
    parameters[#parameters + 1] = sub(segment, from, to)
    at = to + 1
  end
  literals[#literals + 1] = sub(segment, at)
  return literals, parameters
end

-- --- order ----------------------------------------------------------------------------------------

local function compiled(segment, node)
  local literals = pieces_of(segment)
  local shape, size = concat(literals, "{}"), #concat(literals)
  return { literals = literals, count = #literals, shape = shape, size = size, node = node }
end

-- More literal characters first, then more at the beginning, then by the alphabet.
local function goes_before(one, other)
  if one.size ~= other.size then return one.size > other.size end
  local mine, others = #one.literals[1], #other.literals[1]
  if mine ~= others then return mine > others end
  return one.shape < other.shape
end

-- The node of a pattern in a sorted list, and where it is; nil: it is not there.
function M.find(list, segment)
  local shape = concat(pieces_of(segment), "{}")
  for i, pattern in ipairs(list or {}) do
    if pattern.shape == shape then return pattern.node, i end
  end
end

function M.insert(list, segment, node)
  local pattern, at = compiled(segment, node), 1
  while list[at] and goes_before(list[at], pattern) do at = at + 1 end
  insert(list, at, pattern)
end

-- Take a pattern out of a list; how many are left.
function M.remove(list, segment)
  local _, at = M.find(list, segment)
  if at then remove(list, at) end
  return #list
end

-- --- matching -------------------------------------------------------------------------------------

-- Whether a place behind the first character of a text in normal form lies within an escape.
local function is_in_escape(text, at)
  return byte(text, at - 1) == PERCENT or at > 2 and byte(text, at - 2) == PERCENT
end

local function find_literal(text, literal, from)
  local at = find(text, literal, from, true)
  while at and is_in_escape(text, at) do at = find(text, literal, at + 1, true) end
  return at
end

-- Whether a segment of a path fits; with `values`, what the parameters take is added to it.
function M.fits(pattern, segment, values)
  local literals, count = pattern.literals, pattern.count
  local first, last = literals[1], literals[count]
  if sub(segment, 1, #first) ~= first then return false end
  local at = #first + 1
  for i = 2, count - 1 do
    local found = find_literal(segment, literals[i], at + 1)
    if not found then return false end
    if values then values[#values + 1] = sub(segment, at, found - 1) end
    at = found + #literals[i]
  end
  local stop = #segment - #last + 1
  if stop <= at or sub(segment, stop) ~= last or is_in_escape(segment, stop) then return false end
  if values then values[#values + 1] = sub(segment, at, stop - 1) end
  return true
end

-- --- targets --------------------------------------------------------------------------------------

-- A template's segments as `fill` takes values from them, and each parameter's place among the values.
local function sources_of(path)
  local sources, places, count = {}, {}, 0
  for segment in gmatch(path, "/([^/]*)") do
    local _, parameters = pieces_of(segment)
    for _, parameter in ipairs(parameters) do
      count = count + 1
      places[parameter] = count
    end
    local open = M.is_wildcard(segment)
    sources[#sources + 1] = parameters[1] and not open and compiled(segment) or { open = open }
  end
  return sources, places
end

-- A target: literal texts, and numbers for the values of the path's parameters.
function M.compile_target(path, target)
  local sources, places = sources_of(path)
  local parts = {}
  local literals, parameters = pieces_of(target)
  for i, literal in ipairs(literals) do
    parts[#parts + 1] = literal
    local parameter = parameters[i]
    local place = parameter and places[parameter]
    if parameter and not place then error("its target has a parameter that its path has not") end
    parts[#parts + 1] = place
  end
  return { sources = sources, parts = parts }
end

local function values_of(sources, path)
  local values, at = {}, 2
  for _, source in ipairs(sources) do
    if source.open then
      values[#values + 1] = sub(path, at)
      break
    end
    local stop = find(path, "/", at, true) or #path + 1
    if source.literals then M.fits(source, sub(path, at, stop - 1), values) end
    at = stop + 1
  end
  return values
end

-- The target of a path that fits the template it was compiled with.
function M.fill(target, path)
  local values = values_of(target.sources, path)
  local parts = {}
  for i, part in ipairs(target.parts) do parts[i] = values[part] or part end
  return concat(parts)
end

return M
