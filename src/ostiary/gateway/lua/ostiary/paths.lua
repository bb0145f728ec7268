-- The normal form of a call's path (RFC 3986, section 6.2.2). The gateway forwards exactly the path that was
-- decided on, byte for byte. Tests compare this module with ostiary.access.paths.normalise.

local byte, char, find, gmatch = string.byte, string.char, string.find, string.gmatch
local gsub, sub = string.gsub, string.sub
local concat, tonumber, upper = table.concat, tonumber, string.upper

local M = {}

-- Longest path, query excluded; a longer target is refused.
M.LONGEST_PATH = 4096
-- Characters that a path may contain unescaped (RFC 3986, section 3.3, without the semicolon).
local PLAIN = "^[%w_.~!$&'()*+,=:@/%%-]*$"
-- With the semicolon, which begins a matrix parameter.
local PLAIN_AND_SEMICOLON = "^[%w_.~!$&'()*+,=:@/%%;-]*$"
local UNRESERVED = "^[%w._~-]$"
-- Characters that a query may contain: visible ASCII except `#`, which ends it.
local QUERY = '^[!"$-~]*$'

local function is_control(number)
  return number < 0x20 or number == 0x7f
end

-- Different programs read these in different ways.
local function is_separator(number)
  return number == 0x2f or number == 0x3b or number == 0x5c
end

-- A `%` escape in normal form, or nil where no path may have it.
local function unescaped(hex, encoded_slashes)
  local number = tonumber(hex, 16)
  if not number or is_control(number) or is_separator(number) and not encoded_slashes then return nil end
  local letter = char(number)
  if find(letter, UNRESERVED) then return letter end
  return "%" .. upper(hex)
end

local function decoded(path, encoded_slashes)
  if not find(path, "%", 1, true) then return path end
  local bad = false
  local clean = gsub(path, "%%(..?)", function(hex)
    local text = #hex == 2 and find(hex, "^%x%x$") and unescaped(hex, encoded_slashes)
    if not text then
      bad = true
      return ""
    end
    return text
  end)
  if bad or sub(path, -1) == "%" then return nil end
  return clean
end

local function without_dots(path)
  local parts, count, last = {}, 0, ""
  for part in gmatch(path, "/([^/]*)") do
    last = part
    if part == ".." then
      if count > 0 then
        parts[count] = nil
        count = count - 1
      end
    elseif part ~= "." then
      count = count + 1
      parts[count] = part
    end
  end
  if last == "." or last == ".." then parts[count + 1] = "" end
  return "/" .. concat(parts, "/")
end

-- Whether a program that decodes slashes or drops matrix parameters would find a segment `.` or `..` in a path.
function M.has_dots(path)
  if not find(path, ".", 1, true) then return false end
  local flat = gsub(path, ";", "/")
  flat = gsub(gsub(gsub(flat, "%%2F", "/"), "%%5C", "/"), "%%3B", "/")
  return find(flat .. "/", "/%.%.?/") ~= nil
end

-- The normal form of a raw path, or nil if no call may have it. With `encoded_slashes`, escaped slashes
-- and backslashes and semicolons may stand within a segment, as they are.
function M.normal(path, encoded_slashes)
  if #path > M.LONGEST_PATH or byte(path) ~= 0x2f then return nil end
  local plain = encoded_slashes and PLAIN_AND_SEMICOLON or PLAIN
  if not find(path, plain) or find(path, "//", 1, true) then return nil end
  local clean = decoded(path, encoded_slashes)
  clean = clean and without_dots(clean)
  if encoded_slashes and clean and M.has_dots(clean) then return nil end
  return clean
end

-- Path in normal form and query (with its `?`, or empty) of a request target; nil: refused.
function M.split(target, encoded_slashes)
  local mark = find(target, "?", 1, true)
  if not mark then return M.normal(target, encoded_slashes), "" end
  local query = sub(target, mark)
  if not find(query, QUERY) then return nil end
  return M.normal(sub(target, 1, mark - 1), encoded_slashes), query
end

return M
