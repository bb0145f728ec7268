"""What a decision says to the gateway, from a row of the directory and a moment."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ostiary.access.addresses import BrokenList, NamedList, pack, parse_list
from ostiary.access.limits import Interval, Period, Quota, RateLimit, period
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import Reason, describe
from ostiary.authority import decisions
from ostiary.authority.authentication import Proved
from ostiary.authority.ceilings import Busy, Gate
from ostiary.authority.lookup import FeedEntry, Row, StoredKey
from ostiary.authority.traces import Traces
from ostiary.gateway.contract import Lease, Question, Refusal, code
from ostiary.identity.signed_tokens import TokenProblem
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

    def __init__(self, row: Row, problem: TokenProblem | None) -> None:
        self.row, self.problem = row, problem

    async def prove(self, question: Question, now: int) -> Proved:
        return Proved(row=self.row, method=AuthMethod.TOKEN, problem=self.problem)


@pytest.fixture
def decide(tmp_path: Any) -> Any:
    def decide(
        now: int = LATE,
        question: Question = QUESTION,
        problem: TokenProblem | None = None,
        **changes: object,
    ) -> Lease | Refusal:
        row = replace(ROW, **changes)  # type: ignore[arg-type]
        gate = Gate(CEILINGS, clock=lambda: float(now))
        traces = Traces(tmp_path / "nobody.sock")
        return asyncio.run(
            decisions.answer(question, Known(row, problem), Nothing(), traces, gate, now)  # type: ignore[arg-type]
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
    with pytest.raises(Exception):  # noqa: B017 - any error will do, as long as no lease comes out
        decide(**{name: stored})


def test_a_lease_names_the_credential_that_was_used(decide: Any) -> None:
    assert decide().credential == ROW.credential


def test_a_lease_without_a_quota_holds_no_period_and_no_calls(decide: Any) -> None:
    lease = decide(quota_limit=None, quota_interval=None)
    assert (lease.quota, lease.quota_starts, lease.quota_ends, lease.quota_used) == (0, 0, 0, 0)


@pytest.mark.parametrize(("weight", "counts"), [(None, 1), (1, 1), (5, 5)])
def test_a_call_counts_with_the_weight_of_its_endpoint(
    decide: Any, weight: int | None, counts: int
) -> None:
    lease = decide(weight=weight)
    assert lease.weight == counts
    assert lease.quota == 100


def test_a_call_that_counts_nothing_is_not_limited(decide: Any) -> None:
    lease = decide(weight=0, rate_limit=3, rate_interval="second")
    assert (lease.quota, lease.rates, lease.rates_used, lease.announced) == (0, "", "", "")
    assert lease.weight == 1


def test_only_proved_calls_count_against_the_ceiling_of_their_profile(tmp_path: Any) -> None:
    """A forged token must not use up the share of the profile that it names."""
    gate = Gate(replace(CEILINGS, upcalls_per_second=1), clock=lambda: float(LATE))
    traces = Traces(tmp_path / "nobody.sock")

    def call(problem: TokenProblem | None = None) -> Lease | Refusal:
        known = Known(ROW, problem)
        return asyncio.run(
            decisions.answer(QUESTION, known, Nothing(), traces, gate, LATE)  # type: ignore[arg-type]
        )

    for _ in range(3):
        assert isinstance(call(TokenProblem(part="signature", expected="ours", found="x")), Refusal)
    assert isinstance(call(), Lease)
    with pytest.raises(Busy):
        call()


def test_a_limit_is_raised_until_its_last_second_and_no_longer(decide: Any) -> None:
    def quota(raised_until: int) -> int:
        return decide(raised_limits='{"quota": 500}', raised_until=raised_until).quota  # type: ignore[no-any-return]

    assert quota(LATE + 1) == 500
    assert quota(LATE) == 100


def test_a_right_without_an_end_has_none_in_its_lease(decide: Any) -> None:
    assert decide().ends == 0
    assert decide(expires_at=LATE + 100, profile_expires_at=LATE + 50).ends == LATE + 50


@pytest.mark.parametrize("stored", ['{"quota": 0}', '{"quota": "5"}', '{"other": 5}', "[]5", "[5]"])
def test_a_stored_number_of_a_limit_that_does_not_read_admits_nobody(
    decide: Any, stored: str
) -> None:
    with pytest.raises(ValueError, match=r"."):
        decide(raised_limits=stored, raised_until=LATE + 100)
    with pytest.raises(ValueError, match=r"."):
        decide(limit_resets=stored)


def test_a_question_about_usage_is_limited_and_counts_once_whatever_an_endpoint_weighs(
    decide: Any,
) -> None:
    usage = replace(QUESTION, usage=1, endpoint=0, collection=0)
    lease = decide(question=usage, weight=0, policy_name="Gold\tplan", callable=False)
    assert lease.weight == 1
    assert lease.quota == 100
    assert lease.policy_name == "Gold plan"
    assert not decide(policy_name="Gold plan").policy_name


@pytest.mark.parametrize(
    ("endpoint", "reason"), [(0, Reason.ENDPOINT_NOT_FOUND), (7, Reason.ENDPOINT_INACTIVE)]
)
def test_an_endpoint_that_nobody_knew_is_not_found_and_one_that_went_is_inactive(
    decide: Any, endpoint: int, reason: Reason
) -> None:
    refusal = decide(question=replace(QUESTION, endpoint=endpoint), callable=False)
    assert refusal.code == code(reason)


def test_a_refusal_is_held_for_seconds_from_now_where_it_may_be_held(decide: Any) -> None:
    refusal = decide(client_active=False)
    assert describe(Reason.CLIENT_INACTIVE).is_held
    assert refusal.expires == LATE + decisions.REFUSAL_SECONDS


@pytest.mark.parametrize("who", ["profile", "client"])
def test_what_is_off_until_a_moment_is_refused_before_and_admitted_from_then_on(
    decide: Any, who: str
) -> None:
    def at(until: int) -> Lease | Refusal:
        return decide(**{f"{who}_active": False, f"{who}_inactive_until": until})  # type: ignore[no-any-return]

    assert isinstance(at(LATE), Lease)
    soon, later = at(LATE + 3), at(LATE + 3600)
    assert isinstance(soon, Refusal)
    assert isinstance(later, Refusal)
    # No gateway repeats the refusal when it does not hold any more.
    assert soon.expires == LATE + 3
    assert later.expires == LATE + decisions.REFUSAL_SECONDS


@pytest.mark.parametrize(
    ("passing", "seconds"),
    [(True, decisions.PASSING_SECONDS), (False, decisions.REFUSAL_SECONDS)],
)
def test_a_refusal_for_what_may_change_in_a_moment_is_held_shortly(
    decide: Any, passing: bool, seconds: int
) -> None:
    problem = TokenProblem(part="keys", expected="a key", found="none", passing=passing)
    assert decide(problem=problem).expires == LATE + seconds


@pytest.mark.parametrize(("deny_list", "bound"), [("[]", 0), ('["192.0.2.0/24"]', 1)])
def test_a_refusal_is_bound_to_the_address_just_where_the_profile_has_lists(
    decide: Any, deny_list: str, bound: int
) -> None:
    refusal = decide(deny_list=deny_list, client_active=False)
    assert isinstance(refusal, Refusal)
    assert refusal.bound == bound


def test_a_refusal_above_a_ceiling_is_not_held_and_names_nobody() -> None:
    refused = decisions.overloaded()
    assert refused.code == code(Reason.OVERLOADED)
    assert (refused.profile, refused.bound, refused.sequence) == (0, 0, 0)
    assert (refused.expires, refused.trace) == (0, 0)


def test_shared_lists_that_allow_and_that_deny_are_not_mixed_up() -> None:
    allowing, denying = (
        NamedList(id=number, name=text, packed=pack(parse_list([text]).networks))
        for number, text in ((1, "192.0.2.0/24"), (2, "198.51.100.0/24"))
    )
    profile = decisions.known(ROW, LATE, ((allowing,), (denying,))).profile
    assert profile.allowed_lists == (allowing,)
    assert profile.denied_lists == (denying,)


@pytest.mark.parametrize(
    ("period", "window"),
    [
        (Period.DAY, ";w=86400"),
        (Period.WEEK, ";w=604800"),
        (Period.MONTH, ""),
        (Period.DAYS_30, ";w=2592000"),
        (Period.DAYS_60, ";w=5184000"),
        (Period.DAYS_90, ";w=7776000"),
    ],
)
def test_a_quota_is_announced_with_the_seconds_of_its_period(period: Period, window: str) -> None:
    """Months differ in length, and have none."""
    quota = Quota(limit=100, period=period)
    assert decisions.announced((), quota) == f'"quota";q=100{window}'


def test_one_rate_limit_is_announced_as_the_rate_and_several_by_their_intervals() -> None:
    second, hour = (
        RateLimit(limit=3, interval=Interval.SECOND),
        RateLimit(limit=90, interval=Interval.HOUR),
    )
    assert decisions.announced((), None) == ""
    assert decisions.announced((hour,), None) == '"rate";q=90;w=3600'
    assert (
        decisions.announced((second, hour), None) == '"per-second";q=3;w=1, "per-hour";q=90;w=3600'
    )


def test_a_policy_is_announced_just_where_its_limits_refuse(decide: Any) -> None:
    assert decide().announced == '"quota";q=100;w=86400'
    watched = decide(limits_watched=True)
    assert (watched.announced, watched.report_only) == ("", 1)
    assert decide().would == 0
