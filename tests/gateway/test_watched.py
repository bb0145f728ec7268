"""Rules that are only watched refuse nobody, and enforcing them is in force when the call returns."""

from typing import Any

import pytest
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

ELSEWHERE = ["198.51.100.0/24"]


def _changed(stage: Stage, profile: Any, **more: Any) -> Any:
    return stage.done("PUT", f"api_access_profiles/{profile['id']}", more)["result"]


@pytest.mark.parametrize("lists", [{"ip_allow_list": ELSEWHERE}, {"ip_deny_list": ["127.0.0.1"]}])
def test_address_lists_refuse_nobody_while_they_are_watched(
    stage: Stage, upstream: Upstream, lists: dict[str, list[str]]
) -> None:
    collection = stage.a_collection(upstream)
    profile = stage.a_profile(collection, ip_watch_only=True, **lists)
    target, token = f"/{collection['handle']}/things", profile["secret"]
    assert "only watched" in profile["warnings"][0]
    for _ in range(3):
        assert stage.call(target, token).status == 200
    assert not _changed(stage, profile, ip_watch_only=False)["ip_watch_only"]
    assert stage.call(target, token).status == 403
    assert "only watched" in _changed(stage, profile, ip_watch_only=True)["warnings"][0]
    assert stage.call(target, token).status == 200


def test_a_change_of_something_else_leaves_watching_as_it_is(
    stage: Stage, upstream: Upstream
) -> None:
    collection = stage.a_collection(upstream)
    profile = stage.a_profile(collection, ip_watch_only=True, ip_allow_list=ELSEWHERE)
    assert _changed(stage, profile, name="Renamed")["ip_watch_only"]
    policy = stage.done("POST", "v2/api_policies", {"name": "Watched", "watch_only": True})["data"]
    assert "only watched" in policy["warnings"][0]
    path = f"v2/api_policies/{policy['id']}"
    assert stage.done("PUT", path, {"name": "Renamed"})["data"]["watch_only"]
    again = stage.done("PUT", path, {"watch_only": False})["data"]
    assert (again["watch_only"], again["warnings"]) == (False, [])
