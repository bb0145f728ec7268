"""The rules of the request path in HAProxy's words, in the one order in which they are applied.

Written for HAProxy 2.6 (configuration manual, sections 4.2, 7.1.3, 7.3). What is counted here is
instructions: a rule with a condition costs 300 to 600, a variable is found by walking a list. So
a call with a lease leaves at the first `allow`, a dozen rules in. Every rule below that one is off
the fast path. What follows is in `forwarding`, `spending` and, for a call that has a code instead of
a lease, `refusing`.

Variables: `txn.code` refusal code of `access.reasons`, `txn.p` path, `txn.route` value of the
route, `txn.k` credential, `txn.n` number of credentials, `txn.key` key of the lease row. A fetch of
an unset variable fails, and with it the condition: then there is no lease. Arithmetic goes below
zero only by subtracting one non-negative number from another, which 2.6 does rightly.
"""

from collections.abc import Iterator

from ostiary.access.reasons import Reason
from ostiary.gateway import routing
from ostiary.gateway.browsers import preflight
from ostiary.gateway.leases import BAD_CALLS, GPT, LEASE_FIELDS, REFUSED_FIELDS, code, lease
from ostiary.gateway.spending import quota_row, rate_row

#: A path in normal form: no escape, no segment that is empty or begins with a dot. Everything else
#: takes the long way through `lua.normal`.
NORMAL = r"^(/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_.~!$&'()*+,=:@-]*)+/?(\?|$)"
#: See `routing.marked`.
MARK = '\'path,regsub("^(.*)/$","{\\1")\''

#: The endpoints of `authority.oauth`; no collection can have these paths.
OAUTH = "{ path_beg /oauth2/ } || { path /.well-known/oauth-authorization-server }"
LEASED = "{ sc_tracked(0) }"
ROUTED = "{ var(txn.route) -m found }"
CODED = "{ var(txn.code) -m found }"
#: A row that is not over; decided after the last word on its profile. `txn.now` is far ahead where
#: there is more than one credential.
FRESH = (
    f"{{ {lease('exp')},sub(txn.now) gt 0 }}"
    f" {{ {lease('profile')},table_gpt0(rev),sub(txn.seq) le 0 }}"
)
FRESH_REFUSAL = "{ var(txn.h_exp),sub(txn.now) gt 0 } { var(txn.h_profile),table_gpt0(rev),sub(txn.h_seq) le 0 }"
#: The same for an answer that has just come: what was revoked while it was on its way is not in
#: it. `proc.floor` is the sequence that this process had in force when it was last connected to.
FRESH_ANSWER = (
    "{ var(proc.floor),sub(txn.a_seq) le 0 }"
    " { var(txn.a_profile),table_gpt0(rev),sub(txn.a_seq) le 0 }"
)


def refuse(reason: Reason, condition: str) -> str:
    return f"http-request set-var(txn.code) int({code(reason)}) if {condition}"


def caller() -> Iterator[str]:
    """The caller's address: the peer, or what trusted proxies say of it."""
    yield "http-request lua.caller if { src,map_ip(trusted.map) -m found }"
    yield "http-request set-src var(txn.caller) if { var(txn.caller) -m found }"


def path() -> Iterator[str]:
    """One normal form of the path, as `txn.p` in the form of the maps' keys."""
    yield "http-request set-var(txn.p) path"
    yield f"http-request set-var(txn.p) {MARK} if {{ path -m end / }}"
    yield f"http-request lua.normal if !{{ pathq -m reg {quoted(NORMAL)} }}"


def decide() -> Iterator[str]:
    """The frontend's rules, in order."""
    yield from caller()
    yield from path()
    yield from routing.first_rules()
    yield "http-request set-var(txn.k) http_auth_bearer"
    yield "http-request set-var(txn.k) req.fhdr(api-token)"
    # `hdr_cnt` counts what commas part, too: HAProxy would read the first of two bearer tokens.
    yield "http-request set-var(txn.n) req.hdr_cnt(authorization)"
    yield "http-request set-var(txn.n) req.fhdr_cnt(api-token),add(txn.n)"
    # The credential goes into the key as it is: keys are compared whole, and one that is longer
    # than the table's is cut to a length that no row of ours has.
    yield "http-request set-var(txn.key) var(txn.k),concat(/,txn.route)"
    yield "http-request set-var(txn.now) date,mul(txn.n)"
    yield from _spend_lease("")
    yield from _bound("")
    yield f"http-request allow if {CODED}"
    yield f"http-request set-var(txn.route) str(;;oauth) if {OAUTH}"
    yield f"http-request allow if {OAUTH}"
    yield from preflight()
    yield from routing.other_rules()
    yield from _credential()
    yield from _miss()


