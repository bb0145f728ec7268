-- Epochs: the sequence of the last change of every profile, client, policy, collection and endpoint
-- that changed of late. A lease that was decided before one of its epochs is void.
--
-- Entries live longer than any lease, so that what is gone has no lease left to void. Where one cannot
-- be written, `floor` is raised over all leases: never is a missing entry taken for "nothing changed".

local contract = require "contract"

local epochs = ngx.shared.epochs
local error, ipairs, max, tonumber = error, ipairs, math.max, tonumber

local M = {}

-- Seconds that an epoch is kept; leases live 600 at most.
M.SECONDS = 1200
-- Changes with every change of anything; workers and leases compare it before they look further.
local CHANGES = "*"
-- Up to which sequence every epoch is written, and below which every lease is void.
local APPLIED, FLOOR = "applied", "floor"

local P, C, L, K, E = contract.epochs.profile, contract.epochs.client, contract.epochs.policy,
  contract.epochs.collection, contract.epochs.endpoint

-- Make what must be there; what a reload finds is kept.
function M.init()
  for _, key in ipairs({ CHANGES, APPLIED, FLOOR }) do
    local ok, why = epochs:safe_add(key, 0)
    if not ok and why ~= "exists" then error("epochs: " .. why) end
  end
end

-- A number that grows with every change; nil, which no caller may take for one, if it is lost.
function M.changes()
  return epochs:get(CHANGES)
end

-- Tell every worker to look again.
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
    -- Two writers at once may not take one back.
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

-- Whether none of the address lists that a lease rests on changed since its decision.
local function lists_hold(lists, sequence)
  for i = 1, #lists do
    if sequence < of(A, lists[i]) then return false end
  end
  return true
end

-- Whether nothing that `lease` rests on changed since its decision.
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
