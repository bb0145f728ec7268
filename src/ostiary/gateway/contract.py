"""What the gateway's Lua and our Python agree on: every field that crosses, named once.

Python's writers and readers are made from these names, and `lua_module` renders them for Lua. Nothing
else may hold a list of these fields. Knows neither nginx's configuration nor the directory.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from ostiary.access.limits import LARGEST
from ostiary.access.methods import AuthMethod
from ostiary.access.paths import ANY, METHODS
from ostiary.access.reasons import Reason, describe
from ostiary.identity.signed_tokens import LONGEST

# --- the upcall (authority.upcalls, lua/upcall.lua) ------------------------------------------------

#: How a credential was presented: API-TOKEN header, bearer token, password of Basic.
FORMS = {"token": "t", "bearer": "b", "basic": "s"}
BEARER = FORMS["bearer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call without a lease; on the wire one line a field. Ids of what is unknown are 0."""

    #: How the credential was presented, see FORMS.
    form: str
    endpoint: int
    collection: int
    #: 1: the consumer asks for its used limits (USAGE_PATH); endpoint and collection are 0.
    usage: int = 0
    address: str
    #: The caller's `traceparent` header (W3C Trace Context), or empty.
    trace: str
    #: Last, since it may hold anything but a line end.
    credential: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A decision that calls may pass; on the wire its fields are separated by tabs. Unix seconds."""

    profile: int
    client: int
    #: The client's.
    project: int
    #: 0: none.
    policy: int
    collection: int
    endpoint: int
    credential: int
    #: Sequence of the change feed that the decision was taken at.
    sequence: int
    #: When the authority must decide again.
    expires: int
    #: When the access itself ends, which also ends open streams; 0: never.
    ends: int
    #: See METHOD_NUMBERS.
    method: int
    #: 1: good only for the address that called.
    bound: int
    #: Ids of the address lists that the decision used, separated by commas; empty: none.
    address_lists: str = ""
    #: Code of the reason for which watch-only address lists would have refused; 0: none.
    would: int
    #: 1: the limits are counted, and refuse nothing.
    report_only: int
    #: 1: every answer has the X-RateLimit headers; 0: only one that is refused.
    legacy_headers: int
    #: What a call counts in every limit; at least 1, those that count nothing have no limits.
    weight: int = 1
    #: Rate limits, `limit:seconds` separated by commas, shortest first; empty: none.
    rates: str
    #: Of each of `rates`, `calls:start`: what was counted in the window since then, as far as that is
    #: kept; separated by commas. That is the start of a window, or when it was reset.
    rates_used: str
    #: Largest number of calls in the quota's period; 0: no quota.
    quota: int
    #: Start of counting: the period's start, or the last reset of the quota.
    quota_starts: int
    quota_ends: int
    quota_used: int
    #: Value of the RateLimit-Policy header; empty: send no RateLimit headers.
    announced: str
    #: The policy's name, for questions about used limits; else empty.
    policy_name: str = ""
    #: The quota's period as its count is stored (`access.limits.Period`); empty: no quota.
    quota_period: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A decision that a call may not pass; on the wire like a lease."""

    profile: int
    #: 1: the refusal depends on the caller's address.
    bound: int
    sequence: int
    #: Until when the refusal may be repeated without asking; 0: it may not be.
    expires: int
    code: int
    #: Number of the stored trace that says why; 0: there is none.
    trace: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A node asks for a block of a limit's window; on the wire ASKING, and then a line for each field."""

    #: The counter's key, as in LIMIT_KEY.
    window: str
    #: When the window ends, Unix seconds.
    ends: int
    limit: int
    #: 0: the limit is only watched, so more than it may be granted.
    bound: int
    #: What the waiting calls count together, and the lightest of them; 0: only look.
    need: int
    least: int
    #: What this start of the gateway was granted so far, and what it gives back of that.
    granted: int
    returned: int
    #: What is counted over all nodes, as far as this node knows.
    counted: int
    #: For a quota its period as it is stored, else empty.
    period: str
    #: Tells one start of nginx from another.
    birth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGrant:
    """The answer to an Ask; on the wire like a lease."""

    granted: int
    #: What is counted over all nodes, with that.
    counted: int
    #: What may still be granted: over all nodes, or to this one if it goes on with its share.
    left: int
    #: The gateway asks again in advance when it has less than this; 0: when it has none.
    low: int
    #: See STORE_STATES.
    store: int


#: Whether a grant comes from the store: yes; no, it is this node's share; no, and calls are refused.
STORE_STATES = {"answers": 1, "share": 2, "refuse": 3}

