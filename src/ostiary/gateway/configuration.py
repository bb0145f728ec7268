"""HAProxy's files, rendered from a plan: one configuration, and the maps that are its data.

Pure: a plan in, texts out. Everything that a user typed goes into maps, whose values are checked
by the use cases and kept to one word here; the configuration itself holds only our own words, host
and port of the listener, and names of headers that a connection may set.
"""

import base64
import re
from collections.abc import Iterator, Mapping

from ostiary.access.reasons import Reason, refusal
from ostiary.gateway import forwarding, refusing, rules, spending
from ostiary.gateway.leases import COUNTS, LEASE_FIELDS, REFUSED_FIELDS, code, count, lease
from ostiary.gateway.plan import Node, Plan, Server, Upstream, backend_name
from ostiary.gateway.routing import compile_routes

#: Tables. `rev` holds the sequence of the last word on a profile (0: on unknown credentials); rows
#: need not outlive the leases that they revoke, of at most ten minutes. Nothing that counts or
#: revokes may vanish before its time: `nopurge`.
TABLES = (
    ("rev", "type integer size 1m expire 30m nopurge store gpt0"),
    ("bound", "type string len 72 size 1m expire 1h store gpt0"),
    ("refused", f"type string len 192 size 100k expire 30s store gpt({len(REFUSED_FIELDS)})"),
    ("bad", "type ipv6 size 100k expire 10s store gpc0,gpc0_rate(1s)"),
    ("rate_short", "type binary len 8 size 1m expire 3m nopurge store gpc(2),gpt(1)"),
    ("rate_long", "type binary len 8 size 1m expire 25h nopurge store gpc(2),gpt(1)"),
    ("quota", "type binary len 8 size 1m expire 24d nopurge store gpc(2),gpt(1)"),
    (
        "refusals",
        "type string len 80 size 1m expire 1h nopurge store gpt(1),gpc(1),bytes_in_cnt,bytes_out_cnt",
    ),
    ("refusals_leased", "type string len 80 size 1m expire 1h nopurge store gpt(1),gpc(1)"),
)

#: Lines for some seconds at full speed.
RING_BYTES = 16 * 1024 * 1024

#: Fields of a log line, separated by spaces; `collector.lines` reads them. The request id tells the
#: time, and digits of an address are made in a tenth of the time that its usual form takes.
LOG_FORMAT = (
    f"%ID %ST %[var(txn.route)] %[{lease('credential')}] %[{lease('would')}] %[var(txn.one)]"
    " %[src,hex] %Ta %U %B %[var(txn.more)]"
)


class Unrenderable(ValueError):
    """A plan that would break the files that it becomes."""


def _word(text: str) -> str:
    """A map's key or value: one line, no space, since a space ends a key."""
    if re.search(r"[\s\x00-\x1f]", text) or not text:
        raise Unrenderable(f"{text[:40]!r} is no single word")
    return text


def maps(plan: Plan) -> dict[str, dict[str, str]]:
    """Every map's entries by the map's name; what changes while HAProxy runs."""
    routes = compile_routes(plan.collections)
    upstreams = [u for u in plan.upstreams if u.servers]
    entries: dict[str, dict[str, str]] = {
        "routes": dict(routes.routes),
        "general": dict(routes.general),
        "collections": dict(routes.collections),
        "allow": dict(routes.allow),
        "methods": dict(routes.methods),
        "targets": dict(routes.targets),
        "cors": {
            f"{handle}|{origin}": "1"
            for handle, origins in plan.origins.items()
            for origin in origins
        },
        "policies": {str(policy): text for policy, text in plan.policies.items() if text},
        "trusted": dict.fromkeys(plan.trusted_proxies, "1"),
        "imported": dict.fromkeys(sorted(plan.imported), "1"),
        "base": {u.backend: u.base_path for u in upstreams if u.base_path},
        "hosts": {u.backend: u.host_header for u in upstreams},
        "timeouts": {u.backend: str(u.timeout_seconds * 1000) for u in upstreams},
        "health": {u.backend: u.health_path for u in upstreams if u.health_path},
        "query": {u.backend: f"{u.query}={u.value.reveal()}" for u in upstreams if u.query},
        "recipes": {
            f"e{r.endpoint}": f"{r.recipe}|{r.template}|{r.base}|{r.timeout_seconds}|{int(r.validate)}"
            for r in plan.recipes
        },
    }
    known = {header.lower() for header in forwarding.AUTH_HEADERS}
    for header in known:
        entries[f"auth_{header}"] = {
            u.backend: u.value.reveal() for u in upstreams if u.header.lower() == header
        }
    entries["auth_other"] = {
        u.backend: f"{u.header}: {u.value.reveal()}"
        for u in upstreams
        if u.header and u.header.lower() not in known
    }
    return entries


