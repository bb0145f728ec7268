"""Leases and refusals as hypothesis makes them."""

from hypothesis import strategies as st

from ostiary.access.limits import LARGEST
from ostiary.access.reasons import Reason
from ostiary.gateway.contract import METHOD_NUMBERS, Lease, Refusal, code

ID = st.integers(1, 2**48)
SOME = st.integers(0, 2**48)
MOMENT = st.integers(1, 4_000_000_000)
FLAG = st.integers(0, 1)
WINDOWS = (1, 60, 3600, 86_400)


def a_lease(
    *,
    profile: int = 1,
    rates: tuple[tuple[int, int], ...] = (),
    used: tuple[tuple[int, int], ...] = (),
    quota: tuple[int, int, int, int] = (0, 0, 0, 0),
    report_only: bool = False,
    expires: int = 2_000_000_000,
    weight: int = 1,
) -> Lease:
    """A lease; `rates` are limits and seconds, `used` calls and start, `quota` limit, start, end, used."""
    return Lease(
        profile=profile, client=2, project=9, policy=3, collection=4, endpoint=5, credential=6, sequence=7,
        expires=expires, ends=0, method=1, bound=0, would=0, report_only=int(report_only),
        legacy_headers=1, weight=weight,
        rates=",".join(f"{limit}:{seconds}" for limit, seconds in rates),
        rates_used=",".join(
            f"{calls}:{start}" for calls, start in used or ((0, 0),) * len(rates)
        ),
        quota=quota[0], quota_starts=quota[1], quota_ends=quota[2], quota_used=quota[3],
        announced="",
    )  # fmt: skip


def _limits(windows: list[tuple[int, int, int, int]]) -> tuple[str, str]:
    windows.sort(key=lambda window: window[1])
    return (
        ",".join(f"{limit}:{seconds}" for limit, seconds, _, _ in windows),
        ",".join(f"{calls}:{start}" for _, _, calls, start in windows),
    )


_RATES = st.lists(
    st.tuples(st.integers(1, LARGEST), st.sampled_from(WINDOWS), st.integers(0, LARGEST), MOMENT),
    max_size=4,
    unique_by=lambda window: window[1],
).map(_limits)
_QUOTA = st.one_of(
    st.just((0, 0, 0, 0)),
    st.tuples(st.integers(1, LARGEST), MOMENT, st.integers(1, 10**7), SOME).map(
        lambda q: (q[0], q[1], q[1] + q[2], q[3])
    ),
)


@st.composite
def leases(draw: st.DrawFn) -> Lease:
    rates, used = draw(_RATES)
    quota = draw(_QUOTA)
    return Lease(
        profile=draw(ID), client=draw(ID), project=draw(ID), policy=draw(SOME), collection=draw(ID),
        endpoint=draw(ID), credential=draw(ID), sequence=draw(ID), expires=draw(MOMENT),
        ends=draw(st.one_of(st.just(0), MOMENT)),
        method=draw(st.sampled_from(sorted(METHOD_NUMBERS.values()))),
        bound=draw(FLAG), would=draw(st.sampled_from([0, *map(code, Reason)])),
        report_only=draw(FLAG), legacy_headers=draw(FLAG), weight=draw(st.integers(1, 10_000)),
        policy_name=draw(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))), rates=rates, rates_used=used,
        quota=quota[0], quota_starts=quota[1], quota_ends=quota[2], quota_used=quota[3],
        announced=draw(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))),
    )  # fmt: skip


REFUSALS = st.builds(
    Refusal,
    profile=SOME,
    bound=FLAG,
    sequence=SOME,
    expires=st.one_of(st.just(0), MOMENT),
    code=st.sampled_from([code(reason) for reason in Reason]),
    trace=SOME,
)
