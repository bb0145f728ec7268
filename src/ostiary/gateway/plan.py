"""What a gateway must be told: the typed plan from which everything of HAProxy's is rendered.

Pure values; knows neither the directory's tables nor HAProxy's language.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ostiary.gateway.routing import RoutedCollection
from ostiary.identity.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What stays as it is while HAProxy runs: listeners, sockets, sizes."""

    run: Path
    host: str
    port: int
    certificate: Path | None = None
    threads: int = 2
    #: Backends rendered ahead, one for each connection: plain ones; those with what few ask for
    #: (credentials added, timeouts, other paths); and the same with a health path.
    plain: int = 128
    special: int = 64
    checked: int = 64
    #: Rows of the lease table: one per credential and endpoint in use (and address, where bound).
    leases: int = 1_000_000
    #: Upcalls that one thread may have waiting at the authority.
    upcalls: int = 400
    #: Calls a second up to which each has a log line.
    log_rate: int = 3200

    @property
    def slots(self) -> int:
        return self.plain + self.special + self.checked

    @property
    def plain_slots(self) -> range:
        return range(self.plain)

    @property
    def special_slots(self) -> range:
        return range(self.plain, self.plain + self.special)

    @property
    def checked_slots(self) -> range:
        return range(self.plain + self.special, self.slots)

    @property
    def socket(self) -> Path:
        return self.run / "haproxy.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One address of an upstream, resolved; names are HAProxy-safe and tell their parameters."""

    name: str
    address: str
    port: int
    #: Name to ask for and to verify, or empty: no TLS.
    tls_name: str = ""
    tls_name_is_ip: bool = False
    verify: bool = True
    ca_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A connection as the gateway uses it, in the pool's backend number `slot`."""

    slot: int
    connection: int
    servers: tuple[Server, ...]
    host_header: str
    base_path: str = ""
    #: Header or query parameter that Ostiary adds: its name and the whole value.
    header: str = ""
    query: str = ""
    value: Secret = field(default_factory=lambda: Secret(""))
    timeout_seconds: int = 30
    health_path: str = ""

    @property
    def backend(self) -> str:
        return backend_name(self.slot)


def backend_name(slot: int) -> str:
    """The name of the pool's backend number `slot`."""
    return f"up_{slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeEndpoint:
    """What the runner must be told beside the call itself."""

    endpoint: int
    recipe: str
    template: str
    base: str
    timeout_seconds: int
    validate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that can change while HAProxy runs, as of one sequence of the feed."""

    sequence: int
    collections: tuple[RoutedCollection, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    recipes: tuple[RecipeEndpoint, ...] = ()
    #: Policy → what it says of itself in `RateLimit-Policy`.
    policies: Mapping[int, str] = field(default_factory=dict)
    #: Networks whose `X-Forwarded-For` is believed.
    trusted_proxies: tuple[str, ...] = ()
    #: SHA-256 (upper-case hex) of imported credentials that may still be good.
    imported: frozenset[str] = frozenset()
    #: Collection handle → origins that browsers may call it from.
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
