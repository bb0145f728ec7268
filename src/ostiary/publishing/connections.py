"""Connections on their way to the gateway: names, health, tokens and certificates put together."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ostiary.directory.catalog.connections import secret_context
from ostiary.directory.models import Connection
from ostiary.gateway import connection_objects
from ostiary.gateway.connection_objects import MOST_SERVERS, Server, Upstream
from ostiary.gateway.objects import Unpublishable
from ostiary.gateway.snapshot import ConnectionRow
from ostiary.identity.sealing import KeyRing, SealingError
from ostiary.identity.secret import Secret
from ostiary.publishing import names
from ostiary.publishing.health import INTERVAL_SECONDS, Health, Target
from ostiary.publishing.listeners import Listeners
from ostiary.publishing.names import Lookup, Names, system_lookup
from ostiary.publishing.trust import Trust
from ostiary.publishing.upstream_tokens import UpstreamTokens, grant_of

#: Seconds that a connection's names and token are waited for before it is published without.
PATIENCE_SECONDS = names.PATIENCE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPace:
    """How often upstreams are looked at, in seconds; tests are quicker."""

    refresh: float = names.REFRESH_SECONDS
    check: float = INTERVAL_SECONDS


USUAL = UpstreamPace()


class CertificatesNotReady(Exception):
    """The connection's certificates are not in force yet: it cannot be published now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A server of an upstream as it is now; `since` in Unix seconds."""

    connection: int
    host: str
    #: Empty: the host has no address now.
    address: str
    port: int
    #: One of `measures.STATES`.
    state: str
    since: int
    reason: str


