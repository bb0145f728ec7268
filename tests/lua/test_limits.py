"""Limits are exact: in every window, on all workers, with full dictionaries and over restarts."""

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.lua.leasing import WINDOWS, a_lease
from tests.lua.nginx import Machine, Worker

from ostiary.access.reasons import Reason
from ostiary.gateway.contract import KEPT_ABOVE_SECONDS, Lease, code, write_answer

_RATE, _QUOTA = code(Reason.RATE_LIMITED), code(Reason.QUOTA_EXCEEDED)
_OVERLOADED = code(Reason.OVERLOADED)
_PROFILE = 11
_DAY = 86_400
_DICTIONARIES = ("limits_short", "limits_long")
#: A counter of another profile, in both.
_OTHER = "r/99/86400/0"

#: LuaJIT is dear to start: workers of all runs, whose dictionaries are new each time.
_MACHINE = Machine()
_WORKERS = tuple(Worker(_MACHINE, pid=pid) for pid in (1, 2))
_LIMITS = tuple(worker.require("ostiary.limits") for worker in _WORKERS)
_LEASES = tuple(worker.require("ostiary.leases") for worker in _WORKERS)


def _restart(now: float) -> None:
    _MACHINE.now = now
    for name in _DICTIONARIES:
        dictionary = _MACHINE.dictionary(name)
        for key in dictionary.get_keys(0):
            dictionary.delete(key)
        dictionary.room = 1_000_000
        dictionary.set(_OTHER, 1)
    for limits in _LIMITS:
        for key in list(limits.touched.keys()):
            limits.touched[key] = None


def _read(worker: int, lease: Lease) -> Any:
    table = _LEASES[worker].read(write_answer(lease).decode())
    assert table is not None
    return table


