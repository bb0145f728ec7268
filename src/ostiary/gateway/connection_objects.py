"""Connections as published objects: upstream servers, and the credential that Ostiary adds to calls.

Everything is checked again, see `gateway.objects`. Pure: names are resolved and secrets opened by who
asks.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ostiary.directory.catalog import upstream_url
from ostiary.directory.catalog.upstream_url import UpstreamUrl
from ostiary.directory.models import Connection
from ostiary.gateway.contract import PUBLIC_ADDRESSES
from ostiary.gateway.objects import LARGEST, LONGEST_PATH, Unpublishable, seconds, shown, text_of
from ostiary.gateway.snapshot import ConnectionRow
from ostiary.identity.secret import Secret

LONGEST_VALUE = 8 * 1024
MOST_URLS = 20
#: Addresses of one connection, the first ones: a name may have hundreds.
MOST_SERVERS = 256
LARGEST_WEIGHT = 100
MOST_RETRIES = 5
#: Of a connection with several servers that does not say.
USUAL_RETRIES = 2

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
#: Headers that frame or route a message, or that the gateway says itself.
_RESERVED = re.compile(
    r"(?i)(x-ostiary-.*|x-forwarded-.*|host|connection|content-.*|transfer-encoding|te|trailer"
    r"|upgrade|expect|keep-alive|proxy-.*|cookie|forwarded|range|via)"
)
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_QUERY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_QUERY_VALUE = re.compile(r"[A-Za-z0-9_.~%+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One address of an upstream."""

    address: str
    port: int
    #: The name that has the address; the address itself where the URL has no name.
    host: str
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A connection's row, checked; what is known only at run time is not in it."""

    id: int
    urls: tuple[UpstreamUrl, ...]
    verify: bool
    #: Certificates trusted instead of the system's, and how the gateway names them; empty: none.
    ca_pem: str
    timeout_seconds: int
    #: Path of the health check below the servers; empty: a TCP connect.
    health_path: str
    #: Longest silence of a tunnel or an event stream, in seconds.
    stream_timeout: int
    balancing: str
    #: Weight of each URL in load balancing.
    weights: tuple[int, ...]
    #: Most retries of a failed call.
    retries: int | None
    #: Whether to retry PUT and DELETE although the upstream may have received them.
    retry_writes: bool
    #: Whether ordinary calls go by HTTP/2; those of gRPC always do.
    http2: bool
    #: How the upstream learns its public address, see contract.PUBLIC_ADDRESSES.
    told: str
    #: Whether URLs and cookies in its answers are translated to the public address.
    translate: bool

    @property
    def names(self) -> frozenset[str]:
        """Names to be resolved."""
        return frozenset(url.host for url in self.urls if not url.is_ip)

    @property
    def tls(self) -> bool:
        return self.urls[0].is_tls

    @property
    def grpc(self) -> bool:
        return self.urls[0].is_grpc

    @property
    def tls_name(self) -> str:
        """Server name for SNI and verification; empty: no name, no verification."""
        first = self.urls[0]
        return first.host if self.tls and not first.is_ip else ""

    @property
    def host_header(self) -> str:
        return self.urls[0].host_header

    @property
    def ca(self) -> str:
        return certificate_digest(self.ca_pem) if self.ca_pem else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedCredential:
    """The credential that Ostiary adds to calls: a header, a query parameter, or neither."""

    header: str = ""
    query: str = ""
    value: Secret = field(default_factory=lambda: Secret(""))


def certificate_digest(pem: str) -> str:
    """How objects and files name a CA certificate: by its content."""
    return hashlib.sha256(pem.encode(errors="surrogatepass")).hexdigest()[:16]


def upstream(row: ConnectionRow) -> Upstream:
    """Check a connection; raises Unpublishable."""
    urls = _urls(row.base_urls)
    tls = urls[0].is_tls
    verify = row.verify_tls is not False
    if tls and verify and any(url.is_ip for url in urls):
        # nginx compares a certificate with names alone, never with addresses.
        raise Unpublishable(
            "The gateway verifies an https upstream by its host name, and a base URL has an IP"
            " address; use a name, or switch verification off."
        )
    pem = row.ca_pem if tls and verify else ""
    if not isinstance(pem, str) or not pem.isascii() or len(pem) > LARGEST * 2:
        raise Unpublishable("Its CA certificates are not ASCII text of a reasonable length.")
    return Upstream(
        id=row.id,
        urls=urls,
        verify=verify,
        ca_pem=pem,
        timeout_seconds=seconds(row.timeout_seconds, least=1),
        # Health checks speak HTTP/1.1: other servers are looked at by a connection alone.
        health_path=""
        if urls[0].is_grpc or (row.http_version == "2" and not tls)
        else _health_path(row.health_path, urls[0].base_path),
        stream_timeout=seconds(row.stream_timeout_seconds, least=1),
        balancing=_balancing(row.balancing),
        weights=_weights(row.weights, len(urls)),
        retries=_retries(row.retries),
        retry_writes=row.retry_writes is True,
        http2=row.http_version == "2",
        told=_told(row.public_address),
        translate=row.translate_urls is not False,
    )


def _balancing(value: object) -> str:
    if value not in Connection.Balancing.values:
        raise Unpublishable("Its load balancing method is unknown.")
    return str(value)


