"""OpenID Connect: a real provider, its keys in rotation, the provider gone, and hostile ones."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.openid_provider import Provider, a_key, public
from tests.stage import Answer, Stage, Upstream, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

#: The keys of a provider are asked for again after so many seconds; an unknown one after a tenth.
KEY_SET_SECONDS = 10


class Hostile:
    """Answers whatever a test wants, and counts."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.asked: list[str] = []
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                hostile.asked.append(self.path)
                status, body, headers = hostile.answers.get(self.path, (404, b"", {}))
                if status == 0:
                    hostile.slow.wait(20)
                self.send_response(status or 200)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None: ...

        self.slow = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def keys(self, *keys: dict[str, Any]) -> bytes:
        return json.dumps({"keys": keys}).encode()

    def close(self) -> None:
        self.slow.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    data = tmp_path_factory.mktemp("data")
    env = {"OSTIARY_KEY_SET_SECONDS": str(KEY_SET_SECONDS)}
    with running(data, env=env) as stage:
        stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
        yield stage


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    provider = Provider(tmp_path)
    yield provider
    provider.stop()


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.close()


def a_profile(stage: Stage, things: Any, **more: Any) -> Any:
    return stage.a_profile(things, auth_type="oidc", **more)


def call(stage: Stage, things: Any, token: str) -> Answer:
    return stage.call(f"/{things['handle']}/things", headers={"Authorization": f"Bearer {token}"})


def passes(stage: Stage, things: Any, token: str) -> bool:
    return call(stage, things, token).status == 200


def test_a_real_providers_tokens_pass_through_rotation_and_outage(
    stage: Stage, things: Any, provider: Provider
) -> None:
    (_, first), (_, second) = a_key("first"), a_key("second")
    profile = a_profile(
        stage, things, oidc_issuer=provider.issuer, profile_key="acme", audience="urn:orders"
    )  # saved while the provider is down
    provider.start(first)
    old = provider.token()
    wait_for(lambda: passes(stage, things, old), what="keys are fetched once it is up")
    # The provider is down: what is known serves on, past the time to ask again.
    provider.stop()
    time.sleep(KEY_SET_SECONDS + 1)
    assert passes(stage, things, old)
    # It comes back with another key: new tokens pass at once, after one fetch.
    provider.start(second, first)
    new = provider.token()
    assert jwt.get_unverified_header(new)["kid"] == "second"
    wait_for(lambda: passes(stage, things, new), what="the new key is fetched")
    assert passes(stage, things, old)
    # The old key is withdrawn: what it signed is dead when the keys are asked for again.
    provider.stop()
    provider.start(second)
    began = time.monotonic()
    while passes(stage, things, old):
        time.sleep(0.2)
        assert time.monotonic() - began < 2 * KEY_SET_SECONDS + 60
    assert passes(stage, things, new)
    # An issuer that is no longer allowed is dead at once.
    change = {"allowed_issuers": ["https://other.example"]}
    stage.done("PUT", f"api_access_profiles/{profile['id']}", change)
    assert not passes(stage, things, new)
    stage.done("DELETE", f"api_access_profiles/{profile['id']}")


def signed(key: Any, kid: str | None, **claims: Any) -> str:
    payload = {"exp": int(time.time()) + 300, **claims}
    return jwt.encode(payload, key, algorithm="RS256", headers={"kid": kid} if kid else {})


def test_a_key_set_alone_serves_too(stage: Stage, things: Any, hostile: Hostile) -> None:
    key, shown = a_key("k1")
    hostile.answers["/keys"] = 200, hostile.keys(public(shown)), {}
    profile = a_profile(stage, things, oidc_jwks_uri=f"{hostile.url}/keys")
    me = profile["profile_key"]
    wait_for(lambda: passes(stage, things, signed(key, "k1", sub=me)))
    assert passes(stage, things, signed(key, None, sub=me))
    other, _ = a_key("k1")
    assert not passes(stage, things, signed(other, "k1", sub=me))
    assert not passes(stage, things, signed(other, "unknown", sub=me))
    # The public key as a shared secret, and none at all.
    secret = json.dumps(public(shown)).replace('"kty"', '"kyt"').ljust(64)
    for forged in (
        jwt.encode({"sub": me}, secret, algorithm="HS256", headers={"kid": "k1"}),
        jwt.encode({"sub": me}, "", algorithm="none", headers={"kid": "k1"}),
    ):
        assert not passes(stage, things, forged)


def test_keys_without_ids_serve_and_are_replaced(
    stage: Stage, things: Any, hostile: Hostile
) -> None:
    def unnamed(shown: Any) -> dict[str, Any]:
        return {name: value for name, value in public(shown).items() if name != "kid"}

    (old, shown), (new, other) = a_key("k1"), a_key("k2")
    hostile.answers["/keys"] = 200, hostile.keys(unnamed(shown)), {}
    profile = a_profile(stage, things, oidc_jwks_uri=f"{hostile.url}/keys")
    me = profile["profile_key"]
    wait_for(lambda: passes(stage, things, signed(old, None, sub=me)))
    assert passes(stage, things, signed(old, "whatever", sub=me))
    assert not passes(stage, things, signed(new, "whatever", sub=me, jti="1"))
    hostile.answers["/keys"] = 200, hostile.keys(unnamed(other)), {}
    replaced = signed(new, None, sub=me, jti="2")
    wait_for(lambda: passes(stage, things, replaced), seconds=30)
    hostile.asked.clear()
    began = time.monotonic()
    for number in range(30):
        assert not passes(stage, things, signed(old, None, sub=me, jti=f"old {number}"))
    assert len(hostile.asked) <= (time.monotonic() - began) / (KEY_SET_SECONDS / 10) + 2


