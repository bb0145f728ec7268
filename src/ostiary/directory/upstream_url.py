"""Base URLs of upstreams: what an owner may point a connection at. Knows no database."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ostiary.access.paths import normalise

LONGEST = 2048
_HOST = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
)
#: What some resolvers take for an IPv4 address, though it is not written as one.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?")


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
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.base_path}"


def parse(text: str, own: Iterable[tuple[str, int]] = ()) -> UpstreamUrl:
    """Read a base URL; raises BadUrl. `own` are the listeners that calls must not come back to."""
    if len(text) > LONGEST or any(c.isspace() or not c.isprintable() for c in text):
        raise BadUrl("must be one URL without spaces, of at most 2048 characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadUrl("is no valid URL") from None
    if parts.scheme not in {"http", "https"}:
        raise BadUrl("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise BadUrl("must not hold a user name or password; give them as authentication")
    if "#" in text or "?" in text:
        raise BadUrl("must not have a query or a fragment")
    if port == 0:
        raise BadUrl("must have a port from 1 to 65535")
    host, is_ip = _host(parts.hostname or "")
    url = UpstreamUrl(
        scheme=parts.scheme,
        host=host,
        port=port or {"http": 80, "https": 443}[parts.scheme],
        base_path=_base_path(parts.path),
        is_ip=is_ip,
    )
    _refuse_own(url, own)
    return url


def refused_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether no upstream may have this address: link-local ones serve cloud metadata."""
    mapped = getattr(address, "ipv4_mapped", None)
    plain = mapped or address
    return bool(plain.is_link_local or plain.is_multicast or plain.is_unspecified)


def _host(host: str) -> tuple[str, bool]:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if refused_address(address) or getattr(address, "scope_id", None):
            raise BadUrl("must not be a link-local, multicast or unspecified address")
        return str(address), True
    if _NUMERIC.fullmatch(host):
        raise BadUrl("must write an IPv4 address as four decimal numbers")
    try:
        name = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise BadUrl("has no valid host name") from None
    name = name.rstrip(".").lower()
    if not _HOST.fullmatch(name):
        raise BadUrl("has no valid host name")
    return name, False


def _base_path(path: str) -> str:
    if path in {"", "/"}:
        return ""
    normal = normalise(path.rstrip("/"))
    if normal is None:
        raise BadUrl("has a path that no call may have")
    return "" if normal == "/" else normal


def _refuse_own(url: UpstreamUrl, own: Iterable[tuple[str, int]]) -> None:
    local = url.host == "localhost" or (url.is_ip and ipaddress.ip_address(url.host).is_loopback)
    for host, port in own:
        if url.port == port and (url.host == host or local):
            raise BadUrl("is one of Ostiary's own ports")
