"""Whether an address and port are one of Ostiary's own listeners: a call there would never end."""

import ipaddress
import socket
from collections.abc import Iterable

from ostiary.access.addresses import Address, unmapped

#: RFC 5737: no machine has it, so that whoever may bind it may bind anything.
_NOBODYS = ipaddress.IPv4Address("192.0.2.1")


class Listeners:
    """The listeners of this machine's Ostiary, as `(host, port)`; a host may be a name."""

    def __init__(self, binds: Iterable[tuple[str, int]]) -> None:
        #: Port → addresses that are listened on; nothing among them: all of this machine's.
        self._by_port: dict[int, set[Address] | None] = {}
        for host, port in binds:
            addresses = _addresses(host)
            before = self._by_port.get(port, set())
            self._by_port[port] = (
                None if addresses is None or before is None else before | addresses
            )

    def __contains__(self, place: tuple[str, int]) -> bool:
        text, port = place
        if port not in self._by_port:
            return False
        address = unmapped(ipaddress.ip_address(text))
        listened = self._by_port[port]
        return is_local(address) if listened is None else address in listened


def _addresses(host: str) -> set[Address] | None:
    """What a listener's host stands for; nothing: every address of this machine."""
    bare = host.strip("[]")
    if bare in {"", "*"}:
        return None
    try:
        address = unmapped(ipaddress.ip_address(bare.partition("%")[0]))
        return None if address.is_unspecified else {address}
    except ValueError:
        pass
    try:
        answers = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return {unmapped(ipaddress.ip_address(str(a[4][0]).partition("%")[0])) for a in answers}


def is_local(address: Address) -> bool:
    """Whether an address is this machine's: then a socket can be bound to it."""
    if address.is_loopback or address.is_unspecified:
        return True
    if _may_bind(_NOBODYS):
        # The system lets anybody bind anything; a connection's own end tells as well, but for
        # an interface's second address.
        return _own_end(address) == address
    return _may_bind(address)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _may_bind(address: Address) -> bool:
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


def _own_end(address: Address) -> Address | None:
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
            sock.connect((str(address), 9))  # sends nothing
            return ipaddress.ip_address(str(sock.getsockname()[0]).partition("%")[0])
    except OSError:
        return None
