"""Published objects: each a key and a JSON text, built from one row of the directory.

Everything is checked as if nobody had checked it at saving: what the gateway must not get raises
Unpublishable, and costs that object alone. Pure: names are resolved and secrets opened by who asks.
"""

import base64
import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ostiary.access.paths import ENDPOINT_METHODS, BadTemplate, Template, stored_template
from ostiary.directory.catalog import upstream_url
from ostiary.directory.catalog.upstream_url import UpstreamUrl
from ostiary.directory.models import Collection, Connection
from ostiary.directory.workspace import origins
from ostiary.gateway.contract import OBJECTS, PUBLIC_ADDRESSES
from ostiary.gateway.snapshot import CollectionRow, ConnectionRow, EndpointRow
from ostiary.identity import places
from ostiary.identity.secret import Secret

#: Bytes of the largest object that the gateway takes.
LARGEST = 64 * 1024
#: Seconds that a recipe may run where its endpoint does not say.
RECIPE_TIMEOUT = 30
LONGEST_TIMEOUT = 24 * 3600
LONGEST_PATH = 1024
LONGEST_VALUE = 8 * 1024
LONGEST_ORIGIN = 300
MOST_ORIGINS = 50
MOST_URLS = 20
#: Addresses of one connection, the first ones: a name may have hundreds.
MOST_SERVERS = 256
MOST_NETWORKS = 1000
LARGEST_WEIGHT = 100
LONGEST_CACHED = 3600
MOST_RETRIES = 5
#: Of a connection with several servers that does not say.
USUAL_RETRIES = 2

_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_EXPOSED = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
#: Headers that frame or route a message, or that the gateway says itself.
_RESERVED = re.compile(
    r"(?i)(x-ostiary-.*|x-forwarded-.*|host|connection|content-.*|transfer-encoding|te|trailer"
    r"|upgrade|expect|keep-alive|proxy-.*|cookie|forwarded|range|via)"
)
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_QUERY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_QUERY_VALUE = re.compile(r"[A-Za-z0-9_.~%+-]*")
_RECIPE = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?")


class Unpublishable(Exception):
    """The object cannot be brought to the gateway; one sentence, without a secret."""


def key(kind: str, object_id: int | str = "") -> str:
    """The key of an object; `kind` is one of `contract.OBJECTS`."""
    return f"{OBJECTS[kind]}{object_id}"