class Connections:
    """`changed` is called with connections that are to be published again."""

    def __init__(
        self,
        *,
        keyring: KeyRing,
        listeners: Listeners,
        trust: Trust,
        tokens: UpstreamTokens,
        health: Health,
        changed: Callable[[Collection[int]], None],
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = time.time,
        pace: UpstreamPace = USUAL,
    ) -> None:
        self._keyring, self._listeners, self._trust = keyring, listeners, trust
        self._tokens, self._health = tokens, health
        self.names = Names(
            changed=changed, lookup=lookup, clock=clock, refresh_seconds=pace.refresh
        )
        self._upstreams: dict[int, Upstream] = {}

    def learn(self, row: ConnectionRow) -> Upstream:
        """Begin to resolve and to ask for what a connection needs; raises Unpublishable."""
        try:
            upstream = connection_objects.upstream(row)
            secret = self._secret(row)
        except Exception:
            self.forget(row.id)
            raise
        self._upstreams[row.id] = upstream
        self.names.follow(row.id, upstream.names)
        oauth = row.auth_type == Connection.Auth.OAUTH2
        self._tokens.follow(row.id, grant_of(row, secret) if oauth else None)
        return upstream

    def forget(self, connection: int) -> None:
        """The connection is gone, or cannot be used."""
        self._upstreams.pop(connection, None)
        self.names.follow(connection, ())
        self._tokens.follow(connection, None)
        self._health.follow(connection, None)

    async def prepare(self, upstreams: Collection[Upstream]) -> None:
        """Wait a moment for names and tokens, and until certificates are in force, or refused.

        Raises what putting certificates in force raises.
        """
        certificates = {u.ca: u.ca_pem for u in upstreams if u.ca}
        async with asyncio.TaskGroup() as group:
            hosts = {host for upstream in upstreams for host in upstream.names}
            group.create_task(self.names.settle(hosts, PATIENCE_SECONDS))
            ids = [upstream.id for upstream in upstreams]
            group.create_task(self._tokens.settle(ids, PATIENCE_SECONDS))
            group.create_task(self._trust.ensure(certificates))

    async def settle_certificates(self) -> None:
        """Have exactly those certificates in force that connections want."""
        await self._trust.settle({u.ca: u.ca_pem for u in self._upstreams.values() if u.ca})

    def text(self, row: ConnectionRow) -> str:
        """What is published of a connection now; raises Unpublishable, NotReady."""
        try:
            return self._text(row, self.learn(row))
        except Exception:
            self._health.follow(row.id, None)
            raise

    def _text(self, row: ConnectionRow, upstream: Upstream) -> str:
        problem = self._trust.problem(upstream.ca) if upstream.ca else ""
        if problem is None:
            raise CertificatesNotReady
        if problem:
            raise Unpublishable(problem)
        servers = self._servers(upstream)
        bearer = self._tokens.bearer(row.id)
        added = connection_objects.credential(row, self._secret(row), bearer)
        if row.auth_type == Connection.Auth.OAUTH2 and bearer is None:
            # Without a token the upstream would tell the caller that *it* is not authorised.
            servers = []
        self._health.follow(row.id, _target(upstream, servers))
        return connection_objects.connection(
            upstream, servers=servers, down=self._health.down(row.id), added=added
        )

    def _secret(self, row: ConnectionRow) -> Secret:
        if row.auth_type == Connection.Auth.NONE or not row.auth_secret:
            return Secret("")
        if not isinstance(row.auth_secret, str):
            raise Unpublishable("Its secret is not a text.")
        try:
            return Secret(self._keyring.open(row.auth_secret, secret_context(row.id)))
        except SealingError as error:
            raise Unpublishable(str(error)) from None

    def _servers(self, upstream: Upstream) -> list[Server]:
        servers: dict[tuple[str, int], Server] = {}
        for url, weight in zip(upstream.urls, upstream.weights, strict=True):
            status = self.names.status(url.host)
            if not url.is_ip and status.refused and not status.addresses:
                raise Unpublishable(f"{url.host}: {status.reason}")
            for address in (url.host,) if url.is_ip else status.addresses:
                if (address, url.port) in self._listeners:
                    raise Unpublishable(
                        f"{url.host} leads to {address}, port {url.port}, "
                        "which is one of Ostiary's own ports."
                    )
                server = Server(address=address, port=url.port, host=url.host, weight=weight)
                servers.setdefault((address, url.port), server)
        return list(servers.values())[:MOST_SERVERS]

    def states(self) -> Iterator[ServerState]:
        """Every server of every connection, and names that have none."""
        for connection, upstream in list(self._upstreams.items()):
            token = self._tokens.problem(connection)
            for url in upstream.urls:
                status = self.names.status(url.host)
                addresses: Iterable[str] = (url.host,) if url.is_ip else status.addresses
                state = "up" if url.is_ip or status.state == names.NameState.GOOD else status.state
                for address in addresses:
                    yield self._state(
                        connection, url.host, address, url.port, str(state), status, token
                    )
                if not addresses:
                    yield ServerState(
                        connection=connection, host=url.host, address="", port=url.port,
                        state=str(state), since=int(status.since), reason=status.reason,
                    )  # fmt: skip

    def _state(
        self,
        connection: int,
        host: str,
        address: str,
        port: int,
        state: str,
        status: names.NameStatus,
        token: str,
    ) -> ServerState:
        since, reason = status.since, status.reason or token
        checked = self._health.server(connection, (address, port))
        if checked is not None and (checked.down or state == "up"):
            state = "down" if checked.down else "up"
            since, reason = checked.since, checked.reason or token
        return ServerState(
            connection=connection, host=host, address=address, port=port,
            state=state, since=int(since), reason=reason,
        )  # fmt: skip

    @property
    def tokens(self) -> Mapping[int, str]:
        """Connections that need a token and have none, and why."""
        return {
            connection: self._tokens.problem(connection) or "There is no token yet."
            for connection in self._upstreams
            if self._tokens.wants(connection) and self._tokens.bearer(connection) is None
        }

    def close(self) -> None:
        """End whatever runs in the background."""
        self.names.close()
        self._tokens.close()
        self._health.close()


def _target(upstream: Upstream, servers: Iterable[Server]) -> Target:
    return Target(
        places=tuple((server.address, server.port) for server in servers),
        host_header=upstream.host_header,
        path=upstream.health_path,
        tls=upstream.tls,
        tls_name=upstream.tls_name,
        verify=upstream.verify,
        ca_pem=upstream.ca_pem,
    )
