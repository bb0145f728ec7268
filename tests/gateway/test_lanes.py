"""Two lanes: whatever is stored, published or late, what takes rights away is in force at once.

Values are written into the database past every check, as an older version, a restored backup or
somebody with SQL may have written them.
"""

import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.nameserver import NameServer, wrapping
from tests.operations.scraping import answer, scrape, value
from tests.publishing.certificates import a_certificate
from tests.replanning import Caller, Replanning, more_silent_connections, multiply
from tests.stage import Stage, Upstream, running, wait_for

from ostiary.gateway.publisher_client import PublisherClient

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

#: Certificates with a block that nginx's reader refuses, as `ca_pem` was stored once.
BROKEN_BLOCK = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
BROKEN_LIST = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
#: Blanks of two kinds, control characters, line ends with more behind them, 8-bit, invisible,
#: quoting of JSON, of nginx and of Lua, and what is far too long.
TEXTS = (
    "a b", "a\u00a0b", "\x00", "a\tb", "x\r\nX-Injected: 1", "\x7f", "\u202egnp", "é\ud7ff",
    '"};', "$gw_up {}", "]] os.exit() --", "x" * 20_000,
)  # fmt: skip
NO_LISTS: tuple[Any, ...] = (5, None, {}, "text", [5], [None], [[]], {"a": 1}, [True])


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """A value of a column of an object of ours."""

    kind: str
    object_id: int
    column: str
    value: object
    #: A call that reaches the object, and its token.
    target: str
    token: str


def store(stage: Stage, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(stage.data / "ostiary.sqlite3", timeout=30)) as database:
        with database:
            database.execute(statement, values)


def announce(stage: Stage, kind: str, object_id: int) -> None:
    store(
        stage,
        "INSERT INTO directory_change (kind, object_id, at) VALUES (?, ?, datetime('now'))",
        kind, object_id,
    )  # fmt: skip


def readiness(stage: Stage) -> dict[str, Any]:
    checks: dict[str, Any] = answer(stage, stage.token, "/readyz").json["checks"]
    return checks


def aside(stage: Stage) -> list[str]:
    """Kind and id of every object that the publisher has set aside."""
    state = PublisherClient(stage.data / "run" / "publisher.sock").state(seconds=30)
    return [f"{each.kind} {each.id}" for each in state.set_aside]


