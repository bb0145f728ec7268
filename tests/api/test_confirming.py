"""In force, or 503 and nothing lost: what is answered while no gateway confirms."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.conftest import Api

from ostiary.access.decision import LEASE_SECONDS
from ostiary.directory.clients import credentials
from ostiary.directory.models import AccessProfile, Credential
from ostiary.identity import tokens

CONNECTION = {"name": "Upstream", "input": {"base_url": "http://10.0.0.1"}}


@pytest.fixture
def profile(api: Api) -> Any:
    connection = api.done("POST", "connections", CONNECTION)
    collection = api.done(
        "POST", "api_collections", {"name": "Things", "proxy_connection_id": connection["id"]}
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    content = {
        "name": "Script", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip
    made: Any = api.done("POST", "api_access_profiles", content)["result"]
    return made | {"content": content, "collection_id": collection["id"]}


def test_what_is_made_is_answered_with_its_id_and_secret_though_no_gateway_confirms(
    api: Api, profile: Any
) -> None:
    api.confirmer.answers = False
    made = api.done("POST", "api_access_profiles", profile["content"])["result"]
    assert Credential.objects.filter(
        profile_id=made["id"], fingerprint=tokens.fingerprint(made["secret"])
    ).exists()
    answers = [
        made,
        api.done("POST", "connections", CONNECTION | {"name": "Another"}),
        api.done("POST", "api_collections", {"name": "Others"}),
        api.done(
            "POST",
            f"api_collections/{profile['collection_id']}/api_endpoints",
            {"name": "E", "method": "GET", "path": "/e"},
        ),
        api.done("POST", "v2/api_policies", {"name": "P"})["data"],
    ]
    for answer in answers:
        assert answer["id"]
        assert answer["warnings"][-1].startswith("Saved; the gateway has not confirmed it yet,")


def test_what_is_made_and_confirmed_has_no_such_warning(api: Api, profile: Any) -> None:
    assert profile["warnings"] == []


def _latest(message: str) -> datetime:
    found = re.search(r"at the latest at (\S+ \S+) UTC", message)
    assert found
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)


@pytest.mark.parametrize("overlap", [0, 60, 86_400])
def test_a_refresh_that_is_not_confirmed_shows_the_new_secret_and_when_the_old_one_ends(
    api: Api, profile: Any, overlap: int
) -> None:
    api.confirmer.answers = False
    path = f"api_access_profiles/{profile['id']}"
    answer = api.answer("PUT", f"{path}/refresh_secret", {"overlap_seconds": overlap})
    assert answer.status_code == 503
    assert "Retry-After" not in answer
    told = answer.json()
    assert told["message"].startswith("Saved, not yet in force:")
    assert ("when the gateway confirms" in told["message"]) is (overlap == 0)
    stored = AccessProfile.objects.get(pk=profile["id"])
    ends = stored.updated_at + timedelta(seconds=max(LEASE_SECONDS, overlap))
    assert _latest(told["message"]) == ends.replace(microsecond=0)
    newest = credentials.alive(stored).first()
    assert newest
    assert bytes(newest.fingerprint) == tokens.fingerprint(told["result"]["secret"])
    assert told["result"]["id"] == profile["id"]
    assert told["result"]["revocation"] is None
    # The shape is that of success.
    api.confirmer.answers = True
    again = api.done("PUT", f"{path}/refresh_secret")
    assert set(again["result"]) == set(told["result"])
    assert again["result"]["revocation"]["confirmed"] == 1


def test_what_takes_rights_away_and_is_not_confirmed_is_answered_503(
    api: Api, profile: Any
) -> None:
    api.confirmer.answers = False
    path = f"api_access_profiles/{profile['id']}"
    for method, address, content in (
        ("PUT", f"{path}/disable", None),
        ("PUT", path, {"ip_allow_list": ["192.0.2.1"]}),
        ("PUT", f"api_collections/{profile['collection_id']}", {"name": "Renamed"}),
        ("DELETE", path, None),
    ):
        answer = api.answer(method, address, content)
        assert answer.status_code == 503, address
        assert answer["Retry-After"] == "1"
        assert answer.json() == {
            "message": "Saved, not yet in force: the gateway has not confirmed it; try again.",
            "code": "not_in_force",
        }


def test_a_receipt_counts_the_open_streams_of_what_was_revoked(api: Api, profile: Any) -> None:
    api.confirmer.streams = 3
    answer = api.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    assert answer["revocation"]["streams"] == 3


def test_one_credential_is_read_by_its_id_with_the_version_that_its_deletion_asks_for(
    api: Api, profile: Any
) -> None:
    path = f"v2/access_profiles/{profile['id']}/credentials"
    (listed,) = api.done("GET", path)["data"]
    answer = api.answer("GET", f"{path}/{listed['id']}")
    assert answer.json() == {"data": listed}
    api.done("PUT", f"api_access_profiles/{profile['id']}", {"name": "Renamed"})
    stale = api("DELETE", f"{path}/{listed['id']}", **{"If-Match": answer["ETag"]})
    assert stale[0] == 412
    fresh = api.answer("GET", f"{path}/{listed['id']}")["ETag"]
    assert api("DELETE", f"{path}/{listed['id']}", **{"If-Match": fresh})[0] == 200
    assert api("GET", f"{path}/{listed['id']}")[0] == 404
