"""What a refused caller gets, in HAProxy's words, and how refusals are counted.

Off the fast path: only calls that have a code instead of a lease come here.
"""

from collections.abc import Iterator

from ostiary.access.reasons import Reason, refusal
from ostiary.gateway.browsers import cross_origin
from ostiary.gateway.leases import code


def body(public: str, message: str) -> str:
    return (
        r"{\"message\":\"" + message + r"\",\"reason\":\"" + public
        + r"\",\"request_id\":\"%[unique-id]\"}"
    )  # fmt: skip


def answer(reason: Reason, *, condition: str, headers: tuple[tuple[str, str], ...] = ()) -> str:
    """A `return` rule with the body that callers see for `reason`."""
    told = refusal(reason)
    extra = "".join(f' hdr {name} "{value}"' for name, value in headers)
    return (
        f"http-request return status {told.status} content-type application/json{extra}"
        f' lf-string "{body(told.public_reason, told.message)}" if {condition}'
    )


def refusals() -> Iterator[str]:
    """The answers to calls that have a code; reasons with one public face share a rule."""
    yield from cross_origin()
    yield from _counted()
    faces: dict[tuple[int, str], list[Reason]] = {}
    for reason in Reason:
        told = refusal(reason)
        faces.setdefault((told.status, told.public_reason), []).append(reason)
    for (status, _), reasons in faces.items():
        codes = " ".join(str(code(reason)) for reason in reasons)
        if status == 404:
            nothing_here = f"{{ var(txn.code) -m int {code(Reason.ENDPOINT_NOT_FOUND)} }}"
            yield answer(
                Reason.METHOD_NOT_ALLOWED,
                condition=f"{nothing_here} {{ var(txn.allow) -m found }}",
                headers=(("Allow", "%[var(txn.allow)]"),),
            )
        if status == 401:
            nothing = f"{{ var(txn.code) -m int {code(Reason.CREDENTIAL_MISSING)} }}"
            yield answer(
                Reason.CREDENTIAL_MISSING,
                condition=nothing,
                headers=(("WWW-Authenticate", _CHALLENGE),),
            )
        yield answer(
            reasons[0],
            condition=f"{{ var(txn.code) -m int {codes} }}",
            headers=_HEADERS.get(status, ()),
        )


def _counted() -> Iterator[str]:
    """Count by profile, scope and code; nothing that a stranger makes up is in a key.

    A call whose lease row is not fresh has counter 0 taken; then counter 2 is free, and its bytes
    are counted on the lease row.
    """
    yield "http-request set-var(txn.stale) bool(1) if { sc_tracked(0) }"
    for name in ("profile", "trace"):
        yield f"http-request set-var(txn.r_{name}) int(0)"
        yield f"http-request set-var(txn.r_{name}) var(txn.h_{name})"
        yield f"http-request set-var(txn.r_{name}) var(txn.a_{name})"
    # The owner is told which method is missing; the reason is one of its own.
    other_method = (
        f"{{ var(txn.code) -m int {code(Reason.ENDPOINT_NOT_FOUND)} }}"
        " { var(txn.allow) -m found }"
    )
    yield f"http-request set-var(txn.told) int({code(Reason.METHOD_NOT_ALLOWED)}) if {other_method}"
    yield "http-request set-var(txn.scope) str(0) if !{ var(txn.scope) -m found }"
    yield "http-request set-var(txn.told) var(txn.code) if !{ var(txn.told) -m found }"
    yield (
        "http-request set-var(txn.rkey) var(txn.r_profile),concat(:,txn.scope),concat(:,txn.told)"
    )
    for counter, table, condition in (
        (0, "refusals", "!{ var(txn.stale) -m found }"),
        (2, "refusals_leased", "{ var(txn.stale) -m found }"),
    ):
        yield f"http-request track-sc{counter} var(txn.rkey) table {table} if {condition}"
        # When the row was made tells it from one of the same key before or after it.
        yield (
            f"http-request sc-set-gpt(0,{counter}) date if {condition}"
            f" {{ sc_get_gpt(0,{counter}) eq 0 }}"
        )
        yield f"http-request sc-inc-gpc(0,{counter}) if {condition}"
    yield (
        'http-request set-var-fmt(txn.more) "c=%[var(txn.told)];m=%[method];k=%[var(txn.n)];s=%[var(txn.scope)]'
        ";o=%[var(txn.r_profile)];t=%[var(txn.r_trace)];peer=%[var(txn.peer)];f=%[var(txn.forwarded)]"
        ';p=%[path,bytes(0,1000)]"'
    )


#: RFC 6750, section 3.1: a caller that presented nothing is told no error.
_CHALLENGE = r"Bearer realm=\"api\""
_INVALID = _CHALLENGE + r", error=\"invalid_token\""

_HEADERS: dict[int, tuple[tuple[str, str], ...]] = {
    401: (("WWW-Authenticate", _INVALID),),
    405: (("Allow", "%[var(txn.allow)]"),),
    503: (("Retry-After", "1"),),
}
