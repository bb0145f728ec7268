"""nginx.conf, rendered from a node and a few facts of what is published. Pure: values in, a text out.

Nothing that an owner typed is in it: routes, connections and credentials are data in shared memory.
What must be text is addresses and ports of servers that have a block of their own, and paths of files
with certificates, all of our own spelling.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ostiary.gateway.contract import LINE, STRIPPED, nginx_refusals
from ostiary.gateway.node import Node

#: Connections whose server has a block of its own: nginx looks for a block's name in all of them.
MOST_BLOCKS = 64
#: Blocks for connections with TLS, one for each name and trust.
TLS_BLOCKS = 64
#: Upcalls that one worker may have under way.
UPCALLS = 400
#: Open file descriptors besides connections: logs, sockets, libraries.
SPARE_FILES = 128

#: What nginx reads of an answer at first, in bytes; answers.lua knows it too.
HEAD_BYTES = 16 * 1024

#: Variables that Lua sets, besides $gw_to; empty where it does not.
SET_BY_LUA = (
    "gw_rate", "gw_announced", "gw_host", "gw_client", "gw_profile", "gw_name", "gw_loop",
    "gw_connection", "gw_upgrade", "gw_authorization", "gw_api_token", "gw_claims", "gw_caller",
    "gw_forwarded", "gw_told_proto", "gw_told_host", "gw_told_port", "gw_told_prefix",
    "gw_cache_key", "gw_origin", "gw_with_credentials", "gw_exposed", "gw_vary", "gw_subprotocol",
    "gw_log", "gw_subject", "gw_limit", "gw_remaining", "gw_reset",
)  # fmt: skip
#: Headers that calls of few kinds have.
_SELDOM_HEADERS = {
    "Connection": "$gw_connection",
    "Upgrade": "$gw_upgrade",
    "Authorization": "$gw_authorization",
    "API-TOKEN": "$gw_api_token",
    "X-Ostiary-Claims": "$gw_claims",
    "Forwarded": "$gw_forwarded",
}
#: Bytes of cached answers' keys: some 8,000 for each megabyte.
_CACHE_KEYS_MEGABYTES = 8
#: What caches say of an answer (RFC 9211), by nginx's word for it.
_CACHE_STATUS = {
    "HIT": "hit", "MISS": "fwd=uri-miss", "EXPIRED": "fwd=stale", "BYPASS": "fwd=bypass",
    "REVALIDATED": "fwd=stale", "STALE": "hit", "UPDATING": "hit",
}  # fmt: skip
#: Who calls, for upstreams that speak HTTP/2.
_WHO = {"X-Ostiary-Client": "$gw_client", "X-Ostiary-Profile": "$gw_profile"}
#: What these upstreams are told of their public address.
_TOLD = {
    "X-Forwarded-Proto": "$gw_told_proto",
    "X-Forwarded-Host": "$gw_told_host",
    "X-Forwarded-Port": "$gw_told_port",
    "X-Forwarded-Prefix": "$gw_told_prefix",
}
_HEAD = "header_filter_by_lua_block { ostiary.head() }"
_HEAD_OF_KEPT = _HEAD.replace("head()", "head_of_kept()")
_HEAD_OF_HTTP2 = _HEAD.replace("head()", "head_of_http2()")
_FORWARD = "proxy_pass $gw_to;"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFacts:
    """What nginx.conf is rendered from besides the node."""

    #: Distinguishes request ids of this start from those of other starts.
    mark: str
    #: Name of this workspace's gateways in the CDN-Loop header (RFC 8586).
    loop: str
    #: nginx's version: major, minor, patch.
    version: tuple[int, int, int]
    modules: Path
    #: Where the Lua modules of this package lie.
    lua: Path
    #: Most open files of a process.
    files: int
    #: Block (`c<connection>`) → address and port of its one server.
    blocks: Mapping[str, str] = field(default_factory=dict)
    #: Digest of a CA file that a connection trusts → its path.
    authorities: Mapping[str, Path] = field(default_factory=dict)
    #: File with the system's certificate authorities.
    system_authorities: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    #: Whether we run as root: workers must read our folder as well.
    as_root: bool = False


def connections(node: Node, facts: ConfigurationFacts) -> int:
    """Connections of one worker, callers' and upstreams' together."""
    return max(256, min(32_768, facts.files - SPARE_FILES))


def line_format(mark: str) -> str:
    """The log line's format; tabs part its fields."""
    return "\\t".join(LINE.values()).replace("$gw_id", request_id(mark))


