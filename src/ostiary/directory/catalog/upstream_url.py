"""Base URLs of upstreams: what an owner may point a connection at. Knows no database.

Names are not resolved here: who does asks `refused_address` about what they resolve to.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna

from ostiary.access.addresses import METADATA, Address, destinations, unmapped
from ostiary.access.paths import normalise

LONGEST = 2048

_USUAL_PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
#: Stricter than `urlsplit`, which takes `x[::1]y` for `::1`.
_NETLOC = re.compile(r"(\[(?P<v6>[^\[\]@]*)\]|(?P<name>[^\[\]:@]*))(:(?P<port>[0-9]*))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: What some resolvers take for an IPv4 address, though it is not written as one.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")

_NOWHERE = ipaddress.ip_network("0.0.0.0/8")


class BadUrl(ValueError):
    """A URL that no connection may have; the text is a sentence without its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamUrl:
    scheme: str
    host: str
    port: int
    #: Without a trailing slash; empty: the root.
    base_path: str
    is_ip: bool

    @property
    def is_tls(self) -> bool:
        return self.scheme in {"https", "grpcs"}

    @property
    def is_grpc(self) -> bool:
        return self.scheme in {"grpc", "grpcs"}

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.base_path}"


def parse(text: str, own: Iterable[tuple[str, int]] = ()) -> UpstreamUrl:
    """Read a base URL; raises BadUrl. `own` are the listeners that calls must not come back to."""
    if len(text) > LONGEST or any(c.isspace() or not c.isprintable() for c in text):
        raise BadUrl("must be one URL without spaces, of at most 2048 characters")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadUrl("isn't a valid URL") from None
    if parts.scheme not in _USUAL_PORTS or not text[len(parts.scheme) :].startswith("://"):
        raise BadUrl("must begin with http://, https://, grpc:// or grpcs://")
    if "@" in parts.netloc:
        raise BadUrl("must not hold a user name or password; give them as authentication")
    if "#" in text or "?" in text:
        raise BadUrl("must not have a query or a fragment")
    host, port, is_ip = _authority(parts.netloc)
    url = UpstreamUrl(
        scheme=parts.scheme,
        host=host,
        port=port or _USUAL_PORTS[parts.scheme],
        base_path=_base_path(parts.path),
        is_ip=is_ip,
    )
    if any(_reaches(url, *listener) for listener in own):
        raise BadUrl("is one of Ostiary's own ports")
    return url


def refused_address(address: Address) -> bool:
    """Whether no upstream may have this address: link-local ones serve cloud metadata.

    Also in the forms of IPv6 that carry such an IPv4 address.
    """
    return any(_is_refused(each) for each in destinations(address))


def _is_refused(address: Address) -> bool:
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _NOWHERE
        or address == ipaddress.IPv4Address("255.255.255.255")
        or address in METADATA
    )


def _authority(netloc: str) -> tuple[str, int | None, bool]:
    parts = _NETLOC.fullmatch(netloc)
    if parts is None:
        raise BadUrl("has no valid host or port")
    port = int(parts["port"][:6]) if parts["port"] else None
    if port is not None and not 1 <= port <= 65_535:
        raise BadUrl("must have a port from 1 to 65535")
    if parts["v6"] is not None:
        return _ipv6(parts["v6"]), port, True
    host, is_ip = _name(parts["name"])
    return host, port, is_ip


def _ipv6(text: str) -> str:
    if "%" in text:
        raise BadUrl("must not have an address with a zone")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise BadUrl("has no valid IPv6 address between its brackets") from None
    return _checked(unmapped(address))


def _checked(address: Address) -> str:
    if refused_address(address):
        raise BadUrl("must not be a link-local, multicast, metadata or unspecified address")
    return str(address)


def _name(text: str) -> tuple[str, bool]:
    """A host's name, or an IPv4 address. Looked at once it is ASCII: `１２７.0.0.1` is one."""
    name = text.lower() if text.isascii() else _ascii(text)
    name = name.removesuffix(".")
    try:
        return _checked(ipaddress.IPv4Address(name)), True
    except ipaddress.AddressValueError:
        pass
    if _NUMERIC.fullmatch(name):
        raise BadUrl("must write an IPv4 address as four decimal numbers")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise BadUrl("has no valid host name")
    return name, False


def _ascii(text: str) -> str:
    """A name's form in the DNS, as browsers make it (UTS 46)."""
    try:
        return idna.encode(text, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise BadUrl("has no valid host name") from None


def _base_path(path: str) -> str:
    bare = path.rstrip("/")
    if not bare:
        return ""
    normal = normalise(bare)
    if normal is None:
        raise BadUrl(
            "has a path that no call may have: it must be percent-encoded, without empty segments, "
            "semicolons or escaped slashes"
        )
    return normal.rstrip("/")


def _reaches(url: UpstreamUrl, host: str, port: int) -> bool:
    """Whether a URL leads to a listener; one on all addresses is reached by this machine's own."""
    if url.port != port:
        return False
    listener = host.strip("[]").lower()
    if url.host == listener:
        return True
    named = _is_local_name(url.host)
    if listener in {"", "*", "0.0.0.0", "::"}:  # noqa: S104 - told, not bound
        return named or _is_loopback(url.host)
    if _is_local_name(listener):
        return named or url.host in {"127.0.0.1", "::1"}
    return named and _is_loopback(listener)


def _is_local_name(host: str) -> bool:
    """RFC 6761, section 6.3: these names are this machine's."""
    return host == "localhost" or host.endswith(".localhost")


def _is_loopback(host: str) -> bool:
    try:
        return any(each.is_loopback for each in destinations(ipaddress.ip_address(host)))
    except ValueError:
        return False
