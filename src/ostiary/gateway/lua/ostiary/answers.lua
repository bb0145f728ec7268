-- Sends an answer in one piece if its body came with its head. nginx does not buffer answers here, since a
-- stream must not wait: it sends what it has, and then the end of the answer separately. Over HTTP/2 that
-- end is another frame, another TLS record and another write for nearly every call.
--
-- So buffering is switched on for an answer of which nothing is missing, when its head is sent: what is
-- there goes out at once with its end. nginx has no function for this. The layout of its struct is known
-- by version and checked at each use; where it is another, answers go out as they came.

local ffi = require "ffi"
local get_request = require("resty.core.base").get_request
require "ostiary.streams"

local bor, cast = bit.bor, ffi.cast

ffi.cdef [[
typedef struct { uint8_t *pos, *last; int64_t file_pos, file_last; uint8_t *first, *beyond; } ostiary_buffer_t;
]]

local M = {}

local request_type, bytes_type = ffi.typeof("ostiary_request_t *"), ffi.typeof("uint8_t *")
local buffer_type, length_type = ffi.typeof("ostiary_buffer_t *"), ffi.typeof("int64_t *")

-- Where they are in ngx_http_upstream_t of a build `--with-compat`, from a version on: the answer's
-- Content-Length (-1: none), the buffer with its head, and the byte whose highest bit is `buffering`.
local LAYOUTS = {
  { since = 1023000, before = 1029000, length = 656, buffer = 768, flags = 1056 },
  { since = 1022000, before = 1023000, length = 728, buffer = 840, flags = 1128 },
}
local BUFFERING = 0x80
local size, length_at, buffer_at, flags_at = 0, 0, 0, nil

local function layout_of(version, built)
  if not ffi.abi("64bit") or not ffi.abi("le") or not built:find("--with-compat", 1, true) then return nil end
  for _, layout in ipairs(LAYOUTS) do
    if version >= layout.since and version < layout.before then return layout end
  end
end

-- `bytes`: the size of that buffer, by which it is known again.
function M.init(bytes)
  local layout = layout_of(ngx.config.nginx_version, ngx.config.nginx_configure())
  if not layout then return end
  size, length_at, buffer_at, flags_at = bytes, layout.length, layout.buffer, layout.flags
end

-- Let an answer that came whole go out as one piece; its head is about to be sent.
function M.join()
  if not flags_at then return end
  local upstream = cast(request_type, get_request()).upstream
  if upstream == nil then return end
  local at = cast(bytes_type, upstream)
  local buffer = cast(buffer_type, at + buffer_at)
  if buffer.beyond - buffer.first ~= size then return end
  local length = cast(length_type, at + length_at)[0]
  if length >= 0 and buffer.last - buffer.pos == length then at[flags_at] = bor(at[flags_at], BUFFERING) end
end

return M