def map_text(name: str, entries: Mapping[str, str]) -> str:
    """A map's file. Values of credentials may hold spaces (`Basic …`); keys never."""
    lines = []
    for key, value in entries.items():
        if re.search(r"[\r\n\x00]", value) or not value:
            raise Unrenderable(f"a value of {name} is empty or more than one line")
        lines.append(f"{_word(key)} {value}\n")
    return "".join(lines)


def configuration(node: Node, plan: Plan, *, issue_key: bytes, cold: bool) -> str:
    """haproxy.cfg. `cold`: no lease can be older than this plan, so leases may be trusted."""
    sections = (
        _global(node, plan, issue_key=issue_key, cold=cold),
        _ring(node),
        _defaults(node),
        *_tables(node),
        _frontend(node, plan),
        _refuse(),
        *_kinds(node),
        *(_upstream(node, plan, slot) for slot in range(node.slots)),
        _recipes(node),
        _oauth(node),
        "defaults end from base\n",
    )
    return "\n".join(sections)


def files(node: Node, plan: Plan, *, issue_key: bytes, cold: bool) -> dict[str, str]:
    """Every file by its name in the gateway's folder."""
    rendered = {f"{name}.map": map_text(name, e) for name, e in maps(plan).items()}
    rendered["haproxy.cfg"] = configuration(node, plan, issue_key=issue_key, cold=cold)
    return rendered


def _section(title: str, lines: Iterator[str] | tuple[str, ...]) -> str:
    return title + "\n" + "".join(f"  {line}\n" for line in lines)


def _global(node: Node, plan: Plan, *, issue_key: bytes, cold: bool) -> str:
    def lines() -> Iterator[str]:
        yield f"nbthread {node.threads}"
        yield f"stats socket {node.socket} mode 600 level admin expose-fd listeners"
        yield "stats timeout 1m"
        yield "expose-experimental-directives"
        yield f"lua-load-per-thread {node.run}/gateway/upcall.lua"
        yield "tune.vars.txn-max-size 65536"
        yield "tune.http.maxhdr 101"
        # Paths vary: remembering what an expression said of each costs more than it saves.
        yield "tune.pattern.cache-size 0"
        yield "ssl-default-bind-options ssl-min-ver TLSv1.2"
        yield f"set-var proc.issue_key str({base64.b64encode(issue_key).decode()})"
        if cold:
            yield f"set-var proc.floor int({plan.sequence})"
        yield "hard-stop-after 30s"

    return _section("global", lines())


def _ring(node: Node) -> str:
    """Log lines wait in memory for the collector: while it is started anew, none is lost.

    Frames are octet-counted (RFC 6587, section 3.4.1).
    """
    lines = (
        "format raw",
        "maxlen 4096",
        f"size {RING_BYTES}",
        "timeout connect 1s",
        "timeout server 1h",
        f"server collector unix@{node.run}/log.sock log-proto octet-count",
    )
    return _section("ring lines", lines)


def _defaults(node: Node) -> str:
    def lines() -> Iterator[str]:
        yield "mode http"
        yield "timeout connect 5s"
        yield "timeout client 60s"
        yield "timeout server 30s"
        yield "timeout http-request 10s"
        yield "timeout http-keep-alive 60s"
        yield "timeout tunnel 1h"
        # A call that waits in a queue has passed its check already.
        yield "timeout queue 100ms"
        yield "retries 1"
        yield "retry-on conn-failure"
        yield "option redispatch 1"
        yield "option splice-auto"
        yield "http-reuse safe"
        for status, reason in (
            # A header's name that other systems could take for another one.
            (403, Reason.MALFORMED_REQUEST),
            (502, Reason.UPSTREAM_FAILED),
            (503, Reason.UPSTREAM_UNAVAILABLE),
            (504, Reason.UPSTREAM_TIMEOUT),
        ):
            told = refusal(reason)
            text = refusing.body(told.public_reason, told.message)
            if status == 403:
                # No rule comes by after this refusal: its body itself tells the log, and adds
                # nothing by it.
                text += f"%[str(r={told.code}),set-var(txn.more),field(2,=),bytes(9)]"
            yield f'http-error status {status} content-type application/json lf-string "{text}"'

    return _section("defaults base", lines())


