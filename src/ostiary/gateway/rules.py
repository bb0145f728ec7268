"""The rules of the request path in HAProxy's words, in the one order in which they are applied.

Written for HAProxy 2.6 (configuration manual, sections 4.2, 7.1.3, 7.3). What is counted here is
instructions: a rule with a condition costs 300 to 600, a variable is found by walking a list. So:

* `decide`, first half (frontend): a call with a lease leaves at the first `allow`, a dozen rules in.
  Every rule below that one is off the fast path.
* `spend` (every backend that calls go to): limits are counted, headers stripped and set, just
  before the call is forwarded.
* `refusals` (backend `refuse`): the answer to every call that has a code instead of a lease.

Variables: `txn.code` refusal code of `access.reasons`, `txn.p` path, `txn.route` value of the
route, `txn.k` credential, `txn.n` number of credentials, `txn.key` key of the lease row. A fetch of
an unset variable fails, and with it the condition: then there is no lease. Arithmetic goes below
zero only by subtracting one non-negative number from another, which 2.6 does rightly.
"""

from collections.abc import Iterator

from ostiary.access.reasons import Reason, refusal
from ostiary.gateway import routing

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
)
GPT = {name: index for index, name in enumerate(LEASE_FIELDS)}
#: Elements of a row of table `refused`.
REFUSED_FIELDS = ("code", "profile", "seq", "exp")

#: Refused calls a second from one address before calls with an unknown credential are refused
#: without asking. `gpc0_rate` looks at a sliding second and may read high, so this is above the
#: 100 that every address is granted.
BAD_CALLS = 200

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
#: One credential; a row that is not over; decided after the last word on its profile.
FRESH = (
    f"{{ var(txn.n) -m int 1 }} {{ sc_get_gpt({GPT['exp']},0),sub(txn.now) gt 0 }}"
    f" {{ sc_get_gpt({GPT['profile']},0),table_gpt0(rev),sub(txn.seq) le 0 }}"
)
FRESH_REFUSAL = (
    "{ sc_get_gpt(3,1),sub(txn.now) gt 0 } { sc_get_gpt(1,1),table_gpt0(rev),sub(txn.seq) le 0 }"
)
#: The same for an answer that has just come: what was revoked while it was on its way is not in
#: it. `proc.floor` is the sequence that this process had in force when it was last connected to.
FRESH_ANSWER = (
    "{ var(proc.floor),sub(txn.a_seq) le 0 }"
    " { var(txn.a_profile),table_gpt0(rev),sub(txn.a_seq) le 0 }"
)


def code(reason: Reason) -> int:
    """The number by which a reason travels through HAProxy."""
    return refusal(reason).code


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
    yield f"http-request allow if {OAUTH}"
    yield from routing.first_rules()
    # `hdr_cnt` counts what commas part, too: HAProxy would read the first of two bearer tokens.
    yield "http-request set-var(txn.n) req.hdr_cnt(authorization)"
    yield "http-request set-var(txn.k) req.fhdr(api-token)"
    yield "http-request set-var(txn.k) http_auth_bearer if { var(txn.n) -m int 1 }"
    yield "http-request set-var(txn.n) req.fhdr_cnt(api-token),add(txn.n)"
    # The credential goes into the key as it is: keys are compared whole, and one that is longer
    # than the table's is cut to a length that no row of ours has.
    yield "http-request set-var(txn.key) var(txn.k),concat(/,txn.route)"
    yield "http-request set-var(txn.now) date"
    yield from _spend_lease("")
    yield from _bound("")
    yield f"http-request allow if {CODED}"
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


#: Whether the collection lets a browser's page of this origin call (WHATWG Fetch, section 3.2).
ORIGIN = "var(txn.p),field(2,/),concat(|,txn.origin),map_str(cors.map)"
ALLOWED_ORIGIN = "{ var(txn.cors) -m found }"
SHOWN_TO_PAGES = (
    "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining,"
    " X-RateLimit-Reset"
)


