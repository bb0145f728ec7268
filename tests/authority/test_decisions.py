"""What a decision says to the gateway, from a row of the directory and a moment."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ostiary.access.addresses import BrokenList
from ostiary.access.limits import Period, period
from ostiary.access.methods import AuthMethod
from ostiary.authority import decisions
from ostiary.authority.authentication import Proved
from ostiary.authority.ceilings import Gate
from ostiary.authority.lookup import FeedEntry, Row, StoredKey
from ostiary.authority.traces import Traces
from ostiary.gateway.contract import Lease, Question, Refusal
from ostiary.settings import Ceilings

#: Ten seconds before a day ends, in Unix seconds.
LATE = 20_000 * 86_400 - 10
QUESTION = Question(
    form="t", endpoint=7, collection=5, address="192.0.2.1", trace="", credential="a token"
)
ROW = Row(
    sequence=10, credential=9, revoked_at=None, expires_at=None, overlap_until=None, profile=11,
    profile_active=True, auth_type="token", profile_expires_at=None, policy_since=0,
    allow_list="[]", deny_list="[]", proof="{}", sealed_secret="", public_id="",
    secret_fingerprint=b"", client=2, client_active=True, project=1, policy=4, rate_limit=None,
    rate_interval=None, more_rates=None, quota_limit=100, quota_interval="day",
    addresses_watched=False, limits_watched=False, legacy_headers=False, granted=True,
    callable=True,
)  # fmt: skip


CEILINGS = Ceilings(upcalls_per_second=100, upcalls_per_project=100, leases_per_profile=100)


class Nothing:
    """A database in which nothing was counted."""

    async def find(self, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
        return ROW

    async def named(self, claim: str, key: str, collection: int, endpoint: int) -> list[Row]:
        return []

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        return 3

    async def list_version(self, list_id: int) -> int | None:
        return None

    async def address_list(self, list_id: int) -> tuple[int, str, str] | None:
        return None

    async def custom_claims(self) -> list[str]:
        return []

    async def signing_keys(self) -> list[StoredKey]:
        return []

    async def token_revoked(self, fingerprint: bytes) -> bool:
        return False

    async def changes(self, since: int, most: int) -> list[FeedEntry]:
        return []

    async def latest(self) -> int:
        return 10

    async def close(self) -> None: ...


class Known:
    """Proves that every call is of one row."""

    def __init__(self, row: Row) -> None:
        self.row = row

    async def prove(self, question: Question, now: int) -> Proved:
        return Proved(row=self.row, method=AuthMethod.TOKEN)


@pytest.fixture
def decide(tmp_path: Any) -> Any:
    def decide(now: int = LATE, **changes: object) -> Lease | Refusal:
        row = replace(ROW, **changes)  # type: ignore[arg-type]
        gate = Gate(CEILINGS, clock=lambda: float(now))
        traces = Traces(tmp_path / "nobody.sock")
        return asyncio.run(
            decisions.answer(QUESTION, Known(row), Nothing(), traces, gate, now)  # type: ignore[arg-type]
        )

    return decide


@pytest.mark.parametrize("interval", [each.value for each in Period])
def test_a_lease_ends_with_the_period_of_its_quota(decide: Any, interval: str) -> None:
    """Else calls of the new period would be counted in the old one, for ten minutes."""
    span = period(Period(interval), LATE, 0)
    lease = decide(now=span.end - 10, quota_interval=interval)
    assert isinstance(lease, Lease)
    assert lease.quota_ends == span.end
    assert lease.expires == span.end
    # Well inside of the period it lasts as long as any.
    lease = decide(now=span.start + 10, quota_interval=interval)
    assert span.start + 10 < lease.expires <= span.end
    assert lease.quota_used == 3


@pytest.mark.parametrize("name", ["allow_list", "deny_list"])
@pytest.mark.parametrize(
    "stored", ['["nonsense"]', '["10.0.0.0/33"]', '["192.0.2.1", "nonsense"]', '[""]', '["a b"]']
)
def test_a_stored_address_list_that_does_not_read_admits_nobody(
    decide: Any, name: str, stored: str
) -> None:
    """Not even partly: an empty list would let everybody in."""
    assert isinstance(decide(**{name: "[]"}), Lease)
    with pytest.raises(BrokenList):
        decide(**{name: stored})


@pytest.mark.parametrize("name", ["allow_list", "deny_list"])
@pytest.mark.parametrize(
    "stored", ["5", "null", "{}", '"10.0.0.0/8"', "[5]", "[null]", "[[]]", "x"]
)
def test_a_stored_address_list_of_another_shape_admits_nobody(
    decide: Any, name: str, stored: str
) -> None:
    assert isinstance(decide(**{name: "[]"}), Lease)
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, it is no lease
        decide(**{name: stored})
