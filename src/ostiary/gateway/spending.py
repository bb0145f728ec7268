"""Spending a lease, in HAProxy's words: limits and usage counted, and what the caller is told.

These are the last rules before a call is forwarded. What is counted here is instructions: a
condition costs about 350, a variable that is set 450, a header 250 and its value. A limit that a
profile does not have is one that cannot be reached, so that it needs no condition.

Variables: `txn.rl` and `txn.ql` what is left of rate limit and quota after this call, below zero
where it is one too many, `txn.ri` the window's length, `txn.one` 0 where the log line stands for more
than its own call.
"""

from collections.abc import Iterator

from ostiary.access.reasons import Reason
from ostiary.gateway.leases import GPC, GPT, ONE_OF, UNLIMITED, code, count, lease
from ostiary.gateway.refusing import answer

LIMITED = f"{{ {lease('limited')} gt 0 }}"
TOLD = f"{{ {lease('policy')} gt 0 }}"
METERED = f"{{ {lease('quota_limit')} lt {UNLIMITED} }}"
CODED = "{ var(txn.code) -m found }"
#: Keys of windows and periods are eight bytes: the profile, and in the lower half the time.
PROFILE = f"{lease('profile')},mul({2**32})"
RATE_RESET = "date,mod(txn.ri),neg,add(txn.ri)"


def spend() -> Iterator[str]:
    """Count the call against its profile's quota and rate limit; exact in every window.

    The window's number is part of the key, so a window is never reset, only left behind. The
    counters increment and compare in one step. A row that cannot be had (the table is full) has no
    count, and what has no count is refused. What is refused counts towards nothing: it is taken
    back by counting it in element 1; from the rate limit where a lease is written, see `rate_row`,
    since until then nothing may pass anyway.
    """
    yield f"http-request {count('called')}"
    yield f"http-request allow if !{LIMITED}"
    yield f"http-request set-var(txn.q) {lease('quota_start')}"
    yield f"http-request track-sc2 {PROFILE},add(txn.q) table quota"
    yield "http-request set-var(txn.back) sc_get_gpc(1,2)"
    yield "http-request set-var(txn.qn) sc_inc_gpc(0,2)"
    yield f"http-request set-var(txn.ql) {lease('quota_limit')},add(txn.back),sub(txn.qn)"
    yield f"http-request set-var(txn.ri) {lease('rate_interval')}"
    yield "http-request set-var(txn.w) date,div(txn.ri)"
    yield (
        f"http-request track-sc1 {PROFILE},add(txn.w) table rate_long"
        " if { var(txn.ri) -m int gt 60 }"
    )
    # The counter that is taken stays as it is.
    yield f"http-request track-sc1 {PROFILE},add(txn.w) table rate_short"
    # What the quota refuses is not counted here, and leaves `txn.rl` unset.
    yield "http-request set-var(txn.rn) sc_inc_gpc(0,1) if { var(txn.ql) -m int ge 0 }"
    yield f"http-request set-var(txn.rl) {lease('rate_top')},sub(txn.rn)"
    yield "http-request allow if { var(txn.rl) -m int ge 0 }"
    yield from _exceeded()


def quota_row() -> Iterator[str]:
    """When a lease is written: what its row holds as the quota's limit, for this process's counts.

    Element 0 of the period's row is one more than what was used before this process counted: zero
    is "not yet set".
    """
    yield "http-request set-var(txn.q) var(txn.a_quota_start)"
    yield f"http-request track-sc2 {PROFILE},add(txn.q) table quota"
    yield f"http-request sc-set-gpt(0,2) {lease('quota_base')},add(1) if {{ sc_get_gpt(0,2) eq 0 }}"
    yield "http-request set-var(txn.used) sc_get_gpt(0,2)"
    yield "http-request set-var(txn.top) var(txn.a_quota_limit),add(1),sub(txn.used)"
    yield "http-request set-var(txn.top) int(0) if { var(txn.top) -m int lt 0 }"
    yield f"http-request sc-set-gpt({GPT['quota_limit']},0) var(txn.top) if {METERED}"


