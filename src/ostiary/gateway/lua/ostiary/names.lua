-- Names of headers of a refused call, for its line in the log: an owner finds the culprit by them. Values
-- are never told.

local concat, find, gmatch, gsub, match, sub = table.concat, string.find, string.gmatch, string.gsub, string.match,
  string.sub
local pcall, time = pcall, ngx.time

local M = {}

-- Names that are told, letters of the longest that is told whole, and of a longer one; calls a second of a
-- worker that are looked at: reading the head again costs ten times what refusing does.
local MOST, LONGEST, SHOWN, A_SECOND = 10, 40, 8, 50
local second, looked = 0, 0

local function may_look()
  local now = time()
  if now ~= second then second, looked = now, 0 end
  looked = looked + 1
  return looked <= A_SECOND
end

-- A long one may be a credential that stands in the wrong place: its beginning is enough.
local function told(name)
  if #name > LONGEST then name = sub(name, 1, SHOWN) .. "..." end
  return (gsub(name, "[^ -~]", "?"))
end

-- Those that nginx drops: it takes names of letters, digits and hyphens alone. Nil: none, or HTTP/2, whose
-- head nginx does not keep.
function M.dropped()
  if not may_look() then return nil end
  local ok, head = pcall(ngx.req.raw_header, true)
  if not ok or not head then return nil end
  local names, known = {}, {}
  for line in gmatch(head, "[^\r\n]+") do
    local name = match(line, "^([^:]+):")
    if name and find(name, "[^%w-]") and not known[name] and #names < MOST then
      known[name] = true
      names[#names + 1] = told(name)
    end
  end
  return names[1] and concat(names, ", ") or nil
end

return M