def request_id(mark: str) -> str:
    """A call's id: nginx's own numbers cost a tenth of random ones."""
    return f"{mark}-$connection-$connection_requests"


def render(node: Node, facts: ConfigurationFacts) -> str:
    """The whole nginx.conf."""
    return "\n".join((*_main(node, facts), "http {", *_indented(_http(node, facts)), "}", ""))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" if line else "" for line in lines)


def _quoted(text: object) -> str:
    """A value as one word of nginx's configuration or a Lua string: our own paths and names."""
    word = str(text)
    if re.search(r"[^ -~]|[\"\\$;{}]", word):
        raise ValueError(f"{word[:60]!r} cannot stand in nginx.conf")
    return f'"{word}"'


def _main(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    yield "# Ostiary's gateway; written anew at each start."
    for module in ("ndk_http_module", "ngx_http_lua_module"):
        yield f"load_module {_quoted(facts.modules / f'{module}.so')};"
    if facts.as_root:
        yield "user root;"
    yield f"worker_processes {node.workers};"
    yield f"worker_rlimit_nofile {facts.files};"
    yield "# Tunnels and long answers may end by themselves when this file is read anew."
    yield "worker_shutdown_timeout 1h;"
    yield "daemon off;"
    yield f"pid {_quoted(node.pid_file)};"
    yield "error_log stderr warn;"
    yield "pcre_jit on;"
    yield f"events {{ worker_connections {connections(node, facts)}; }}"
    yield ""


def _dictionaries(node: Node) -> Iterator[str]:
    sizes = {
        "leases": node.lease_megabytes,
        "epochs": 32,
        # A window that is shared has six entries in place of one.
        "limits_short": 64 if node.shares_limits else 32,
        "limits_long": 256 if node.shares_limits else 64,
        "usage": 64,
        "objects": 64,
        "imported": 32,
        "refused": 16,
        "addresses": 8,
        "state": 2,
    }
    yield "# Memory that the workers share; each kind of thing has its own, so that none evicts another."
    for name, megabytes in sizes.items():
        yield f"lua_shared_dict {name} {megabytes}m;"


def _http(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    sections = (
        _dictionaries(node),
        _lua_settings(node, facts),
        _callers(node),
        _log(facts),
        _variables(node),
        _upstreams(node, facts),
        _proxying(facts),
        _caching(node),
        _speaking_http2(facts),
        _public(node, facts),
        _control(node),
    )
    for number, section in enumerate(sections):
        if number:
            yield ""
        yield from section


def _lua_settings(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    folder = node.run / "gateway"
    paths = (f"{facts.lua}/?.lua", f"{folder}/?.lua", "/usr/share/lua/5.1/?.lua", ";")
    yield f"lua_package_path {_path(';'.join(paths))};"
    yield "# Failed connections to our own sockets are counted, see GET /state below."
    yield "lua_socket_log_errors off;"
    yield "lua_max_pending_timers 64;"
    yield "lua_max_running_timers 64;"
    yield "init_by_lua_block {"
    yield from _indented(_init(node, facts))
    yield "}"
    yield "init_worker_by_lua_block { ostiary.init_worker() }"


def _callers(node: Node) -> Iterator[str]:
    yield "# Connections of callers. A half-sent head or a body that stalls does not hold one for long."
    yield "server_tokens off;"
    yield "keepalive_requests 1000000;"
    yield "keepalive_time 24h;"
    yield "keepalive_timeout 60s;"
    yield "large_client_header_buffers 4 16k;"
    yield "client_header_timeout 5s;"
    yield "client_body_timeout 10s;"
    yield "client_max_body_size 0;"
    yield "reset_timedout_connection on;"
    yield "tcp_nodelay on;"
    yield "# Nothing is written there: bodies are passed on as they come."
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        yield f"{kind}_temp_path {_quoted(node.run / 'gateway' / 'temporary')};"


def _log(facts: ConfigurationFacts) -> Iterator[str]:
    yield "# A line is written for calls whose $gw_log Lua sets; a field that could part the line holds JSON."
    yield f"log_format line escape=none '{line_format(facts.mark)}';"
    yield "access_log off;"


def _peer(node: Node) -> str:
    return "$gw_peer" if ":" in node.host else "$remote_addr"


def _variables(node: Node) -> Iterator[str]:
    yield "# The caller's address: the connection's, or what a trusted proxy says of it."
    yield f"map $gw_caller $gw_address {{ '' {_peer(node)}; default $gw_caller; }}"
    if ":" in node.host:
        yield "# IPv4 callers of an IPv6 socket."
        yield r"map $remote_addr $gw_peer { '~^::ffff:(?<v4>\d+\.\d+\.\d+\.\d+)$' $v4; default $remote_addr; }"
    yield "# The last field of a line; Lua sets it for few."
    yield 'map "" $gw_details { default "-"; }'
    yield "# The subprotocol of a WebSocket whose API selects none."
    yield "map $upstream_http_sec_websocket_protocol $gw_selected { '' $gw_subprotocol; default ''; }"
    yield "# Pages are told of the collection's rules, else of the upstream's: two answers would be none."
    for name, ours, theirs in (
        ("gw_allowed_origin", "$gw_origin", "origin"),
        ("gw_allowed_credentials", "$gw_with_credentials", "credentials"),
    ):
        upstream = f"$upstream_http_access_control_allow_{theirs}"
        yield f"map $gw_origin ${name} {{ '' {upstream}; default {ours}; }}"


def _path(text: str) -> str:
    if re.search(r"[^ -~]|[\"\\${}]", text):
        raise ValueError("the folder's name cannot stand in nginx.conf")
    return f'"{text}"'


def _init(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    folder = node.run / "gateway"
    yield "-- By default Debian's LuaJIT gives up on traces as long as ours, and interprets."
    yield 'require("jit.opt").start("maxtrace=8000", "maxrecord=32000", "maxmcode=40960",'
    yield '  "maxirconst=2000", "maxsnap=2000", "hotloop=30")'
    yield f"local key = assert(io.open({_quoted(folder / 'issue.key')}, 'rb'))"
    yield "-- The one global: `require` in each handler would cost as much as a header."
    yield 'ostiary = require("ostiary.gateway")'
    yield "ostiary.init({"
    yield f"  mark = {_quoted(facts.mark)},"
    yield f"  loop = {_quoted(facts.loop)},"
    yield f"  objects = {_quoted(folder / 'published.jsonl')},"
    yield f"  upcall_socket = {_quoted(node.run / 'upcall.sock')},"
    yield f"  counts_socket = {_quoted(node.run / 'counts.sock')},"
    yield '  issue_key = key:read("*a"),'
    yield f"  upcalls = {UPCALLS}, upcall_pool = 64,"
    yield f"  upcalls_per_address = {node.upcalls_per_address},"
    yield f"  connections_per_address = {max(1, node.connections_per_address // node.workers)},"
    # A call may take two connections: one profile leaves half of a worker's room to others, one project
    # a quarter.
    calls = connections(node, facts) // 2
    for name, most, share in (
        ("profile", node.connections_per_profile, calls // 2),
        ("project", node.connections_per_project, calls * 3 // 4),
    ):
        yield f"  connections_per_{name} = {max(1, min(most // node.workers, share))},"
    yield f"  heads_per_address = {max(1, node.heads_per_address // node.workers)},"
    yield f"  connections = {connections(node, facts) * node.workers},"
    yield f"  fence_seconds = {node.fence_seconds},"
    yield f"  log_rate = {node.log_rate},"
    yield f"  cache_bytes = {node.cache_megabytes * 1024 * 1024 // node.workers},"
    if node.shares_limits:
        yield "  shares_limits = true,"
    if node.proxy_protocol:
        yield "  proxy_protocol = true,"
    if node.certificate:
        # HTTP/2 comes with TLS alone.
        yield f"  head_bytes = {HEAD_BYTES},"
    if node.certificate or node.h2c:
        yield "  http2 = true,"
    yield f"  tls_blocks = {TLS_BLOCKS},"
    blocks = ", ".join(f"[{_quoted(name)}] = {_quoted(at)}" for name, at in facts.blocks.items())
    yield f"  rendered = {{ {blocks} }},"
    yield "})"
    yield "key:close()"


def _upstreams(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    keep = "keepalive 256; keepalive_requests 1000000; keepalive_time 24h;"
    balance = 'server 0.0.0.1; balancer_by_lua_block { require("ostiary.upstreams").balance() }'
    yield "# Where a call goes that nobody has admitted: nowhere."
    yield "upstream closed { server 127.0.0.1:1 down; }"
    if facts.blocks:
        yield "# Connections with one plain server, as they were at the start (c and the connection's id)."
    for name, server in facts.blocks.items():
        yield f"upstream {name} {{ server {server}; {keep} }}"
    yield "# All others: Lua names the server of each call, and 0.0.0.1 is never asked."
    yield f"upstream dynamic {{ {balance} {keep} }}"
    yield "# The same for HTTP/2: a kept connection of HTTP/1.1 is none for it."
    yield f"upstream dynamic_http2 {{ {balance} {keep} }}"
    yield "# Our own processes."
    for part, sock in (("recipes", "recipes.sock"), ("oauth", "oauth.sock")):
        yield f"upstream {part} {{ server {_quoted(f'unix:{node.run / sock}')}; keepalive 64; }}"
    yield "# With TLS: nginx reuses connections by address alone, so that each name and trust has a block of"
    yield "# its own; those that find none free reuse no connections."
    yield f"upstream tls_unpooled {{ {balance} }}"
    for number in range(1, TLS_BLOCKS + 1):
        yield f"upstream tls_{number} {{ {balance} keepalive 64; keepalive_requests 1000000; }}"


def _proxying(facts: ConfigurationFacts) -> Iterator[str]:
    yield "# Calls to upstreams."
    yield "proxy_http_version 1.1;"
    yield "proxy_headers_hash_max_size 2048;"
    yield "proxy_headers_hash_bucket_size 128;"
    yield "proxy_request_buffering off;"
    yield "proxy_buffering off;"
    yield f"proxy_buffer_size {HEAD_BYTES};"
    yield "proxy_buffers 4 16k;"
    yield "proxy_max_temp_file_size 0;"
    yield "proxy_connect_timeout 5s;"
    yield "proxy_read_timeout 30s;"
    yield "proxy_send_timeout 30s;"
    yield "proxy_redirect off;"
    yield "proxy_next_upstream error timeout;"
    yield "# An upstream does not steer us: nginx would follow these."
    yield (
        "proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate"
        " X-Accel-Buffering X-Accel-Charset;"
    )
    yield "# Another nginx in front may follow this one: a stream asks it not to hold back."
    yield "proxy_pass_header X-Accel-Buffering;"
    yield "proxy_pass_header Server;"
    yield "proxy_pass_header Date;"
    yield from _hidden()
    yield "proxy_ssl_server_name on;"
    yield "proxy_ssl_name $gw_name;"
    yield "proxy_ssl_protocols TLSv1.2 TLSv1.3;"
    yield "proxy_ssl_verify on;"
    yield "proxy_ssl_verify_depth 8;"
    yield f"proxy_ssl_trusted_certificate {_quoted(facts.system_authorities)};"


def _speaking_http2(facts: ConfigurationFacts) -> Iterator[str]:
    yield "# Calls to upstreams that speak HTTP/2: nginx's module for gRPC carries any."
    yield "grpc_buffer_size 16k;"
    yield "grpc_connect_timeout 5s;"
    yield "grpc_read_timeout 30s;"
    yield "grpc_send_timeout 30s;"
    yield "grpc_next_upstream error timeout;"
    yield "grpc_ignore_headers X-Accel-Redirect X-Accel-Charset;"
    yield "grpc_pass_header Server;"
    yield "grpc_pass_header Date;"
    yield "grpc_ssl_server_name on;"
    yield "grpc_ssl_name $gw_name;"
    yield "grpc_ssl_protocols TLSv1.2 TLSv1.3;"
    yield "grpc_ssl_verify on;"
    yield "grpc_ssl_verify_depth 8;"
    yield f"grpc_ssl_trusted_certificate {_quoted(facts.system_authorities)};"


def _caching(node: Node) -> Iterator[str]:
    yield "# Answers that are kept, of calls for which Lua names a key."
    yield (
        f"proxy_cache_path {_quoted(node.run / 'gateway' / 'answers')} levels=1:2 use_temp_path=off"
        f" keys_zone=answers:{_CACHE_KEYS_MEGABYTES}m max_size={node.cache_megabytes}m inactive=1h;"
    )
    yield "# Only what says how long it is, up to 10 MB: the disk must not fill with one answer."
    yield r'map $upstream_http_content_length $gw_unkept { default 1; "~^\d{1,7}$" ""; }'
    words = " ".join(f'{word} "Ostiary; {said}";' for word, said in _CACHE_STATUS.items())
    yield f'map $upstream_cache_status $gw_cache_status {{ default ""; {words} }}'


def _kept() -> Iterator[str]:
    """The settings of a location that caches answers."""
    yield "proxy_buffering on;"
    yield "proxy_cache answers;"
    yield "proxy_cache_key $gw_cache_key;"
    yield "proxy_cache_methods GET;"
    yield "# The key changes after the seconds that the owner chose."
    yield "proxy_cache_valid 200 203 301 308 1h;"
    yield "proxy_no_cache $gw_unkept;"
    yield "add_header Cache-Status $gw_cache_status always;"


def _place(host: str, port: int) -> tuple[str, str]:
    """An address as nginx has it, and what else a listener at it needs."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{name}:{port}", " ipv6only=off" if host.strip("[]") == "::" else ""


def _listen_clear(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    """HTTP/2 without TLS, which callers of gRPC begin with at once (RFC 9113, section 3.3)."""
    if node.h2c is None:
        return
    at, only = _place(*node.h2c)
    h2_word = " http2" if facts.version < (1, 25, 1) else ""
    yield f"listen {at} default_server{h2_word} backlog=4096{only};"


def _listen(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    host = f"[{node.host}]" if ":" in node.host else node.host
    only = " ipv6only=off" if node.host == "::" else ""
    at = f"{host}:{node.port}"
    line = " proxy_protocol" if node.proxy_protocol else ""
    if node.certificate is None:
        yield f"listen {at} default_server{line} backlog=4096{only};"
        if node.h2c is not None and facts.version >= (1, 25, 1):
            yield "http2 on;"
        return
    h2_word = " http2" if facts.version < (1, 25, 1) else ""
    yield f"listen {at} default_server ssl{h2_word}{line} backlog=4096{only};"
    if not h2_word:
        yield "http2 on;"
    yield f"ssl_certificate {_quoted(node.certificate)};"
    yield f"ssl_certificate_key {_quoted(node.certificate)};"
    yield "ssl_protocols TLSv1.2 TLSv1.3;"
    yield "# RFC 9325, section 4.2: forward secrecy and authenticated encryption."
    yield "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;"
    yield "ssl_prefer_server_ciphers off;"
    yield "ssl_session_cache shared:tls:8m;"
    yield "ssl_session_timeout 1h;"


def _public(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    def lines() -> Iterator[str]:
        yield from _listen(node, facts)
        yield from _listen_clear(node, facts)
        yield f"access_log {_quoted(node.run / 'lines' / 'calls.log')} line buffer=64k flush=1s if=$gw_log;"
        yield "log_by_lua_block { ostiary.log() }"
        yield ""
        yield "# Where a call goes: Lua sets it for one that it admits, last of all."
        yield "set $gw_to http://closed/;"
        yield "# Variables that Lua does not set are empty."
        yield "uninitialized_variable_warn off;"
        yield ""
        yield from _answer_headers(facts)
        yield ""
        yield "# Admitted calls whose upstream fails, and errors of Lua."
        yield "error_page 500 502 503 504 @failed;"
        yield "# What nginx itself refuses before anything is decided."
        for status in sorted(nginx_refusals()):
            yield f"error_page {status} /__malformed/{status};"
        yield ""
        yield "# What an upstream gets, in every location but the first, which has a list of its own."
        yield from _request_headers(node, facts, any_kind=True)
        yield from _http2_headers(node, facts)
        yield ""
        yield "# Every call. Most are forwarded from here, the others from one of the locations below."
        yield "location / {"
        yield "  access_by_lua_block { ostiary.access() }"
        yield f"  {_HEAD}"
        yield f"  {_FORWARD}"
        yield from _indented(_request_headers(node, facts, any_kind=False))
        yield "}"
        yield ""
        yield "# Calls to which something is added, by what is trusted of their upstreams."
        for name, trust in _trusts(facts):
            for suffix, head, more in (("", _HEAD, ()), ("_cached", _HEAD_OF_KEPT, tuple(_kept()))):
                yield f"location {name}{suffix} {{"
                yield f"  {head}"
                yield f"  {_FORWARD}"
                yield from _indented((*trust, *more))
                yield from _indented(_hidden())
                yield from _indented(_browser_headers())
                yield from _indented(_answer_headers(facts))
                yield "}"
        yield ""
        yield "# Calls to upstreams that speak HTTP/2. Bodies of gRPC come when they come; nginx makes paths of $uri."
        for name, more in _http2_kinds(facts):
            yield f"location {name} {{"
            yield f"  {_HEAD_OF_HTTP2}"
            yield "  grpc_pass $gw_to;"
            yield from _indented(more)
            yield from _indented(_for_http2(_hidden()))
            yield from _indented(_for_http2(_browser_headers()))
            yield from _indented(_answer_headers(facts))
            yield "}"
        yield ""
        yield "location @failed {"
        yield "  content_by_lua_block { ostiary.failed() }"
        yield "}"
        yield "location /__malformed/ {"
        yield "  internal;"
        yield "  content_by_lua_block { ostiary.malformed() }"
        yield "}"

    yield "server {"
    yield from _indented(lines())
    yield "}"


def _trusts(facts: ConfigurationFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Locations for calls of all kinds, by what is trusted of their upstreams."""
    yield "@any", ()
    yield "@https_unverified", ("proxy_ssl_verify off;",)
    for digest, path in facts.authorities.items():
        yield f"@https_{digest}", (f"proxy_ssl_trusted_certificate {_quoted(path)};",)


def _http2_kinds(facts: ConfigurationFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Locations for calls over HTTP/2, by what is called and what is trusted of the upstreams."""
    for name, lines in (("@grpc", ("client_body_timeout 24h;",)), ("@http2", ())):
        yield name, lines
        yield f"{name}_unverified", (*lines, "grpc_ssl_verify off;")
        for digest, path in facts.authorities.items():
            yield f"{name}_{digest}", (*lines, f"grpc_ssl_trusted_certificate {_quoted(path)};")


def _for_http2(lines: Iterable[str]) -> Iterator[str]:
    """The same for the module that carries calls over HTTP/2."""
    return (line.replace("proxy_", "grpc_", 1) for line in lines)


def _http2_headers(node: Node, facts: ConfigurationFacts) -> Iterator[str]:
    """The headers that we set for HTTP/2, where a variable cannot hold several; Lua removes the others.

    nginx has no room for more names here.
    """
    for line in _request_headers(node, facts, any_kind=True):
        name = line.split()[1]
        ours = line.startswith("proxy_set_header") and not line.endswith('"";')
        if ours and name not in {*_TOLD, "Connection", "Upgrade"}:
            yield line.replace("proxy_", "grpc_", 1)
    for name, variable in (_WHO | _TOLD).items():
        yield f"grpc_set_header {name} {variable};"


def _request_headers(node: Node, facts: ConfigurationFacts, *, any_kind: bool) -> Iterator[str]:
    """The headers that we set or remove, those that few kinds of calls have only if `any_kind`."""
    yield "# Lines that tell the public address and who calls follow in the same value, from ostiary.forwarding."
    yield "proxy_set_header Host $gw_host;"
    yield 'proxy_set_header X-Ostiary-Client "";'
    yield 'proxy_set_header X-Ostiary-Profile "";'
    yield f"proxy_set_header X-Ostiary-Request-Id {request_id(facts.mark)};"
    # Calls that have passed other gateways are of the other kinds.
    yield f"proxy_set_header CDN-Loop {'$gw_loop' if any_kind else facts.loop};"
    # Calls of trusted proxies are of the other kinds.
    yield f"proxy_set_header X-Forwarded-For {'$gw_address' if any_kind else _peer(node)};"
    for name, variable in _SELDOM_HEADERS.items():
        yield f'proxy_set_header {name} "{variable if any_kind else ""}";'
    for name in STRIPPED:
        if name not in _SELDOM_HEADERS:
            yield f'proxy_set_header {name} "";'


def _hidden() -> Iterator[str]:
    """The upstream's headers that do not reach the caller."""
    yield "proxy_hide_header X-Ostiary-Reason;"
    yield "proxy_hide_header X-Request-Id;"
    yield "# It tells callers to go to ports and protocols of the upstream's host (RFC 7838)."
    yield "proxy_hide_header Alt-Svc;"


def _answer_headers(facts: ConfigurationFacts) -> Iterator[str]:
    """What every answer has."""
    yield f"add_header X-Request-Id {request_id(facts.mark)} always;"
    yield "add_header X-Upstream-Request-Id $upstream_http_x_request_id always;"
    yield "add_header RateLimit $gw_rate always;"
    yield "add_header RateLimit-Policy $gw_announced always;"
    yield "add_header X-RateLimit-Limit $gw_limit always;"
    yield "add_header X-RateLimit-Remaining $gw_remaining always;"
    yield "add_header X-RateLimit-Reset $gw_reset always;"


def _browser_headers() -> Iterator[str]:
    yield "proxy_hide_header Access-Control-Allow-Origin;"
    yield "proxy_hide_header Access-Control-Allow-Credentials;"
    yield "add_header Access-Control-Allow-Origin $gw_allowed_origin always;"
    yield "add_header Access-Control-Allow-Credentials $gw_allowed_credentials always;"
    yield "add_header Access-Control-Expose-Headers $gw_exposed always;"
    yield "add_header Vary $gw_vary always;"
    yield "add_header Sec-WebSocket-Protocol $gw_selected always;"


def _control(node: Node) -> Iterator[str]:
    def lines() -> Iterator[str]:
        yield f"listen {_quoted(f'unix:{node.control_socket}')};"
        yield "client_body_buffer_size 1m;"
        yield "client_max_body_size 64m;"
        yield "location / {"
        yield '  content_by_lua_block { require("ostiary.control").handle() }'
        yield "}"
        yield "# How many connections nginx has accepted; Lua reads it."
        yield "location = /accepted {"
        yield "  internal;"
        yield "  stub_status;"
        yield "}"
        yield "# Variables that Lua sets are declared by a `set` that never runs: one that did would cost every call."
        yield "location = /variables {"
        yield "  internal;"
        for name in SET_BY_LUA:
            yield f'  set ${name} "";'
        yield "}"

    yield "# Our own processes alone can open this socket."
    yield "server {"
    yield from _indented(lines())
    yield "}"
