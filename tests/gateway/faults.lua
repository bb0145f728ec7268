-- Faults on purpose, for tests alone: each function of the gateway's modules, the local ones too, and
-- each of nginx's that they use, fails when the test says so.
--
-- `install` puts a wrapper around each. What fails now, and how, is a text in a dictionary of the test's.

local faults = ngx.shared.faults
local get, sleep = faults.get, ngx.sleep

local M = {}

local names, wrapped = {}, {}

local function failing(name, f)
  names[#names + 1] = name
  local wrapper = function(...)
    local on = get(faults, "on")
    if on == name then
      local how = get(faults, "how")
      if how == "error" then error("a fault on purpose") end
      if how == "nil" then return nil end
      if how == "late" then
        -- Where nothing may wait, that is an error.
        sleep(0.02)
        return nil, "timeout"
      end
    end
    return f(...)
  end
  wrapped[f], wrapped[wrapper] = wrapper, wrapper
  return wrapper
end

local function is_ours(f)
  return type(f) == "function" and debug.getinfo(f, "S").source:find("/lua/ostiary/", 1, true) ~= nil
end

local seen = {}

-- Wrap the local functions that a function calls, and theirs.
local function wrap_locals(module, f)
  if seen[f] then return end
  seen[f] = true
  local i = 1
  while true do
    local name, value = debug.getupvalue(f, i)
    if not name then break end
    if wrapped[value] then
      debug.setupvalue(f, i, wrapped[value])
    elseif is_ours(value) then
      wrap_locals(module, value)
      debug.setupvalue(f, i, failing(module .. ":" .. name, value))
    end
    i = i + 1
  end
end

local function wrap_module(name)
  local module = require("ostiary." .. name)
  for _, value in pairs(module) do
    if is_ours(value) and not wrapped[value] then wrap_locals(name, value) end
  end
  for key, value in pairs(module) do
    if is_ours(value) then module[key] = wrapped[value] or failing(name .. "." .. key, value) end
  end
end

-- Methods of shared dictionaries, each dictionary by its own name.
local function wrap_dictionaries()
  local by = {}
  for name, dictionary in pairs(ngx.shared) do by[dictionary] = name end
  local methods = getmetatable(ngx.shared.state).__index
  for _, method in ipairs({ "get", "set", "safe_set", "add", "safe_add", "incr", "delete" }) do
    local f = methods[method]
    for _, name in pairs(by) do
      if name ~= "faults" then names[#names + 1] = "shared." .. name .. ":" .. method end
    end
    methods[method] = function(self, ...)
      local name = by[self]
      if name ~= "faults" and get(faults, "on") == "shared." .. tostring(name) .. ":" .. method then
        if get(faults, "how") == "error" then error("a fault on purpose") end
        return nil, "no memory"
      end
      return f(self, ...)
    end
  end
end

function M.install(modules)
  for _, name in ipairs(modules) do wrap_module(name) end
  wrap_dictionaries()
end

-- What the modules take of nginx when they are loaded: before they are.
function M.before()
  for _, at in ipairs({
    { "time", ngx }, { "now", ngx }, { "exit", ngx }, { "exec", ngx }, { "print", ngx },
    { "find", ngx.re }, { "get_method", ngx.req }, { "get_headers", ngx.req }, { "set_header", ngx.req },
    { "clear_header", ngx.req }, { "tcp", ngx.socket }, { "decode_base64", ngx },
  }) do
    at[2][at[1]] = failing("ngx:" .. at[1], at[2][at[1]])
  end
end

function M.handle()
  local on, how = ngx.var.arg_on, ngx.var.arg_how
  if on then
    faults:set("on", ngx.unescape_uri(on))
    faults:set("how", how)
    return ngx.say("set")
  end
  for _, name in ipairs(names) do ngx.say(name) end
end

return M
