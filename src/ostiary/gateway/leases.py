"""Rows of the gateway's tables by the names of their elements: what writers and readers agree on."""

from ostiary.access.reasons import Reason, refusal

#: Elements of a lease row (`gpt` array of table `leases`), see `authority.answers`.
LEASE_FIELDS = (
    "verdict",
    "profile",
    "client",
    "seq",
    "exp",
    "rate_limit",
    "rate_interval",
    "quota_limit",
    "quota_start",
    "quota_base",
    "quota_end",
    "credential",
    "policy",
    "method",
    "would",
    "watched",
    "endpoint",
    "collection",
    "limited",
    "serial",
    "rate_top",
)
GPT = {name: index for index, name in enumerate(LEASE_FIELDS)}
#: What is counted on a lease row (`gpc` array): calls that came, what upstreams answered, and of
#: it by class (the rest is 2xx), what HAProxy itself answered for them, and what limits refused.
COUNTS = (
    "called",
    "answered",
    "redirected",
    "client_error",
    "server_error",
    "failed",
    "rate_limited",
    "quota_exceeded",
    "would_rate",
    "would_quota",
)
GPC = {name: index for index, name in enumerate(COUNTS)}
#: Elements of a row of table `refused`.
REFUSED_FIELDS = ("code", "profile", "seq", "exp", "trace")
#: "No limit", above every limit that there can be (`access.limits.LARGEST`).
UNLIMITED = 2**31 - 1

#: Refused calls a second from one address before calls with an unknown credential are refused
#: without asking. `gpc0_rate` looks at a sliding second and may read high, so this is above the
#: 100 that every address is granted.
BAD_CALLS = 200

#: Of how many calls that were answered 2xx one has a log line, where a gateway has more calls a
#: second than `Node.log_rate`. Writing and reading a line takes as long as forwarding a call.
ONE_OF = 16


def code(reason: Reason) -> int:
    """The number by which a reason travels through HAProxy."""
    return refusal(reason).code


def lease(name: str) -> str:
    """HAProxy's words for an element of the lease row that a call has."""
    return f"sc_get_gpt({GPT[name]},0)"


def count(name: str) -> str:
    """The words that count on the lease row."""
    return f"sc-inc-gpc({GPC[name]},0)"