class Workshop:
    """Makes an object of each kind with one bad value each, all before one profile."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage, self.upstream = stage, upstream
        self.poisons: list[Poison] = []
        self._client = stage.a_client("Of the poisoned")
        self._names = iter(range(10_000))

    def connection(self, column: str, bad: object, **more: Any) -> None:
        made = {"base_url": "https://localhost:9", "auth_type": "header", **more}
        made |= {"auth_name": "X-Key", "auth_secret": "s"} if "auth_name" not in more else {}
        connection = self.stage.done(
            "POST", "connections", {"name": f"Poisoned {next(self._names)}", "input": made}
        )
        collection = self._collection(connection["id"])
        self.stage.an_endpoint(collection, "GET /things")
        self._add("connection", connection["id"], column, bad, collection)

    def collection(self, column: str, bad: object) -> None:
        collection = self.stage.a_collection(self.upstream, "GET /things", name=self._name())
        self._add("collection", collection["id"], column, bad, collection)

    def endpoint(self, column: str, bad: object) -> None:
        collection = self.stage.a_collection(self.upstream, "GET /other", name=self._name())
        endpoint = self.stage.an_endpoint(collection, "GET /things")
        self._add("endpoint", endpoint["id"], column, bad, collection)

    def _name(self) -> str:
        return f"Poisoned {next(self._names)}"

    def _collection(self, connection: int) -> Any:
        content = {"name": self._name(), "proxy_connection_id": connection}
        return self.stage.done("POST", "api_collections", content)

    def _add(self, kind: str, object_id: int, column: str, bad: object, collection: Any) -> None:
        self.poisons.append(
            Poison(
                kind=kind,
                object_id=object_id,
                column=column,
                value=bad,
                target=f"/{collection['handle']}/things",
                token=self.stage.a_profile(collection, client=self._client)["secret"],
            )
        )

    def take_effect(self) -> None:
        """Store all values, and let the product look at them."""
        for each in list(self.poisons):
            stored = each.value
            if each.column in {"base_urls", "cors_origins"}:
                stored = json.dumps(stored)
            statement = f"UPDATE directory_{each.kind} SET {each.column} = ? WHERE id = ?"
            try:
                store(self.stage, statement, stored, each.object_id)
            except sqlite3.IntegrityError:
                # The column itself refuses it.
                self.poisons.remove(each)
                continue
            announce(self.stage, each.kind, each.object_id)


PATHS = {"connection": "connections", "collection": "api_collections", "endpoint": "api_endpoints"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data")) as stage:
        yield stage


@pytest.fixture(scope="module")
def workshop(
    stage: Stage, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Workshop:
    pem, _ = a_certificate("localhost", tmp_path_factory.mktemp("certificates"))
    workshop = Workshop(stage, upstream)
    for bad in (BROKEN_BLOCK, BROKEN_LIST):
        workshop.connection("ca_pem", pem.read_text() + bad)
    # The unit tests of publishing have every field with every value; here each field has three of
    # these, and each value is in two fields.
    texts = itertools.cycle(TEXTS)
    for number in range(3):
        workshop.connection("auth_name", next(texts))
        workshop.connection("auth_type", next(texts)[:32])
        workshop.connection("ca_pem", next(texts))
        workshop.connection("health_path", f"/{next(texts)}")
        workshop.connection("base_urls", [f"https://{next(texts)}/"])
        workshop.connection("auth_secret", next(texts))
        workshop.collection("cors_origins", [f"http://{next(texts)}"])
        workshop.collection("handle", f"p{number}{next(texts)}")
        for column in ("method", "path", "target_path"):
            workshop.endpoint(column, f"/{next(texts)}")
    for other in NO_LISTS:
        workshop.connection("base_urls", other)
        workshop.collection("cors_origins", other)
    workshop.endpoint("target_path", "/{nobody}")
    workshop.endpoint("path", "/a/../b")
    workshop.connection("timeout_seconds", 10**9)
    workshop.endpoint("timeout_seconds", 10**9)
    workshop.take_effect()
    return workshop


@pytest.fixture(scope="module")
def bystander(stage: Stage, upstream: Upstream) -> Callable[[], str]:
    """Another owner's collection; makes a profile, and shows that it may call and is revoked."""
    collection = stage.a_collection(upstream, "GET /good", "GET /more")

    def lives_and_dies() -> str:
        profile = stage.a_profile(collection)
        target = f"/{collection['handle']}/good"
        assert stage.call(target, profile["secret"]).status == 200
        gone = stage.done("DELETE", f"api_access_profiles/{profile['id']}")
        assert gone["revocation"]["confirmed"] == 1
        assert stage.call(target, profile["secret"]).status == 401
        stage.an_endpoint(collection, f"GET /new{time.monotonic_ns()}")
        return target

    return lives_and_dies


def set_aside(stage: Stage) -> dict[tuple[str, int], str]:
    """Objects that the API says the gateway does not get, by what each of them says itself."""
    found = {}
    for kind, path in PATHS.items():
        for number in itertools.count(1):
            page = stage.done("GET", f"{path}?page={number}")
            if not page:
                break
            for each in page:
                if each["gateway_problem"]:
                    found[kind, each["id"]] = each["gateway_problem"]
    return found


def each_costs_itself(stage: Stage, workshop: Workshop) -> None:
    wanted = {(each.kind, each.object_id): each for each in workshop.poisons}
    lines: dict[tuple[str, int], str] = {}

    def all_named() -> bool:
        lines.update(set_aside(stage))
        return wanted.keys() <= lines.keys()

    try:
        wait_for(all_named, seconds=60)
    except AssertionError:
        missing = [
            (each.kind, each.object_id, each.column, str(each.value)[:60])
            for key, each in wanted.items()
            if key not in lines
        ]
        raise AssertionError(missing) from None
    for each in workshop.poisons:
        status = stage.call(each.target, each.token).status
        assert status in {404, 405, 503}, each
    # Nothing else is set aside.
    assert lines.keys() == wanted.keys()
    publisher = readiness(stage)["publisher"]
    assert not publisher["ok"]
    assert "The gateway does not get" in publisher["state"]
    numbers = scrape(stage)
    for kind in PATHS:
        count = sum(each.kind == kind for each in workshop.poisons)
        assert value(numbers, "ostiary_set_aside_objects", kind=kind) == count
    for each in workshop.poisons:
        assert any(f"the {each.kind} {each.object_id} is set aside" in line for line in stage.lines)