def _spend_lease(when: str, unless: str = "") -> Iterator[str]:
    """One look-up, one tracked row; a fresh one ends the frontend's rules."""
    found = "{ var(txn.key),table_gpt(0,leases) gt 0 }"
    yield f"http-request track-sc0 var(txn.key) table leases if {when}{found}"
    # Without a condition: by now the row is tracked, if there is one.
    yield f"http-request set-var(txn.seq) sc_get_gpt({GPT['seq']},0)"
    yield f"http-request allow if {unless}{FRESH}"


def _bound(when: str) -> Iterator[str]:
    """A credential whose profile has address lists: its rows carry the address."""
    yield f"http-request set-var(txn.bound) var(txn.k),table_gpt0(bound){_if(when)}"
    bound = f"{when}!{LEASED} {{ var(txn.bound) -m int gt 0 }} "
    yield f"http-request set-var(txn.ip) src if {bound.strip()}"
    yield f"http-request set-var(txn.own) bool(1) if {bound.strip()}"
    yield f"http-request set-var(txn.key) var(txn.key),concat(/,txn.ip) if {bound.strip()}"
    yield from _spend_lease(bound, f"!{CODED} ")


def _if(condition: str) -> str:
    return f" if {condition.strip()}" if condition else ""


def _credential() -> Iterator[str]:
    """Credentials that are not a token of ours as bearer token or API token.

    They become 65 characters: a digest, and before it a letter for the form, so that what was
    proved as a bearer token is not taken as an API token. Their keys have a colon where those of
    credentials as they came have a slash.
    """
    yield refuse(Reason.CREDENTIAL_MISSING, "{ var(txn.n) -m int 0 }")
    yield refuse(Reason.CONFLICTING_CREDENTIALS, "{ var(txn.n) -m int gt 1 }")
    yield f"http-request allow if {CODED}"
    yield "http-request set-var(txn.form) str(t)"
    yield "http-request set-var(txn.form) str(b) if { http_auth_bearer -m found }"
    basic = "{ http_auth_user -m str -i api-token }"
    yield f"http-request set-var(txn.form) str(s) if {basic}"
    yield f"http-request set-var(txn.k) http_auth_pass if {basic}"
    yield refuse(Reason.CREDENTIAL_MISSING, "!{ var(txn.k) -m found }")
    yield f"http-request allow if {CODED}"
    native = "{ var(txn.k) -m len 65 } { var(txn.k) -m beg ost_ }"
    yield f"http-request set-var(txn.native) bool(1) if {native}"
    foreign = "!{ var(txn.native) -m found }"
    yield f"http-request set-var(txn.raw) var(txn.k) if {foreign}"
    yield f"http-request set-var(txn.k) var(txn.k),sha2(256),hex if {foreign}"
    yield f"http-request set-var(txn.k) var(txn.form),concat(,txn.k) if {foreign}"
    # Another try with what has become known since: the route, the form, the digest.
    again = f"!{LEASED} "
    yield f"http-request set-var(txn.key) var(txn.k),concat(/,txn.scope) if {again.strip()}"
    # No credential as it came may make the key of a digest: whoever saw the digest could call.
    yield (
        f"http-request set-var(txn.key) var(txn.k),concat(:,txn.scope) if {again.strip()} {foreign}"
    )
    yield f"http-request unset-var(txn.own) if {again.strip()}"
    yield from _spend_lease(again)
    yield from _bound(again)


def _miss() -> Iterator[str]:
    """No lease: what is known to be bad is refused, and the authority is asked about the rest."""
    # A token that we never issued does not carry our mark; nobody needs to be asked.
    native = "{ var(txn.native) -m found }"
    yield (
        "http-request set-var(txn.mark)"
        f" var(txn.k),bytes(4,43),hmac(sha256,proc.issue_key),hex,lower,bytes(0,12) if {native}"
    )
    yield refuse(
        Reason.MALFORMED_CREDENTIAL,
        f"{native} !{{ var(txn.k),bytes(47,12),strcmp(txn.mark) eq 0 }}",
    )
    yield f"http-request allow if {CODED}"
    yield "http-request set-var(txn.ip) src"
    yield from routing.allow_rules()
    yield from _refused()
    yield from _flood()
    yield from _upcall("")
    # Decided before, and answered after, something was revoked: ask once more.
    yield "http-request set-var(txn.again) bool(1) if { var(txn.a_fresh) -m str stale }"
    yield from _upcall("{ var(txn.again) -m found } ")
    yield refuse(Reason.AUTHORITY_UNAVAILABLE, f"!{CODED} !{{ var(txn.a_fresh) -m str yes }}")
    yield from _install()