#: First line of an Ask, where a Question has one of FORMS.
ASKING = "w"
ASK = tuple(each.name for each in fields(Ask))
GRANT = tuple(each.name for each in fields(BlockGrant))
QUESTION = tuple(each.name for each in fields(Question))
LEASE = tuple(each.name for each in fields(Lease))
LEASE_TEXTS = frozenset(each.name for each in fields(Lease) if each.type is str)
REFUSAL = tuple(each.name for each in fields(Refusal))
#: First word of an answer.
ANSWERS = {"lease": "A", "refusal": "D", "grant": "G"}

#: How a method travels in leases; stable.
METHOD_NUMBERS = {
    AuthMethod.TOKEN: 1,
    AuthMethod.OAUTH2: 2,
    AuthMethod.JWT: 3,
    AuthMethod.OIDC: 4,
}


class BadQuestion(ValueError):
    """The gateway's message isn't a valid question."""


def read_question(body: bytes) -> Question:
    """Take a question's lines apart; raises BadQuestion."""
    texts = body.decode("latin-1").split("\n", len(QUESTION) - 1)
    if len(texts) != len(QUESTION):
        raise BadQuestion
    values = dict(zip(QUESTION, texts, strict=True))
    try:
        return Question(
            form=values["form"],
            endpoint=int(values["endpoint"]),
            collection=int(values["collection"]),
            usage=int(values["usage"]),
            address=values["address"],
            trace=values["trace"],
            credential=values["credential"],
        )
    except ValueError:
        raise BadQuestion from None


def is_ask(body: bytes) -> bool:
    """Whether a message is an Ask, and not a Question."""
    return body.startswith(f"{ASKING}\n".encode())


_ASK_TEXTS = frozenset(each.name for each in fields(Ask) if each.type is str)


def read_ask(body: bytes) -> Ask:
    """Take the lines of an Ask apart; raises BadQuestion."""
    texts = body.decode("latin-1").split("\n")[1:]
    if len(texts) != len(ASK):
        raise BadQuestion
    try:
        values: dict[str, Any] = {
            name: text if name in _ASK_TEXTS else int(text)
            for name, text in zip(ASK, texts, strict=True)
        }
    except ValueError:
        raise BadQuestion from None
    return Ask(**values)


def write_grant(grant: BlockGrant) -> bytes:
    """A grant as `lua/ostiary/budgets.lua` reads it."""
    return "\t".join((ANSWERS["grant"], *map(str, _grant_values(grant)))).encode()


_grant_values = attrgetter(*GRANT)


def write_answer(answer: Lease | Refusal) -> bytes:
    """An answer as `lua/ostiary/leases.lua` reads it."""
    if isinstance(answer, Lease):
        kind, values = "lease", _lease_values(answer)
    else:
        kind, values = "refusal", _refusal_values(answer)
    return "\t".join((ANSWERS[kind], *map(str, values))).encode()


_lease_values, _refusal_values = attrgetter(*LEASE), attrgetter(*REFUSAL)


#: Path at which consumers read their used limits.
USAGE_PATH = "/usage"

# --- epochs (authority.follower, lua/control.lua) --------------------------------------------------

#: First letter of an epoch's key by what it belongs to; the object's id follows.
EPOCHS = {
    "profile": "p", "client": "c", "policy": "l", "collection": "k", "endpoint": "e",
    "address_list": "a",
}  # fmt: skip

# --- published objects (publishing, lua/routes.lua, lua/upstreams.lua) -----------------------------

#: First letter of a published object's key; the object's id follows, or for an imported credential
#: its SHA-256 in lower-case hex. The settings have the key `s` alone.
OBJECTS = {
    "collection": "k",
    "endpoint": "e",
    "connection": "u",
    "imported": "i",
    "settings": "s",
}

#: How an upstream is told its public address, as a published connection says it.
PUBLIC_ADDRESSES = {
    "none": "none",
    "x_forwarded": "x_forwarded",
    "forwarded": "forwarded",
    "host": "host",
}

#: Status of HTTP → code of gRPC, for calls that the gateway answers itself.
GRPC_STATUSES = {
    400: 3, 401: 16, 403: 7, 404: 12, 405: 12, 408: 4, 409: 10, 411: 3, 413: 8, 414: 3, 421: 3,
    422: 3, 429: 8, 431: 8, 500: 13, 501: 12, 502: 14, 503: 14, 504: 4, 508: 9,
}  # fmt: skip