def rate_row() -> Iterator[str]:
    """When a lease is written: how much of the rate limit may pass in this window.

    That is the limit, less what passed before this process, and more by what was refused: who
    raises a limit lets calls pass at once. Element 0 is what passed before, set once and before
    anything is counted here. A lease with another number than the limit ends with the window.
    """
    limited = "{ var(txn.a_limited) -m int gt 0 }"
    yield f"http-request set-var(txn.ri) {lease('rate_interval')}"
    yield "http-request set-var(txn.w) date,div(txn.ri)"
    for table, condition in (("rate_long", " { var(txn.ri) -m int gt 60 }"), ("rate_short", "")):
        yield f"http-request track-sc1 {PROFILE},add(txn.w) table {table} if {limited}{condition}"
    fresh = "{ sc_get_gpc(0,1) eq 0 } { sc_get_gpt(0,1) eq 0 }"
    yield f"http-request sc-set-gpt(0,1) var(txn.a_rate_used) if {limited} {fresh}"
    yield "http-request set-var(txn.used) sc_get_gpt(0,1)"
    yield "http-request set-var(txn.back) sc_get_gpc(1,1)"
    yield (
        f"http-request set-var(txn.top) {lease('rate_limit')},add(txn.back),sub(txn.used)"
        f" if {limited}"
    )
    yield f"http-request set-var(txn.top) int(0) if {limited} {{ var(txn.top) -m int lt 0 }}"
    yield f"http-request sc-set-gpt({GPT['rate_top']},0) var(txn.top) if {limited}"
    yield "http-request set-var(txn.end) var(txn.w),add(1),mul(txn.ri)"
    yield (
        f"http-request sc-set-gpt({GPT['exp']},0) var(txn.end) if {limited}"
        f" !{{ {lease('rate_limit')},sub(txn.top) eq 0 }} {{ {lease('exp')},sub(txn.end) gt 0 }}"
    )


def _exceeded() -> Iterator[str]:
    """Answer what is over a limit, with the seconds until it is full again, and nothing left."""
    quota, rate = code(Reason.QUOTA_EXCEEDED), code(Reason.RATE_LIMITED)
    yield f"http-request set-var(txn.code) int({quota}) if {{ var(txn.ql) -m int lt 0 }}"
    yield f"http-request set-var(txn.code) int({rate}) if {{ var(txn.rl) -m int lt 0 }}"
    yield f"http-request set-var(txn.answered) bool(1) if !{CODED}"
    yield f"http-request {count('failed')} if !{CODED}"
    yield answer(Reason.OVERLOADED, condition=f"!{CODED}", headers=(("Retry-After", "1"),))
    by_quota, by_rate = (f"{{ var(txn.code) -m int {number} }}" for number in (quota, rate))
    watched = f"{{ {lease('watched')} gt 0 }}"
    yield f"http-request {count('would_rate')} if {watched} {by_rate}"
    yield f"http-request {count('would_quota')} if {watched} {by_quota}"
    yield f'http-request set-var-fmt(txn.more) "w=%[var(txn.code)]" if {watched}'
    yield f"http-request unset-var(txn.code) if {watched}"
    yield f"http-request allow if {watched}"
    yield f"http-request {count('rate_limited')} if {by_rate}"
    yield f"http-request {count('quota_exceeded')} if {by_quota}"
    yield "http-request sc-inc-gpc(1,2)"
    yield f"http-request sc-inc-gpc(1,1) if {by_rate}"
    yield (
        f'http-request set-var-fmt(txn.more) "c=%[var(txn.code)];m=%[method];l=%[{lease("rate_limit")}];i=%[var(txn.ri)]'
        f";e=%[{lease('quota_end')}];u=%[sc_get_gpc(0,2)];b=%[sc_get_gpc(1,2)]"
        f';g=%[sc_get_gpt(0,2)];q=%[{lease("quota_limit")}];p=%[path,bytes(0,1000)]"'
    )
    # What is left of the other limit is said as it is.
    yield f"http-request set-var(txn.rn) sc_get_gpc(0,1) if {by_quota}"
    yield f"http-request set-var(txn.rl) {lease('rate_top')},sub(txn.rn) if {by_quota}"
    yield f"http-request set-var(txn.ql) int(0) if {by_quota}"
    yield f"http-request set-var(txn.rl) int(0) if {by_rate}"
    # It was taken back.
    yield f"http-request set-var(txn.ql) var(txn.ql),add(1) if {by_rate}"
    yield "http-request set-var(txn.now) date"
    quota_reset = f"{lease('quota_end')},sub(txn.now)"
    for reason, condition, reset in (
        (Reason.RATE_LIMITED, by_rate, RATE_RESET),
        (Reason.QUOTA_EXCEEDED, by_quota, quota_reset),
    ):
        yield answer(reason, condition=condition, headers=(("Retry-After", f"%[{reset}]"),))