def test_unknown_key_ids_cause_one_fetch_per_interval(
    stage: Stage, things: Any, hostile: Hostile
) -> None:
    key, shown = a_key("k1")
    hostile.answers["/keys"] = 200, hostile.keys(public(shown)), {}
    profile = a_profile(stage, things, oidc_jwks_uri=f"{hostile.url}/keys")
    wait_for(lambda: passes(stage, things, signed(key, "k1", sub=profile["profile_key"])))
    hostile.asked.clear()
    began = time.monotonic()
    for number in range(60):
        token = signed(key, f"unknown-{number}", sub=profile["profile_key"])
        assert call(stage, things, token).status == 401
    intervals = (time.monotonic() - began) / (KEY_SET_SECONDS / 10)
    assert len(hostile.asked) <= intervals + 2
    assert passes(stage, things, signed(key, "k1", sub=profile["profile_key"]))


def _answers(keys: bytes, url: str) -> dict[str, tuple[int, bytes, dict[str, str]]]:
    return {
        "404": (404, b"no", {}),
        "500": (500, keys, {}),
        "HTML": (200, b"<html>", {}),
        "empty": (200, b"", {}),
        "a list": (200, b"[]", {}),
        "no keys": (200, b'{"keys": []}', {}),
        "keys of another type": (200, b'{"keys": {"a": 1}}', {}),
        "keys that are none": (200, b'{"keys": [1, null, {"kty": 5}, {"kty": "RSA"}]}', {}),
        "a shared secret": (200, b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "k1"}]}', {}),
        "huge": (200, keys + b" " * 70_000, {}),
        "nested": (200, b"[" * 60_000, {}),
        "not UTF-8": (200, b"\xff\xfe", {}),
        "a redirect inside": (302, b"", {"Location": "http://169.254.169.254/latest"}),
        "a redirect to a file": (302, b"", {"Location": "file:///etc/passwd"}),
        "a redirect to itself": (302, b"", {"Location": f"{url}/keys"}),
        "slow": (0, keys, {}),
    }


def test_hostile_answers_are_outlived(stage: Stage, things: Any, hostile: Hostile) -> None:
    key, shown = a_key("k1")
    good = hostile.keys(public(shown))
    hostile.answers["/keys"] = 200, good, {}
    profile = a_profile(stage, things, oidc_jwks_uri=f"{hostile.url}/keys")
    token = signed(key, "k1", sub=profile["profile_key"])
    wait_for(lambda: passes(stage, things, token))
    for case, answer in _answers(good, hostile.url).items():
        hostile.answers["/keys"] = answer
        asked = len(hostile.asked)
        unknown = signed(key, f"new {case}", sub=profile["profile_key"])

        def asked_again(unknown: str = unknown, asked: int = asked) -> bool:
            return call(stage, things, unknown).status == 401 and len(hostile.asked) > asked

        wait_for(asked_again, what=case)
        assert passes(stage, things, token), case
    hostile.slow.set()
    newer, shown_newer = a_key("k2")
    hostile.answers["/keys"] = 200, hostile.keys(public(shown_newer)), {}
    token = signed(newer, "k2", sub=profile["profile_key"])
    wait_for(lambda: passes(stage, things, token), what="well again")


def test_the_issuer_must_be_the_one_that_was_asked(
    stage: Stage, things: Any, hostile: Hostile
) -> None:
    key, shown = a_key("k1")
    hostile.answers["/keys"] = 200, hostile.keys(public(shown)), {}
    discovery = {"issuer": "https://other.example", "jwks_uri": f"{hostile.url}/keys"}
    at = "/.well-known/openid-configuration"
    hostile.answers[at] = 200, json.dumps(discovery).encode(), {}
    profile = a_profile(stage, things, oidc_issuer=f"{hostile.url}{at}")
    assert profile["oidc_issuer"] == hostile.url
    token = signed(key, "k1", sub=profile["profile_key"], iss=hostile.url)
    wait_for(lambda: at in hostile.asked)
    assert not passes(stage, things, token)
    assert "/keys" not in hostile.asked
    discovery["issuer"] = hostile.url
    hostile.answers[at] = 200, json.dumps(discovery).encode(), {}
    wait_for(lambda: passes(stage, things, token), what="the right issuer")
    for wrong in ("https://other.example", f"{hostile.url}/", ""):
        assert not passes(stage, things, signed(key, "k1", sub=profile["profile_key"], iss=wrong))


def test_keys_outlive_a_restart_of_the_authority(
    stage: Stage, things: Any, hostile: Hostile
) -> None:
    key, shown = a_key("k1")
    hostile.answers["/keys"] = 200, hostile.keys(public(shown)), {}
    profile = a_profile(stage, things, oidc_jwks_uri=f"{hostile.url}/keys")
    wait_for(lambda: passes(stage, things, signed(key, "k1", sub=profile["profile_key"])))
    hostile.answers["/keys"] = 500, b"", {}
    (old,) = stage.pids("authority")
    stage.kill("authority")
    wait_for(lambda: stage.pids("authority") not in ([], [old]))
    fresh = signed(key, "k1", sub=profile["profile_key"], jti="fresh")
    wait_for(lambda: passes(stage, things, fresh), what="keys from before")