#: Headers of a caller that do not reach the upstream: other systems' words for who calls, from where,
#: by which path or method. Whole families of names go besides these, see lua/ostiary/credentials.lua.
STRIPPED = (
    "API-TOKEN", "Authorization", "CF-Access-Authenticated-User-Email", "CF-Access-Client-Id",
    "CF-Access-Client-Secret", "CF-Access-Jwt-Assertion", "CF-Connecting-IP",
    "CF-Connecting-IPv6", "CF-Pseudo-IPv4", "Client-Cert", "Client-Cert-Chain", "Client-IP",
    "Disguised-Host", "Fastly-Client-IP", "Fly-Client-IP", "Forwarded", "Front-End-Https",
    "HTTP2-Settings", "Proxy", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
    "Remote-Email", "Remote-Groups", "Remote-Name", "Remote-User", "SSL-Client-Cert",
    "SSL-Client-Verify", "Tailscale-User-Login", "Tailscale-User-Name", "TE", "Trailer",
    "True-Client-IP", "WL-Proxy-Client-IP", "X-Accel-Mapping", "X-Amzn-Oidc-Accesstoken",
    "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Apigateway-Api-Userinfo",
    "X-Appengine-User-IP", "X-ARR-ClientCert", "X-ARR-SSL", "X-Auth-Request-Email",
    "X-Auth-Request-User", "X-Authenticated-Userid", "X-Azure-ClientIP", "X-Azure-SocketIP",
    "X-Client-Cert", "X-Client-DN", "X-Client-IP", "X-Client-Verify", "X-Cluster-Client-IP",
    "X-Consumer-Custom-ID", "X-Consumer-Groups", "X-Consumer-ID", "X-Consumer-Username",
    "X-Credential-Identifier", "X-Custom-IP-Authorization", "X-Envoy-External-Address",
    "X-Envoy-Original-Path", "X-Forwarded", "X-Forwarded-Host", "X-Forwarded-Port",
    "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Goog-IAP-JWT-Assertion",
    "X-Host", "X-HTTP-DestinationURL", "X-HTTP-Host-Override", "X-HTTP-Method",
    "X-HTTP-Method-Override", "X-HTTPS", "X-JWT-Assertion", "X-Method-Override",
    "X-MS-Client-Principal", "X-Original-Forwarded-For", "X-Original-Host", "X-Original-Method",
    "X-Original-Path", "X-Original-URI", "X-Original-URL", "X-Originating-IP", "X-Override-URL",
    "X-ProxyUser-IP", "X-Real-IP", "X-Real-Port", "X-Remote-Addr", "X-Remote-IP", "X-Remote-User",
    "X-Rewrite-URL", "X-Scheme", "X-Sendfile-Type", "X-True-Client-IP", "X-Url-Scheme",
    "X-WAWS-Unencoded-URL",
)  # fmt: skip
# --- counts (collector.counts, lua/counts.lua) -----------------------------------------------------

#: Parts of a counter's key, separated by slashes: the hour (Unix time / 3600) in which it was begun,
#: ids (0: unknown), code of what watch-only rules would have refused for, class of the status
#: (0: no answer), and code of the refusal (0: admitted). Behind it, parted by tabs, stand totals since
#: the counter was begun: calls, bytes in, bytes out.
COUNT_KEY = (
    "hour", "profile", "client", "collection", "endpoint", "credential", "would", "status", "reason",
)  # fmt: skip
#: Parts of the key of a limit's counter: `r` a rate limit's window, `q` a quota's period; for `r`
#: the length of the window in seconds, for `q` 0; the start of window or period in Unix seconds.
LIMIT_KEY = ("kind", "profile", "seconds", "start")
#: First letter of a line of a push to the collector: a counter, a limit's counter, a log line.
PUSHES = {"count": "c", "limit": "l", "line": "n"}
#: Rate limits of windows above so many seconds are kept beyond a restart (`limits.kept_as`).
KEPT_ABOVE_SECONDS = 60

# --- log lines (configuration.line_format, collector.lines) ----------------------------------------

#: Fields of a log line, parted by tabs, and the nginx variable that each is.
LINE = {
    #: Unix seconds with milliseconds, when the call ended.
    "at": "$msec",
    "request_id": "$gw_id",
    #: What the caller got; 499 and 000: it went away before.
    "status": "$status",
    "subject": "$gw_subject",
    "address": "$gw_address",
    #: Seconds with milliseconds.
    "took": "$request_time",
    "bytes_in": "$request_length",
    "bytes_out": "$bytes_sent",
    #: A JSON object, or a dash.
    "details": "$gw_details",
}
#: Parts of the subject, separated by slashes: ids (0: unknown), codes (0: none), how many calls the line
#: stands for, and the method (a dash: the endpoint's own).
SUBJECT = (
    "endpoint", "collection", "profile", "client", "credential", "would", "reason", "weight", "method",
)  # fmt: skip
#: Up to a rate each call has a line; above it, of the calls answered 2xx or 3xx, one in this many.
ONE_OF = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A push of one worker to the collector, taken apart."""

    birth: str
    counts: Mapping[str, tuple[int, int, int]]
    limits: Mapping[str, int]
    lines: tuple[str, ...]


class BadPush(ValueError):
    """The message isn't a valid push of the gateway."""


