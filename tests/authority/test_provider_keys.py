"""Keys of OpenID providers: what became of a fetch is written down for the page of a profile."""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from joserfc.jwk import ECKey

from ostiary.authority.provider_keys import KeySource, ProviderKeys, ProviderStatus, status
from ostiary.identity.fetching import Fetched, Fetcher, FetchRefused

SOURCE = KeySource(jwks_uri="https://login.example.com/keys")


class Provider(Fetcher):
    """A provider with one key, that can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = True
        key = ECKey.generate_key("P-256", parameters={"kid": "first", "use": "sig"})
        self._content = json.dumps({"keys": [key.as_dict(private=False)]}).encode()

    async def fetch(
        self, url: str, allowed: Collection[str], *, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        if self.is_down:
            raise FetchRefused("The server does not answer.")
        return Fetched(content=self._content, url=url)


async def fetched(provider: Provider, folder: Path, at: float) -> None:
    keys = ProviderKeys(
        folder=folder, fetcher=provider, seconds=300, allowed=lambda: (), clock=lambda: at
    )
    keys.warm(SOURCE)
    running = keys._held[SOURCE].running
    assert running is not None
    await running


def test_what_became_of_a_fetch_is_known_to_other_processes(tmp_path: Path) -> None:
    provider, folder = Provider(), tmp_path / "keys"
    assert status(folder, SOURCE) == ProviderStatus()
    asyncio.run(fetched(provider, folder, time.time()))
    found = status(folder, SOURCE)
    assert (found.problem, found.fetched_at, found.key_ids) == (
        "The server does not answer.", None, (),
    )  # fmt: skip
    assert found.tried_at is not None
    provider.is_down = False
    asyncio.run(fetched(provider, folder, time.time()))
    found = status(folder, SOURCE)
    assert (found.problem, found.key_ids) == ("", ("first",))
    assert found.fetched_at is not None