def preflight() -> Iterator[str]:
    """Answer a browser that asks before it calls; such a question has no credential."""
    asked = "METH_OPTIONS { req.fhdr(access-control-request-method) -m found }"
    yield f"http-request set-var(txn.origin) req.fhdr(origin) if {asked}"
    yield f"http-request set-var(txn.cors) {ORIGIN} if {asked}"
    headers = (
        ("Access-Control-Allow-Origin", "%[var(txn.origin)]"),
        ("Access-Control-Allow-Methods", "GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("Access-Control-Allow-Headers", "%[req.fhdr(access-control-request-headers)]"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
    )
    shown = "".join(f' hdr {name} "{value}"' for name, value in headers)
    yield f"http-request return status 204{shown} if {asked} {ALLOWED_ORIGIN}"


def cross_origin() -> Iterator[str]:
    """Let the page that called read the answer, refusals too."""
    yield "http-request set-var(txn.origin) req.fhdr(origin)"
    yield f"http-request set-var(txn.cors) {ORIGIN} if {{ var(txn.origin) -m found }}"
    header = "http-after-response set-header Access-Control"
    yield f"{header}-Allow-Origin %[var(txn.origin)] if {ALLOWED_ORIGIN}"
    yield f'{header}-Expose-Headers "{SHOWN_TO_PAGES}" if {ALLOWED_ORIGIN}'
    yield f"http-after-response add-header Vary Origin if {ALLOWED_ORIGIN}"


def _credential() -> Iterator[str]:
    """Credentials that are not a token of ours as bearer token or API token.

    They become 65 characters: a digest, and before it a letter for the form, so that what was
    proved as a bearer token is not taken as an API token.
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
        Reason.UNKNOWN_CREDENTIAL, f"{native} !{{ var(txn.k),bytes(47,12),strcmp(txn.mark) eq 0 }}"
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
    """A refusal that was given a moment ago, while nothing it rests on has changed."""
    found = "{ var(txn.key),table_gpt(0,refused) gt 0 }"
    yield f"http-request track-sc1 var(txn.key) table refused if {found}"
    yield "http-request set-var(txn.seq) sc_get_gpt(2,1)"
    yield (f"http-request set-var(txn.code) sc_get_gpt(0,1) if {{ sc_tracked(1) }} {FRESH_REFUSAL}")
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
    unknown = f"{{ var(txn.code) -m int {' '.join(str(code(reason)) for reason in bad)} }}"
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
    for name in LEASE_FIELDS[1:]:
        yield f"http-request sc-set-gpt({GPT[name]},0) var(txn.a_{name})"
    yield "http-request sc-set-gpt(0,0) var(txn.verdict)"


RATED = f"{{ sc_get_gpt({GPT['rate_limit']},0) gt 0 }}"
METERED = f"{{ sc_get_gpt({GPT['quota_limit']},0) gt 0 }}"
RATE_LEFT = f"sc_get_gpt({GPT['rate_limit']},0),sub(txn.rn)"
QUOTA_LEFT = f"sc_get_gpt({GPT['quota_limit']},0),sub(txn.qn)"


def limits() -> Iterator[str]:
    """Count the call against its profile's quota and rate limit; exact in every window.

    The window's number is part of the key, so a window is never reset, only left behind. The
    counters increment and compare in one step. A row that cannot be had (the table is full) has no
    count, and what has no count is refused. What is refused counts towards nothing: it is taken
    back from the quota by counting it in element 1.
    """
    profile = f"sc_get_gpt({GPT['profile']},0)"
    yield f"http-request set-var(txn.q) sc_get_gpt({GPT['quota_start']},0)"
    yield f"http-request track-sc2 {profile},concat(:,txn.q) table quota if {METERED}"
    # Element 0 is one more than what was used before this process counted: zero is "not yet set".
    base = f"sc_get_gpt({GPT['quota_base']},0),add(1)"
    yield f"http-request sc-set-gpt(0,2) {base} if {{ sc_get_gpt(0,2) eq 0 }}"
    yield "http-request set-var(txn.back) sc_get_gpc(1,2),add(1)"
    yield "http-request set-var(txn.qb) sc_get_gpt(0,2),sub(txn.back)"
    yield "http-request set-var(txn.qn) sc_inc_gpc(0,2),add(txn.qb)"
    yield refuse(Reason.QUOTA_EXCEEDED, f"{METERED} !{{ {QUOTA_LEFT} ge 0 }}")
    yield f"http-request set-var(txn.ri) sc_get_gpt({GPT['rate_interval']},0)"
    yield "http-request set-var(txn.w) date,div(txn.ri)"
    row = f"{profile},concat(:,txn.w)"
    yield f"http-request track-sc1 {row} table rate_short if {{ var(txn.ri) -m int 60 1 }}"
    yield f"http-request track-sc1 {row} table rate_long if {{ var(txn.ri) -m int gt 60 }}"
    yield f"http-request set-var(txn.rn) sc_inc_gpc(0,1) if !{CODED}"
    yield refuse(Reason.RATE_LIMITED, f"{RATED} !{{ {RATE_LEFT} ge 0 }} !{CODED}")
    yield from _exceeded()


def _exceeded() -> Iterator[str]:
    """Answer what is over a limit, with the seconds until it is full again, and nothing left."""
    yield f"http-request sc-inc-gpc(1,2) if {CODED}"
    for reason, count, limit, reset in (
        (Reason.RATE_LIMITED, "rn", "rate_limit", RATE_RESET),
        (Reason.QUOTA_EXCEEDED, "qn", "quota_limit", QUOTA_RESET),
    ):
        over = f"{{ var(txn.code) -m int {code(reason)} }}"
        yield f"http-request set-var(txn.{count}) sc_get_gpt({GPT[limit]},0) if {over}"
        yield answer(reason, condition=over, headers=(("Retry-After", reset),))


RATE_RESET = "%[date,mod(txn.ri),neg,add(txn.ri)]"
QUOTA_RESET = f"%[sc_get_gpt({GPT['quota_end']},0),sub(txn.now)]"


def limit_headers() -> Iterator[str]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10, sections 3, 4).

    On every answer to a limited profile, one line for each limit; the older `X-RateLimit-…` for
    the rate limit alone. What a policy says of itself is a text in a map.
    """
    rated, metered = "{ var(txn.rn) -m found }", "{ var(txn.qn) -m found }"
    header = "http-after-response add-header {} {} if {}"
    yield header.format("RateLimit", rf'"\"rate\";r=%[{RATE_LEFT}];t={RATE_RESET}"', rated)
    yield header.format("RateLimit", rf'"\"quota\";r=%[{QUOTA_LEFT}];t={QUOTA_RESET}"', metered)
    policy = f"%[sc_get_gpt({GPT['policy']},0),map_str(policies.map)]"
    limited = f"{{ sc_get_gpt({GPT['policy']},0) gt 0 }}"
    yield header.format("RateLimit-Policy", policy, limited)
    limit = f"%[sc_get_gpt({GPT['rate_limit']},0)]"
    yield header.format("X-RateLimit-Limit", limit, rated)
    yield header.format("X-RateLimit-Remaining", f"%[{RATE_LEFT}]", rated)
    yield header.format("X-RateLimit-Reset", RATE_RESET, rated)


def bad_gateway() -> Iterator[str]:
    """HAProxy says 503 where no connection came about; to a caller that is a bad gateway.

    What the upstream itself answered stays as it is.
    """
    yield "http-response set-var(txn.answered) bool(1) if { status 503 }"
    yield "http-after-response set-status 502 if { status 503 } !{ var(txn.answered) -m found }"


#: Headers in which connections commonly add a credential; others cost a detour through Lua.
AUTH_HEADERS = ("Authorization", "X-API-Key", "Api-Key", "X-Auth-Token")

#: What a caller must not be able to tell the upstream: our own headers, and addresses.
STRIPPED = (
    "x-ostiary-.*|forwarded|x-real-ip|true-client-ip|cf-connecting-ip|x-client-ip"
    "|x-cluster-client-ip|x-forwarded-.*"
)


#: Names of the methods by their numbers in a lease (`authority.deciding`).
METHODS = ("token", "oauth2", "jwt", "oidc")
SIGNED = f"{{ sc_get_gpt({GPT['method']},0) gt 1 }}"
#: The payload of a signed token as it was sent, base64url: the lease is for this very token, so
#: it is the one that was verified. It must be read before the credential is stripped.
CLAIMS = "%[var(txn.claims)]"


def claims(condition: str) -> str:
    return f"http-request set-var(txn.claims) http_auth_bearer,field(2,.) if {condition}"


def stripped(*, credential: bool) -> str:
    """Headers of the caller that do not reach the upstream, as one expression."""
    return f"^({STRIPPED}{'|authorization|api-token' if credential else ''})$"


def identity(*, tls: bool) -> Iterator[str]:
    """What the upstream is told of the caller; what the caller said of itself is gone by then."""
    # `Connection: X-Ostiary-Client` would have the next hop drop ours.
    yield (
        "http-request del-header connection if { req.fhdr(connection) -m found }"
        " !{ req.fhdr(connection) -m str -i close keep-alive upgrade }"
    )
    yield f"http-request add-header X-Ostiary-Client %[sc_get_gpt({GPT['client']},0)]"
    yield f"http-request add-header X-Ostiary-Profile %[sc_get_gpt({GPT['profile']},0)]"
    yield "http-request add-header X-Ostiary-Request-Id %[unique-id]"
    yield "option forwardfor"
    if tls:
        yield "http-request add-header X-Forwarded-Proto https"


def upstream(*, tls: bool) -> Iterator[str]:
    """Where the call goes: path below the upstream's base path, and its host."""
    yield f"http-request del-header {stripped(credential=True)} -m reg"
    yield from identity(tls=tls)
    # The whole target: a caller's absolute form (RFC 9112, section 3.2.2) must not reach it.
    yield "http-request set-uri %[be_name,map_str(base.map)]/%[pathq,field(3,/,0)]"
    yield "http-request set-header Host %[be_name,map_str(hosts.map)]"


def special_upstream(*, tls: bool) -> Iterator[str]:
    """The same for connections and collections that ask for more than that."""
    yield from cross_origin()
    kept = "{ var(txn.route) -m sub ;-f }"
    told = f"{SIGNED} {{ var(txn.route),field(4,;) -m sub c }}"
    yield claims(told)
    yield f"http-request del-header {stripped(credential=True)} -m reg if !{kept}"
    yield f"http-request del-header {stripped(credential=False)} -m reg if {kept}"
    yield from identity(tls=tls)
    yield f"http-request add-header X-Ostiary-Claims {CLAIMS} if {told}"
    yield "http-request set-uri %[pathq]"
    target = "{ var(txn.route) -m sub t; }"
    yield "http-request set-var(txn.to) var(txn.route),field(1,;)"
    yield f"http-request set-var(txn.to) var(txn.to),concat(,txn.p),map_regm(targets.map) if {target}"
    yield f"http-request set-path %[be_name,map_str(base.map)]%[var(txn.to)] if {target}"
    yield (f"http-request set-path %[be_name,map_str(base.map)]/%[path,field(3,/,0)] if !{target}")
    yield "http-request set-header Host %[be_name,map_str(hosts.map)]"
    timeout = "be_name,map_str_int(timeouts.map)"
    yield f"http-request set-timeout server {timeout} if {{ {timeout} gt 0 }}"
    own = "var(txn.route),field(5,;)"
    yield f"http-request set-timeout server {own} if {{ {own} -m int gt 0 }}"
    for header in AUTH_HEADERS:
        value = f"be_name,map_str(auth_{header.lower()}.map)"
        yield f"http-request set-header {header} %[{value}] if {{ {value} -m found }}"
    other = "be_name,map_str(auth_other.map)"
    yield f"http-request set-var(txn.added) {other}"
    yield "http-request lua.add_header if { var(txn.added) -m found }"
    query = "be_name,map_str(query.map)"
    added = f"{{ {query} -m found }}"
    yield f"http-request set-query %[query]&%[{query}] if {{ query -m found }} {added}"
    yield f"http-request set-query %[{query}] if !{{ query -m found }} {added}"


def recipe(*, tls: bool) -> Iterator[str]:
    """What the recipe runner is told beside the call; the path goes as it is."""
    yield from cross_origin()
    yield claims(SIGNED)
    yield f"http-request del-header {stripped(credential=True)} -m reg"
    yield from identity(tls=tls)
    yield "http-request set-uri %[pathq]"
    yield "http-request set-var(txn.endpoint) var(txn.route),field(1,;)"
    yield "http-request set-var(txn.recipe) var(txn.endpoint),map_str(recipes.map)"
    fields = ("Recipe", "Template", "Base", "Timeout", "Validate")
    for index, name in enumerate(fields, start=1):
        yield f"http-request add-header X-Ostiary-{name} %[var(txn.recipe),field({index},|)]"
    yield "http-request add-header X-Ostiary-Endpoint %[var(txn.endpoint),bytes(1)]"
    yield "http-request add-header X-Ostiary-Address %[src]"
    method = f"{{{{ sc_get_gpt({GPT['method']},0) eq {{}} }}}}"
    for number, name in enumerate(METHODS, start=1):
        yield f"http-request add-header X-Ostiary-Auth-Method {name} if {method.format(number)}"
    yield f"http-request add-header X-Ostiary-Claims {CLAIMS} if {SIGNED}"


def oauth() -> Iterator[str]:
    """What the token endpoint is told of the caller, and how often one address may be wrong."""
    yield "http-request track-sc2 src table bad"
    busy = f"{{ sc_gpc0_rate(2) gt {BAD_CALLS} }}"
    yield answer(Reason.OVERLOADED, condition=busy, headers=(("Retry-After", "1"),))
    yield "http-request del-header ^x-ostiary-.*$ -m reg"
    yield "http-request set-header X-Ostiary-Address %[src]"
    yield "http-response sc-inc-gpc0(2) if { status 401 }"


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


#: RFC 6750, section 3.1: a caller that presented nothing is told no error.
_CHALLENGE = r"Bearer realm=\"api\""
_INVALID = _CHALLENGE + r", error=\"invalid_token\""

_HEADERS: dict[int, tuple[tuple[str, str], ...]] = {
    401: (("WWW-Authenticate", _INVALID),),
    405: (("Allow", "%[var(txn.allow)]"),),
    503: (("Retry-After", "1"),),
}


def quoted(text: str) -> str:
    """`text` as one word of HAProxy's configuration, in weak quotes (manual, section 2.2)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
