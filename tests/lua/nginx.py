"""The gateway's Lua modules in LuaJIT without nginx, for tests.

`Machine` is what workers share: the clock and the dictionaries. `Worker` is one worker's LuaJIT. What
stands in for nginx's API is the part of it that the modules use, as the lua-nginx-module documents it:

- `ngx.shared.DICT`: `get`, `set`, `safe_set`, `add`, `safe_add`, `incr`, `delete`, `get_keys`,
  `flush_expired`, `capacity`, `free_space`, with times to live, "exists", "not found" and "no memory";
  `set`, `add` and `incr` evict what was used least recently, and say so by their third answer. What
  nginx measures in bytes is entries here, and what has expired makes room at once.
- `ngx.time`, `ngx.now`: the machine's clock. `ngx.log`: a list. `ngx.decode_base64`, `ngx.md5`,
  `ngx.worker`; `ngx.var`, `ngx.header` and `ngx.req` from what a test sets.
- `cjson.safe`, and as much of `resty.core` and `ngx.balancer` as has to be there to load a module.
"""

import base64
import binascii
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib.resources import files as resources
from typing import Any

from lupa.luajit21 import LuaRuntime

from ostiary.gateway import contract

#: Folder with the modules of the gateway.
LUA = resources("ostiary.gateway") / "lua"

Value = str | int | float | bool


class SharedDictionary:
    """One `lua_shared_dict`; `room`: entries that fit."""

    def __init__(self, clock: Callable[[], float], room: int = 1_000_000) -> None:
        self._clock = clock
        self.room = room
        #: Key → value and when it expires (0: never), least recently used first.
        self._entries: OrderedDict[str, tuple[Value, float]] = OrderedDict()

    def _live(self, key: str) -> Value | None:
        entry = self._entries.get(key)
        if entry is None or 0 < entry[1] <= self._clock():
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def _ends(self, seconds: float | None) -> float:
        if seconds is not None and seconds < 0:
            raise ValueError('bad "exptime" argument')
        return self._clock() + seconds if seconds else 0

    def _drop_expired(self) -> int:
        now = self._clock()
        gone = [key for key, (_, ends) in self._entries.items() if 0 < ends <= now]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def _store(
        self, key: str, value: Value, seconds: float | None, *, evict: bool
    ) -> tuple[Any, ...]:
        ends = self._ends(seconds)
        forced = False
        if key not in self._entries:
            self._drop_expired()
            while len(self._entries) >= self.room:
                if not evict or not self._entries:
                    return False, "no memory", False
                self._entries.popitem(last=False)
                forced = True
        self._entries[key] = (value, ends)
        self._entries.move_to_end(key)
        return True, None, forced

    def get(self, key: str) -> Value | None:
        return self._live(key)

    def set(self, key: str, value: Value | None, seconds: float | None = None) -> tuple[Any, ...]:
        if value is None:
            return self.delete(key)
        return self._store(key, value, seconds, evict=True)

    def safe_set(self, key: str, value: Value, seconds: float | None = None) -> tuple[Any, ...]:
        return self._store(key, value, seconds, evict=False)

    def add(self, key: str, value: Value, seconds: float | None = None) -> tuple[Any, ...]:
        if self._live(key) is not None:
            return False, "exists", False
        return self._store(key, value, seconds, evict=True)

    def safe_add(self, key: str, value: Value, seconds: float | None = None) -> tuple[Any, ...]:
        if self._live(key) is not None:
            return False, "exists", False
        return self._store(key, value, seconds, evict=False)

    def incr(
        self, key: str, by: float, first: float | None = None, seconds: float | None = None
    ) -> tuple[Any, ...]:
        old = self._live(key)
        if old is None:
            if first is None:
                return None, "not found"
            done = self._store(key, first + by, seconds, evict=True)
            return (first + by, None, done[2]) if done[0] else (None, *done[1:])
        if isinstance(old, str | bool):
            return None, "not a number"
        self._entries[key] = (old + by, self._entries[key][1])
        return old + by, None, False

    def delete(self, key: str) -> tuple[Any, ...]:
        self._entries.pop(key, None)
        return True, None, False

    def get_keys(self, most: int = 1024) -> list[str]:
        now = self._clock()
        keys = [key for key, (_, ends) in self._entries.items() if not 0 < ends <= now]
        return keys[:most] if most else keys

    def flush_expired(self, most: int = 0) -> int:
        return self._drop_expired()

    def capacity(self) -> int:
        return self.room

    def free_space(self) -> int:
        return max(0, self.room - len(self._entries))


