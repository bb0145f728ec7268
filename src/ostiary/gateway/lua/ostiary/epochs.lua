-- Epochs: the sequence of the last change of every profile, client, policy, collection and endpoint
-- that changed recently. A lease that was decided before one of its epochs is void.
--
-- Entries live longer than any lease, so an expired entry has no lease left to void. If an entry cannot be
-- written, `floor` is raised over all leases: a missing entry must never mean "nothing changed" by mistake.

local contract = require "contract"

local epochs = ngx.shared.epochs
local error, ipairs, max, tonumber = error, ipairs, math.max, tonumber

local M = {}

-- Seconds that an epoch is stored; leases live at most 600.
M.SECONDS = 1200
-- A number that grows with every change; workers and leases compare it before they look further.
local CHANGES = "*"
-- The sequence up to which every epoch is written, and the one below which every lease is void.
local APPLIED, FLOOR = "applied", "floor"

local P, C, L, K, E = contract.epochs.profile, contract.epochs.client, contract.epochs.policy,
  contract.epochs.collection, contract.epochs.endpoint

-- Create the required entries; after a reload, existing ones stay.
function M.init()
  for _, key in ipairs({ CHANGES, APPLIED, FLOOR }) do
    local ok, why = epochs:safe_add(key, 0)
    if not ok and why ~= "exists" then error("epochs: " .. why) end
  end
end

-- The number that grows with every change, or nil if it is lost; callers must not treat nil as a number.
function M.changes()
  return epochs:get(CHANGES)
end

-- Make every worker look again.
function M.announce()
  return epochs:incr(CHANGES, 1)
end

function M.applied()
  return epochs:get(APPLIED)
end

function M.floor()
  return epochs:get(FLOOR)
end

-- Void every lease that was decided before `sequence`.
function M.raise_floor(sequence)
  if sequence > (epochs:get(FLOOR) or 0) then epochs:set(FLOOR, sequence) end
end

-- Write epochs (`key → sequence`), then that all up to `sequence` are written.
function M.write(list, sequence)
  local full = false
  for key, value in pairs(list) do
    -- With two concurrent writers, an epoch must not go back.
    local old = epochs:get(key)
    if not old or old < value then full = not epochs:safe_set(key, value, M.SECONDS) or full end
  end
  if full then M.raise_floor(sequence) end
  epochs:set(APPLIED, sequence)
  M.announce()
  return full
end

local A = contract.epochs.address_list

local function of(letter, id)
  return id ~= 0 and epochs:get(letter .. id) or 0
end

-- Whether all address lists of a lease are unchanged since its decision.
local function lists_hold(lists, sequence)
  for i = 1, #lists do
    if sequence < of(A, lists[i]) then return false end
  end
  return true
end

-- Whether all objects that `lease` depends on are unchanged since its decision.
function M.holds(lease)
  local sequence, floor = lease.sequence, epochs:get(FLOOR)
  if not floor or sequence < floor then return false end
  if lease.lists and not lists_hold(lease.lists, sequence) then return false end
  return sequence >= max(
    of(P, lease.profile), of(C, lease.client), of(L, lease.policy), of(K, lease.collection), of(E, lease.endpoint)
  )
end

-- Whether nothing at all changed since `sequence`.
function M.unchanged(sequence)
  local applied = epochs:get(APPLIED)
  return applied ~= nil and tonumber(applied) <= sequence
end

return M
