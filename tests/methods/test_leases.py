"""A decision is taken once and spent many times, whatever the credential and the path look like."""

import base64
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from tests.stage import Stage, Upstream, ask

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

SECRET = "a shared secret that is long enough to be one"
IMPORTED = "imported-token-of-another-system-0123456789"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(
        upstream, "GET /things", "GET /things/{id}", "GET /{a}/{b}/of/{c}/x", "GET /a/{b}/c"
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(token: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'api-token:{token}'.encode()).decode()}"}


@pytest.fixture(scope="module")
def presented(stage: Stage, things: Any) -> dict[str, dict[str, str]]:
    """Headers of a call by the name of what they hold."""
    token = stage.a_profile(things)["secret"]
    bound = stage.a_profile(things, ip_allow_list=["127.0.0.0/8"])["secret"]
    stage.a_profile(things, token=IMPORTED)
    by_jwt = stage.a_profile(things, auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET)
    by_bound_jwt = stage.a_profile(
        things, auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET, ip_deny_list=["192.0.2.1"]
    )
    oauth = stage.a_profile(things, auth_type="oauth2")
    body = (
        f"grant_type=client_credentials&client_id={oauth['oauth_client_id']}"
        f"&client_secret={oauth['oauth_client_secret']}"
    )
    answer = ask(stage.gateway, "POST", "/oauth2/token", headers=FORM, body=body.encode())

    def signed(profile: Any) -> str:
        claims = {"sub": profile["profile_key"], "exp": int(time.time()) + 600}
        return jwt.encode(claims, SECRET, algorithm="HS256")

    return {
        "token in a header": {"API-TOKEN": token},
        "token as bearer": bearer(token),
        "token in Basic": basic(token),
        "bound token": {"API-TOKEN": bound},
        "bound token in Basic": basic(bound),
        "imported in a header": {"API-TOKEN": IMPORTED},
        "imported as bearer": bearer(IMPORTED),
        "imported in Basic": basic(IMPORTED),
        "JWT": bearer(signed(by_jwt)),
        "bound JWT": bearer(signed(by_bound_jwt)),
        "OAuth 2.0": bearer(answer.json["access_token"]),
    }


@pytest.fixture
def stopped(stage: Stage) -> Iterator[Any]:
    """Stops the authority when called, and the supervisor, which would replace it."""
    pids = [stage.pid, *stage.pids("authority")]

    def stop() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)


PATHS = ("/things", "/things/7", "/a/1/of/2/x", "/a/1/c")


def test_every_lease_is_spent_without_the_authority(
    stage: Stage, things: Any, presented: dict[str, dict[str, str]], stopped: Any
) -> None:
    calls = [
        (name, path, headers, source)
        for name, headers in presented.items()
        for path in PATHS
        for source in ("127.0.0.1", "127.0.0.2")
    ]

    def statuses() -> dict[tuple[str, str, str], int]:
        return {
            (name, path, source): stage.call(
                f"/{things['handle']}{path}", headers=headers, source=source
            ).status
            for name, path, headers, source in calls
        }

    assert set(statuses().values()) == {200}
    stopped()
    found = statuses()
    assert {call: status for call, status in found.items() if status != 200} == {}
    # And what has none is not let in.
    for headers in ({"API-TOKEN": "x" * 40}, bearer("a.b.c")):
        assert stage.call(f"/{things['handle']}/things", headers=headers).status == 503


def test_a_lease_for_one_address_is_not_another_ones(
    stage: Stage, things: Any, presented: dict[str, dict[str, str]], stopped: Any
) -> None:
    path = f"/{things['handle']}/things"
    for name in ("bound token", "bound JWT"):
        assert stage.call(path, headers=presented[name], source="127.0.0.3").status == 200
    stopped()
    for name in ("bound token", "bound JWT"):
        assert stage.call(path, headers=presented[name], source="127.0.0.3").status == 200
        assert stage.call(path, headers=presented[name], source="127.0.0.4").status == 503


@pytest.mark.parametrize("size", [1_000, 4_000, 6_000, 8_000])
def test_large_tokens_are_verified_and_leased(
    stage: Stage, upstream: Upstream, stopped: Any, size: int
) -> None:
    told = stage.a_collection(upstream, forward_claims=True)
    profile = stage.a_profile(told, auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET)
    claims = {"sub": profile["profile_key"], "exp": int(time.time()) + 600, "groups": "g" * size}
    headers = bearer(jwt.encode(claims, SECRET, algorithm="HS256"))
    path = f"/{told['handle']}/things"
    assert stage.call(path, headers=headers).status == 200
    stopped()
    assert stage.call(path, headers=headers).status == 200
    (seen,) = upstream.seen[-1].header("X-Ostiary-Claims")
    assert len(seen) > size
