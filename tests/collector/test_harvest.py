"""Whatever happens to a collector, every call of a row is counted once."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from ostiary.access.reasons import Reason
from ostiary.collector.harvest import Cell, gain
from ostiary.collector.rows import Row, leases, quota, rates, refusals
from ostiary.gateway.leases import COUNTS, GPC, GPT, code

RATE, QUOTA = code(Reason.RATE_LIMITED), code(Reason.QUOTA_EXCEEDED)
KINDS = ("2xx", "3xx", "4xx", "5xx", "failed", "silent", "rate", "quota", "would", "open")
OUTCOME = st.sampled_from(KINDS)


@dataclass
class Lease:
    """A lease row as HAProxy would count on it."""

    would: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    open: int = 0
    expected: Counter[Cell] = field(default_factory=Counter)

    def call(self, outcome: str) -> None:
        self.counts["called"] += 1
        if outcome == "open":
            self.open += 1
            return
        self.end(outcome)

    def end(self, outcome: str) -> None:
        match outcome:
            case "failed":
                self.counts["failed"] += 1
                self.expected[5, 0, self.would] += 1
            case "silent":
                self.expected[0, 0, self.would] += 1
            case "rate" | "quota":
                name, reason = {"rate": ("rate_limited", RATE), "quota": ("quota_exceeded", QUOTA)}[
                    outcome
                ]
                self.counts[name] += 1
                self.expected[4, reason, 0] += 1
            case "would":
                self.counts["would_rate"] += 1
                self.counts["answered"] += 1
                self.expected[2, 0, RATE] += 1
            case _:
                self.counts["answered"] += 1
                classes = {"3xx": "redirected", "4xx": "client_error", "5xx": "server_error"}
                if outcome in classes:
                    self.counts[classes[outcome]] += 1
                self.expected[int(outcome[0]), 0, self.would] += 1

    @property
    def line(self) -> str:
        told = {
            "profile": 3, "client": 2, "credential": 9, "endpoint": 5, "collection": 4,
            "serial": 77, "would": self.would,
        }  # fmt: skip
        gpt = " ".join(f"gpt{i}={told.get(n, 0)}" for n, i in GPT.items())
        gpc = " ".join(f"gpc{GPC[n]}={self.counts[n]}" for n in COUNTS)
        calls = self.counts["called"]
        return (
            f"0x55: key=ost_secret/e5;c4;up_0;-;0 use={self.open} exp=1"
            f" bytes_in_cnt={calls * 10} bytes_out_cnt={calls * 20} {gpt} {gpc}"
        )

    @property
    def row(self) -> Row:
        (row,) = leases([self.line])
        return row


@given(
    st.lists(
        st.one_of(
            OUTCOME.map(lambda o: ("call", o)),
            st.just(("end", "")),
            st.just(("harvest", "")),
            # Harvested, and the database said no: nothing of it was kept.
            st.just(("failed harvest", "")),
        ),
        max_size=60,
    ),
    st.sampled_from([0, code(Reason.ADDRESS_NOT_ALLOWED)]),
)
def test_every_call_is_counted_once_however_the_row_is_looked_at(
    steps: list[tuple[str, str]], would: int
) -> None:
    lease, counted, baseline = Lease(would=would), Counter[Cell](), dict[str, int]()
    size = Counter[str]()

    def harvest() -> None:
        nonlocal baseline
        if not lease.counts["called"]:
            return
        found = gain(lease.row, baseline)
        if found is not None:
            assert all(calls > 0 for calls in found.calls.values())
            counted.update(found.calls)
            size.update({"in": found.bytes_in, "out": found.bytes_out})
            baseline = dict(found.baseline)

    for step, outcome in steps:
        match step:
            case "call":
                lease.call(outcome)
            case "end" if lease.open:
                lease.open -= 1
                lease.end("2xx")
            case "harvest":
                harvest()
            case "failed harvest" if lease.counts["called"]:
                gain(lease.row, baseline)
    while lease.open:
        lease.open -= 1
        lease.end("2xx")
    harvest()
    # A watched limit's calls are of the classes that were there to take them from.
    by_outcome = Counter[tuple[int, int]]()
    expected = Counter[tuple[int, int]]()
    for (_, reason, would_), calls in counted.items():
        by_outcome[reason, would_] += calls
    for (_, reason, would_), calls in lease.expected.items():
        expected[reason, would_] += calls
    assert sum(counted.values()) == lease.counts["called"]
    assert by_outcome == expected
    if not lease.counts["would_rate"]:
        assert +counted == +lease.expected
    calls = lease.counts["called"]
    assert size == Counter({"in": calls * 10, "out": calls * 20}) if calls else not size


def test_a_row_that_was_made_anew_is_another_one() -> None:
    lease = Lease()
    lease.call("2xx")
    again = lease.line.replace(f"gpt{GPT['serial']}=77", f"gpt{GPT['serial']}=78")
    (row,) = leases([again])
    assert row.identity != lease.row.identity


def test_no_credential_is_in_what_is_read() -> None:
    lease = Lease()
    lease.call("2xx")
    assert "ost_secret" not in repr(lease.row)


def test_refusals_are_counted_by_profile_scope_and_reason() -> None:
    lines = [
        "0x1: key=7:e5;c4;up_0;-;0:24 use=0 exp=1 bytes_in_cnt=9 bytes_out_cnt=8 gpt0=100 gpc0=3",
        "0x2: key=0:0:13 use=0 exp=1 bytes_in_cnt=1 bytes_out_cnt=2 gpt0=100 gpc0=5",
        "0x3: key=0:c4:12 use=0 exp=1 bytes_in_cnt=1 bytes_out_cnt=2 gpt0=100 gpc0=1",
        "nonsense",
    ]
    found = list(refusals(lines, "r"))
    assert [(r.profile, r.collection, r.endpoint, r.status, r.reason) for r in found] == [
        (7, 4, 5, 4, 24),
        (0, 0, 0, 4, 13),
        (0, 4, 0, 4, 12),
    ]
    first = gain(found[0], {})
    assert first is not None
    assert first.calls == {(4, 24, 0): 3}
    assert gain(found[0], first.baseline) is None


def test_quotas_are_read_and_a_profile_without_one_is_not() -> None:
    lines = [
        "0x1: key=000000016AE68100 use=0 exp=1 gpt0=11 gpc0=7 gpc1=2",
        "0x2: key=0000000200000000 use=0 exp=1 gpt0=1 gpc0=7 gpc1=0",
    ]
    assert quota(lines) == {(1, 0x6AE68100): 15}


def test_rate_limits_are_read_without_what_they_refused_and_with_what_was_before() -> None:
    lines = [
        "0x1: key=0000000100005078 use=0 exp=1 gpt0=2 gpc0=7 gpc1=3",
        "0x2: key=0000000200005078 use=0 exp=1 gpt0=2 gpc0=0 gpc1=0",
        "nonsense",
    ]
    assert rates(lines) == {(1, 0x5078): 6}