def _refused() -> Iterator[str]:
    """A refusal that was given a moment ago, while nothing it rests on has changed.

    Looked up, not tracked: an answer that is another one now needs the counter.
    """
    for name in REFUSED_FIELDS[1:]:
        index = REFUSED_FIELDS.index(name)
        yield f"http-request set-var(txn.h_{name}) var(txn.key),table_gpt({index},refused)"
    yield f"http-request set-var(txn.code) var(txn.key),table_gpt(0,refused) if {FRESH_REFUSAL}"
    yield f"http-request allow if {CODED}"


def _flood() -> Iterator[str]:
    """Bound what strangers cost: past a rate, unknown foreign credentials are not asked about.

    Tokens of ours got past their mark, so somebody was given them; imported ones are listed.
    """
    foreign = "!{ var(txn.native) -m found }"
    busy = f"{{ src,table_gpc0_rate(bad) gt {BAD_CALLS} }}"
    listed = "{ var(txn.k),bytes(1,64),map(imported.map) -m found }"
    yield refuse(Reason.UNKNOWN_CREDENTIAL, f"{foreign} {busy} !{listed}")
    yield f"http-request allow if {CODED}"


def _upcall(condition: str) -> Iterator[str]:
    """Ask the authority; sets `txn.a_*`. No answer leaves `txn.a_ok` unset: refused, 503."""
    yield f"http-request unset-var(txn.a_ok){_if(condition)}"
    yield f"http-request unset-var(txn.a_fresh){_if(condition)}"
    yield f"http-request lua.upcall{_if(condition)}"
    answered = f"{condition}{{ var(txn.a_ok) -m found }}"
    yield refuse(Reason.AUTHORITY_UNAVAILABLE, f"{condition}!{{ var(txn.a_ok) -m found }}")
    yield f"http-request set-var(txn.a_fresh) str(stale) if {answered}"
    yield f"http-request set-var(txn.a_fresh) str(yes) if {answered} {FRESH_ANSWER}"


def _install() -> Iterator[str]:
    """Write the answer down: a lease row, or a refusal that is held for a moment."""
    refused = "{ var(txn.a_ok) -m str D }"
    yield f"http-request set-var(txn.code) var(txn.a_code) if !{CODED} {refused}"
    # `txn.own`: the key holds the caller's address.
    newly_bound = f"!{LEASED} {{ var(txn.a_bound) -m int 1 }} !{{ var(txn.own) -m found }}"
    yield f"http-request set-var(txn.key) var(txn.key),concat(/,txn.ip) if {newly_bound}"
    holds = f"{CODED} {{ var(txn.a_exp) -m int gt 0 }} {refused}"
    yield f"http-request track-sc1 var(txn.key) table refused if {holds}"
    for index, name in enumerate(REFUSED_FIELDS):
        yield f"http-request sc-set-gpt({index},1) var(txn.a_{name}) if {holds}"
    # What costs a look-up, or a verification, and leads to nothing.
    bad = (Reason.UNKNOWN_CREDENTIAL, Reason.TOKEN_INVALID, Reason.METHOD_MISMATCH)
    # One whose lease is over was good before: counter 2 is for counting that (see `refusing`).
    unknown = (
        f"!{LEASED} {{ var(txn.code) -m int {' '.join(str(code(reason)) for reason in bad)} }}"
    )
    yield f"http-request track-sc2 src table bad if {unknown}"
    yield f"http-request sc-inc-gpc0(2) if {unknown}"
    yield f"http-request allow if {CODED}"
    # Allowed. A row that was tracked before the profile got address lists is for no address in
    # particular: it serves this call, and is void for the next.
    yield "http-request set-var(txn.verdict) int(1)"
    yield (
        f"http-request set-var(txn.verdict) int(0) if {LEASED}"
        " { var(txn.a_bound) -m int 1 } !{ var(txn.own) -m found }"
    )
    yield f"http-request track-sc0 var(txn.key) table leases if !{LEASED}"
    yield refuse(Reason.OVERLOADED, f"!{LEASED}")
    # The serial number tells the row from one of the same key before or after it.
    for name in LEASE_FIELDS[1:-2]:
        yield f"http-request sc-set-gpt({GPT[name]},0) var(txn.a_{name})"
    yield f"http-request sc-set-gpt({GPT['serial']},0) var(txn.a_serial) if {{ {lease('serial')} eq 0 }}"
    yield from quota_row()
    yield from rate_row()
    yield "http-request sc-set-gpt(0,0) var(txn.verdict)"


def quoted(text: str) -> str:
    """`text` as one word of HAProxy's configuration, in weak quotes (manual, section 2.2)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
