"""Forwarding a call that may pass, in HAProxy's words: headers stripped and set, the target rewritten.

What is counted here is instructions, see `spending`.
"""

from collections.abc import Iterator

from ostiary.access.reasons import Reason
from ostiary.gateway.browsers import cross_origin
from ostiary.gateway.leases import BAD_CALLS, GPT, lease
from ostiary.gateway.refusing import answer

#: Headers in which connections commonly add a credential; others cost a detour through Lua.
AUTH_HEADERS = ("Authorization", "X-API-Key", "Api-Key", "X-Auth-Token")

#: What a caller must not be able to tell the upstream: our own headers, addresses, and another
#: path or method than those that were decided on. Few expressions, since each header is held
#: against them: one for all that begins alike.
STRIPPED = (
    "x-(ostiary-.*|forwarded-.*|real-ip|client-ip|cluster-client-ip|remote-(ip|addr)"
    "|originating-ip|proxyuser-ip|azure-clientip|envoy-external-address|appengine-user-ip"
    "|original-(url|uri|forwarded-for|host)|rewrite-url|http-method(-override)?|method-override)"
    "|forwarded|client-ip|(true|fastly|fly|wl-proxy)-client-ip|cf-(connecting-ip(v6)?|pseudo-ipv4)"
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
    # `Connection: X-Ostiary-Client` would have the next hop drop ours. HAProxy itself has taken
    # `close` and `keep-alive` out by now: few calls have this header.
    yield "http-request lua.hop if { req.fhdr(connection) -m found }"
    yield f"http-request add-header X-Ostiary-Client %[{lease('client')}]"
    yield f"http-request add-header X-Ostiary-Profile %[{lease('profile')}]"
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
    told = "{ res.fhdr(x-ostiary-reason) -m found }"
    yield f'http-response set-var-fmt(txn.more) "r=%[res.fhdr(x-ostiary-reason)]" if {told}'
    yield f"http-response del-header x-ostiary-reason if {told}"


def oauth() -> Iterator[str]:
    """What the token endpoint is told of the caller, and how often one address may be wrong."""
    yield "http-request track-sc2 src table bad"
    busy = f"{{ sc_gpc0_rate(2) gt {BAD_CALLS} }}"
    yield answer(Reason.OVERLOADED, condition=busy, headers=(("Retry-After", "1"),))
    yield "http-request del-header ^x-ostiary-.*$ -m reg"
    yield "http-request set-header X-Ostiary-Address %[src]"
    yield "http-response sc-inc-gpc0(2) if { status 401 }"
