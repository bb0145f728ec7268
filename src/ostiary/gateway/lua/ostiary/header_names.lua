-- Header names of a refused call for its log line, so that an owner can find the wrong header. Values are
-- never logged.

local concat, find, gmatch, gsub, match, sub = table.concat, string.find, string.gmatch, string.gsub, string.match,
  string.sub
local pcall, time = pcall, ngx.time

local M = {}

-- The most names in a line; the longest name that is logged whole, and the letters kept of a longer one; the
-- calls a second for which a worker does this: to read the head again costs ten times what a refusal does.
local MOST, LONGEST, SHOWN, A_SECOND = 10, 40, 8, 50
local second, looked = 0, 0

local function may_look()
  local now = time()
  if now ~= second then second, looked = now, 0 end
  looked = looked + 1
  return looked <= A_SECOND
end

-- A long name may be a credential in the wrong place, so only its beginning is logged.
local function shown(name)
  if #name > LONGEST then name = sub(name, 1, SHOWN) .. "..." end
  return (gsub(name, "[^ -~]", "?"))
end

-- The names that nginx drops: it accepts only letters, digits and hyphens. Nil: none, or HTTP/2, for which nginx
-- does not keep the head.
function M.dropped()
  if not may_look() then return nil end
  local ok, head = pcall(ngx.req.raw_header, true)
  if not ok or not head then return nil end
  local names, known = {}, {}
  for line in gmatch(head, "[^\r\n]+") do
    local name = match(line, "^([^:]+):")
    if name and find(name, "[^%w-]") and not known[name] and #names < MOST then
      known[name] = true
      names[#names + 1] = shown(name)
    end
  end
  return names[1] and concat(names, ", ") or nil
end

return M
