"""Keys of OpenID providers: fetched in the background, and retained while the provider is down.

A source is fetched again after `seconds`, and for an unknown key id at most once per interval. What was
fetched lies in files too, so that a restart needs no provider.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from ostiary.authority import measures
from ostiary.identity import key_sets
from ostiary.identity.fetching import Fetcher, FetchRefused
from ostiary.identity.key_sets import BadKeySet, KeySet
from ostiary.identity.signed_tokens import SignedToken

log = logging.getLogger(__name__)

#: Seconds that a call waits for the first fetch of keys; the gateway's own timeout is a little longer.
PATIENCE_SECONDS = 0.17
#: Seconds for which old keys are used at a time while new ones are being fetched.
STALE_SECONDS = 10
#: Where keys lie, in the folder of what runs.
FOLDER = "provider-keys"
#: Most sources in memory; beyond it, the least recently used one is dropped.
MOST_SOURCES = 5_000
#: Documents that are fetched at a time.
MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where a profile's keys come from: an issuer with discovery, or a key set. One is empty."""

    issuer: str = ""
    jwks_uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """What became of a source's keys, as the authority of this machine wrote it down."""

    #: Unix seconds; empty: never.
    fetched_at: float | None = None
    tried_at: float | None = None
    #: Ids of the keys that there are; a key without one is "".
    key_ids: tuple[str, ...] = ()
    #: Why the last fetch failed, one sentence; empty: it did not.
    problem: str = ""


def status(folder: Path, source: KeySource) -> ProviderStatus:
    """The state of a source's keys; nothing of one that nobody has fetched."""
    file = _file(folder, source)
    fetched_at: float | None = None
    ids: tuple[str, ...] = ()
    try:
        stored = json.loads(file.read_text())
        keys = key_sets.parse(base64.b64decode(stored["content"]), issuer=stored["issuer"])
        fetched_at = file.stat().st_mtime
        ids = tuple(str(key.get("kid") or "") for key in keys.keys)
    except (OSError, ValueError, KeyError, TypeError):
        # Never fetched, or not to be read: then it is fetched again.
        fetched_at = None
    tried_at, problem = fetched_at, ""
    try:
        failure = _failure(file)
        problem, tried_at = failure.read_text(), failure.stat().st_mtime
    except (OSError, ValueError):
        # The last fetch did not fail.
        problem = ""
    return ProviderStatus(fetched_at=fetched_at, tried_at=tried_at, key_ids=ids, problem=problem)


def _file(folder: Path, source: KeySource) -> Path:
    name = hashlib.sha256(f"{source.issuer}\n{source.jwks_uri}".encode()).hexdigest()
    return folder / f"{name}.json"


def _failure(file: Path) -> Path:
    """Beside a file of keys: why the last fetch failed."""
    return file.with_suffix(".failed")


async def fetch(fetcher: Fetcher, source: KeySource, allowed: Collection[str]) -> tuple[str, bytes]:
    """The issuer that a source names, and its key set as it came; raises FetchRefused or BadKeySet."""
    issuer, url = "", source.jwks_uri
    if source.issuer:
        at = f"{source.issuer.rstrip('/')}/.well-known/openid-configuration"
        discovery = await fetcher.fetch(at, allowed)
        issuer, url = key_sets.parse_discovery(discovery.content, expected=source.issuer)
    return issuer, (await fetcher.fetch(url, allowed)).content


@dataclass(slots=True)
class _HeldKeys:
    keys: KeySet | None = None
    fetched_at: float = 0.0
    tried_at: float = 0.0
    problem: str = "not fetched yet"
    running: asyncio.Task[None] | None = field(default=None, repr=False)


