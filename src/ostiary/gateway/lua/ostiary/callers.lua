-- Who calls: the peer of the connection, or, where the owner trusts proxies, what they say of it. From
-- the right of X-Forwarded-For as far as the addresses are trusted; one that does not read is refused.

local ffi = require "ffi"

local C = ffi.C
local band, lshift, rshift = bit.band, bit.lshift, bit.rshift
local concat, find, gmatch, gsub = table.concat, string.find, string.gmatch, string.gsub
local match, sub = string.match, string.sub

ffi.cdef [[
int inet_pton(int family, const char *text, void *address);
const char *inet_ntop(int family, const void *address, char *text, unsigned int size);
]]

local M = {}

local AF_INET, AF_INET6 = 2, 10
local MOST_HOPS = 64
-- Longer than an address with blanks around it.
local LONGEST_HOP = 100
local bytes, buffer = ffi.new("unsigned char[16]"), ffi.new("char[46]")

-- Networks of trusted proxies: { bytes = 4 or 16 numbers, prefix = bits }
local trusted = {}
M.any = false

local function unmapped(text)
  return match(text, "^::ffff:(%d+%.%d+%.%d+%.%d+)$") or text
end
M.unmapped = unmapped

-- Whether `bytes` are an IPv4 address in IPv6, however it is spelled (RFC 4291, section 2.5.5.2).
local function is_mapped()
  for i = 0, 9 do
    if bytes[i] ~= 0 then return false end
  end
  return bytes[10] == 0xff and bytes[11] == 0xff
end

-- The bytes of an address; IPv4 in IPv6 is IPv4. Nil for what is none.
local function parsed(text)
  text = unmapped(text)
  local family = find(text, ":", 1, true) and AF_INET6 or AF_INET
  if C.inet_pton(family, text, bytes) ~= 1 then return nil end
  local from, to = 0, family == AF_INET and 3 or 15
  if family == AF_INET6 and is_mapped() then from = 12 end
  local numbers = {}
  for i = from, to do numbers[i - from + 1] = bytes[i] end
  return numbers
end

-- The one spelling of an address.
local function spelled(numbers)
  for i = 1, #numbers do bytes[i - 1] = numbers[i] end
  return ffi.string(C.inet_ntop(#numbers == 4 and AF_INET or AF_INET6, bytes, buffer, 46))
end

-- The same of bytes as they stand in a socket's address; IPv4 in IPv6 is IPv4.
function M.spelled(address, length)
  return unmapped(ffi.string(C.inet_ntop(length == 4 and AF_INET or AF_INET6, address, buffer, 46)))
end

local function network(text)
  local host, prefix = match(text, "^([^/]+)/(%d+)$")
  local numbers = parsed(host or text)
  if not numbers then return nil end
  return { numbers = numbers, prefix = tonumber(prefix) or #numbers * 8 }
end

-- Replace the list of trusted proxies.
function M.trust(list)
  local networks = {}
  for _, text in ipairs(list) do networks[#networks + 1] = network(text) end
  trusted = networks
  M.any = networks[1] ~= nil
end

local function holds(net, numbers)
  if #net.numbers ~= #numbers then return false end
  local whole, rest = rshift(net.prefix, 3), band(net.prefix, 7)
  for i = 1, whole do
    if net.numbers[i] ~= numbers[i] then return false end
  end
  if rest == 0 then return true end
  local mask = band(lshift(0xff, 8 - rest), 0xff)
  return band(net.numbers[whole + 1], mask) == band(numbers[whole + 1], mask)
end

local function is_trusted(numbers)
  for _, net in ipairs(trusted) do
    if holds(net, numbers) then return true end
  end
  return false
end

-- Whether a connection is one of a trusted proxy: it speaks for many.
function M.is_trusted_peer(address)
  local numbers = M.any and parsed(address)
  return numbers and is_trusted(numbers) or false
end

local function hops_of(values)
  local hops = {}
  if type(values) ~= "table" then values = { values } end
  for _, value in ipairs(values) do
    for hop in gmatch(value .. ",", "([^,]*),") do
      hops[#hops + 1] = #hop > LONGEST_HOP and "?" or match(hop, "^%s*(.-)%s*$")
    end
  end
  return hops
end

-- The caller's address, and, where a proxy spoke for it, what was said; nil: it does not read.
function M.address(peer)
  peer = unmapped(peer)
  local numbers = M.any and parsed(peer)
  if not numbers or not is_trusted(numbers) then return peer end
  local values = ngx.req.get_headers(100)["x-forwarded-for"]
  if not values then return peer end
  local hops = hops_of(values)
  local said = sub(gsub(concat(hops, ","), "[^%w.:,]", "_"), 1, 400)
  local address = peer
  for i = #hops, 1, -1 do
    numbers = #hops <= MOST_HOPS and not find(hops[i], "[^%x:.]") and parsed(hops[i]) or nil
    if not numbers then return nil, said end
    address = spelled(numbers)
    if not is_trusted(numbers) then break end
  end
  return address, said
end

-- What ceilings count an address as: IPv6 by its /64, which one caller commonly has whole.
function M.group(address)
  if not find(address, ":", 1, true) then return address end
  local numbers = parsed(address)
  if not numbers or #numbers == 4 then return address end
  return string.format("%x:%x:%x:%x", numbers[1] * 256 + numbers[2], numbers[3] * 256 + numbers[4],
    numbers[5] * 256 + numbers[6], numbers[7] * 256 + numbers[8])
end

return M
