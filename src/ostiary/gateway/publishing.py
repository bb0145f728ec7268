"""From the directory to the plan: names resolved, secrets opened, backends given out."""

import base64
import hashlib
import ipaddress
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from ostiary.access import limits
from ostiary.access.paths import parse_template
from ostiary.directory import connections, upstream_url
from ostiary.directory.models import Collection, Connection, Endpoint, Policy
from ostiary.directory.published import Published
from ostiary.gateway.plan import Node, Plan, RecipeEndpoint, Server, Upstream
from ostiary.gateway.routing import RoutedCollection, RoutedEndpoint
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

Resolve = Callable[[str], tuple[str, ...]]
RECIPES_BACKEND = "recipes"
#: Seconds that a recipe may run where its endpoint does not say.
RECIPE_TIMEOUT = 30


def resolve(host: str) -> tuple[str, ...]:
    """A name's addresses, in one order; none if it has none now. Link-local ones do not count."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    addresses = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    kept = [a for a in addresses if not upstream_url.refused_address(a)]
    # One family: a name with both would otherwise try addresses that this machine cannot reach.
    chosen = [a for a in kept if a.version == 4] or kept
    return tuple(sorted(str(a) for a in chosen))


def build(
    published: Published,
    *,
    slots: Mapping[int, int],
    keyring: KeyRing,
    certificates: Path,
    bearers: Mapping[int, Secret],
    resolver: Resolve = resolve,
) -> Plan:
    """The plan for what is published; `slots` maps a connection's id to its backend's number.

    `bearers`: connection → the access token that its upstream is called with. One that needs a
    token and has none has no upstream.
    """
    upstreams = tuple(
        _upstream(
            connection,
            slots[connection.pk],
            _credential(connection, keyring, bearers),
            certificates,
            resolver,
        )
        for connection in published.connections
        if connection.pk in slots
        and (connection.auth_type != Connection.Auth.OAUTH2 or connection.pk in bearers)
    )
    by_connection = {u.connection: u.backend for u in upstreams if u.servers}
    return Plan(
        sequence=published.sequence,
        collections=tuple(_collection(c, by_connection) for c in published.collections),
        upstreams=upstreams,
        recipes=tuple(
            _recipe(collection, endpoint)
            for collection in published.collections
            for endpoint in collection.endpoints.all()
            if endpoint.recipe is not None
        ),
        origins={c.handle: tuple(c.cors_origins) for c in published.collections},
        policies={policy.pk: _policy(policy) for policy in published.policies},
        trusted_proxies=published.workspace.trusted_proxies,
        imported=published.imported,
    )


def _policy(policy: Policy) -> str:
    """A policy as a structured field (draft-ietf-httpapi-ratelimit-headers-10, section 3)."""
    items = []
    if policy.rate_limit:
        window = limits.Interval(policy.rate_interval).seconds
        items.append(f'"rate";q={policy.rate_limit};w={window}')
    if policy.quota_limit:
        days = {"day": 1, "week": 7, "30 days": 30, "60 days": 60, "90 days": 90}
        # Months differ in length: then the window is left out.
        length = days.get(policy.quota_interval)
        window_text = f";w={length * limits.DAY}" if length else ""
        items.append(f'"quota";q={policy.quota_limit}{window_text}')
    return ", ".join(items)


def _collection(collection: Collection, backends: Mapping[int, str]) -> RoutedCollection:
    proxy = collection.kind == Collection.Kind.PROXY
    backend = backends.get(collection.connection_id or 0, "") if proxy else RECIPES_BACKEND
    return RoutedCollection(
        id=collection.pk,
        handle=collection.handle,
        backend=backend,
        endpoints=tuple(_endpoint(e) for e in collection.endpoints.all()),
        forward_credential=collection.forward_credential,
        forward_claims=collection.forward_claims,
    )


def _endpoint(endpoint: Endpoint) -> RoutedEndpoint:
    target = endpoint.target_path
    return RoutedEndpoint(
        id=endpoint.pk,
        method=endpoint.method,
        template=parse_template(endpoint.path),
        target=parse_template(target) if target and target != endpoint.path else None,
        timeout_seconds=endpoint.timeout_seconds,
    )


def _recipe(collection: Collection, endpoint: Endpoint) -> RecipeEndpoint:
    assert endpoint.recipe is not None  # noqa: S101 - filtered by the only caller
    return RecipeEndpoint(
        endpoint=endpoint.pk,
        recipe=endpoint.recipe.name,
        template=endpoint.path,
        base=f"/{collection.handle}",
        timeout_seconds=endpoint.timeout_seconds or RECIPE_TIMEOUT,
        validate=endpoint.validate_request,
    )


def _upstream(
    connection: Connection,
    slot: int,
    credential: tuple[str, str, Secret],
    certificates: Path,
    resolver: Resolve,
) -> Upstream:
    urls = [upstream_url.parse(text) for text in connection.base_urls]
    servers = [
        _server(connection, url, address, certificates)
        for url in urls
        for address in ((url.host,) if url.is_ip else resolver(url.host))
    ]
    header, query, value = credential
    return Upstream(
        slot=slot,
        connection=connection.pk,
        servers=tuple(servers),
        host_header=urls[0].host_header if urls else "",
        base_path=urls[0].base_path if urls else "",
        header=header,
        query=query,
        value=value,
        timeout_seconds=connection.timeout_seconds,
        health_path=_health_path(connection, urls[0].base_path if urls else ""),
    )


def _health_path(connection: Connection, base_path: str) -> str:
    return f"{base_path}{connection.health_path}" if connection.health_path else ""


def _server(
    connection: Connection, url: upstream_url.UpstreamUrl, address: str, certificates: Path
) -> Server:
    tls = url.scheme == "https"
    parameters = (address, url.port, tls, url.host, connection.verify_tls, connection.ca_pem)
    digest = hashlib.sha256(repr(parameters).encode()).hexdigest()[:12]
    return Server(
        name=f"c{connection.pk}_{digest}",
        address=address,
        port=url.port,
        tls_name=url.host if tls else "",
        tls_name_is_ip=url.is_ip,
        verify=connection.verify_tls,
        ca_file=str(certificate_path(certificates, connection.ca_pem))
        if tls and connection.ca_pem
        else "",
    )


def certificate_path(folder: Path, pem: str) -> Path:
    """Where a CA certificate that a connection trusts is written, by its content."""
    return folder / f"ca-{hashlib.sha256(pem.encode()).hexdigest()[:16]}.pem"


def _credential(
    connection: Connection, keyring: KeyRing, bearers: Mapping[int, Secret]
) -> tuple[str, str, Secret]:
    """Header name, query parameter name, and value that Ostiary adds."""
    auth = connection.auth_type
    if auth == Connection.Auth.OAUTH2:
        return "Authorization", "", Secret(f"Bearer {bearers[connection.pk].reveal()}")
    if auth == Connection.Auth.NONE or not connection.auth_secret:
        return "", "", Secret("")
    plain = keyring.open(connection.auth_secret, connections.secret_context(connection.pk))
    match auth:
        case Connection.Auth.HEADER:
            return connection.auth_name, "", Secret(plain)
        case Connection.Auth.QUERY:
            return "", connection.auth_name, Secret(plain)
        case Connection.Auth.BASIC:
            pair = base64.b64encode(f"{connection.auth_name}:{plain}".encode()).decode()
            return "Authorization", "", Secret(f"Basic {pair}")
    return "", "", Secret("")


def assign_slots(published: Published, taken: Mapping[int, int], node: Node) -> dict[int, int]:
    """Give every connection a backend of its kind, keeping those that have one.

    Without a free one a connection has none: its calls are answered 503, and the gateway says so.
    """
    wanted = {c.pk: _kind(c, published, node) for c in published.connections}
    slots = {pk: slot for pk, slot in taken.items() if pk in wanted and slot in wanted[pk]}
    used = set(taken.values())
    for pk, numbers in wanted.items():
        if pk not in slots:
            free = next((n for n in numbers if n not in used), None)
            if free is not None:
                slots[pk] = free
                used.add(free)
    return slots


def _kind(connection: Connection, published: Published, node: Node) -> range:
    if connection.health_path:
        return node.checked_slots
    special = connection.auth_type != Connection.Auth.NONE or connection.timeout_seconds != 30
    collections = [c for c in published.collections if c.connection_id == connection.pk]
    special |= any(c.forward_credential or c.forward_claims or c.cors_origins for c in collections)
    endpoints = (endpoint for collection in collections for endpoint in collection.endpoints.all())
    if special or any(e.timeout_seconds or e.target_path not in {"", e.path} for e in endpoints):
        return node.special_slots
    return node.plain_slots
