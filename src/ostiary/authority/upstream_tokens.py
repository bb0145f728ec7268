"""Access tokens with which Ostiary calls upstreams: one for each connection that asks for them.

OAuth 2.0 client credentials (RFC 6749, section 4.4), the client proved by Basic (section 2.3.1). A
token is renewed before its time; one that ran out is used no more, and then the connection has no
upstream: calls without what the upstream expects would tell a caller that *it* is not authorised.
"""

import asyncio
import base64
import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from ostiary.directory import connections
from ostiary.directory.models import Connection
from ostiary.directory.published import Published
from ostiary.identity.fetching import Fetcher, FetchRefused
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

log = logging.getLogger(__name__)

#: A token is renewed when this part of its life is over.
RENEWED_AT = 0.8
#: Seconds that a token is taken to live where its issuer does not say, at least, and at most.
UNSAID, SHORTEST, LONGEST = 300, 5, 24 * 3600
#: Seconds to the next try after the first failure, and at most.
RETRY, LONGEST_RETRY = 2.0, 60.0
#: RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """How a token is asked for."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str


@dataclass(slots=True)
class _Held:
    grant: Grant
    token: Secret | None = None
    expires_at: float = 0.0
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = field(default=None, repr=False)


class BadToken(ValueError):
    """What a token endpoint answered is no token; one sentence."""


def grants_of(published: Published, keyring: KeyRing) -> dict[int, Grant]:
    """Connection → how its token is asked for."""
    return {
        c.pk: Grant(
            token_url=c.token_url,
            client_id=c.auth_name,
            client_secret=Secret(keyring.open(c.auth_secret, connections.secret_context(c.pk))),
            scope=c.scope,
        )
        for c in published.connections
        if c.auth_type == Connection.Auth.OAUTH2 and c.auth_secret
    }


class UpstreamTokens:
    """`allowed` reads the hosts that an admin allows; `clock` tells Unix seconds."""

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        allowed: Callable[[], Collection[str]],
        clock: Callable[[], float],
    ) -> None:
        self._fetcher, self._allowed, self._clock = fetcher, allowed, clock
        self._held: dict[int, _Held] = {}

    def follow(self, grants: Mapping[int, Grant], changed: Callable[[], None]) -> None:
        """Have a token for each of `grants`, and for nothing else; `changed` is told of new ones."""
        for connection, held in list(self._held.items()):
            if grants.get(connection) != held.grant:
                if held.running is not None:
                    held.running.cancel()
                del self._held[connection]
        for connection, grant in grants.items():
            if connection not in self._held:
                held = self._held[connection] = _Held(grant=grant)
                held.running = asyncio.create_task(self._keep(connection, held, changed))

    def bearers(self, grants: Mapping[int, Grant]) -> dict[int, Secret]:
        """Connection → a token that is good now, and was got as `grants` say."""
        now = self._clock()
        return {
            connection: held.token
            for connection, held in list(self._held.items())
            if held.token is not None
            and held.expires_at > now
            and grants.get(connection) == held.grant
        }

    async def settle(self, seconds: float) -> None:
        """Wait until each token was asked for once, at most so many seconds."""
        waiting = [asyncio.create_task(held.tried.wait()) for held in self._held.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for task in late:
                task.cancel()

    async def _keep(self, connection: int, held: _Held, changed: Callable[[], None]) -> None:
        retry = RETRY
        while True:
            try:
                token, life = await self._fetched(held.grant)
            except (FetchRefused, BadToken) as error:
                log.warning("no token for connection %s: %s", connection, error)
                pause, retry = retry, min(LONGEST_RETRY, 2 * retry)
            except Exception:
                # Whatever it was, the token serves on while it is good, and it is tried again.
                log.exception("no token for connection %s", connection)
                pause, retry = retry, min(LONGEST_RETRY, 2 * retry)
            else:
                held.token, held.expires_at = token, self._clock() + life
                pause, retry = RENEWED_AT * life, RETRY
                changed()
            held.tried.set()
            await asyncio.sleep(pause)

    async def _fetched(self, grant: Grant) -> tuple[Secret, float]:
        """A token, and how many seconds it lives."""
        form = {"grant_type": "client_credentials"} | (
            {"scope": grant.scope} if grant.scope else {}
        )
        pair = f"{quote_plus(grant.client_id)}:{quote_plus(grant.client_secret.reveal())}"
        proof = base64.b64encode(pair.encode()).decode()
        allowed = await asyncio.to_thread(self._allowed)
        answer = await self._fetcher.submit(
            grant.token_url, form, allowed, headers={"Authorization": f"Basic {proof}"}
        )
        return read(answer.content)


def read(content: bytes) -> tuple[Secret, float]:
    """A token endpoint's answer (RFC 6749, section 5.1); raises BadToken."""
    try:
        told = json.loads(content)
    except ValueError:
        raise BadToken("the token endpoint's answer is no JSON") from None
    if not isinstance(told, dict):
        raise BadToken("the token endpoint's answer is no object")
    token, kind, life = (told.get(n) for n in ("access_token", "token_type", "expires_in"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise BadToken("the token endpoint's answer has no access_token that fits a header")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise BadToken("the token endpoint's answer is no bearer token")
    if life is None:
        life = UNSAID
    if isinstance(life, str) and life.isascii() and life.isdigit():
        life = int(life[:9])
    if isinstance(life, bool) or not isinstance(life, int | float) or not life > 0:
        raise BadToken("expires_in of the token endpoint's answer is no number of seconds")
    return Secret(token), float(min(max(life, SHORTEST), LONGEST))