def _tables(node: Node) -> Iterator[str]:
    yield f"backend leases from base\n  stick-table type string len 192 size {node.leases} expire 1h nopurge store gpt({len(LEASE_FIELDS)}),gpc({len(COUNTS)}),bytes_in_cnt,bytes_out_cnt\n"
    for name, table in TABLES:
        yield f"backend {name} from base\n  stick-table {table}\n"


def _frontend(node: Node, plan: Plan) -> str:
    def lines() -> Iterator[str]:
        host = f"[{node.host}]" if ":" in node.host else node.host
        tls = f" ssl crt {node.certificate} alpn h2,http/1.1" if node.certificate else ""
        yield f"bind {host}:{node.port}{tls}"
        # Here alone: each section that says so looks at every header again.
        yield "option http-restrict-req-hdr-names reject"
        yield "log ring@lines len 4096 format raw local0 info"
        yield f'log-format "{LOG_FORMAT}"'
        yield "unique-id-format %Ts-%ms-%rt"
        # Set after what the caller sent under this name was taken away.
        yield "unique-id-header X-Ostiary-Request-Id"
        yield from rules.decide()
        yield "use_backend refuse if { var(txn.code) -m found }"
        yield "use_backend %[var(txn.route),field(3,;)]"
        yield "default_backend no_upstream"

    return _section("frontend gateway from base", lines())


def _refuse() -> str:
    missing = (
        f"http-request {count('called')}",
        f"http-request {count('failed')}",
        f'http-request set-var-fmt(txn.more) "r={code(Reason.UPSTREAM_MISSING)}"',
        refusing.answer(Reason.UPSTREAM_MISSING, condition="TRUE"),
    )
    return _section("backend refuse from base", tuple(refusing.refusals())) + "\n" + _section(
        "backend no_upstream from base", missing
    )  # fmt: skip


def _kinds(node: Node) -> Iterator[str]:
    """Rules that the backends of one kind share."""
    tls = node.certificate is not None
    for name, forward in (
        ("plain", forwarding.upstream),
        ("special", forwarding.special_upstream),
        ("recipe", forwarding.recipe),
    ):
        lines = (
            *forward(tls=tls),
            *spending.spend(),
            *spending.classify(node.log_rate),
            *spending.tell(),
        )
        yield _section(f"defaults {name} from base", lines)


def _upstream(node: Node, plan: Plan, slot: int) -> str:
    used = [u for u in plan.upstreams if u.slot == slot]

    def lines() -> Iterator[str]:
        if slot in node.checked_slots:
            yield "option httpchk"
            host = "%[be_name,map_str(hosts.map)]"
            yield f"http-check send meth GET uri-lf %[be_name,map_str(health.map)] hdr Host {host}"
            yield "http-check expect rstatus ^[23]"
        yield "balance roundrobin"
        for upstream in used:
            for server in upstream.servers:
                yield server_line(upstream, server)

    kind = "plain" if slot in node.plain_slots else "special"
    return _section(f"backend {backend_name(slot)} from {kind}", lines())


def server_line(upstream: Upstream, server: Server) -> str:
    return f"server {server.name} {server_parameters(server)}"


def server_parameters(server: Server) -> str:
    """Address and keywords of a server: the same in the configuration and on the socket."""
    address = f"[{server.address}]" if ":" in server.address else server.address
    words = [
        f"{address}:{server.port}",
        "check",
        "inter 5s",
        "fall 3",
        "rise 1",
        # A server that is added on the socket has zeros here: each call would open a connection.
        "pool-purge-delay 5s",
        "pool-max-conn -1",
    ]
    if server.tls_name:
        words += ["ssl", "alpn http/1.1"]
        if server.verify:
            words += ["verify required", f"ca-file {server.ca_file or '@system-ca'}"]
            words += [f"verifyhost {server.tls_name}"] if server.tls_name_is_ip else []
        else:
            words.append("verify none")
        if not server.tls_name_is_ip:
            words += [f"sni str({server.tls_name})", f"check-sni {server.tls_name}"]
    return " ".join(words)


def _recipes(node: Node) -> str:
    lines = ("timeout server 250s", f"server runner unix@{node.run}/recipes.sock")
    return _section("backend recipes from recipe", lines)


def _oauth(node: Node) -> str:
    lines = (*forwarding.oauth(), f"server authority unix@{node.run}/oauth.sock")
    return _section("backend oauth from base", lines)
