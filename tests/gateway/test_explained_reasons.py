"""Explain is right about every reason: a real call of each, explained, and sent again."""

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import jwt
import pytest
from tests.gateway.recording import Recorder
from tests.operations.test_readiness import stopped
from tests.stage import Answer, Stage, Upstream, running, wait_for

from ostiary.access.reasons import REASONS, Reason, describe

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

SECRET = "a shared secret of a consumer, long enough for SHA-256"
RECIPES = """
from ostiary.recipes import recipe
from pydantic import BaseModel

class Value(BaseModel):
    value: int

@recipe(name="square")
def square(given: Value) -> int:
    return given.value ** 2

@recipe(name="fails")
def fails(given: Value) -> int:
    raise RuntimeError("inside")
"""
#: A part of the path that is written in another way than its normal form, and a query.
WRITTEN = "th%69ngs?page=2"

Call = Callable[[], Answer]

#: Reasons that no call of this file has, and why.
NO_CALL: Mapping[Reason, str] = {
    Reason.ENDPOINT_INACTIVE: "a gateway has active endpoints alone: see the test of what is not there",
    Reason.RECIPE_STOPPED: "so it is with a stopped recipe's endpoint: see the same test",
    Reason.METHOD_MISMATCH: "each method has a key space of its own, so a call in another form is of an unknown"
    " credential; tests/access/test_decision.py decides on such facts, and tests/review/test_explain.py explains them",
    Reason.OVERLOADED: "open calls are counted from 512 of a worker on: test_ceilings.py makes and explains one",
    Reason.TOO_MANY_CALLS: "open calls are counted from 512 of a worker on: test_ceilings.py makes and explains one",
    Reason.LIMITS_UNAVAILABLE: "its counters are in a store that is away: tests/budgets/test_product.py",
}


