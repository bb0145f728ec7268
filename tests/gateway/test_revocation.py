"""What an owner takes away is gone when the call that took it away returns."""

import threading
from functools import partial
from typing import Any

import pytest
from tests.stage import Stage, Upstream, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Things", handle="things-v1")


def status(stage: Stage, profile: Any, source: str = "127.0.0.1") -> int:
    return stage.call("/things-v1/things", profile["secret"], source=source).status


def test_profile_and_client_switches_take_effect_at_once(stage: Stage, things: Any) -> None:
    client = stage.a_client()
    profile = stage.a_profile(things, client=client)
    for path in (
        f"api_access_profiles/{profile['id']}/{{}}",
        f"v2/api_clients/{client['id']}/{{}}",
    ):
        assert status(stage, profile) == 200
        answer = stage.done("PUT", path.format("disable"))
        assert answer["revocation"]["confirmed"] == answer["revocation"]["of"] == 1
        assert status(stage, profile) == 401
        stage.done("PUT", path.format("enable"))
        assert status(stage, profile) == 200


def test_a_refreshed_token_is_dead_and_the_new_one_works(stage: Stage, things: Any) -> None:
    profile = stage.a_profile(things)
    assert status(stage, profile) == 200
    path = f"api_access_profiles/{profile['id']}/refresh_secret"
    renewed = stage.done("PUT", path)["result"]
    assert renewed["secret"] != profile["secret"]
    assert status(stage, profile) == 401
    assert status(stage, renewed) == 200


def test_an_overlap_keeps_two_alive_and_never_three(stage: Stage, things: Any) -> None:
    first = stage.a_profile(things)
    path = f"api_access_profiles/{first['id']}/refresh_secret"
    second = stage.done("PUT", path, {"overlap_seconds": 3600})["result"]
    assert (status(stage, first), status(stage, second)) == (200, 200)
    third = stage.done("PUT", path, {"overlap_seconds": 3600})["result"]
    alive = [status(stage, each) for each in (first, second, third)]
    assert alive == [401, 200, 200]
    credentials = stage.done("GET", f"v2/access_profiles/{first['id']}/credentials")["data"]
    assert len(credentials) == 2
    old = credentials[1]["id"]
    stage.done("DELETE", f"v2/access_profiles/{first['id']}/credentials/{old}")
    alive = [status(stage, each) for each in (first, second, third)]
    assert alive == [401, 401, 200]


def test_narrowing_takes_effect_at_once(stage: Stage, upstream: Upstream, things: Any) -> None:
    other = stage.a_collection(upstream)
    profile = stage.a_profile(things, other)
    assert status(stage, profile) == 200
    path = f"api_access_profiles/{profile['id']}"
    stage.done("PUT", path, {"api_collection_ids": [other["id"]]})
    assert status(stage, profile) == 404
    stage.done("PUT", path, {"api_collection_ids": [things["id"]], "ip_deny_list": ["127.0.0.1"]})
    assert status(stage, profile) == 403
    stage.done("PUT", path, {"ip_deny_list": []})
    assert status(stage, profile) == 200
    stage.done("DELETE", path)
    assert status(stage, profile) == 401


def test_a_deleted_client_takes_its_profiles_along(stage: Stage, things: Any) -> None:
    client = stage.a_client()
    profile = stage.a_profile(things, client=client)
    assert status(stage, profile) == 200
    stage.done("DELETE", f"api_clients/{client['id']}")
    assert status(stage, profile) == 401


def test_allowed_and_denied_addresses(stage: Stage, things: Any) -> None:
    profile = stage.a_profile(
        things, ip_allow_list=["127.0.1.9/24", "::ffff:127.0.2.1"], ip_deny_list=["127.0.1.7"]
    )
    for source, expected in (
        ("127.0.1.1", 200),
        ("127.0.1.7", 403),
        ("127.0.2.1", 200),
        ("127.0.2.2", 403),
        ("127.0.0.1", 403),
        ("127.0.1.1", 200),
    ):
        assert status(stage, profile, source) == expected, source
    # From the fast path too: the second time around each is a lease.
    assert status(stage, profile, "127.0.1.1") == 200
    assert status(stage, profile, "127.0.0.1") == 403


def test_addresses_that_come_later_hold_for_leases_that_were_there(
    stage: Stage, things: Any
) -> None:
    profile = stage.a_profile(things)
    assert status(stage, profile, "127.0.3.1") == 200
    path = f"api_access_profiles/{profile['id']}"
    stage.done("PUT", path, {"ip_allow_list": ["127.0.3.2"]})
    for _ in range(3):
        assert status(stage, profile, "127.0.3.1") == 403
        assert status(stage, profile, "127.0.3.2") == 200
    stage.done("PUT", path, {"ip_allow_list": []})
    assert status(stage, profile, "127.0.3.1") == 200


def test_an_imported_token_works_and_dies_like_any_other(stage: Stage, things: Any) -> None:
    old = "legacy-token-of-a-consumer-0001"
    assert stage.call("/things-v1/things", old).status == 401
    profile = stage.a_profile(things, token=old)
    assert profile["secret"] is None
    assert stage.call("/things-v1/things", old).status == 200
    assert stage.call("/things-v1/things", headers={"Authorization": f"Bearer {old}"}).status == 200
    stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    assert stage.call("/things-v1/things", old).status == 401


def test_no_call_passes_after_the_switch_returned_under_load(stage: Stage, things: Any) -> None:
    profile = stage.a_profile(things)
    stop = threading.Event()
    #: Of each call: what was said last before it was sent, and after it was answered; the status.
    seen: list[tuple[str, str, int]] = []
    said = "on 0"

    def load() -> None:
        while not stop.is_set():
            before = said
            answer = status(stage, profile)
            seen.append((before, said, answer))

    def answered(word: str, number: int) -> bool:
        """Whether so many calls were sent and answered while nothing else was said."""
        return sum(before == after == word for before, after, _ in list(seen)) >= number

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            for word, switch in (("on", "enable"), ("off", "disable")):
                said = "being switched"
                stage.done("PUT", f"api_access_profiles/{profile['id']}/{switch}")
                said = f"{word} {number}"
                wait_for(partial(answered, said, 30), what=said)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # One that was under way while the switch was thrown may have seen either.
    told = {
        word: {s for b, a, s in seen if a == b and b.startswith(word)} for word in ("on", "off")
    }
    assert told == {"on": {200}, "off": {401}}