def _weights(value: object, urls: int) -> tuple[int, ...]:
    if value == []:
        return (1,) * urls
    if (
        not isinstance(value, list)
        or len(value) != urls
        or not all(type(each) is int and 1 <= each <= LARGEST_WEIGHT for each in value)
    ):
        raise Unpublishable("Its weights must be one number for each base URL.")
    return tuple(value)


def _retries(value: object) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= MOST_RETRIES):
        raise Unpublishable(f"Its retries are not 0 to {MOST_RETRIES}.")
    return value


def _told(value: object) -> str:
    if not isinstance(value, str) or value not in PUBLIC_ADDRESSES:
        raise Unpublishable("Its way to send the public address is unknown.")
    return PUBLIC_ADDRESSES[value]


def _urls(value: object) -> tuple[UpstreamUrl, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_URLS:
        raise Unpublishable(f"It must have 1 to {MOST_URLS} base URLs.")
    urls = []
    for text in value:
        if not isinstance(text, str):
            raise Unpublishable("One of its base URLs is not a text.")
        try:
            url = upstream_url.parse(text)
        except upstream_url.BadUrl as error:
            raise Unpublishable(f"Its base URL {shown(text)} {error}.") from None
        if len(url.base_path) > LONGEST_PATH:
            raise Unpublishable(f"The path of {shown(text)} is too long.")
        urls.append(url)
    if len({(url.scheme, url.base_path) for url in urls}) > 1:
        raise Unpublishable("Its base URLs differ in scheme or path.")
    return tuple(urls)


def _health_path(value: object, base_path: str) -> str:
    if not value:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_PATH or not value.startswith("/"):
        raise Unpublishable("Its health path is not a path.")
    path = f"{base_path}{value}"
    if not all("!" <= char <= "~" for char in path) or "#" in path:
        raise Unpublishable("Its health path holds a character that no path may have.")
    return path


def credential(row: ConnectionRow, secret: Secret, bearer: Secret | None) -> AddedCredential:
    """What is added to calls: `secret` is the connection's own, opened, or empty.

    `bearer`: the access token of a connection with OAuth 2.0. Raises Unpublishable.
    """
    name, plain = row.auth_name, secret.reveal()
    match row.auth_type:
        case Connection.Auth.NONE:
            return AddedCredential()
        case Connection.Auth.OAUTH2:
            if bearer is None:
                return AddedCredential()
            return _header("Authorization", f"Bearer {bearer.reveal()}")
        case _ if not plain:
            # Without it, calls would reach the upstream with another identity or none.
            raise Unpublishable("Its secret is missing; enter it again.")
        case Connection.Auth.HEADER:
            return _header(name, plain)
        case Connection.Auth.BASIC:
            pair = base64.b64encode(f"{name}:{plain}".encode(errors="surrogatepass")).decode()
            return _header("Authorization", f"Basic {pair}")
        case Connection.Auth.QUERY:
            return _query(name, plain)
    raise Unpublishable("Its authentication type is unknown.")


def _header(name: object, value: str) -> AddedCredential:
    if not isinstance(name, str) or not _HEADER.fullmatch(name) or _RESERVED.fullmatch(name):
        raise Unpublishable("The header that it adds is not one that a connection may set.")
    if len(value) > LONGEST_VALUE or not _VALUE.fullmatch(value):
        raise Unpublishable("The value of the header that it adds is not printable ASCII.")
    return AddedCredential(header=name, value=Secret(value))


def _query(name: object, value: str) -> AddedCredential:
    if not isinstance(name, str) or not _QUERY_NAME.fullmatch(name):
        raise Unpublishable("The query parameter that it adds does not have a proper name.")
    if len(value) > LONGEST_VALUE or not _QUERY_VALUE.fullmatch(value):
        raise Unpublishable("The value of the query parameter that it adds is not encoded.")
    return AddedCredential(query=name, value=Secret(value))


def connection(
    upstream: Upstream,
    *,
    servers: Iterable[Server],
    down: frozenset[tuple[str, int]],
    added: AddedCredential,
) -> str:
    """The text of a connection; `down`: addresses and ports that failed their health check."""
    value = added.value.reveal()
    servers = list(servers)
    usual = USUAL_RETRIES if len(servers) > 1 else 0
    return text_of({
        "id": upstream.id,
        "servers": [
            {
                "address": server.address,
                "port": server.port,
                "down": (server.address, server.port) in down,
                "weight": server.weight,
            }
            for server in servers
        ],
        "tls": {"name": upstream.tls_name, "verify": upstream.verify, "ca": upstream.ca}
        if upstream.tls
        else None,
        "grpc": upstream.grpc,
        "http2": upstream.http2,
        "host": upstream.host_header,
        "base": upstream.urls[0].base_path,
        "header": {"name": added.header, "value": value} if added.header else None,
        "query": f"{added.query}={value}" if added.query else "",
        "timeout": upstream.timeout_seconds,
        "stream_timeout": upstream.stream_timeout,
        "balancing": upstream.balancing,
        "retries": usual if upstream.retries is None else upstream.retries,
        "retry_writes": upstream.retry_writes,
        "told": upstream.told,
        "translate": upstream.translate,
        "authorities": sorted({url.host_header for url in upstream.urls[1:]}),
    })  # fmt: skip