class Spending(RuleBasedStateMachine):
    """Calls of one profile on two workers, against counters that are known to be right."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: tuple[tuple[int, int], ...] = ()
        self.quota = 0
        self.report_only = False
        #: What a call by each worker's lease counts: the leases are for two endpoints.
        self.weights = (1, 1)
        #: Seconds of a window → when it was reset, and by how much its limit is raised.
        self.resets: dict[int, int] = {}
        self.raised: Counter[int] = Counter()
        self.widest: Counter[int] = Counter()
        #: Seconds of a window, or 0 for the quota, and its start → calls that were admitted.
        self.admitted: Counter[tuple[int, int]] = Counter()
        self.leases: list[Any] = []
        self.full, self.spare = False, 0
        #: Calls since something else than a call or the clock happened.
        self.calls = 0

    @initialize(
        rates=st.lists(
            st.tuples(st.integers(1, 4), st.sampled_from(WINDOWS)),
            min_size=1,
            max_size=3,
            unique_by=lambda rate: rate[1],
        ),
        quota=st.sampled_from([0, 0, 1, 6, 20]),
        report_only=st.sampled_from([False, False, True]),
        now=st.integers(1_700_000_000, 1_700_000_000 + 2 * _DAY),
        weights=st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    )
    def begin(
        self,
        rates: list[tuple[int, int]],
        quota: int,
        report_only: bool,
        now: int,
        weights: tuple[int, int],
    ) -> None:
        self.weights = weights
        self.rates = tuple(sorted(rates, key=lambda rate: rate[1]))
        self.quota, self.report_only = quota, report_only
        _restart(now)
        self.note_widest()
        self.leases = [self.a_lease(0), self.a_lease(1)]

    @property
    def now(self) -> int:
        return int(_MACHINE.now)

    def start(self, seconds: int) -> int:
        """When the window began, whenever it was reset."""
        return self.now - self.now % (seconds or _DAY)

    def ends(self, seconds: int) -> int:
        return self.start(seconds) + (seconds or _DAY)

    def key(self, seconds: int) -> tuple[int, int]:
        """A window and since when it is counted."""
        reset = self.resets.get(seconds, 0)
        inside = self.start(seconds) < reset < self.ends(seconds)
        return seconds, reset if inside else self.start(seconds)

    def note_widest(self) -> None:
        for limit, seconds in self.limits():
            self.widest[seconds] = max(self.widest[seconds], limit)

    def a_lease(self, worker: int) -> Any:
        start = self.key(0)[1]
        quota = self.quota + self.raised[0] if self.quota else 0
        used = tuple((self.recorded(seconds), self.key(seconds)[1]) for _, seconds in self.rates)
        lease = a_lease(
            profile=_PROFILE,
            rates=tuple((limit, seconds) for limit, seconds in self.limits() if seconds),
            used=used,
            quota=(quota, start, self.ends(0), self.admitted[0, start]) if quota else (0,) * 4,
            weight=self.weights[worker],
            report_only=self.report_only,
        )
        return _read(worker, lease)

    def recorded(self, seconds: int) -> int:
        """What the authority knows of a window: the calls of long ones."""
        return self.admitted[self.key(seconds)] if seconds > KEPT_ABOVE_SECONDS else 0

    def counter(self, seconds: int) -> tuple[str, str]:
        """Dictionary and key of a limit's counter."""
        kind = "r" if seconds else "q"
        name = "limits_long" if not seconds or seconds > KEPT_ABOVE_SECONDS else "limits_short"
        return name, f"{kind}/{_PROFILE}/{seconds}/{self.key(seconds)[1]}"

    def room(self, name: str) -> int:
        """How many counters fit besides those that are there."""
        dictionary = _MACHINE.dictionary(name)
        dictionary.flush_expired()
        return dictionary.free_space()

    def is_full(self, limit: int, seconds: int, weight: int) -> bool:
        return self.admitted[self.key(seconds)] + weight > limit

    def limits(self) -> tuple[tuple[int, int], ...]:
        """Every limit as it is asked: rates, the shortest window first, and the quota."""
        found = (*self.rates, *([(self.quota, 0)] if self.quota else []))
        return tuple((limit + self.raised[seconds], seconds) for limit, seconds in found)

    def expected(self, weight: int) -> tuple[int | None, int | None]:
        """The code of the refusal, and the seconds until another try; or what would have refused."""
        would = None
        room = {name: self.room(name) for name in _DICTIONARIES}
        for limit, seconds in self.limits():
            name, key = self.counter(seconds)
            if _MACHINE.dictionary(name).get(key) is None:
                if not room[name]:
                    return _OVERLOADED, 1
                room[name] -= 1
            if self.is_full(limit, seconds, weight):
                reason = _RATE if seconds else _QUOTA
                if not self.report_only:
                    return reason, self.ends(seconds) - self.now
                would = would or reason
        return None, would

    @rule(worker=st.integers(0, 1), count=st.integers(1, 5))
    def call(self, worker: int, count: int) -> None:
        for _ in range(count):
            weight = self.weights[worker]
            expected = self.expected(weight)
            lease = self.leases[worker]
            spent = _LIMITS[worker].spend(lease, self.now) or (None, None)
            assert tuple(spent) == expected
            if spent[0] is None:
                for _, seconds in self.limits():
                    self.admitted[self.key(seconds)] += weight
            self.check_told(worker)
            self.calls += 1

    @rule(worker=st.integers(0, 1), seconds=st.sampled_from([1, 2, 60, 3600]))
    def call_and_wait(self, worker: int, seconds: int) -> None:
        self.call(worker, 1)
        self.wait(seconds, 0)
        self.call(worker, 1)

    def check_told(self, worker: int) -> None:
        """The header says what is left of each limit, and for how many seconds."""
        if not self.limits() or self.report_only:
            return
        told = _LIMITS[worker].told(self.leases[worker], self.now)
        parts = [
            (
                max(0, limit - self.admitted[self.key(seconds)]),
                self.ends(seconds) - self.now,
            )
            for limit, seconds in self.limits()
        ]
        read = [(int(r), int(t)) for r, t in re.findall(r'"[a-z-]+";r=(\d+);t=(\d+)(?:, |$)', told)]
        assert read == parts, told

    @precondition(lambda self: self.calls > 1)
    @rule(worker=st.integers(0, 1))
    def renew(self, worker: int) -> None:
        """The authority decides again, and knows of every call."""
        self.leases[worker] = self.a_lease(worker)
        self.calls = 0

    @precondition(lambda self: self.calls > 1 and not self.full)
    @rule(choice=st.integers(0, 3))
    def reset(self, choice: int) -> None:
        """The owner has one limit count anew: both leases are void, and are decided again."""
        _, seconds = self.limits()[choice % len(self.limits())]
        moment = max(self.now, self.start(seconds) + 1, self.resets.get(seconds, 0) + 1)
        if moment < self.ends(seconds):
            self.resets[seconds] = moment
        self.leases = [self.a_lease(0), self.a_lease(1)]
        self.calls = 0

    @precondition(lambda self: self.calls > 1)
    @rule(choice=st.integers(0, 3), by=st.sampled_from([0, 1, 4]))
    def raise_limit(self, choice: int, by: int) -> None:
        """The owner raises one limit, or ends that."""
        _, seconds = self.limits()[choice % len(self.limits())]
        self.raised[seconds] = by
        self.note_widest()
        self.leases = [self.a_lease(0), self.a_lease(1)]
        self.calls = 0

    @rule(seconds=st.sampled_from([1, 1, 2, 59, 60, 3600, _DAY, 3 * _DAY]), part=st.floats(0, 0.9))
    def wait(self, seconds: int, part: float) -> None:
        before = self.key(0)
        _MACHINE.now = self.now + seconds + part
        if self.quota and self.key(0) != before:
            # A lease ends with the quota's period.
            self.leases = [self.a_lease(0), self.a_lease(1)]
        if self.full:
            # What ran out made room, which others take.
            self.take_room()

    @precondition(lambda self: self.calls > 4)
    @rule()
    def restart(self) -> None:
        """The gateway is started anew: short windows begin anew, all others go on."""
        _restart(_MACHINE.now)
        for key in list(self.admitted):
            if 0 < key[0] <= KEPT_ABOVE_SECONDS:
                del self.admitted[key]
        self.full, self.calls = False, 0
        self.leases = [self.a_lease(0), self.a_lease(1)]

    @precondition(lambda self: self.calls > 2 and not self.full)
    @rule(room=st.integers(0, 1))
    def fill(self, room: int) -> None:
        """Others' counters take all room, or all but one place."""
        self.full, self.calls, self.spare = True, 0, room
        self.take_room()

    def take_room(self) -> None:
        for name in _DICTIONARIES:
            dictionary = _MACHINE.dictionary(name)
            dictionary.flush_expired()
            dictionary.room = len(dictionary.get_keys(0)) + self.spare

    @precondition(lambda self: self.full and self.calls > 2)
    @rule()
    def empty(self) -> None:
        for name in _DICTIONARIES:
            _MACHINE.dictionary(name).room = 1_000_000
        self.full = False

    @invariant()
    def no_window_has_more_than_its_limit(self) -> None:
        if not self.report_only:
            for _, seconds in self.limits():
                assert self.admitted[self.key(seconds)] <= self.widest[seconds]

    @invariant()
    def counters_hold_what_was_admitted_and_no_refused_call(self) -> None:
        for _, seconds in self.limits():
            name, key = self.counter(seconds)
            value = _MACHINE.dictionary(name).get(key)
            assert value in {None, self.admitted[self.key(seconds)]}, key

    @invariant()
    def no_counter_of_others_is_lost(self) -> None:
        for name in _DICTIONARIES:
            assert _MACHINE.dictionary(name).get(_OTHER) == 1

    @invariant()
    def what_is_kept_beyond_a_restart_is_pushed(self) -> None:
        for _, seconds in self.limits():
            name, key = self.counter(seconds)
            if name == "limits_long" and _MACHINE.dictionary(name).get(key):
                assert any(limits.touched[key] is not None for limits in _LIMITS)


