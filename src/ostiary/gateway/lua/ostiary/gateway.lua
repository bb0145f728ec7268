-- A call's way through the gateway: normal form, route, credential, lease, limits, and the upstream last.
--
-- Calls are refused by default: until `forwarding.forward` sets `$gw_to`, it names an upstream that is down. So
-- any failure before that, such as an error or a full table, ends in a refusal.
--
-- `access` is the fast path. LuaJIT dictates its form: it must stay one trace, so it has one loop only (over
-- headers) and no Lua pattern. Calls that it cannot handle go to `slow`.

local answers = require "ostiary.answers"
local browsers = require "ostiary.browsers"
local budgets = require "ostiary.budgets"
local caching = require "ostiary.caching"
local callers = require "ostiary.callers"
local calls = require "ostiary.calls"
local contract = require "contract"
local counts = require "ostiary.counts"
local credentials = require "ostiary.credentials"
local ends = require "ostiary.ends"
local epochs = require "ostiary.epochs"
local failures = require "ostiary.failures"
local fence = require "ostiary.fence"
local paths = require "ostiary.paths"
local forwarding = require "ostiary.forwarding"
local heads = require "ostiary.heads"
local leases = require "ostiary.leases"
local limits = require "ostiary.limits"
local loops = require "ostiary.loops"
local places = require "ostiary.places"
local plan = require "ostiary.plan"
local refusals = require "ostiary.refusals"
local routes = require "ostiary.routes"
local streams = require "ostiary.streams"
local translation = require "ostiary.translation"
local upcall = require "ostiary.upcall"
local upstreams = require "ostiary.upstreams"
local usage = require "ostiary.usage"

local re_find = ngx.re.find
local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local time, var = ngx.time, ngx.var
local clear_header, get_method = ngx.req.clear_header, ngx.req.get_method
local addresses, refused, state = ngx.shared.addresses, ngx.shared.refused, ngx.shared.state

local M = {}

local codes = contract.codes
local HEADER, AUTHORIZATION = credentials.HEADER, credentials.AUTHORIZATION
local exact = routes.exact
local saw_call = heads.called
local forward, forward_for, tell_limits = forwarding.forward, forwarding.forward_for, forwarding.tell_limits

