"""Whatever happens between the gateway and the database, everything is counted once."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
from django.db import DataError, transaction
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ostiary import settings
from ostiary.access.reasons import Reason
from ostiary.collector.log_lines import Batch
from ostiary.collector.service import Lines
from ostiary.collector.storage import Store
from ostiary.collector.tail import NAME, Tail
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections
from ostiary.directory.clients import clients, policies
from ostiary.directory.clients.access_profiles import NewProfileInput, create
from ostiary.directory.models import AccessProfile, Credential
from ostiary.directory.workspace import setup
from ostiary.gateway.contract import COUNT_KEY, LINE, Pushed, code
from ostiary.gateway.node import Node
from ostiary.identity.sealing import KeyRing
from ostiary.usage.models import (
    CounterBaseline,
    LoggedCall,
    LogPosition,
    MinuteCount,
    MinuteLatency,
    QuotaCount,
)
from ostiary.usage.recording import BASELINE_HOURS, Position

NOW = time.time()
HOUR = int(NOW) // 3600


def a_key(**parts: int) -> str:
    usual = {
        "hour": HOUR, "profile": 3, "client": 2, "collection": 4, "endpoint": 5, "credential": 0,
        "would": 0, "status": 2, "reason": 0,
    }  # fmt: skip
    return "/".join(str((usual | parts)[name]) for name in COUNT_KEY)


def a_push(
    *, birth: str = "b1", limits: dict[str, int] | None = None, lines: tuple[str, ...] = (),
    **totals: tuple[int, int, int],
) -> Pushed:  # fmt: skip
    """Totals by status: `s2=(calls, in, out)`."""
    found = {a_key(status=int(name[1:])): values for name, values in totals.items()}
    return Pushed(birth=birth, counts=found, limits=limits or {}, lines=lines)


def a_line(number: int = 1, *, ms: int = 3) -> str:
    values: dict[str, object] = {
        "at": f"{int(NOW)}.{number % 1000:03d}", "request_id": f"a-{number}", "status": "200",
        "subject": "5/4/3/2/9/0/0/1/GET", "address": "192.0.2.7", "took": f"0.{ms:03d}",
        "bytes_in": 100, "bytes_out": 200, "details": "-",
    }  # fmt: skip
    return "\t".join(str(values[name]) for name in LINE)


def counted() -> Counter[int]:
    """Class of status → calls."""
    found: Counter[int] = Counter()
    for status, calls in MinuteCount.objects.values_list("status", "calls"):
        found[status] += calls
    return found


@pytest.fixture
def profile(db: None) -> AccessProfile:
    data = settings.current().data
    data.mkdir(parents=True, exist_ok=True)
    KeyRing.load_or_create(data / "keyring.json")
    setup.ensure()
    client = clients.create(
        by=SYSTEM, given=clients.ClientInput(name="Acme", project_id=setup.home().pk)
    )
    quota = {"limit": 10, "interval": "month"}
    policy = policies.create(
        by=SYSTEM, given=policies.PolicyInput.of(name="P", usage_quota=quota)
    ).value
    connection = connections.create(
        by=SYSTEM, given=connections.ConnectionInput(
            name="Acme", project_id=setup.home().pk,
            base_urls=["http://10.0.0.1"]),
    ).value  # fmt: skip
    collection = collections.create(
        by=SYSTEM,
        given=collections.CollectionInput(project_id=setup.home().pk, name="Things", connection_id=connection.pk),
    ).value.collection  # fmt: skip
    saved, _ = create(
        by=SYSTEM, given=NewProfileInput(
            client_id=client.pk, auth_type="token",
            name="P", policy_id=policy.pk, collection_ids=[collection.pk],
        ),
    )  # fmt: skip
    return saved.value


# --- counts ------------------------------------------------------------------------------------------


def test_a_push_that_comes_again_counts_once_also_after_a_restart(db: None) -> None:
    store = Store()
    first = store.pushes([a_push(s2=(5, 50, 500), s4=(1, 1, 1))], moment=NOW)
    assert (first.calls, first.counters) == (6, 2)
    assert store.pushes([a_push(s2=(5, 50, 500))], moment=NOW).calls == 0
    # Killed after the commit and before the answer: the next one is sent the same.
    again = Store()
    assert again.pushes([a_push(s2=(7, 70, 700), s4=(1, 1, 1))], moment=NOW).calls == 2
    assert counted() == {2: 7, 4: 1}
    row = MinuteCount.objects.get(status=2)
    assert (row.calls, row.bytes_in, row.bytes_out) == (7, 70, 700)
    assert row.time == int(NOW) // 60 * 60


def test_an_older_total_of_another_worker_takes_nothing_away(db: None) -> None:
    store = Store()
    store.pushes([a_push(s2=(5, 50, 500))], moment=NOW)
    store.pushes([a_push(s2=(4, 60, 400))], moment=NOW)
    Store().pushes([a_push(s2=(5, 60, 500))], moment=NOW)
    row = MinuteCount.objects.get()
    assert (row.calls, row.bytes_in, row.bytes_out) == (5, 60, 500)


def test_pushes_of_several_workers_are_stored_together(db: None) -> None:
    pushes = [a_push(s2=(5, 0, 0)), a_push(s2=(6, 0, 0)), a_push(birth="b1.7", s2=(2, 0, 0))]
    assert Store().pushes(pushes, moment=NOW).calls == 8
    assert counted() == {2: 8}


def test_a_gateway_that_was_started_anew_counts_from_nothing(db: None) -> None:
    store = Store()
    store.pushes([a_push(birth="b1", s2=(5, 0, 0))], moment=NOW)
    store.pushes([a_push(birth="b2", s2=(3, 0, 0))], moment=NOW)
    assert counted() == {2: 8}


def test_refused_calls_are_of_their_profiles_client(profile: AccessProfile) -> None:
    key = a_key(profile=profile.pk, client=0, status=4, reason=24)
    Store().pushes([Pushed(birth="b", counts={key: (2, 0, 0)}, limits={}, lines=())], moment=NOW)
    row = MinuteCount.objects.get()
    assert (row.profile_id, row.client_id, row.reason) == (profile.pk, profile.client_id, 24)


def test_gains_of_an_hour_stay_in_it(db: None) -> None:
    key = a_key(hour=HOUR - 1)
    Store().pushes([Pushed(birth="b", counts={key: (2, 0, 0)}, limits={}, lines=())], moment=NOW)
    assert MinuteCount.objects.get().time == HOUR * 3600 - 60


def test_a_key_that_cannot_be_read_costs_itself_alone(db: None) -> None:
    counts = {"nonsense": (1, 0, 0), a_key(profile=2**40): (1, 0, 0), a_key(): (2, 0, 0)}
    stored = Store().pushes([Pushed(birth="b", counts=counts, limits={}, lines=())], moment=NOW)
    assert (stored.calls, stored.strange) == (2, 2)
    assert counted() == {2: 2}


def test_what_is_gone_is_forgotten_and_is_not_counted_again(db: None) -> None:
    old, young = a_key(hour=HOUR - BASELINE_HOURS - 1), a_key(hour=HOUR - BASELINE_HOURS)
    both = Pushed(birth="b", counts={old: (3, 0, 0), young: (4, 0, 0)}, limits={}, lines=())
    CounterBaseline.objects.create(identity=f"b/{old}", hour=HOUR - BASELINE_HOURS - 1, calls=1)
    store = Store()
    # It is still known what was counted of it.
    assert store.pushes([both], moment=NOW).calls == 2 + 4
    store.tidy([], moment=NOW)
    assert [row.identity for row in CounterBaseline.objects.all()] == [f"b/{young}"]
    again = store.pushes([both], moment=NOW)
    assert (again.calls, again.strange) == (0, 1)


def test_when_a_credential_was_last_used_is_known(profile: AccessProfile) -> None:
    credential = Credential.objects.get(profile=profile)
    store = Store()
    revoked = a_key(credential=credential.pk, status=4, reason=code(Reason.REVOKED_CREDENTIAL))
    used = a_key(credential=credential.pk, status=4, reason=code(Reason.RATE_LIMITED))
    store.pushes([Pushed(birth="b", counts={revoked: (1, 0, 0)}, limits={}, lines=())], moment=NOW)
    credential.refresh_from_db()
    assert credential.last_used_at is None
    store.pushes([Pushed(birth="b", counts={used: (1, 0, 0)}, limits={}, lines=())], moment=NOW)
    credential.refresh_from_db()
    assert credential.last_used_at is not None
    assert int(credential.last_used_at.timestamp()) == int(NOW)


@pytest.mark.slow
def test_two_hundred_thousand_counters_are_counted_and_looked_at_only_when_they_grow(
    db: None,
) -> None:
    keys = [a_key(profile=n % 2000 + 1, endpoint=n // 2000 + 1) for n in range(200_000)]
    random.Random(1).shuffle(keys)
    store = Store()

    def push(keys: list[str], calls: int) -> int:
        counts = dict.fromkeys(keys, (calls, 0, 0))
        return store.pushes(
            [Pushed(birth="b", counts=counts, limits={}, lines=())], moment=NOW
        ).calls

    for at in range(0, len(keys), 2000):
        assert push(keys[at : at + 2000], 1) == 2000
    began = time.process_time()
    assert push(keys[:10], 2) == 10
    # Far below what a look at all of them would take.
    assert time.process_time() - began < 0.5
    assert counted() == {2: 200_010}


# --- limits ------------------------------------------------------------------------------------------


def test_counts_of_limits_are_stored_and_never_go_down(profile: AccessProfile) -> None:
    store, pk = Store(), profile.pk
    hour, day = HOUR * 3600, HOUR * 3600 // 86_400 * 86_400
    for calls in (5, 4):
        store.pushes(
            [
                a_push(
                    limits={
                        f"q/{pk}/0/{day}": calls,
                        f"r/{pk}/3600/{hour}": calls,
                        f"r/{pk}/86400/{day}": calls + 10,
                        # Windows of a minute are not stored, and this profile there is not.
                        f"r/{pk}/60/{hour}": calls,
                        "q/999999/0/0": calls,
                    }
                )
            ],
            moment=NOW,
        )
    rows = QuotaCount.objects.values_list("profile_id", "interval", "period_start", "calls")
    assert sorted(rows) == [
        (pk, "1 day", day, 15),
        (pk, "1 hour", hour, 5),
        (pk, "month", day, 5),
    ]


def test_of_a_rate_limit_the_newest_window_is_retained(profile: AccessProfile) -> None:
    store, hour = Store(), HOUR * 3600
    for start, calls in ((hour - 3600, 9), (hour, 2), (hour - 3600, 10), (hour, 3)):
        limits = {f"r/{profile.pk}/3600/{start}": calls}
        store.pushes([a_push(limits=limits)], moment=NOW)
    row = QuotaCount.objects.get()
    assert (row.interval, row.period_start, row.calls) == ("1 hour", hour, 3)


# --- lines -------------------------------------------------------------------------------------------


def test_a_pushed_line_that_comes_again_is_stored_once_and_tells_no_latency(db: None) -> None:
    store = Store()
    for collector in (store, store, Store()):
        collector.pushes([a_push(lines=(a_line(1), a_line(2), a_line(1)))], moment=NOW)
    assert sorted(row.request_id for row in LoggedCall.objects.all()) == ["a-1", "a-2"]
    assert not MinuteLatency.objects.exists()


class Folder:
    """A collector's lines, read from a folder of the test's own."""

    def __init__(self, folder: Path, *, largest: int = 10**9) -> None:
        self.folder, self.largest = folder, largest
        (folder / "lines").mkdir(exist_ok=True)
        self.reopen = True
        self.start()

    def start(self) -> None:
        self.store = Store()
        self.lines = Lines(Node(run=self.folder, host="127.0.0.1", port=1), self.store)
        tail = Tail(
            self.folder / "lines", self.store.positions(), reopen=lambda: True,
            largest=self.largest, quiet=0,
        )  # fmt: skip
        self.tail = self.lines._tail = tail

    def kill(self) -> None:
        self.tail.close()
        self.start()

    def read(self) -> None:
        while self.lines.some():
            pass


@pytest.fixture
def lines(db: None, tmp_path: Path) -> Iterator[Folder]:
    lines = Folder(tmp_path)
    yield lines
    lines.tail.close()


def test_lines_and_latencies_are_stored_once_whenever_the_collector_ends(lines: Folder) -> None:
    with (lines.folder / "lines" / NAME).open("a") as file:
        for part in range(4):
            file.writelines(f"{a_line(part * 100 + n)}\n" for n in range(100))
            file.flush()
            lines.read()
            if part == 1:
                lines.lines.tidy(last=True)
            lines.kill()
    lines.read()
    lines.lines.tidy(last=True)
    assert LoggedCall.objects.count() == 400
    assert MinuteLatency.objects.get().calls == 400
    position = LogPosition.objects.get()
    assert position.offset == position.timed == (lines.folder / "lines" / NAME).stat().st_size


def test_lines_are_stored_as_they_are_whatever_they_hold(db: None) -> None:
    texts = ["a\\b", "\\N", "a\rb", "\\.", "a\tb", "a\nb", "'\"%s", "\u20ac"]
    for text in texts:
        details = json.dumps({"path": text})
        row = (1, text, "", 200, 0, 0, text, 4, 5, 2, 3, 9, text, 1, 1, 1, 1, details)
        Store().lines(Batch(calls=[row, row]), Position(identity="f"))
    stored = LoggedCall.objects.order_by("pk")
    assert [row.request_id for row in stored] == [text for text in texts for _ in range(2)]
    assert all(row.details == {"path": row.request_id} for row in stored)
    assert all(row.method == row.address == row.request_id for row in stored)


def test_a_line_that_the_database_refuses_does_not_hold_up_the_others(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's refusal is made up: none is known of a line that could be read."""
    from ostiary.usage import bulk

    batch = Batch()
    batch.calls = [
        (1000 + n, f"a-{n}", "", 200, 0, 0, "GET", 4, 5, 2, 3, 9, "", 1, 1, 1, 1, "{}")
        for n in range(3)
    ]

    class Picky:
        def write(self, rows: list[tuple[object, ...]]) -> None:
            if any(row[1] == "a-1" for row in rows):
                raise DataError("no")
            real.write(rows)  # type: ignore[arg-type]

    real = bulk.CALLS
    monkeypatch.setattr(bulk, "CALLS", Picky())
    refused = Store().lines(batch, Position(identity="f", offset=7))
    assert refused == 1
    assert sorted(LoggedCall.objects.values_list("request_id", flat=True)) == ["a-0", "a-2"]
    assert LogPosition.objects.get().offset == 7


