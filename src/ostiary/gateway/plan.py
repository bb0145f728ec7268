"""What a gateway must be told: the typed plan from which everything of HAProxy's is rendered.

Pure values; knows neither the directory's tables nor HAProxy's language.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ostiary.gateway.routing import RoutedCollection
from ostiary.identity.secret import Secret


_MEMORY = Path("/dev/shm")  # noqa: S108 - named by a digest, in a folder with a sticky bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A gateway as it stays while nginx runs: listeners, sockets, sizes, ceilings."""

    run: Path
    host: str
    port: int
    certificate: Path | None = None
    workers: int = 2
    #: Shared memory for leases; some 300 bytes each.
    lease_megabytes: int = 256
    #: Upcalls that one address may have under way in one worker.
    upcalls_per_address: int = 16
    #: Open calls of one address, once the gateway is busy.
    connections_per_address: int = 1024
    #: Calls a second up to which each has a log line.
    log_rate: int = 1000

    @property
    def control_socket(self) -> Path:
        """Where nginx takes epochs and objects, and tells how it is."""
        return self.run / "gateway.sock"

    @property
    def pid_file(self) -> Path:
        """Where nginx writes its process id: in memory if there is room, since a disk may be full."""
        if os.access(_MEMORY, os.W_OK):
            name = hashlib.sha256(os.fsencode(self.run)).hexdigest()[:16]
            return _MEMORY / f"ostiary-{os.geteuid()}-{name}.pid"
        return self.run / "gateway" / "nginx.pid"


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
