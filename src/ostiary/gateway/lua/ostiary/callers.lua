-- The caller's address: the connection's peer, or the address that a trusted proxy reports. X-Forwarded-For is
-- read from the right, as far as the addresses are trusted; a call with an invalid entry is refused.

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
-- Whether a call's address may differ from its peer's.
M.any = false
-- Whether connections begin with a line of the PROXY protocol.
local lines = false

-- Peer → X-Forwarded-For → the caller's address; false: the peer is the caller. Then the most entries, and the
-- longest header that is remembered.
local remembered, remembered_count = {}, 0
local MOST_REMEMBERED, LONGEST_REMEMBERED = 10000, 200

local function forget()
  remembered, remembered_count = {}, 0
end

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

-- The bytes of an address, or nil for any other text. IPv4 in IPv6 becomes IPv4.
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

-- An address in its normal spelling.
local function spelled(numbers)
  for i = 1, #numbers do bytes[i - 1] = numbers[i] end
  return ffi.string(C.inet_ntop(#numbers == 4 and AF_INET or AF_INET6, bytes, buffer, 46))
end

-- The same for the bytes of a socket's address. IPv4 in IPv6 becomes IPv4.
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
  forget()
  M.any = lines or networks[1] ~= nil
end

-- Connections of this gateway's listener begin with a line of the PROXY protocol, or do not.
function M.read_lines(on)
  lines = on
  forget()
  M.any = on or trusted[1] ~= nil
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

-- The entries of X-Forwarded-For; empty ones are skipped (RFC 9110, section 5.6.1.2).
local function hops_of(values)
  local hops = {}
  if type(values) ~= "table" then values = { values } end
  for _, value in ipairs(values) do
    for hop in gmatch(value .. ",", "([^,]*),") do
      hop = #hop > LONGEST_HOP and "?" or match(hop, "^[ \t]*(.-)[ \t]*$")
      if hop ~= "" then hops[#hops + 1] = hop end
    end
  end
  return hops
end

-- An entry without brackets around its address and without the port after it.
local function bare(hop)
  local inner, rest = match(hop, "^%[([^%[%]]*)%](.*)$")
  if inner then
    if not find(inner, ":", 1, true) or not (rest == "" or find(rest, "^:%d%d?%d?%d?%d?$")) then return nil end
    return inner
  end
  return match(hop, "^([%d.]+):%d%d?%d?%d?%d?$") or hop
end

-- The bytes of an entry's address, or nil if the entry is not an address.
local function parsed_hop(hop)
  hop = bare(hop)
  if not hop or find(hop, "[^%x:.]") then return nil end
  return parsed(hop)
end

-- A proxy's report in a form for the log: without characters that could split a line.
local function shown(text)
  return sub(gsub(text, "[^%w.:,%[%]]", "_"), 1, 400)
end

-- The address that a trusted peer's hops lead to, and the hops for the log. If an entry is not an address:
-- nil, the hops, and that entry.
local function walk(peer, hops)
  local said = shown(concat(hops, ","))
  local address = peer
  for i = #hops, 1, -1 do
    local numbers = #hops <= MOST_HOPS and parsed_hop(hops[i]) or nil
    if not numbers then return nil, said, #hops > MOST_HOPS and "more than 64 entries" or shown(hops[i]) end
    address = spelled(numbers)
    if not is_trusted(numbers) then break end
  end
  return address, said
end

-- The caller's address, and the header for the log if a trusted proxy sent one. If an entry is invalid: nil,
-- the header, and the reason.
local function by_header(peer)
  local numbers = parsed(peer)
  if not numbers or not is_trusted(numbers) then return peer end
  local values = ngx.req.get_headers(100)["x-forwarded-for"]
  if not values then return peer end
  local hops = hops_of(values)
  if not hops[1] then return peer end
  return walk(peer, hops)
end

-- The same for a connection that began with a PROXY protocol line. A line without an address (a proxy's own
-- call) changes nothing; one with an address is accepted from trusted proxies only.
local function by_line(peer, line)
  if line == "" then return by_header(peer) end
  local numbers = parsed(peer)
  if not numbers or not is_trusted(numbers) then return nil, nil, "line" end
  numbers = parsed(line)
  if not numbers then return nil, nil, shown(line) end
  return by_header(spelled(numbers))
end

-- Returns the caller's address; X-Forwarded-For, if it was used; the entry that is not an address (then the
-- first result is nil; "line" means a PROXY protocol line of an untrusted peer); and the address in that line.
function M.address(peer)
  peer = unmapped(peer)
  if not M.any then return peer end
  if not lines then return by_header(peer) end
  local line = ngx.var.proxy_protocol_addr or ""
  local address, said, unread = by_line(peer, line)
  return address, said, unread, line ~= "" and shown(line) or nil
end

-- The result of `address` for a peer and its X-Forwarded-For in one line; false: the peer is the caller.
-- Nil: use `address`, which takes longer or returns more.
function M.quick(peer, said)
  said = said or ""
  local by = remembered[peer]
  local known = by and by[said]
  if known ~= nil then return known end
  if lines or #said > LONGEST_REMEMBERED then return nil end
  local numbers = parsed(peer)
  local hops = numbers and is_trusted(numbers) and hops_of(said) or {}
  local address = unmapped(peer)
  if hops[1] then address = walk(address, hops) end
  if not address then return nil end
  if remembered_count >= MOST_REMEMBERED then forget() end
  remembered_count = remembered_count + 1
  by = remembered[peer] or {}
  remembered[peer] = by
  by[said] = address ~= unmapped(peer) and address
  return by[said]
end

-- The key under which ceilings count an address: IPv6 by its /64, since one caller usually has a whole /64.
function M.group(address)
  if not find(address, ":", 1, true) then return address end
  local numbers = parsed(address)
  if not numbers or #numbers == 4 then return address end
  return string.format("%x:%x:%x:%x", numbers[1] * 256 + numbers[2], numbers[3] * 256 + numbers[4],
    numbers[5] * 256 + numbers[6], numbers[7] * 256 + numbers[8])
end

return M