class World:
    """A product and an upstream, with short ways to what calls need."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage, self.upstream = stage, upstream

    def to_things(self, *, then: str = "", headers: Any = None, **given: Any) -> Call:
        """A call of a new profile to a new collection; `then`: what is done to the profile before."""
        collection = self.stage.a_collection(self.upstream)
        profile = self.stage.a_profile(collection, **given)
        if then:
            self.stage.done("PUT", f"api_access_profiles/{profile['id']}/{then}")
        return self.of(collection, profile["secret"], headers=headers)

    def of(self, collection: Any, token: str | None, path: str = WRITTEN, **more: Any) -> Call:
        return lambda: self.stage.call(f"/{collection['handle']}/{path}", token, **more)

    def to_upstream(self, url: str) -> Call:
        """A call to a connection whose host is at `url`."""
        given = {"name": url, "input": {"base_url": url, "timeout_seconds": 1}}
        connection = self.stage.done("POST", "connections", given)
        made = {"name": f"At {time.monotonic_ns()}", "proxy_connection_id": connection["id"]}
        collection = self.stage.done("POST", "api_collections", made)
        self.stage.an_endpoint(collection, "GET /slow")
        return self.of(collection, self.stage.a_profile(collection)["secret"], "sl%6Fw?page=2")

    def to_recipe(self, name: str, body: bytes) -> Call:
        wait_for(
            lambda: name in {each["name"] for each in self.stage.done("GET", "recipes")},
            what="recipes",
        )
        found = {each["name"]: each["id"] for each in self.stage.done("GET", "recipes")}
        collection = self.stage.done(
            "POST", "api_collections", {"name": f"Recipes {time.monotonic_ns()}"}
        )
        self.stage.an_endpoint(collection, "POST /run", flow_id=found[name])
        token = self.stage.a_profile(collection)["secret"]
        headers = {"Content-Type": "application/json"}
        return self.of(collection, token, "r%75n?page=2", method="POST", headers=headers, body=body)

    def aged(self, table: str, column: str, number: int) -> None:
        """Put the end of a profile or of its credential into the past."""
        with closing(sqlite3.connect(self.stage.data / "ostiary.sqlite3", timeout=30)) as database:
            database.execute(
                f"UPDATE {table} SET expires_at = '2026-01-01 00:00:00' WHERE {column} = ?",
                (number,),
            )
            database.commit()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[World]:
    data = tmp_path_factory.mktemp("data")
    (data / "recipes").mkdir()
    (data / "recipes" / "some.py").write_text(RECIPES)
    with running(data) as stage:
        yield World(stage, upstream)


def loop(world: World) -> Call:
    collection = world.stage.a_collection(world.upstream)
    token = world.stage.a_profile(collection)["secret"]
    assert world.of(collection, token)().status == 200
    (passed,) = world.upstream.seen[-1].header("CDN-Loop")
    return world.of(collection, token, headers={"CDN-Loop": passed})


def ambiguous(world: World) -> Call:
    collection = world.stage.a_collection(world.upstream)
    key: dict[str, Any] = {"auth_type": "jwt", "jwt_method": "hmac", "jwt_secret": SECRET}
    first = world.stage.a_profile(collection, **key)
    world.stage.a_profile(collection, **key, access_profile_claim="team", profile_key="ours")
    claims = {"sub": first["profile_key"], "team": "ours", "exp": int(time.time()) + 300}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return world.of(collection, None, headers={"Authorization": f"Bearer {token}"})


def forged(world: World) -> Call:
    collection = world.stage.a_collection(world.upstream)
    profile = world.stage.a_profile(
        collection, auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET
    )
    claims = {"sub": profile["profile_key"], "exp": int(time.time()) + 300}
    token = jwt.encode(claims, SECRET[::-1], algorithm="HS256")
    return world.of(collection, None, headers={"Authorization": f"Bearer {token}"})


def refreshed(world: World) -> Call:
    collection = world.stage.a_collection(world.upstream)
    profile = world.stage.a_profile(collection)
    world.stage.done("PUT", f"api_access_profiles/{profile['id']}/refresh_secret")
    return world.of(collection, profile["secret"])


def expired(table: str, column: str) -> Callable[[World], Call]:
    def made(world: World) -> Call:
        collection = world.stage.a_collection(world.upstream)
        profile = world.stage.a_profile(collection)
        world.aged(table, column, profile["id"])
        return world.of(collection, profile["secret"])

    return made


def client_off(world: World) -> Call:
    client = world.stage.a_client()
    call = world.to_things(client=client)
    world.stage.done("PUT", f"v2/api_clients/{client['id']}/disable")
    return call


def no_address(world: World) -> Call:
    world.stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
    call = world.to_things(
        ip_allow_list=["203.0.113.0/24"], headers={"X-Forwarded-For": "203.0.113.7, nowhere"}
    )

    def called() -> Answer:
        world.stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
        try:
            return call()
        finally:
            world.stage.done("PUT", "v2/settings", {"trusted_proxies": []})

    return called


def not_granted(world: World) -> Call:
    ours, other = (world.stage.a_collection(world.upstream) for _ in range(2))
    return world.of(other, world.stage.a_profile(ours)["secret"])


def at(
    path: str, *endpoints: str, method: str = "GET", handle: str = ""
) -> Callable[[World], Call]:
    def made(world: World) -> Call:
        collection = world.stage.a_collection(world.upstream, *endpoints)
        token = world.stage.a_profile(collection)["secret"]
        return world.of({"handle": handle or collection["handle"]}, token, path, method=method)

    return made


def limited(**policy: Any) -> Callable[[World], Call]:
    """The path is longer than a thousand characters: what was cut off would be missing now."""

    def made(world: World) -> Call:
        given = world.stage.a_policy(**policy)
        collection = world.stage.a_collection(world.upstream)
        token = world.stage.a_profile(collection, api_policy_id=given["id"])["secret"]
        call = world.of(collection, token, f"th%69ngs/{'%41' * 1000}?page=2")
        assert call().status == 200
        return call

    return made


def no_connection(world: World) -> Call:
    document = json.dumps({"openapi": "3.0.0", "paths": {"/things": {"get": {}}}})
    given = {"name": "Later", "openapi_spec": {"content": document, "format": "json"}}
    collection = world.stage.done("POST", "api_collections", given)
    (endpoint,) = world.stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
    world.stage.done("PUT", f"api_endpoints/{endpoint['id']}/enable")
    return world.of(collection, world.stage.a_profile(collection)["secret"])


def gone(world: World) -> Call:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return world.to_upstream(f"http://127.0.0.1:{sock.getsockname()[1]}")


def garbled(world: World) -> Call:
    recorder = Recorder(b"")
    recorder.hangs_up = True
    return world.to_upstream(recorder.url)


def without_authority(world: World) -> Call:
    call = world.to_things()

    def called() -> Answer:
        with stopped(world.stage, "authority"):
            return call()

    return called


CALLS: Mapping[Reason, Callable[[World], Call]] = {
    Reason.MALFORMED_PATH: at("/th%69ngs?page=2"),
    Reason.LOOP_DETECTED: loop,
    Reason.CONFLICTING_CREDENTIALS: lambda world: world.to_things(
        headers={"Authorization": "Bearer another"}
    ),
    Reason.CREDENTIAL_MISSING: lambda world: world.of(
        world.stage.a_collection(world.upstream), None
    ),
    Reason.UNKNOWN_CREDENTIAL: lambda world: world.of(
        world.stage.a_collection(world.upstream), "made up, and long enough to be one"
    ),
    Reason.AMBIGUOUS_CREDENTIAL: ambiguous,
    Reason.REVOKED_CREDENTIAL: refreshed,
    Reason.EXPIRED_CREDENTIAL: expired("directory_credential", "profile_id"),
    Reason.CLIENT_INACTIVE: client_off,
    Reason.PROFILE_INACTIVE: lambda world: world.to_things(then="disable"),
    Reason.PROFILE_EXPIRED: expired("directory_accessprofile", "id"),
    Reason.ADDRESS_UNPARSABLE: no_address,
    Reason.ADDRESS_DENIED: lambda world: world.to_things(ip_deny_list=["127.0.0.1"]),
    Reason.ADDRESS_NOT_ALLOWED: lambda world: world.to_things(ip_allow_list=["127.0.1.0/24"]),
    Reason.COLLECTION_NOT_FOUND: at(WRITTEN, handle="nowhere-v1"),
    Reason.COLLECTION_NOT_GRANTED: not_granted,
    Reason.ENDPOINT_NOT_FOUND: at("noth%69ng?page=2"),
    Reason.METHOD_NOT_ALLOWED: at(WRITTEN, method="DELETE"),
    Reason.RATE_LIMITED: limited(rate=(1, "day")),
    Reason.QUOTA_EXCEEDED: limited(quota=(1, "month")),
    Reason.INPUT_INVALID: lambda world: world.to_recipe("square", b'{"value": "x"}'),
    Reason.INPUT_TOO_LARGE: lambda world: world.to_recipe("square", b"x" * 6_000_000),
    Reason.RECIPE_FAILED: lambda world: world.to_recipe("fails", b'{"value": 1}'),
    Reason.UPSTREAM_MISSING: no_connection,
    Reason.UPSTREAM_UNAVAILABLE: gone,
    Reason.UPSTREAM_FAILED: garbled,
    Reason.UPSTREAM_TIMEOUT: lambda world: world.to_upstream(world.upstream.url),
    Reason.MALFORMED_CREDENTIAL: lambda world: world.of(
        world.stage.a_collection(world.upstream), "ost_" + "A" * 61
    ),
    Reason.TOKEN_INVALID: forged,
    Reason.MALFORMED_REQUEST: lambda world: world.to_things(
        headers={f"X-Header-{number}": "1" for number in range(101)}
    ),
    Reason.CREDENTIAL_TOO_LONG: lambda world: world.of(
        world.stage.a_collection(world.upstream), "x" * 12_001
    ),
    Reason.AUTHORITY_UNAVAILABLE: without_authority,
    Reason.HEAD_TOO_LARGE: lambda world: world.to_things(headers={"X-Long": "x" * 17_000}),
}


def test_every_reason_has_a_call_or_a_cause_why_it_has_none() -> None:
    assert not set(CALLS) & set(NO_CALL)
    assert set(CALLS) | set(NO_CALL) == set(REASONS)


def explained(stage: Stage, answer: Answer) -> Any:
    """The explanation of a refused call, once it is in the log."""
    asked = {"request_id": answer.json["request_id"]}
    wait_for(lambda: stage.api("POST", "v2/explain", asked).status == 200, what=str(asked))
    return stage.done("POST", "v2/explain", asked)["data"]


@pytest.fixture(scope="module")
def made(world: World) -> Mapping[Reason, tuple[str, Answer, Answer]]:
    """The target of a call of each reason, and the answers to its first and its second time."""
    inner, sent = world.stage.call, [""]

    def noted(target: str, *rest: Any, **more: Any) -> Answer:
        sent.append(target)
        return inner(target, *rest, **more)

    world.stage.call = noted  # type: ignore[method-assign]
    try:
        answers = {}
        for reason, prepared in CALLS.items():
            call = prepared(world)
            first, second = call(), call()
            answers[reason] = (sent[-1], first, second)
    finally:
        world.stage.call = inner  # type: ignore[method-assign]
    return answers


@pytest.mark.parametrize("reason", CALLS)
def test_a_call_is_explained_and_what_it_would_get_now_is_what_it_gets(
    world: World, made: Mapping[Reason, tuple[str, Answer, Answer]], reason: Reason
) -> None:
    target, first, second = made[reason]
    data, again = explained(world.stage, first), explained(world.stage, second)
    row = describe(reason)
    for each in (data, again):
        assert (each["reason"], each["status"]) == (reason, first.status)
        assert (each["what"], each["remedy"]) == (row.meaning, row.remedy)
        assert each["public_body"]["reason"] == first.json["reason"]
        failed = [step for step in each["steps"] if step["outcome"] == "failed"]
        assert [step["reason"] for step in failed] == [reason]
    now = data["now"]
    if row.is_admitted:
        # What lies behind the gateway is asked by a call alone.
        assert (now["verdict"], now["reason"], now["status"]) == ("admitted", None, 0)
    elif now is not None:
        assert (now["reason"], now["status"]) == (again["reason"], again["status"])
    else:
        assert row.is_of_the_call or data["access_profile_id"] is None
    asked = f"v2/request_logs?request_id={first.json['request_id']}"
    (line,) = world.stage.done("GET", asked)["data"]
    assert line["reason"] == reason
    if row.is_admitted:
        assert line["path"] is not None
    if line["path"] is not None:
        assert line["path"] == target.partition("?")[0][:1000]


def stopped_recipe(world: World) -> tuple[Call, str]:
    call = world.to_recipe("square", b'{"value": 2}')
    recipes = {each["name"]: each["id"] for each in world.stage.done("GET", "recipes")}
    return call, f"recipes/{recipes['square']}/stop"


def inactive_endpoint(world: World) -> tuple[Call, str]:
    collection = world.stage.a_collection(world.upstream, "GET /things")
    asked = f"api_endpoints?api_collection_id={collection['id']}"
    (endpoint,) = world.stage.done("GET", asked)
    token = world.stage.a_profile(collection)["secret"]
    return world.of(collection, token), f"api_endpoints/{endpoint['id']}/disable"


@pytest.mark.parametrize("prepared", [inactive_endpoint, stopped_recipe])
def test_what_is_not_there_for_a_gateway_is_looked_up(
    world: World, prepared: Callable[[World], tuple[Call, str]]
) -> None:
    """The gateway finds no endpoint; Explain finds the one that is not served, and says so."""
    call, switch = prepared(world)
    assert call().status == 200
    world.stage.done("PUT", switch)
    answer = call()
    assert (answer.status, answer.json["reason"]) == (404, "not_found")
    data = explained(world.stage, answer)
    row = describe(Reason.ENDPOINT_INACTIVE)
    assert data["reason"] == Reason.ENDPOINT_NOT_FOUND
    assert (data["what"], data["remedy"]) == (row.meaning, row.remedy)
    assert (data["now"]["reason"], data["now"]["status"]) == (Reason.ENDPOINT_INACTIVE, 404)