def tell() -> Iterator[str]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10, sections 3, 4).

    They are on every answer to a limited profile, and the older
    `X-RateLimit-…` for the rate limit alone. What a policy says of itself is a text in a map. One
    that is only watched says nothing.
    """
    # HAProxy says 503 where no connection came about; to a caller that is a bad gateway. What the
    # upstream itself answered stays as it is. (Here, an action cannot count, but a fetch can.)
    yield (
        f'http-after-response set-var-fmt(txn.more) "u=%[status];n=%[sc_inc_gpc({GPC["failed"]},0)]"'
        " if { status ge 500 } !{ var(txn.answered) -m found }"
    )
    yield (
        "http-after-response set-status 502 if { status 503 } { var(txn.more) -m beg u= }"
        " !{ var(txn.answered) -m found }"
    )
    yield f"http-after-response allow if !{TOLD}"
    header = "http-after-response add-header {} {}"
    yield f"http-after-response set-var(txn.rs) {RATE_RESET}"
    rate = r"\"rate\";r=%[var(txn.rl)];t=%[var(txn.rs)]"
    quota = rf"\"quota\";r=%[var(txn.ql)];t=%[{lease('quota_end')},sub(txn.now)]"
    for kind, said in ((3, f"{rate}, {quota}"), (1, rate), (2, quota)):
        condition = f"{{ {lease('limited')} eq {kind} }}"
        yield header.format("RateLimit", f'"{said}" if {condition}')
    yield header.format("RateLimit-Policy", f"%[{lease('policy')},map_str(policies.map)]")
    yield f"http-after-response allow if {{ {lease('limited')} eq 2 }}"
    yield header.format("X-RateLimit-Limit", f"%[{lease('rate_limit')}]")
    yield header.format("X-RateLimit-Remaining", "%[var(txn.rl)]")
    yield header.format("X-RateLimit-Reset", "%[var(txn.rs)]")


def classify(log_rate: int) -> Iterator[str]:
    """What an upstream answered, counted by class; most answers leave at the second rule.

    These have a log line each up to a rate, in calls a second, and one in so many above it.
    """
    yield f"http-response {count('answered')}"
    yield (
        f"http-response set-var(txn.one) rand({ONE_OF})"
        f" if {{ status lt 300 }} {{ fe_req_rate(gateway) gt {log_rate} }}"
    )
    yield "http-response set-log-level silent if { var(txn.one) -m int gt 0 }"
    yield "http-response allow if { status lt 300 }"
    yield "http-response set-var(txn.answered) bool(1) if { status ge 500 }"
    yield f"http-response {count('redirected')} if {{ status lt 400 }}"
    yield f"http-response {count('client_error')} if {{ status 400:499 }}"
    yield f"http-response {count('server_error')} if {{ status ge 500 }}"
