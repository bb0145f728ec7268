"""Epochs: what changed voids every lease from before, for as long as there may be one."""

import pytest
from tests.lua.nginx import Machine, Worker

from ostiary.access.decision import LEASE_SECONDS

#: How late an answer of the authority may be kept, and the clock be set back, in seconds.
LATE = 300


def a_lease(worker: Worker, sequence: int) -> object:
    ids = {"profile": 11, "client": 2, "policy": 4, "collection": 5, "endpoint": 7}
    return worker.value({"sequence": sequence, **ids})


@pytest.mark.parametrize("key", ["p11", "c2", "l4", "k5", "e7"])
def test_an_epoch_outlives_every_lease_that_was_decided_before_it(key: str) -> None:
    machine = Machine()
    worker = Worker(machine)
    epochs = worker.require("ostiary.epochs")
    epochs.init()
    assert epochs.holds(a_lease(worker, 19))
    epochs.write(worker.value({key: 20}), 20)
    for seconds in (0, 1, LEASE_SECONDS, LEASE_SECONDS + LATE):
        machine.now = 1_700_000_000 + seconds
        assert not epochs.holds(a_lease(worker, 19)), seconds
        assert epochs.holds(a_lease(worker, 20)), seconds


def test_what_found_no_room_is_void_and_no_other_epoch_is_forgotten() -> None:
    machine = Machine()
    machine.dictionary("epochs").room = 50
    worker = Worker(machine)
    epochs = worker.require("ostiary.epochs")
    epochs.init()
    epochs.write(worker.value({"p11": 20}), 20)
    full = [epochs.write(worker.value({f"p{1000 + n}": 21 + n}), 21 + n) for n in range(60)]
    assert True in full
    assert not epochs.holds(a_lease(worker, 19))
    # The floor is above all that was decided before the last one that found no room.
    assert not epochs.holds(a_lease(worker, 79))
    assert epochs.holds(a_lease(worker, 80))