-- Matches a target in normal form, with no escape, no trailing slash, and no segment that begins with a dot.
-- The group gives the last segment, since a repeated group holds its last match. Quantifiers are possessive,
-- since no character can be matched in two ways.
local FORM = [[^(?:/([A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_.~!$&'()*+,=:@-]*+))++(?:\z|\?[!"$-~]*+\z)]]
local LONGEST = paths.LONGEST_PATH
-- Refused calls a second of one address. Above this, its unknown credentials are refused without an upcall.
local BAD_CALLS = 200
-- Open calls of a worker. Above this, the worker counts those of each address.
local BUSY = 512

local settings
local changes_seen = -1

-- --- life ---------------------------------------------------------------------------------------

local function shared_start()
  local birth = string.format("%x.%x", ngx.time(), ngx.worker.pid())
  state:safe_add("birth", birth)
  state:safe_add("started", ngx.time())
  local v = ngx.config.nginx_version
  state:set("version", math.floor(v / 1000000) .. "." .. math.floor(v / 1000) % 1000 .. "." .. v % 1000)
end

-- Runs in the master process, before the workers start.
function M.init(options)
  settings = options
  refusals.mark = options.mark
  callers.read_lines(options.proxy_protocol == true)
  loops.start(options.loop)
  shared_start()
  state:set("connections_limit", options.connections)
  epochs.init()
  if options.head_bytes then answers.init(options.head_bytes) end
  plan.init(options.objects)
end

local tallies = {
  ["1xx"] = 0, ["2xx"] = 0, ["3xx"] = 0, ["4xx"] = 0, ["5xx"] = 0, requests = 0, bytes_in = 0, bytes_out = 0,
}
local NAMES = {
  ["1xx"] = "answers_1xx", ["2xx"] = "answers_2xx",
  ["3xx"] = "answers_3xx", ["4xx"] = "answers_4xx", ["5xx"] = "answers_5xx",
  requests = "requests", bytes_in = "bytes_in", bytes_out = "bytes_out",
}

local function add_up()
  for name, amount in pairs(tallies) do
    if amount ~= 0 then
      state:incr(NAMES[name], amount, 0)
      tallies[name] = 0
    end
  end
end

local pushed_at, tidied_at = 0, 0

local function tick()
  ngx.update_time()
  local moment = ngx.now()
  state:set("tick/" .. ngx.worker.id(), ngx.worker.pid() .. " " .. moment)
  state:set("unpushed/" .. ngx.worker.id(), counts.unpushed)
  fence.look()
  limits.tick()
  streams.look()
  heads.look(streams.undo)
  if moment - pushed_at >= 1 then
    pushed_at = moment
    add_up()
    ngx.timer.at(0, counts.push)
  end
  if moment - tidied_at >= 30 and ngx.worker.id() == 0 then
    tidied_at = moment
    limits.tidy()
    counts.tidy()
  end
end

-- A worker that is shutting down counts and pushes its last calls before it exits.
local function leave()
  while calls.count > 0 do
    ngx.sleep(0.25)
    pcall(fence.look)
    pcall(streams.look)
    pcall(counts.push)
  end
  add_up()
  for _ = 1, 20 do
    if counts.push() and not counts.waiting() then return end
    ngx.sleep(0.25)
  end
end

local function on_timer(premature)
  if premature then return leave() end
  local ok, why = pcall(tick)
  if not ok then ngx.log(ngx.ERR, "tick: ", why) end
end

function M.init_worker()
  collectgarbage("setpause", 400)
  leases.forget = function()
    routes.forget_leases()
    usage.forget()
  end
  fence.init_worker(settings)
  upstreams.init_worker(settings)
  caching.init_worker(settings)
  upcall.init_worker(settings)
  if settings.shares_limits then budgets.replace(limits) end
  ends.init_worker(settings)
  plan.init_worker()
  heads.init_worker(settings)
  counts.init_worker(settings.counts_socket)
  ngx.timer.every(0.25, on_timer)
end

-- --- the slow path ------------------------------------------------------------------------------

local function refuse(call, code, details, retry)
  return refusals.refuse(call, code, details, retry)
end

local function bad_call(call)
  local key = callers.group(call.address) .. "/" .. time()
  addresses:incr(key, 1, 0, 2)
end

local function is_flooding(call)
  local group = callers.group(call.address)
  return (addresses:get(group .. "/" .. time()) or 0) > BAD_CALLS
end

-- The ids of a call's endpoint and collection; 0: none.
local function scope(call)
  return call.route and call.route.id or 0, call.collection and call.collection.id or 0
end

local function held_refusal(call)
  local key = call.key .. "/" .. call.scope
  local text = refused:get(key) or refused:get(key .. "/" .. call.address)
  local held = text and leases.read_refusal(text)
  if held and held.expires > time() and epochs.unchanged(held.sequence) then return held end
end

local function hold_refusal(call, answer, text)
  if answer.expires <= time() then return end
  local key = call.key .. "/" .. call.scope
  if answer.bound == 1 then key = key .. "/" .. call.address end
  refused:set(key, text, answer.expires - time())
end

local function refuse_as_held(call, held)
  call.profile, call.trace = held.profile, held.trace
  local code = held.code
  if code == codes.endpoint_not_found then
    call.allow = routes.allow(call.collection, call.below)
    if call.allow then code = codes.method_not_allowed end
  end
  if contract.reasons[code].is_unproved then bad_call(call) end
  return refuse(call, code)
end

local function question_of(call)
  local endpoint, collection = scope(call)
  local trace = var.http_traceparent
  if not trace or not find(trace, "^%x%x%-%x+%-%x+%-%x%x$") or #trace ~= 55 then trace = "" end
  return {
    form = call.form, endpoint = endpoint, collection = collection, usage = call.usage and 1 or 0,
    address = call.address, trace = trace, credential = call.presented,
  }
end

-- Ask the authority. Returns a lease, or nothing after the call was refused. Asks once more if a revocation
-- overtook the answer.
local function ask(call)
  local question = question_of(call)
  for _ = 1, 2 do
    local text, full = upcall.ask(question)
    if not text then return nil, refuse(call, full and codes.overloaded or codes.authority_unavailable) end
    local answer = leases.read_refusal(text)
    if answer then
      hold_refusal(call, answer, text)
      return nil, refuse_as_held(call, answer)
    end
    local lease = leases.read(text)
    local changes = epochs.changes()
    if lease and not leases.answers(lease, question) then break end
    if lease and changes and call.route and leases.holds(lease, time(), changes) then
      lease.question = question
      leases.keep(call, text, lease)
      return lease
    end
    if not lease then break end
  end
  return nil, refuse(call, codes.authority_unavailable)
end

local function find_lease(call, now, changes)
  if not call.route then return nil end
  local lease = leases.recall(call.route, call.form, call.presented, call.address)
  if lease and leases.fresh(lease, now, changes) then return lease end
  lease = leases.load(call, now, changes)
  if lease then lease.question = question_of(call) end
  return lease
end

local function identify(call)
  local native = call.form ~= nil and leases.is_native(call.presented)
  if native then
    call.key = call.presented
  else
    call.digest = credentials.sha256(call.presented)
    call.key = call.form .. ":" .. call.digest
  end
  local endpoint, collection = scope(call)
  call.scope = call.usage and usage.SCOPE or endpoint ~= 0 and "e" .. endpoint or "k" .. collection
  return native
end

-- The lease of a call that presents one credential, or nothing if the call was refused.
local function lease_for(call, changes)
  local native = identify(call)
  local lease = find_lease(call, time(), changes)
  if lease then return lease end
  if native and not credentials.marked(call.presented, settings.issue_key) then
    return nil, refuse(call, codes.malformed_credential)
  end
  local held = held_refusal(call)
  if held then return nil, refuse_as_held(call, held) end
  if not native and is_flooding(call) and not plan.is_imported(call.digest) then
    return nil, refuse(call, codes.unknown_credential)
  end
  return ask(call)
end

-- Counted open calls, by key: an address, `p` and a profile id, or `j` and a project id.
local crowd = {}

local function leave_crowd(call)
  for _, name in ipairs(call.crowds) do
    local n = crowd[name] - 1
    crowd[name] = n > 0 and n or nil
  end
  call.crowds = nil
end

-- Count an open call under a key. False: there are too many, and the call is not counted.
local function join_crowd(call, name, most)
  local n = crowd[name] or 0
  if n >= most then return false end
  crowd[name] = n + 1
  call.crowds[#call.crowds + 1] = name
  return true
end

-- Once a worker is busy, bound the open calls of one address, profile and project. A call that is counted
-- here gives its place back when it ends. Returns the code of a refusal and the name of the ceiling, or nothing.
local function too_many_open(call, lease)
  if calls.count < BUSY then return nil end
  call.crowds = {}
  if not join_crowd(call, callers.group(call.address), settings.connections_per_address) then
    return codes.overloaded, "address"
  elseif not join_crowd(call, "p" .. lease.profile, settings.connections_per_profile) then
    return codes.too_many_calls, "profile"
  elseif not join_crowd(call, "j" .. lease.project, settings.connections_per_project) then
    return codes.overloaded, "project"
  end
end

-- Count a call. False: it was refused; nil: the lease became void while the call waited for a block of a limit.
local function spend(call, lease)
  local code, more, waited = limits.spend(lease, time())
  local now = time()
  if waited and not code and not leases.fresh(lease, now, epochs.changes() or -1) then
    limits.give_back(lease)
    return nil
  end
  if code then
    if lease.told then
      ngx.header["RateLimit"] = limits.told(lease, now)
      ngx.header["RateLimit-Policy"] = lease.announced
      if lease.window then
        ngx.header["X-RateLimit-Limit"] = lease.window.limit
        ngx.header["X-RateLimit-Remaining"] = lease.rate_left or 0
        ngx.header["X-RateLimit-Reset"] = lease.window.ends - now
      end
    end
    call.lease, call.profile = lease, lease.profile
    local details = contract.reasons[code].status == 429 and limits.described(lease, code) or nil
    return false, refuse(call, code, details, more)
  end
  call.would = more
  if lease.told then tell_limits(lease, now) end
  return true
end

-- Spend a lease, and let the call go. Second result: the lease became void meanwhile, and nothing was done.
local function admit(call, lease)
  call.lease, call.is_call = lease, true
  if call.route.target then
    call.target = routes.target(call.route, call.below)
    if not call.target then return refuse(call, codes.malformed_path) end
  end
  local upstream = call.collection.upstream
  local crowded, ceiling = too_many_open(call, lease)
  if crowded then
    leave_crowd(call)
    state:incr("ceiling_" .. ceiling, 1, 0)
    return refuse(call, crowded, { ceiling = ceiling }, 1)
  end
  if lease.limited then
    local ok, answer = spend(call, lease)
    if ok == nil then
      if call.crowds then leave_crowd(call) end
      return nil, true
    end
    if not ok then return answer end
  end
  if not upstream or upstream.missing then return refuse(call, codes.upstream_missing) end
  return forwarding.forward_any(call, lease, upstream)
end

local function is_oauth(path)
  return sub(path, 1, 8) == "/oauth2/" or path == "/.well-known/oauth-authorization-server"
    or path == "/.well-known/openid-configuration"
end

local function forward_oauth(call)
  if is_flooding(call) then return refuse(call, codes.overloaded) end
  forwarding.strip(call)
  call.is_call, call.is_oauth, call.route, call.upstream = true, true, {}, upstreams.oauth
  calls.begin(call)
  ngx.req.set_header("X-Ostiary-Address", call.address)
  var.gw_authorization, var.gw_api_token = var.http_authorization, var.http_api_token
  var.gw_host = var.http_host or "localhost"
  var.gw_to = upstreams.oauth.start .. call.path .. call.query
  return ngx.exec("@any")
end

local function new_call(uri)
  local peer = var.remote_addr
  return {
    is_call = true, method = get_method(), shown_path = match(uri, "^[^?]*"), peer = peer,
    http2 = var.http2 ~= "", address = callers.unmapped(peer), flags = 0,
  }
end

local function locate(call)
  call.collection, call.below = routes.collection_of(call.path)
  call.route = routes.find(call.collection, call.method, call.below)
  call.page = browsers.allowed(call.collection)
  if not call.collection and call.path == usage.PATH then call.usage, call.route = true, usage.route end
end

-- The caller, as far as the headers name it. False: the call was refused.
local function read_caller(call)
  local address, said, unread, line = callers.address(call.peer)
  call.said, call.line = said, line
  if not address then return false, refuse(call, codes.address_unparsable, { unread = unread }) end
  call.address = address
  if address ~= call.peer then var.gw_caller = address end
  return true
end

-- Credentials that a call carries elsewhere than in a header of its own. They are taken out of it.
local function look_beyond(call, allowed, carriers)
  local values, query = places.in_query(allowed, call.query)
  for i = 1, #values do carriers[i] = "a query parameter" end
  if values[1] then
    call.query = query
    places.hide_query()
  end
  local header = ngx.req.get_headers(credentials.MOST_HEADERS)["sec-websocket-protocol"]
  local offered, others, marker = places.in_subprotocols(allowed, header)
  if offered[1] then
    ngx.req.set_header("Sec-WebSocket-Protocol", others)
    call.subprotocol = marker
    for _, value in ipairs(offered) do
      values[#values + 1] = value
      carriers[#carriers + 1] = "Sec-WebSocket-Protocol"
    end
  end
  return values
end

-- The form and the credential that a call presents, or nothing and the reason of the refusal.
local function presented_by(call, count, value, where)
  local allowed = places.of(call.collection)
  local left = call.collection and call.collection.leave
  local carriers = {}
  if allowed and allowed.beyond then
    local values = look_beyond(call, allowed, carriers)
    if values[1] then count, value, where = count + #values, values[1], credentials.ELSEWHERE end
  end
  if type(where) == "string" then call.named = where end
  call.credentials = count
  if count > 1 then
    for _, name in ipairs(credentials.carriers(allowed, left)) do carriers[#carriers + 1] = name end
    call.details = { carried = table.concat(carriers, ", ", 1, math.min(#carriers, 10)) }
  end
  return credentials.read(count, value, where, allowed, left)
end

local function slow(uri, changes)
  saw_call()
  local call = new_call(uri)
  local path, query = paths.split(uri)
  if not path then path, query = routes.split_encoded(uri) end
  call.path, call.query = path, query
  if not path then
    call.page = browsers.allowed(routes.collection_of(match(uri, "^/[^/?#]*") or ""))
  elseif not is_oauth(path) then
    locate(call)
  end
  local collection = call.collection
  local count, value, where, flags = credentials.walk(places.of(collection), collection and collection.leave)
  local ok, answer = read_caller(call)
  if not ok then return answer end
  if not count then return refuse(call, codes.malformed_request) end
  call.flags, call.credentials = flags, count
  if not path then return refuse(call, codes.malformed_path) end
  if bit.band(flags, credentials.LOOP) ~= 0 and loops.passed() then return refuse(call, codes.loop_detected) end
  if is_oauth(path) then return forward_oauth(call) end
  if call.page and browsers.is_preflight() then
    calls.begin(call)
    return browsers.preflight(call.page)
  end
  local presented, credential = presented_by(call, count, value, where)
  if not presented then return refuse(call, credential) end
  if #credential > contract.longest_credential then
    return refuse(call, codes.credential_too_long, { length = "" .. #credential })
  end
  call.form, call.presented = presented, credential
  for _ = 1, 2 do
    local lease
    lease, answer = lease_for(call, changes)
    if not lease then return answer end
    if call.usage then return usage.answer(call, lease) end
    local void
    answer, void = admit(call, lease)
    if not void then return answer end
    changes = epochs.changes()
  end
  return refuse(call, codes.authority_unavailable)
end

-- --- the fast path ------------------------------------------------------------------------------

-- The credential of a call, if it is a token in a form that needs no further check.
local function quick(count, value, where, flags)
  if count ~= 1 or flags ~= 0 then return nil end
  if where == HEADER then return value end
  if where ~= AUTHORIZATION then return value end
  if #value < 8 or byte(value, 7) ~= 0x20 then return nil end
  local scheme = sub(value, 1, 7)
  if scheme ~= "Bearer " and scheme ~= "bearer " then return nil end
  return sub(value, 8)
end

local function decide()
  local uri = var.request_uri
  local changes = epochs.changes()
  if not changes then return ngx.exit(503) end
  if changes ~= changes_seen then
    plan.follow()
    changes_seen = changes
  end
  if #uri > LONGEST or calls.count >= BUSY then return slow(uri, changes) end
  local first, last = re_find(uri, FORM, "jo", nil, 1)
  local by_path = exact[get_method()]
  if not first or not by_path then return slow(uri, changes) end
  local route = by_path[sub(uri, 1, last)] or by_path[sub(uri, 1, first - 1)]
  if not route or not route.simple then return slow(uri, changes) end
  local collection = route.collection
  local upstream = collection.upstream
  if not upstream or not upstream.simple or not collection.simple then return slow(uri, changes) end
  local allowed = collection.places or places.default
  if allowed and allowed.beyond then return slow(uri, changes) end
  local count, value, where, flags = credentials.walk(allowed)
  local presented = count and quick(count, value, where, flags)
  if not presented then return slow(uri, changes) end
  local caller = false
  if callers.any then
    caller = callers.quick(var.remote_addr, var.http_x_forwarded_for)
    if caller == nil then return slow(uri, changes) end
  end
  local by = route.leases
  if where ~= HEADER then by = route.bearers end
  local lease = by and by[presented]
  local now = time()
  if not lease or not lease.profile or not leases.fresh(lease, now, changes) then return slow(uri, changes) end
  if lease.limited then
    if lease.windows or lease.report_only == 1 then return slow(uri, changes) end
    local code = limits.quick(lease, now)
    if code then
      -- This counted nothing. The slow path below refuses the call again and gives the reason.
      return slow(uri, changes)
    end
    if lease.told then tell_limits(lease, now) end
  end
  local to = upstream.to .. sub(uri, route.skip)
  -- The name of a header that an owner added as a place: do not forward it.
  if where ~= HEADER and where ~= AUTHORIZATION then clear_header(where) end
  saw_call()
  if caller then
    -- The proxy's own id of the call goes into its line.
    local call = {
      is_call = true, is_quick = not var.http_x_request_id, proxied = true, lease = lease, route = route, flags = 0,
      address = caller,
    }
    forward_for(call, upstream, to)
    return ngx.exec("@any")
  end
  if upstream.several then
    calls.begin({ is_call = true, is_quick = true, lease = lease, route = route, flags = 0 })
  else
    calls.begin(lease)
  end
  return forward(lease, upstream, collection.host_lines, to)
end

-- The access phase of every call. An error in it is nginx's 500, and nothing is forwarded.
M.access = decide
M.failed, M.malformed = failures.failed, failures.malformed

-- The head of an answer that an upstream may have given, before it is sent.
function M.head()
  answers.join()
  translation.translate()
end

-- The same for an answer that may be cached.
function M.head_of_kept()
  caching.began()
  return M.head()
end

-- The same for an answer over HTTP/2, whose body comes in frames and cannot be joined. nginx reports length 0
-- for an answer without one, also for an answer to HEAD. It accepts a head without a status.
function M.head_of_http2()
  if ngx.status < 100 then ngx.status = 502 end
  if get_method() == "HEAD" then ngx.header["Content-Length"] = var.upstream_http_content_length end
  translation.translate()
end

-- --- the end of a call --------------------------------------------------------------------------------

-- The log phase of every call, refused and broken ones too.
function M.log()
  local call, key = calls.finish()
  if call == nil then return end
  streams.ended(key)
  if call.is_call and call.crowds then leave_crowd(call) end
  if call.is_call and call.open_bytes then caching.ended(call) end
  if call.is_call and call.server then upstreams.ended(call) end
  local status = call.is_call and call.http_status or ngx.status
  if call.is_oauth and status == 401 then bad_call(call) end
  return ends.finish(call, status, tallies)
end

return M
