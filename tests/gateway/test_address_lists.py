"""Named address lists: what they hold decides for every profile that uses them, as soon as it is saved."""

import time
from typing import Any

import pytest
from tests.stage import Stage, Upstream

from ostiary.gateway import control

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

THINGS = "/listed-v1/things"
HERE, THERE = "127.0.0.1", "127.0.9.9"


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Listed", handle="listed-v1")


def a_list(stage: Stage, entries: str | list[str], **more: Any) -> Any:
    content = {"name": f"List {time.monotonic_ns()}", "entries": entries, **more}
    return stage.done("POST", "v2/address_lists", content)["data"]


def statuses(stage: Stage, profile: Any) -> list[int]:
    return [stage.call(THINGS, profile["secret"], source=each).status for each in (HERE, THERE)]


def test_a_change_of_a_list_is_in_force_for_all_its_profiles_when_it_returns(
    stage: Stage, things: Any
) -> None:
    text = "# ours\n192.0.2.0/24 # office, Berlin\n127.0.0.1/255.255.255.255"
    made = a_list(stage, text)
    assert (made["entry_count"], made["entries"]) == (2, text)
    profiles = [stage.a_profile(things, ip_allow_list_ids=[made["id"]]) for _ in range(3)]
    beside = stage.a_profile(things, ip_allow_list=[THERE], ip_allow_list_ids=[made["id"]])
    other = stage.a_profile(things, ip_allow_list=["127.0.0.0/8"])
    assert [statuses(stage, each) for each in profiles] == [[200, 403]] * 3
    assert statuses(stage, beside) == [200, 200]
    assert statuses(stage, other) == [200, 200]
    found = stage.done("GET", f"v2/address_lists/{made['id']}")["data"]
    assert found["api_access_profile_ids"] == [p["id"] for p in (*profiles, beside)]
    path = f"v2/address_lists/{made['id']}"
    asked = control.state(stage.data / "run" / "gateway.sock", seconds=10)["upcalls"]["asked"]
    answer = stage.done("PUT", path, {"entries": ["127.0.9.0/24"]})["data"]
    assert answer["revocation"]["confirmed"] == 1
    assert [statuses(stage, each) for each in profiles] == [[403, 200]] * 3
    assert statuses(stage, beside) == [403, 200]
    before = control.state(stage.data / "run" / "gateway.sock", seconds=10)["upcalls"]["asked"]
    assert before > asked
    # Leases that rest on no list go on.
    assert statuses(stage, other) == [200, 200]
    after = control.state(stage.data / "run" / "gateway.sock", seconds=10)["upcalls"]["asked"]
    assert after == before
    # A profile that is changed in other ways keeps its lists; one that names none has none.
    stage.done("PUT", f"api_access_profiles/{profiles[0]['id']}", {"name": "Renamed"})
    assert statuses(stage, profiles[0]) == [403, 200]
    stage.done("PUT", f"api_access_profiles/{profiles[0]['id']}", {"ip_allow_list_ids": []})
    assert statuses(stage, profiles[0]) == [200, 200]


def test_a_denied_list_refuses_what_is_allowed(stage: Stage, things: Any) -> None:
    made = a_list(stage, [THERE])
    profile = stage.a_profile(things, ip_allow_list=["0.0.0.0/0"], ip_deny_list_ids=[made["id"]])
    assert statuses(stage, profile) == [200, 403]
    watched = stage.a_profile(things, ip_deny_list_ids=[made["id"]], ip_watch_only=True)
    assert statuses(stage, watched) == [200, 200]


def test_a_list_of_twenty_thousand_decides_as_quickly_as_a_short_one(
    stage: Stage, things: Any
) -> None:
    entries = [f"10.{n // 256}.{n % 256}.0/24 # {n}" for n in range(19_999)]
    made = a_list(stage, [*entries, HERE])
    assert made["entry_count"] == 20_000
    profile = stage.a_profile(things, ip_allow_list_ids=[made["id"]])
    assert statuses(stage, profile) == [200, 403]
    refused = stage.api(
        "PUT", f"v2/address_lists/{made['id']}", {"entries": [*entries, HERE, HERE]}
    )
    assert refused.json["errors"]["entries"] == ["has 20,001 entries; at most 20,000 fit"]


def test_explain_names_the_list(stage: Stage, things: Any) -> None:
    made = a_list(stage, ["127.0.9.0/24"])
    profile = stage.a_profile(things, ip_allow_list_ids=[made["id"]])
    content = {"access_profile_id": profile["id"], "path": THINGS, "ip": HERE}
    told = stage.done("POST", "v2/explain", content)
    assert made["name"] in str(told)
    assert "127.0.9.0/24, missed by" in str(told)


def test_a_list_that_is_used_stays_and_one_of_another_project_cannot_be_used(
    stage: Stage, things: Any
) -> None:
    made = a_list(stage, [HERE])
    client = stage.a_client()
    profile = stage.a_profile(things, client=client, ip_allow_list_ids=[made["id"]])
    path = f"v2/address_lists/{made['id']}"
    refused = stage.api("DELETE", path)
    assert refused.status in {400, 409}
    assert "is used by 1 access profile" in refused.json["message"]
    project = stage.done("POST", "folders", {"name": f"P {time.monotonic_ns()}"})["id"]
    elsewhere = a_list(stage, [THERE], project_id=project)
    refused = stage.api(
        "PUT", f"api_access_profiles/{profile['id']}", {"ip_allow_list_ids": [elsewhere["id"]]}
    )
    assert (refused.status, list(refused.json["errors"])) == (400, ["ip_allow_list_ids"])
    refused = stage.api("PUT", f"api_clients/{client['id']}", {"project_id": project})
    assert (refused.status, list(refused.json["errors"])) == (400, ["project_id"])
    assert statuses(stage, profile) == [200, 403]
    stage.done("PUT", f"api_access_profiles/{profile['id']}", {"ip_allow_list_ids": []})
    stage.done("DELETE", path)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ("", "can't be blank: a list without an entry would let nobody in"),
        ("# nobody yet", "holds comments, and no address"),
        ("10.0.0.0/0.255.255.255", "entry 1, '10.0.0.0/0.255.255.255'"),
        (["office"], "entry 1, 'office': isn't an IP address or CIDR range"),
    ],
)
def test_what_is_no_list_is_refused(stage: Stage, entries: Any, sentence: str) -> None:
    refused = stage.api("POST", "v2/address_lists", {"name": "No list", "entries": entries})
    assert refused.status == 400
    assert refused.json["errors"]["entries"][0].startswith(sentence)
