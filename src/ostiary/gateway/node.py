"""A gateway of this machine: listeners, sockets, sizes and ceilings. Pure values."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - named by a digest, in a folder with a sticky bit


def control_socket(run: Path) -> Path:
    """The control socket in a folder of sockets, for who does not need the rest of a node."""
    return run / "gateway.sock"


def refused_file(run: Path) -> Path:
    """Why nginx runs with the files of an earlier start; not there if it does not."""
    return run / "gateway" / "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A gateway as it stays while nginx runs: listeners, sockets, sizes, ceilings."""

    run: Path
    host: str
    port: int
    certificate: Path | None = None
    #: Where HTTP/2 is taken without TLS; None: nowhere.
    h2c: tuple[str, int] | None = None
    #: Connections begin with a line of the PROXY protocol.
    proxy_protocol: bool = False
    workers: int = 2
    #: Shared memory for leases; some 300 bytes each.
    lease_megabytes: int = 256
    #: Upcalls that one address may have under way in one worker.
    upcalls_per_address: int = 16
    #: Open calls of one address, once the gateway is busy.
    connections_per_address: int = 1024
    #: The same of one access profile, and of all profiles of one project.
    connections_per_profile: int = 8192
    connections_per_project: int = 16_384
    #: Connections of one address whose head is not complete.
    heads_per_address: int = 256
    #: Seconds without the change feed after which no lease is honoured; 0: however long it takes.
    fence_seconds: int = 0
    #: Calls a second up to which each has a log line.
    log_rate: int = 1000
    #: Room on the disk for answers that are kept.
    cache_megabytes: int = 256
    #: Limits are counted over several gateways: the authority grants blocks of them.
    shares_limits: bool = False

    @property
    def control_socket(self) -> Path:
        """Where nginx takes epochs and objects, and tells how it is."""
        return control_socket(self.run)

    @property
    def pid_file(self) -> Path:
        """Where nginx writes its process id: in memory if there is room, since a disk may be full."""
        if os.access(_MEMORY, os.W_OK):
            name = hashlib.sha256(os.fsencode(self.run)).hexdigest()[:16]
            return _MEMORY / f"ostiary-{os.geteuid()}-{name}.pid"
        return self.run / "gateway" / "nginx.pid"