# --- all of it ---------------------------------------------------------------------------------------


class Gateway(RuleBasedStateMachine):
    """nginx with two workers, a collector, and everything that can go wrong between them."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        for model in (MinuteCount, CounterBaseline, LoggedCall, MinuteLatency, LogPosition):
            model.objects.all().delete()
        for path in (self.folder / "lines").glob("*"):
            path.unlink()
        self.collector = Folder(self.folder, largest=600)
        self.birth = 1
        self.totals: Counter[int] = Counter()
        self.touched: list[set[int]] = [set(), set()]
        self.pending: list[list[str]] = [[], []]
        self.calls: Counter[int] = Counter()
        self.files: list[FileIO] = []
        self.written = self.pushed = 0
        self._open()

    def _open(self) -> None:
        for file in self.files:
            file.close()
        path = self.folder / "lines" / NAME
        self.files = [path.open("ab", buffering=0) for _ in range(2)]

    worker = st.integers(0, 1)

    @rule(worker=worker, status=st.sampled_from([2, 4, 5]), times=st.integers(1, 3))
    def call(self, worker: int, status: int, times: int) -> None:
        self.totals[status] += times
        self.calls[status] += times
        self.touched[worker].add(status)
        for _ in range(times):
            self.written += 1
            self.files[worker].write(f"{a_line(self.written)}\n".encode())

    @rule(worker=worker)
    def open_a_tunnel(self, worker: int) -> None:
        self.pushed += 1
        self.pending[worker].append(a_line(1_000_000 + self.pushed))

    @rule(worker=worker, both=st.booleans(), answered=st.booleans())
    def push(self, worker: int, both: bool, answered: bool) -> None:
        workers = [0, 1] if both else [worker]
        pushes = [
            Pushed(
                birth=f"b{self.birth}",
                counts={
                    a_key(status=s): (self.totals[s], self.totals[s], 0) for s in self.touched[w]
                },
                limits={},
                lines=tuple(self.pending[w]),
            )
            for w in workers
        ]
        self.collector.store.pushes(pushes, moment=NOW)
        if answered:
            for w in workers:
                self.touched[w].clear()
                self.pending[w].clear()

    @rule(worker=worker)
    def a_worker_dies(self, worker: int) -> None:
        """The next one pushes all that there is in shared memory."""
        self.touched[worker] = set(self.totals)

    @rule()
    def the_gateway_starts_anew(self) -> None:
        """After it has pushed what it had."""
        self.push(0, True, True)
        for worker in (0, 1):
            self.touched[worker] = set(self.totals)
        self.push(0, True, True)
        self.birth += 1
        self.totals.clear()
        self.touched = [set(), set()]
        self._open()

    @rule()
    def the_collector_is_killed(self) -> None:
        self.collector.kill()

    @rule(status=st.sampled_from([2, 4, 5]))
    def the_collector_is_killed_before_a_commit(self, status: int) -> None:
        self.totals[status] += 1
        self.calls[status] += 1
        self.touched[0].add(status)
        counts = {a_key(status=status): (self.totals[status], self.totals[status], 0)}
        push = Pushed(birth=f"b{self.birth}", counts=counts, limits={}, lines=())
        with transaction.atomic():
            self.collector.store.pushes([push], moment=NOW)
            self.collector.lines.some()
            transaction.set_rollback(True)
        self.collector.kill()

    @rule(parts=st.integers(1, 3))
    def read(self, parts: int) -> None:
        for _ in range(parts):
            self.collector.lines.some()

    @rule()
    def tidy(self) -> None:
        self.collector.read()
        self.collector.lines.tidy()

    @rule(worker=worker)
    def a_worker_opens_its_files_anew(self, worker: int) -> None:
        self.files[worker].close()
        self.files[worker] = (self.folder / "lines" / NAME).open("ab", buffering=0)

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert counted() <= self.calls
        assert LoggedCall.objects.count() <= self.written + self.pushed
        assert sum(MinuteLatency.objects.values_list("calls", flat=True)) <= self.written

    def teardown(self) -> None:
        for worker in (0, 1):
            self.touched[worker] |= set(self.totals)
        self.push(0, True, True)
        for file in self.files:
            file.close()
        self.collector.kill()
        self.collector.read()
        self.collector.lines.tidy(last=True)
        assert counted() == self.calls
        assert sum(MinuteCount.objects.values_list("bytes_in", flat=True)) == self.calls.total()
        ids = list(LoggedCall.objects.values_list("request_id", flat=True))
        assert len(ids) == len(set(ids)) == self.written + self.pushed
        assert sum(MinuteLatency.objects.values_list("calls", flat=True)) == self.written
        self.collector.tail.close()


@pytest.mark.slow
def test_everything_is_counted_once_whatever_happens(db: None, tmp_path: Path) -> None:
    class Here(Gateway):
        folder = tmp_path

    (tmp_path / "lines").mkdir()
    run_state_machine_as_test(
        Here, settings=hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
    )