def read_push(head: str, lines: Iterable[str]) -> Pushed:
    """Take a push apart: `counts BIRTH`, then lines as in PUSHES; raises BadPush."""
    word, _, birth = head.partition(" ")
    if word != "counts" or not birth:
        raise BadPush(head[:40])
    counts: dict[str, tuple[int, int, int]] = {}
    limits: dict[str, int] = {}
    logged: list[str] = []
    for line in lines:
        kind, _, rest = line.partition("\t")
        try:
            if kind == PUSHES["count"]:
                key, calls, bytes_in, bytes_out = rest.split("\t")
                counts[key] = int(calls), int(bytes_in), int(bytes_out)
            elif kind == PUSHES["limit"]:
                key, calls = rest.split("\t")
                limits[key] = int(calls)
            elif kind == PUSHES["line"]:
                logged.append(rest)
            else:
                raise BadPush(kind[:40])
        except ValueError:
            raise BadPush(line[:80]) from None
    return Pushed(birth=birth, counts=counts, limits=limits, lines=tuple(logged))


# --- for Lua -----------------------------------------------------------------------------------------


def code(reason: Reason) -> int:
    """The number by which a reason travels through the gateway."""
    return describe(reason).code


def _shown(reason: Reason) -> dict[str, Any]:
    row = describe(reason)
    return {
        "name": reason.value,
        "status": row.status,
        "message": row.public.message,
        "public_name": row.public.name,
        "is_unproved": row.is_unproved,
        # The beginning of the body; the request id and the end follow.
        "body": json.dumps({"message": row.public.message, "reason": row.public.name})[:-1]
        + ', "request_id": "',
    }


#: Statuses that are nginx's own and no client knows; the reason's status is sent in their place. A header
#: above the bound, three of client certificates (which are not asked for), plain HTTP where TLS is spoken.
_NGINX_OWN = {
    494: Reason.HEAD_TOO_LARGE,
    495: Reason.MALFORMED_REQUEST,
    496: Reason.MALFORMED_REQUEST,
    497: Reason.MALFORMED_REQUEST,
}


def nginx_refusals() -> Mapping[int, tuple[int, int]]:
    """What nginx refuses itself: its status → the reason's code, and the status that is sent."""
    own = {status: (code(reason), describe(reason).status) for status, reason in _NGINX_OWN.items()}
    return own | {
        status: (code(reason), status)
        for reason in Reason
        for status in describe(reason).nginx_statuses
    }


def values() -> dict[str, Any]:
    """Everything of the contract that Lua reads, as plain values."""
    return {
        "question": list(QUESTION),
        "forms": FORMS,
        "lease": list(LEASE),
        "lease_texts": dict.fromkeys(sorted(LEASE_TEXTS), True),
        "refusal": list(REFUSAL),
        "asking": ASKING,
        "ask": list(ASK),
        "grant": list(GRANT),
        "store_states": STORE_STATES,
        "usage_path": USAGE_PATH,
        "answers": ANSWERS,
        "method_names": {str(n): m.value for m, n in METHOD_NUMBERS.items()},
        "epochs": EPOCHS,
        "objects": OBJECTS,
        "public_addresses": PUBLIC_ADDRESSES,
        "stripped": dict.fromkeys(sorted(name.lower() for name in STRIPPED), True),
        "grpc_statuses": {str(status): code for status, code in GRPC_STATUSES.items()},
        "pushes": PUSHES,
        "longest_credential": LONGEST,
        "kept_above_seconds": KEPT_ABOVE_SECONDS,
        "one_of": ONE_OF,
        "methods": list(METHODS),
        "any_method": ANY,
        "largest_limit": LARGEST,
        "codes": {reason.name.lower(): code(reason) for reason in Reason},
        "nginx_refusals": {str(n): list(sent) for n, sent in nginx_refusals().items()},
        "reasons": {str(code(reason)): _shown(reason) for reason in Reason},
    }


def lua_module() -> str:
    """The contract as a Lua module's text."""
    return f"-- Rendered from ostiary/gateway/contract.py.\nreturn {_lua(values())}\n"


def _lua(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _quoted(value)
        case list():
            return "{ " + ", ".join(_lua(item) for item in value) + " }"
        case dict():
            items = (f"[{_key(key)}] = {_lua(item)}" for key, item in value.items())
            return "{ " + ", ".join(items) + " }"
    raise TypeError(type(value).__name__)


def _key(key: str) -> str:
    return key if key.isdigit() else _quoted(key)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
