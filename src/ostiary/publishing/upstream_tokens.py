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
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote_plus

from ostiary.gateway.snapshot import ConnectionRow
from ostiary.identity.fetching import Fetcher, FetchRefused
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
class _HeldToken:
    grant: Grant
    token: Secret | None = None
    expires_at: float = 0.0
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    problem: str = ""
    running: asyncio.Task[None] | None = field(default=None, repr=False)
    end: asyncio.TimerHandle | None = field(default=None, repr=False)

    def expect_end(self, seconds: float, tell: Callable[[], None]) -> None:
        """Call `tell` when the token expires, unless another one comes before."""
        if self.end is not None:
            self.end.cancel()
        # A little later: two clocks are never quite the same.
        self.end = asyncio.get_running_loop().call_later(seconds + 0.05, tell)

    def stop(self) -> None:
        for each in (self.running, self.end):
            if each is not None:
                each.cancel()


class BadTokenAnswer(ValueError):
    """A token endpoint's answer holds no usable token; one sentence."""


def grant_of(row: ConnectionRow, secret: Secret) -> Grant:
    """How the token of a connection with OAuth 2.0 is asked for; `secret` is its client secret."""
    return Grant(
        token_url=str(row.token_url),
        client_id=str(row.auth_name),
        client_secret=secret,
        scope=str(row.scope),
    )


class UpstreamTokens:
    """`allowed` reads the hosts that an admin allows; `clock` tells Unix seconds.

    `changed` is called with the connection that got a new token, or whose token ran out.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        allowed: Callable[[], Collection[str]],
        clock: Callable[[], float],
        changed: Callable[[int], None],
    ) -> None:
        self._fetcher, self._allowed, self._clock = fetcher, allowed, clock
        self._changed = changed
        self._held: dict[int, _HeldToken] = {}

    def follow(self, connection: int, grant: Grant | None) -> None:
        """Have a token for a connection, got as `grant` says; nothing: have none."""
        held = self._held.get(connection)
        if held is not None and held.grant != grant:
            held.stop()
            del self._held[connection]
            held = None
        if held is None and grant is not None:
            held = self._held[connection] = _HeldToken(grant=grant)
            held.running = asyncio.create_task(self._keep(connection, held))

    def bearer(self, connection: int) -> Secret | None:
        """A token that is good now."""
        held = self._held.get(connection)
        if held is None or held.token is None or held.expires_at <= self._clock():
            return None
        return held.token

    def wants(self, connection: int) -> bool:
        """Whether the connection needs a token."""
        return connection in self._held

    def problem(self, connection: int) -> str:
        """Why the last try failed; empty: it did not."""
        held = self._held.get(connection)
        return held.problem if held is not None else ""

    async def settle(self, connections: Iterable[int], seconds: float) -> None:
        """Wait until a token of each was asked for once, at most so many seconds."""
        waiting = [
            asyncio.create_task(self._held[connection].tried.wait())
            for connection in connections
            if connection in self._held and not self._held[connection].tried.is_set()
        ]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for task in late:
                task.cancel()

    def close(self) -> None:
        """Stop asking."""
        for held in self._held.values():
            held.stop()
        self._held.clear()

    async def _keep(self, connection: int, held: _HeldToken) -> None:
        retry = RETRY
        while True:
            try:
                token, life = await self._fetched(held.grant)
            except (FetchRefused, BadTokenAnswer) as error:
                held.problem = str(error)
                log.warning("no token for connection %s: %s", connection, error)
                pause, retry = retry, min(LONGEST_RETRY, 2 * retry)
            except Exception as error:
                # Whatever it was, the token serves on while it is good, and it is tried again.
                held.problem = f"The token cannot be fetched ({type(error).__name__})."
                log.exception("no token for connection %s", connection)
                pause, retry = retry, min(LONGEST_RETRY, 2 * retry)
            else:
                held.token, held.expires_at = token, self._clock() + life
                held.problem = ""
                pause, retry = RENEWED_AT * life, RETRY
                held.expect_end(life, partial(self._changed, connection))
                self._changed(connection)
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
        fields = json.loads(content)
    except ValueError:
        raise BadTokenAnswer("the token endpoint's answer isn't JSON") from None
    if not isinstance(fields, dict):
        raise BadTokenAnswer("the token endpoint's answer isn't a JSON object")
    token, kind, life = (fields.get(n) for n in ("access_token", "token_type", "expires_in"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise BadTokenAnswer("the token endpoint's answer has no access_token that fits a header")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise BadTokenAnswer("the token endpoint's answer isn't a bearer token")
    if life is None:
        life = UNSAID
    if isinstance(life, str) and life.isascii() and life.isdigit():
        life = int(life[:9])
    if isinstance(life, bool) or not isinstance(life, int | float) or not life > 0:
        raise BadTokenAnswer("expires_in of the token endpoint's answer isn't a number of seconds")
    return Secret(token), float(min(max(life, SHORTEST), LONGEST))
