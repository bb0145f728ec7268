-- Reads untrusted text in one pass. A pattern that may begin and end in many places takes time that grows
-- with the square of the length, and the worker answers nobody meanwhile.

local byte, sub = string.byte, string.sub

local M = {}

local SPACE, TAB = 0x20, 0x09

local function is_blank(char)
  return char == SPACE or char == TAB
end

-- A text without the spaces and tabs around it.
function M.trimmed(text)
  local from, to = 1, #text
  while is_blank(byte(text, from)) do from = from + 1 end
  while to > from and is_blank(byte(text, to)) do to = to - 1 end
  return sub(text, from, to)
end

return M
