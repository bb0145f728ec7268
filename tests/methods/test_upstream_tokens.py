"""A connection with OAuth 2.0: Ostiary gets a token for the upstream, renews it, and shows it nobody."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.openid_provider import Provider, a_key
from tests.stage import Stage, Upstream, wait_for

from ostiary.publishing.upstream_tokens import BadTokenAnswer, read

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

SECRET = "a secret of the tests alone"
TOKEN_SECONDS = 8


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    provider = Provider(tmp_path, token_seconds=TOKEN_SECONDS)
    yield provider
    provider.stop()


def an_input(upstream: Upstream, provider: Provider, **more: Any) -> dict[str, Any]:
    return {
        "base_url": upstream.url,
        "auth_type": "oauth2_client_credentials",
        "auth_name": "acme",
        "auth_secret": SECRET,
        "token_url": f"{provider.issuer}/token",
        **more,
    }


def bearer(answer: dict[str, Any]) -> str:
    """The only credential that the upstream got."""
    (value,) = [value for name, value in answer["headers"] if name.lower() == "authorization"]
    kind, _, token = value.partition(" ")
    assert kind == "Bearer"
    return str(token)


def test_an_upstream_is_called_with_a_token_that_is_renewed_and_never_with_none(
    stage: Stage, upstream: Upstream, provider: Provider
) -> None:
    stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
    given = {"name": "Guarded", "input": an_input(upstream, provider)}
    connection = stage.done("POST", "connections", given)  # saved while the provider is down
    assert connection["input"]["token_url"] == f"{provider.issuer}/token"
    assert SECRET not in json.dumps(connection)
    collection = stage.done(
        "POST", "api_collections", {"name": "Guarded", "proxy_connection_id": connection["id"]}
    )
    stage.an_endpoint(collection, "GET /things")
    profile = stage.a_profile(collection)

    def call() -> Any:
        return stage.call(f"/{collection['handle']}/things", profile["secret"])

    refused = call()
    assert (refused.status, refused.json["reason"]) == (503, "upstream_missing")
    provider.start(a_key("only")[1])
    wait_for(lambda: call().status == 200, what="a token")
    first = bearer(call().json)
    claims = jwt.decode(first, options={"verify_signature": False})
    assert (claims["aud"], claims["client_id"]) == ("urn:orders", "acme")
    assert claims["exp"] - claims["iat"] == TOKEN_SECONDS
    # Renewed while it is still good: no call goes without one.
    seen: set[str] = set()
    while len(seen) < 3:
        answer = call()
        assert answer.status == 200
        token = bearer(answer.json)
        assert jwt.decode(token, options={"verify_signature": False})["exp"] > time.time()
        seen.add(token)
        time.sleep(0.2)
    # The publisher is killed: the gateway goes on with the token that it has.
    stage.kill("publisher")
    assert call().status == 200
    wait_for(lambda: bool(stage.pids("publisher")), what="the publisher")
    # Another secret, a wrong one: the token of the old one is used no more.
    wrong = an_input(upstream, provider, auth_secret="wrong")
    stage.done("PUT", f"connections/{connection['id']}", {"name": "Guarded", "input": wrong})
    wait_for(lambda: call().status == 503, what="no token")
    right = an_input(upstream, provider)
    stage.done("PUT", f"connections/{connection['id']}", {"name": "Guarded", "input": right})
    wait_for(lambda: call().status == 200, what="a token again")
    # The provider is gone for good: the token ends, and with it the way to the upstream.
    provider.stop()
    wait_for(lambda: call().status == 503, what="the end of the token")
    told = "\n".join(stage.lines)
    assert SECRET not in told
    assert not any(token in told for token in (first, *seen))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"token_url": ""}, "token_url"),
        ({"token_url": "http://idp.example.com/token"}, "token_url"),
        ({"token_url": "https://10.0.0.1/token"}, "token_url"),
        ({"token_url": "https://user:word@idp.example.com/token"}, "token_url"),
        ({"token_url": "nonsense"}, "token_url"),
        ({"auth_name": ""}, "auth_name"),
        ({"auth_secret": ""}, "auth_secret"),
        ({"scope": 'read "all"'}, "scope"),
        ({"scope": "read  write"}, "scope"),
    ],
)
def test_what_is_wrong_with_it_is_said_at_its_field(
    stage: Stage, upstream: Upstream, provider: Provider, more: dict[str, Any], field: str
) -> None:
    given = {"name": "Wrong", "input": an_input(upstream, provider, **more)}
    answer = stage.api("POST", "connections", given)
    assert answer.status == 400
    assert field in answer.json["errors"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"access_token": 5, "token_type": "bearer"}',
        b'{"access_token": "a b", "token_type": "bearer"}',
        b'{"access_token": "a\\r\\nHost: x", "token_type": "bearer"}',
        b'{"access_token": "a"}',
        b'{"access_token": "a", "token_type": "mac"}',
        b'{"access_token": "a", "token_type": "bearer", "expires_in": -1}',
        b'{"access_token": "a", "token_type": "bearer", "expires_in": true}',
        b'{"access_token": "a", "token_type": "bearer", "expires_in": NaN}',
        b'{"access_token": "a", "token_type": "bearer", "expires_in": "soon"}',
    ],
)
def test_what_is_no_token_is_refused(answer: bytes) -> None:
    with pytest.raises(BadTokenAnswer):
        read(answer)


@pytest.mark.parametrize(
    ("told", "life"),
    [("", 300), (', "expires_in": 60', 60), (', "expires_in": "60"', 60), (', "expires_in": 1', 5),
     (', "expires_in": 1e12', 86_400)],
)  # fmt: skip
def test_a_token_lives_as_long_as_is_said_within_reason(told: str, life: float) -> None:
    token, found = read(f'{{"access_token": "a.b-c=", "token_type": "Bearer"{told}}}'.encode())
    assert (token.reveal(), found) == ("a.b-c=", life)
