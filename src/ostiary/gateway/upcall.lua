-- What happens off the fast path, and HAProxy's own rules cannot say. Knows no rule of access.
-- HAProxy 2.6 passes no arguments to a file loaded per thread, so three values are written in.

local SOCKET, MOST, TIMEOUT = "@socket@", @most@, @timeout@
local MALFORMED, UNPARSABLE = @malformed@, @unparsable@
local waiting = 0

-- lua.upcall: ask the authority about a call that has no lease. The request is one line per field,
-- the answer one letter and numbers (ostiary.authority.answers).

local NAMES = {
  A = { "bound", "profile", "client", "seq", "exp", "rate_limit", "rate_interval",
        "quota_limit", "quota_start", "quota_base", "quota_end", "credential", "policy",
        "method", "would", "watched", "endpoint", "collection", "limited", "serial",
        "rate_used" },
  D = { "bound", "profile", "seq", "exp", "code", "trace" },
}

local function ask(txn)
  local body = table.concat({
    txn:get_var("txn.form"), txn:get_var("txn.scope"), txn:get_var("txn.ip"),
    txn:get_var("txn.raw") or txn:get_var("txn.k"),
  }, "\n")
  local headers = { ["content-type"] = { "text/plain" } }
  -- The caller's trace (W3C Trace Context), so that the decision is seen in it.
  local trace = txn.sf:req_fhdr("traceparent")
  if string.find(trace, "^%x%x%-%x+%-%x+%-%x%x$") and #trace == 55 then
    headers["traceparent"] = { trace }
  end
  return core.httpclient():post({
    url = "http://authority/decide", dst = "unix@" .. SOCKET,
    headers = headers, body = body, timeout = TIMEOUT,
  })
end

core.register_action("upcall", { "http-req" }, function(txn)
  if waiting >= MOST then return end
  waiting = waiting + 1
  local ok, answer = pcall(ask, txn)
  waiting = waiting - 1
  if not ok or not answer or answer.status ~= 200 or not answer.body then return end
  local words = {}
  for word in string.gmatch(answer.body, "%S+") do words[#words + 1] = word end
  local names = NAMES[words[1]]
  if not names or #words ~= #names + 1 then return end
  for i, name in ipairs(names) do
    local number = math.tointeger(tonumber(words[i + 1]))
    if not number then return end
    txn:set_var("txn.a_" .. name, number)
  end
  txn:set_var("txn.a_ok", words[1])
end, 0)

-- lua.normal: bring a path that is not in normal form into it, or refuse it; the same as
-- ostiary.access.paths.normalise, and tested to be. What is decided on is what is forwarded.

local PLAIN = "^[%w_.~!$&'()*+,=:@/%%-]*$"
local UNRESERVED = "^[%w._~-]$"

local function decoded(hex)
  local number = tonumber(hex, 16)
  local char = string.char(number)
  if number < 0x20 or number == 0x7f or char == "/" or char == ";" or char == "\\" then
    error("refused")
  end
  return string.find(char, UNRESERVED) and char or "%" .. string.upper(hex)
end

local function normalised(path)
  if not string.find(path, PLAIN) or string.find(path, "//", 1, true) then return nil end
  local bare = string.gsub(path, "%%%x%x", "")
  if string.find(bare, "%", 1, true) then return nil end
  local ok, clean = pcall(string.gsub, path, "%%(%x%x)", decoded)
  if not ok then return nil end
  local kept, last = {}, ""
  for part in string.gmatch(clean, "/([^/]*)") do
    last = part
    if part == ".." then kept[#kept] = nil
    elseif part ~= "." then kept[#kept + 1] = part end
  end
  if last == "." or last == ".." then kept[#kept + 1] = "" end
  return "/" .. table.concat(kept, "/")
end

core.register_action("normal", { "http-req" }, function(txn)
  local path = txn.f:path()
  local clean = path and normalised(path)
  if not clean then
    txn:set_var("txn.code", MALFORMED)
    -- No route has this, whatever is looked up below.
    txn:set_var("txn.p", "/{")
    return
  end
  if clean ~= path then txn.http:req_set_path(clean) end
  -- As ostiary.gateway.routing.marked.
  if string.sub(clean, -1) == "/" then clean = "{" .. string.sub(clean, 1, -2) end
  txn:set_var("txn.p", clean)
end, 0)

-- lua.caller: behind a trusted proxy, who really calls. From the right of X-Forwarded-For as far as
-- the addresses are trusted; one that is no address is refused, never skipped.

local trusted

core.register_init(function() trusted = Map.new("trusted.map", Map._ip) end)

local function an_address(text)
  if string.find(text, "[^%x:.]") then return false end
  for part in string.gmatch(string.find(text, ":") and "" or text, "[^.]+") do
    if #part > 1 and string.sub(part, 1, 1) == "0" then return false end
  end
  return core.parse_addr(text) ~= nil
end

core.register_action("caller", { "http-req" }, function(txn)
  local hops = {}
  local lines = txn.http:req_get_headers()["x-forwarded-for"] or {}
  for i = 0, #lines do
    for hop in string.gmatch((lines[i] or "") .. ",", "%s*([^,]-)%s*,") do hops[#hops + 1] = hop end
  end
  -- For the owner who asks why: who was connected, and what was said of the caller.
  txn:set_var("txn.peer", txn.f:src())
  txn:set_var("txn.forwarded", string.sub(string.gsub(table.concat(hops, ","), "[^%w.:,]", "_"), 1, 400))
  local found
  for i = #hops, 1, -1 do
    if not an_address(hops[i]) then
      txn:set_var("txn.code", UNPARSABLE)
      return
    end
    found = hops[i]
    if not trusted:lookup(found) then break end
  end
  if found then txn:set_var("txn.caller", found) end
end, 0)

-- lua.hop: what the caller says of this one connection (RFC 9110, sections 7.6.1, 7.8). A WebSocket
-- may be asked for. Nothing else: another protocol would carry calls that nobody decides on, and
-- headers that are named here would be dropped by the next hop.

core.register_action("hop", { "http-req" }, function(txn)
  local headers = txn.http:req_get_headers()
  local asked = headers["upgrade"] or {}
  txn.http:req_del_header("connection")
  txn.http:req_del_header("upgrade")
  txn.http:req_del_header("http2-settings")
  if asked[1] == nil and string.lower(asked[0] or "") == "websocket" then
    txn.http:req_add_header("connection", "upgrade")
    txn.http:req_add_header("upgrade", "websocket")
  end
end, 0)

-- lua.add_header: a credential for the upstream in a header whose name no rule of ours knows.

core.register_action("add_header", { "http-req" }, function(txn)
  local name, value = string.match(txn:get_var("txn.added") or "", "^([%w-]+): (.*)$")
  if name then txn.http:req_set_header(name, value) end
end, 0)