def test_values_past_every_check_cost_their_own_objects(
    stage: Stage, workshop: Workshop, bystander: Callable[[], str]
) -> None:
    bystander()
    each_costs_itself(stage, workshop)
    bystander()


SETTING = "INSERT INTO directory_setting VALUES ('trusted_proxies', ?, datetime('now'))"
NO_SETTING = "DELETE FROM directory_setting WHERE name = 'trusted_proxies'"


@pytest.mark.parametrize(
    "proxies", [5, "10.0.0.0/8", [None], ["no network"], ["0.0.0.0/0"], {"a": 1}], ids=repr
)
def test_settings_past_every_check_cost_themselves(
    stage: Stage, bystander: Callable[[], str], proxies: object
) -> None:
    store(stage, SETTING, json.dumps(proxies))
    announce(stage, "settings", 0)
    wait_for(lambda: "settings 0" in aside(stage), what="they are set aside")
    target = bystander()
    # Nobody is believed to say whose call it is.
    stranger = stage.call(target, "x", headers={"X-Forwarded-For": "192.0.2.1"})
    assert stranger.status == 401
    assert stage.done("GET", "v2/settings")["data"]["trusted_proxies"] == []
    store(stage, NO_SETTING)
    announce(stage, "settings", 0)
    wait_for(lambda: "settings 0" not in aside(stage), what="they are well again")


def test_the_product_starts_with_them(
    stage: Stage, workshop: Workshop, bystander: Callable[[], str]
) -> None:
    bystander()
    store(stage, SETTING, "[5]")
    assert stage.stop() == 0
    stage.start()
    wait_for(lambda: "settings 0" in aside(stage), what="settings are set aside")
    store(stage, NO_SETTING)
    announce(stage, "settings", 0)
    wait_for(lambda: "settings 0" not in aside(stage), what="they are well again")
    bystander()
    each_costs_itself(stage, workshop)
    bystander()


def test_revocations_do_not_wait_for_what_is_published(tmp_path: Path, upstream: Upstream) -> None:
    """Names that no server answers, and every endpoint changed again and again; see bench_lanes."""
    with NameServer() as server:
        server.silent.add("*")
        before = wrapping(server, tmp_path)
        if not before:
            pytest.skip("a mount namespace of our own is not permitted here")
        with running(tmp_path / "data", before=before) as stage:
            collection = stage.a_collection(upstream, "GET /things")
            (endpoint,) = stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
            mine = stage.a_collection(upstream, "GET /things")
            (my_endpoint,) = stage.done("GET", f"api_endpoints?api_collection_id={mine['id']}")
            profiles = [stage.a_profile(mine) for _ in range(8)]
            steady = stage.a_profile(mine)["secret"]
            copies = multiply(stage.data, collection["id"], endpoint["id"], times=30, each=20)
            more_silent_connections(stage.data, collection["proxy_connection_id"], 20)
            wait_for(lambda: "silent-1.example" in server.asked, what="names are asked for")
            with Replanning(stage, copies) as replanning:
                wait_for(lambda: replanning.changes > 30)
                for number, profile in enumerate(profiles):
                    target = f"/{mine['handle']}/{'things' if not number else f'at/{number - 1}'}"
                    with Caller(stage, target, profile["secret"]) as caller:
                        wait_for(lambda: any(s == 200 for _, s in caller.calls))
                        receipt = stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
                        at = time.monotonic()
                        seen = len(caller.calls)
                        wait_for(lambda: len(caller.calls) > seen + 3)  # noqa: B023 - it is asked at once
                    assert receipt["revocation"]["confirmed"] == 1
                    assert caller.passed_after(at) == 0
                    # One endpoint of ours is where it was put, at once.
                    path = f"/at/{number}"
                    content = {"name": "Mine", "method": "GET", "path": path, "active": True}
                    stage.done("PUT", f"api_endpoints/{my_endpoint['id']}", content)
                    assert stage.call(f"/{mine['handle']}{path}", steady).status == 200
                    assert stage.call(target, steady).status == 404