@pytest.mark.slow
def test_limits_are_exact() -> None:
    run_state_machine_as_test(
        Spending, settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
    )


# --- what a refusal says ---------------------------------------------------------------------------


def _spend(lease: Any) -> tuple[int | None, int | None]:
    answer = _LIMITS[0].spend(lease, int(_MACHINE.now))
    return (None, None) if answer is None else answer


def test_a_refusal_names_the_window_that_refused() -> None:
    _restart(1_700_000_000)
    lease = _read(0, a_lease(rates=((5, 1), (2, 3600))))
    assert [_spend(lease)[0] for _ in range(3)] == [None, None, _RATE]
    described = _LIMITS[0].described(lease, _RATE)
    assert dict(described.items()) == {"rate_limit": "2", "rate_interval": "3600"}


def test_a_refusal_for_the_quota_says_what_was_counted() -> None:
    _restart(1_700_000_000)
    lease = _read(0, a_lease(quota=(2, 1_699_920_000, 1_700_006_400, 1)))
    assert [_spend(lease)[0] for _ in range(2)] == [None, _QUOTA]
    described = _LIMITS[0].described(lease, _QUOTA)
    assert dict(described.items()) == {
        "quota_limit": "2", "quota_end": "1700006400", "quota_counted": "2",
    }  # fmt: skip


@pytest.mark.parametrize("rates", [((5, 60),), ((5, 1), (9, 3600)), ()], ids=str)
def test_without_room_for_a_counter_a_call_is_refused_and_told_what_is_left(
    rates: tuple[tuple[int, int], ...],
) -> None:
    _restart(1_700_000_000)
    for name in _DICTIONARIES:
        _MACHINE.dictionary(name).room = 0
    lease = _read(0, a_lease(rates=rates, quota=(3, 1_699_920_000, 1_700_006_400, 1)))
    assert _spend(lease) == (_OVERLOADED, 1)
    assert _LIMITS[0].told(lease, 1_700_000_000).endswith('"quota";r=2;t=6400')


def test_calls_that_others_took_back_can_be_made_again() -> None:
    _restart(1_700_000_000)
    lease = _read(0, a_lease(rates=((1, 60),), quota=(1, 1_699_920_000, 1_700_006_400, 0)))
    assert _spend(lease)[0] is None
    _MACHINE.now += 60
    assert _spend(lease)[0] == _QUOTA
    assert [_MACHINE.dictionary("limits_short").get(f"r/1/60/{1_700_000_040}")] == [0]