class Machine:
    """What the workers of one gateway share."""

    def __init__(self, now: float = 1_700_000_000) -> None:
        self.now = now
        self.shared: dict[str, SharedDictionary] = {}

    def clock(self) -> float:
        return self.now

    def dictionary(self, name: str) -> SharedDictionary:
        return self.shared.setdefault(name, SharedDictionary(self.clock))


_PRELUDE = r"""
local python, folder, contract_text = ...
package.path = folder .. "/?.lua"
package.preload.contract = assert(load(contract_text, "contract"))

-- A dictionary's methods, without the `self` that Lua passes.
local METHODS = {
  "get", "set", "safe_set", "add", "safe_add", "incr", "delete", "flush_expired", "capacity", "free_space",
}
local function dictionary(name)
  local own = {}
  for _, method in ipairs(METHODS) do
    local call = python.method(name, method)
    own[method] = function(_, ...) return call(...) end
  end
  function own.get_keys(_, most) return python.list(python.method(name, "get_keys")(most or 1024)) end
  return own
end

ngx = {
  shared = setmetatable({}, { __index = function(all, name)
    rawset(all, name, dictionary(name))
    return rawget(all, name)
  end }),
  time = python.time, now = python.now, update_time = function() end,
  log = python.log, ERR = 4, WARN = 5,
  decode_base64 = python.decode_base64, md5 = python.md5,
  worker = { pid = python.pid, id = function() return 0 end, count = function() return 1 end },
  var = {}, header = {}, headers = {},
  req = { get_method = function() return "GET" end, get_headers = function() return ngx.headers end },
}

package.preload["cjson.safe"] = function()
  local null = {}
  return {
    null = null, empty_array_mt = {},
    decode = function(text) return python.decoded(text, null) end,
  }
end
package.preload["resty.core.base"] = function()
  return { get_request = function() return nil end }
end
package.preload["resty.core.request"] = function()
  require("ffi").cdef [[
    typedef struct { size_t len; unsigned char *data; } ngx_http_lua_ffi_str_t;
    typedef struct { ngx_http_lua_ffi_str_t key; ngx_http_lua_ffi_str_t value; } ngx_http_lua_ffi_table_elt_t;
  ]]
  return {}
end
package.preload["resty.core.var"] = function() return {} end
package.preload["ngx.balancer"] = function() return {} end
"""


class Worker:
    """One worker: a LuaJIT with the gateway's modules, on a machine."""

    def __init__(self, machine: Machine, *, pid: int = 1) -> None:
        self.machine = machine
        self.logged: list[str] = []
        self.lua = LuaRuntime(encoding="latin-1", unpack_returned_tuples=True)
        self.table = self.lua.table_from
        python = {
            "method": lambda name, method: getattr(machine.dictionary(name), method),
            "list": self.table,
            "time": lambda: int(machine.now),
            "now": lambda: machine.now,
            "log": lambda *words: self.logged.append("".join(map(str, words[1:]))),
            "decode_base64": _decoded_base64,
            "md5": lambda text: hashlib.md5(text.encode("latin-1")).hexdigest(),
            "pid": lambda: pid,
            "decoded": self._decoded,
        }
        self.lua.execute(_PRELUDE, self.table(python), str(LUA), contract.lua_module())

    def require(self, name: str) -> Any:
        """A module, such as `ostiary.form`."""
        return self.lua.eval("require(...)", name)

    def run(self, text: str, *arguments: object) -> Any:
        """Run a chunk of Lua with arguments (`...`); what it returns."""
        return self.lua.execute(text, *arguments)

    def value(self, value: object) -> Any:
        """A Python value as Lua has it; None is absent."""
        return self._as_lua(value, None)

    def _decoded(self, text: str, null: object) -> Any:
        try:
            return self._as_lua(json.loads(text), null)
        except ValueError as error:
            return None, str(error)

    def _as_lua(self, value: object, null: object) -> Any:
        if value is None:
            return null
        if isinstance(value, Mapping):
            return self.table({key: self._as_lua(item, null) for key, item in value.items()})
        if isinstance(value, list | tuple):
            return self.table([self._as_lua(item, null) for item in value])
        return value


def _decoded_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return None


def fields(table: Any) -> dict[str, Any]:
    """A Lua table as a dictionary."""
    return dict(table.items())