def digest(text: str) -> str:
    """What the gateway lists of a text, so that both sides can be compared."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# --- collections, endpoints, settings --------------------------------------------------------------


def collection(row: CollectionRow) -> str:
    """The text of a collection; raises Unpublishable."""
    if not isinstance(row.handle, str) or not _HANDLE.fullmatch(row.handle):
        raise Unpublishable("Its handle is not a single path segment of the allowed form.")
    if row.kind not in Collection.Kind.values:
        raise Unpublishable("Its kind is not known.")
    recipes = row.kind == Collection.Kind.RECIPE
    return _text({
        "id": row.id,
        "handle": row.handle,
        "connection": 0 if recipes else row.connection or 0,
        "recipes": recipes,
        "forward_credential": row.forward_credential is True,
        "forward_claims": row.forward_claims is True,
        "encoded_slashes": row.encoded_slashes is True,
        "origins": _origins(row.cors_origins),
        "browsers": _browsers(row) if row.cors_origins else None,
        "leave_authorization": row.leave_authorization is True,
        "places": None if row.credential_places is None else _places(row.credential_places),
        "cache": 0 if recipes else _cached(row.cache_seconds),
        "cache_shared": row.cache_shared is True,
        "cache_generation": row.cache_generation if type(row.cache_generation) is int else 0,
    })  # fmt: skip


def _cached(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LONGEST_CACHED:
        raise Unpublishable(f"Its answers are not kept for 0 to {LONGEST_CACHED} seconds.")
    return value


def _origins(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MOST_ORIGINS:
        raise Unpublishable(f"Its CORS origins are not a list of at most {MOST_ORIGINS} origins.")
    for origin in value:
        if (
            not isinstance(origin, str)
            or len(origin) > LONGEST_ORIGIN
            or not origins.ALLOWED.fullmatch(origin)
        ):
            raise Unpublishable(f"{_shown(origin)} is not an origin such as https://app.example.")
    return value


def _browsers(row: CollectionRow) -> Mapping[str, object]:
    """What pages of allowed origins may do."""
    exposed, seconds = row.cors_exposed_headers, row.cors_max_age
    if not isinstance(exposed, list) or len(exposed) > MOST_ORIGINS:
        raise Unpublishable(f"Its exposed headers are not a list of at most {MOST_ORIGINS} names.")
    if not all(isinstance(name, str) and _EXPOSED.fullmatch(name) for name in exposed):
        raise Unpublishable("One of its exposed headers is not a name of a header.")
    if not isinstance(seconds, int) or not 0 <= seconds <= LONGEST_TIMEOUT:
        raise Unpublishable(f"Its CORS max age is not 0 to {LONGEST_TIMEOUT} seconds.")
    credentials = row.cors_credentials is True
    if credentials and {origins.ANY, origins.OPAQUE} & set(_origins(row.cors_origins)):
        raise Unpublishable("It lets every origin send credentials.")
    return {"credentials": credentials, "exposed": exposed, "max_age": seconds}


def endpoint(row: EndpointRow) -> str:
    """The text of an active endpoint; raises Unpublishable."""
    if row.method not in ENDPOINT_METHODS:
        raise Unpublishable("Its method is not one that the gateway knows.")
    path = _template("path", row.path)
    target = _template("target path", row.target_path) if row.target_path else path
    unknown = set(target.tokens) - set(path.tokens)
    if unknown:
        raise Unpublishable(
            f"Its target path has {_shown(min(unknown))}, which is not in its path."
        )
    timeout = _seconds(row.timeout_seconds, least=0) if row.timeout_seconds is not None else 0
    return _text({
        "id": row.id,
        "collection": row.collection,
        "method": row.method,
        "path": path.text,
        "target": "" if target.text == path.text else target.text,
        "timeout": timeout,
        "recipe": _recipe(row, timeout),
        "cache": None if row.cache_seconds is None else _cached(row.cache_seconds),
    })  # fmt: skip


def _recipe(row: EndpointRow, timeout: int) -> Mapping[str, object] | None:
    if row.kind != Collection.Kind.RECIPE:
        if row.recipe is not None:
            raise Unpublishable("It has a recipe, but its collection is not one of recipes.")
        return None
    if row.recipe is None:
        raise Unpublishable("It has no recipe.")
    if not isinstance(row.recipe, str) or not _RECIPE.fullmatch(row.recipe):
        raise Unpublishable("The name of its recipe does not fit a header.")
    return {
        "name": row.recipe,
        "timeout": timeout or RECIPE_TIMEOUT,
        "validate": row.validate is not False,
    }


def _template(what: str, value: object) -> Template:
    if not isinstance(value, str) or len(value) > LONGEST_PATH:
        raise Unpublishable(f"Its {what} is not a text of at most {LONGEST_PATH} characters.")
    try:
        template = stored_template(value)
    except BadTemplate as error:
        raise Unpublishable(f"Its {what} {error}.") from None
    if template.text != value:
        raise Unpublishable(f"Its {what} is not in the one normal form.")
    return template


def _places(value: object) -> Mapping[str, object]:
    if not isinstance(value, list):
        raise Unpublishable("The places of credentials are not a list.")
    try:
        return places.gathered(places.parse_all(value)).published()
    except places.BadPlace:
        raise Unpublishable("One of the places of credentials is not one.") from None


def settings(
    trusted_proxies: object, credential_places: object, *, public_url: str, configured: bool
) -> str:
    """The text of what of the workspace's settings the gateway needs; raises Unpublishable.

    `public_url`: where consumers call; `configured`: the owner has set it, it is not the listener's.
    """
    if not isinstance(trusted_proxies, list) or len(trusted_proxies) > MOST_NETWORKS:
        raise Unpublishable(f"The trusted proxies are not a list of at most {MOST_NETWORKS}.")
    return _text({
        "trusted": [_network(value) for value in trusted_proxies],
        "public": _public(public_url, configured=configured),
        "places": _places(credential_places) if credential_places else None,
    })  # fmt: skip


def _public(url: str, *, configured: bool) -> Mapping[str, object]:
    """The public address in the parts that upstreams are told; none for one that does not read."""
    if not origins.STORED.fullmatch(url):
        return {}
    scheme, _, authority = url.partition("://")
    usual = {"http": 80, "https": 443}[scheme]
    host, _, port = authority.rpartition(":") if authority[-1] != "]" else (authority, "", "")
    if not host:
        host, port = authority, ""
    number = int(port or usual)
    return {
        "scheme": scheme,
        "host": host,
        "port": number,
        "authority": host if number == usual else f"{host}:{number}",
        "origin": url if configured else "",
    }


def _network(value: object) -> str:
    try:
        # Everybody trusted would let any caller claim any address.
        if isinstance(value, str) and (network := ipaddress.ip_network(value)).prefixlen:
            return str(network)
    except ValueError:
        pass
    raise Unpublishable(f"{_shown(value)} is not a network such as 10.0.0.0/8.")


# --- connections -----------------------------------------------------------------------------------


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
    #: Seconds of silence that a tunnel or an event stream may have.
    stream_timeout: int
    balancing: str
    #: Of each URL, how many calls it gets beside the others.
    weights: tuple[int, ...]
    #: How often a call that failed is tried again.
    retries: int | None
    #: Whether PUT and DELETE are tried again though the upstream may have got them.
    retry_writes: bool
    #: Whether ordinary calls go by HTTP/2; those of gRPC always do.
    http2: bool
    #: How the upstream is told its public address, see contract.PUBLIC_ADDRESSES.
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
        """Name to ask for and to verify; empty: there is none, and nothing is verified."""
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
    """What Ostiary adds to calls of an upstream: a header, or a query parameter, or neither."""

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
        timeout_seconds=_seconds(row.timeout_seconds, least=1),
        # Health checks speak HTTP/1.1: other servers are looked at by a connection alone.
        health_path=""
        if urls[0].is_grpc or (row.http_version == "2" and not tls)
        else _health_path(row.health_path, urls[0].base_path),
        stream_timeout=_seconds(row.stream_timeout_seconds, least=1),
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
        raise Unpublishable("How its calls are spread is not known.")
    return str(value)


def _weights(value: object, urls: int) -> tuple[int, ...]:
    if value == []:
        return (1,) * urls
    if (
        not isinstance(value, list)
        or len(value) != urls
        or not all(type(each) is int and 1 <= each <= LARGEST_WEIGHT for each in value)
    ):
        raise Unpublishable("Its weights are not one number for each base URL.")
    return tuple(value)


def _retries(value: object) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= MOST_RETRIES):
        raise Unpublishable(f"Its retries are not 0 to {MOST_RETRIES}.")
    return value


def _told(value: object) -> str:
    if not isinstance(value, str) or value not in PUBLIC_ADDRESSES:
        raise Unpublishable("How its upstream is told the public address is not known.")
    return PUBLIC_ADDRESSES[value]


def _urls(value: object) -> tuple[UpstreamUrl, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_URLS:
        raise Unpublishable(f"It does not have 1 to {MOST_URLS} base URLs.")
    urls = []
    for text in value:
        if not isinstance(text, str):
            raise Unpublishable("One of its base URLs is not a text.")
        try:
            url = upstream_url.parse(text)
        except upstream_url.BadUrl as error:
            raise Unpublishable(f"Its base URL {_shown(text)} {error}.") from None
        if len(url.base_path) > LONGEST_PATH:
            raise Unpublishable(f"The path of {_shown(text)} is too long.")
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
            # Without it a call would be somebody else's, or nobody's.
            raise Unpublishable("Its secret is missing; enter it again.")
        case Connection.Auth.HEADER:
            return _header(name, plain)
        case Connection.Auth.BASIC:
            pair = base64.b64encode(f"{name}:{plain}".encode(errors="surrogatepass")).decode()
            return _header("Authorization", f"Basic {pair}")
        case Connection.Auth.QUERY:
            return _query(name, plain)
    raise Unpublishable("The kind of its authentication is not known.")


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
    return _text({
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


# --- all -------------------------------------------------------------------------------------------


def _seconds(value: object, *, least: int) -> int:
    if not isinstance(value, int) or not least <= value <= LONGEST_TIMEOUT:
        raise Unpublishable(f"Its timeout is not {least} to {LONGEST_TIMEOUT} seconds.")
    return int(value)


def _shown(value: object) -> str:
    """A value as a sentence may show it: short, in printable ASCII."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _text(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if len(text) > LARGEST:
        raise Unpublishable(f"It is larger than {LARGEST // 1024} KB.")
    return text