class ProviderKeys:
    """`allowed` reads the hosts that an admin allows; `clock` tells Unix seconds."""

    def __init__(
        self,
        *,
        folder: Path,
        fetcher: Fetcher,
        seconds: int,
        allowed: Callable[[], Collection[str]],
        clock: Callable[[], float],
    ) -> None:
        self._folder, self._fetcher, self._seconds = folder, fetcher, seconds
        self._interval = max(1.0, seconds / 10)
        self._allowed, self._clock = allowed, clock
        self._held: dict[KeySource, _HeldKeys] = {}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def find(self, source: KeySource, token: SignedToken) -> tuple[KeySet | None, int, str]:
        """The keys for a token, until when they are good (Unix seconds), and what is the matter."""
        held = self._of(source)
        now = self._clock()
        missing = held.keys is None or not held.keys.knows(token)
        old = now - held.fetched_at >= self._seconds
        if (missing or old) and now - held.tried_at >= self._interval:
            self._start(source, held)
        if missing and held.running is not None:
            await asyncio.wait({held.running}, timeout=PATIENCE_SECONDS)
        fresh_until = held.fetched_at + self._seconds
        return held.keys, int(max(fresh_until, self._clock() + STALE_SECONDS)), held.problem

    def warm(self, source: KeySource) -> None:
        """Fetch keys that nobody has asked for yet."""
        held = self._of(source)
        if held.keys is None and self._clock() - held.tried_at >= self._interval:
            self._start(source, held)

    async def again(
        self, source: KeySource, keys: KeySet | None, until: int, matter: str
    ) -> tuple[KeySet | None, int, str]:
        """The same once more, after asking the provider, if none of the `keys` made a token.

        Only where keys have no id: with ids, `find` has seen that one is missing. Once per interval.
        """
        held = self._of(source)
        if keys is None or not keys.unnamed:
            return keys, until, matter
        if self._clock() - held.tried_at >= self._interval:
            self._start(source, held)
        if held.running is not None:
            await asyncio.wait({held.running}, timeout=PATIENCE_SECONDS)
        fresh_until = held.fetched_at + self._seconds
        return held.keys, int(max(fresh_until, self._clock() + STALE_SECONDS)), held.problem

    def _of(self, source: KeySource) -> _HeldKeys:
        held = self._held.pop(source, None) or self._stored(source)
        self._held[source] = held
        if len(self._held) > MOST_SOURCES:
            del self._held[next(iter(self._held))]
        return held

    def _start(self, source: KeySource, held: _HeldKeys) -> None:
        if held.running is None or held.running.done():
            held.tried_at = self._clock()
            held.running = asyncio.create_task(self._refresh(source, held))

    async def _refresh(self, source: KeySource, held: _HeldKeys) -> None:
        try:
            async with self._room:
                allowed = await asyncio.to_thread(self._allowed)
                issuer, content = await fetch(self._fetcher, source, allowed)
            held.keys = key_sets.parse(content, issuer=issuer)
        except (FetchRefused, BadKeySet) as error:
            held.problem = str(error)
            log.warning("keys of %s: %s", source.issuer or source.jwks_uri, error)
            measures.fetched("refused")
            await asyncio.to_thread(self._failed, source, held.problem)
            return
        except Exception:
            # On any error, keep the old keys and try again after the interval.
            held.problem = "the keys could not be fetched"
            log.exception("keys of %s", source.issuer or source.jwks_uri)
            measures.fetched("failed")
            await asyncio.to_thread(self._failed, source, held.problem)
            return
        measures.fetched("ok")
        held.fetched_at, held.problem = self._clock(), ""
        await asyncio.to_thread(self._store, source, issuer, content)

    def _file(self, source: KeySource) -> Path:
        return _file(self._folder, source)

    def _failed(self, source: KeySource, problem: str) -> None:
        """Write down why a fetch failed, for the page of a profile; calls do not need it."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _failure(self._file(source)).write_text(problem)

    def _store(self, source: KeySource, issuer: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(source)
        draft = file.with_suffix(".new")
        encoded = base64.b64encode(content).decode()
        draft.write_text(json.dumps({"issuer": issuer, "content": encoded}))
        draft.replace(file)
        _failure(file).unlink(missing_ok=True)

    def _stored(self, source: KeySource) -> _HeldKeys:
        """What an earlier process fetched: good until the provider has said something newer."""
        try:
            stored = json.loads(self._file(source).read_text())
            content = base64.b64decode(stored["content"])
            return _HeldKeys(keys=key_sets.parse(content, issuer=stored["issuer"]), problem="")
        except (OSError, ValueError, KeyError, TypeError):
            return _HeldKeys()
