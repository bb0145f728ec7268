"""Lists of access profiles: found by everything that a row shows, shared, saved, read as CSV, changed together."""

import csv
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from tests.api.conftest import api
from tests.review.conftest import Log, World, log, world

from ostiary.console.frame import bulk
from ostiary.console.frame.tables import MOST_CHOICES, PER_PAGE
from ostiary.directory.actor import SYSTEM, Role
from ostiary.directory.clients import profile_bulk
from ostiary.directory.models import AccessProfile, AuditEvent, Credential
from ostiary.directory.models import Client as ApiClient
from ostiary.directory.people import members

__all__ = ["api", "log", "world"]


class Reader:
    """A member who is signed in: reads lists, and presses what they offer."""

    def __init__(self, email: str, *, admin: bool = True) -> None:
        self.member = members.create(by=SYSTEM, email=email, admin=admin)
        self._client = Client()
        self._client.force_login(self.member)

    def read(self, path: str, /, **parameters: Any) -> str:
        answer = self._client.get(path, parameters)
        assert answer.status_code == 200, (path, answer.status_code, answer.content[:300])
        return unescape(answer.content.decode())

    def raw(self, path: str, /, **parameters: Any) -> Any:
        return self._client.get(path, parameters)

    def follow(self, path: str, /, **parameters: Any) -> str:
        return unescape(self._client.get(path, parameters, follow=True).content.decode())

    def names(self, path: str, /, **parameters: Any) -> list[str]:
        """The rows of a page by what they are called, in their order."""
        return re.findall(r'data-key="\d+" data-name="([^"]*)"', self.read(path, **parameters))

    def csv(self, path: str, /, **parameters: Any) -> list[list[str]]:
        answer = self._client.get(path, {**parameters, "format": "csv"})
        return list(csv.reader(answer.getvalue().decode().splitlines()))

    def send(self, path: str, /, **fields: Any) -> str:
        return unescape(self._client.post(path, fields, follow=True).content.decode())

    def apply(self, preview: str, path: str) -> str:
        """Press the button of a preview."""
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', preview))
        return self.send(path, **fields)


LIST = "/access-profiles"
CHANGE = "/access-profiles/change"


@pytest.fixture
def reader(world: World) -> Reader:
    return Reader("reader@example.com")


def test_a_row_shows_what_a_profile_is_and_has(world: World, reader: Reader) -> None:
    policy = world.a_policy("Gold", usage_quota={"limit": 10, "interval": "day"})
    world.a_profile(name="Nightly", api_policy_id=policy["id"])
    heads, row = reader.csv(LIST)
    found = dict(zip(heads, row, strict=True))
    assert found["Access profile"] == "Nightly"
    assert found["State"] == "Active"
    assert found["Client"] == "Acme"
    assert found["Method"] == "Token"
    assert found["Collections"] == "Orders"
    assert found["Limit"].endswith(" of 10 a day (Policy Gold)")
    assert [found[name] for name in ("7 days", "Last used", "Expires")] == [
        "0",
        "Never",
        "Never",
    ]


def test_the_filters_fold_into_one_line_that_counts_those_that_are_chosen(
    world: World, reader: Reader
) -> None:
    world.a_profile(name="Plain")
    folded = re.compile(r'<details class="fold">.*?</details>', re.DOTALL)
    part = folded.search(reader.read(LIST, state="active", method="token", search="Plain"))
    assert part
    assert "Filters <span data-chosen>(2)</span>" in part[0]
    assert 'name="search"' not in part[0]
    assert "data-chosen></span>" in reader.read(LIST)


def test_each_filter_finds_its_rows_and_no_others(world: World, reader: Reader) -> None:
    policy = world.a_policy("Gold")
    world.a_profile(name="Plain")
    world.a_profile(name="Golden", api_policy_id=policy["id"])
    world.a_profile(name="Off", active=False)
    world.a_profile(name="Oauth", auth_type="oauth2")
    world.a_profile(name="Ends", expires_at="2031-01-01T00:00:00Z")
    world.a_profile(name="Watched", ip_allow_list=["192.0.2.1"], ip_watch_only=True)
    found = {
        (name, value): reader.names(LIST, **{name: value})
        for name, value in (
            ("state", "inactive"), ("state", "report-only"), ("method", "oauth2"),
            ("policy", str(policy["id"])), ("expires", "set"), ("expires", "over"),
            ("client", "9999"), ("search", "gold"),
        )
    }  # fmt: skip
    assert found == {
        ("state", "inactive"): ["Off"], ("state", "report-only"): ["Watched"],
        ("method", "oauth2"): ["Oauth"], ("policy", str(policy["id"])): ["Golden"],
        ("expires", "set"): ["Ends"], ("expires", "over"): [], ("client", "9999"): [],
        ("search", "gold"): ["Golden"],
    }  # fmt: skip
    assert len(reader.names(LIST, collection=world.collection["id"], used="never")) == 6
    assert len(reader.names(LIST, policy="none")) == 5
    assert reader.names(LIST, state="active", order="-name")[0] == "Plain"
    assert reader.names(LIST, state="works", order="-name")[0] == "Watched"
    assert len(reader.names(LIST, state="works")) == 5


def test_whose_list_holds_an_address_is_found_in_own_and_shared_lists(
    world: World, reader: Reader
) -> None:
    shared = world.api.done(
        "POST",
        "v2/address_lists",
        {"name": "Offices", "entries": ["203.0.112.0/20", "2001:db8::/32"]},
    )["data"]
    world.a_profile(name="Own", ip_allow_list=["203.0.113.4/29"])
    world.a_profile(name="Denied", ip_deny_list=["203.0.113.7"])
    world.a_profile(name="Shared", ip_allow_list_ids=[shared["id"]])
    world.a_profile(name="Elsewhere", ip_allow_list=["198.51.100.0/24"])
    world.a_profile(name="Anywhere")
    assert reader.names(LIST, search="203.0.113.7") == ["Denied", "Own", "Shared"]
    assert reader.names(LIST, search="203.0.113.0/24") == ["Shared"]
    assert reader.names(LIST, search="2001:db8::7") == ["Shared"]
    assert reader.names(LIST, search="::ffff:203.0.113.7") == ["Denied", "Own", "Shared"]
    changed = AccessProfile.objects.get(name="Own")
    world.change({"id": changed.pk}, ip_allow_list=["192.0.2.1"])
    assert reader.names(LIST, search="203.0.113.7") == ["Denied", "Shared"]
    assert reader.names(LIST, search="192.0.2.1") == ["Own"]


def test_a_profile_is_found_by_its_key_label_and_masked_token(world: World, reader: Reader) -> None:
    world.a_profile(name="First", key="nightly-export", labels={"team": "data"})
    world.a_profile(name="Second")
    credential = Credential.objects.get(profile__name="Second")
    for text, name in (
        ("nightly-export", "First"), ("team:data", "First"),
        (f"{credential.prefix}…{credential.last_four}", "Second"),
    ):  # fmt: skip
        assert reader.names(LIST, search=text) == [name], text


def test_a_reader_sees_the_profiles_of_the_own_projects_alone(world: World) -> None:
    world.a_profile(name="Here")
    other = world.api.done("POST", "folders", {"name": "Other"})["id"]
    stranger = Reader("stranger@example.com", admin=False)
    members.set_role(by=SYSTEM, project_id=other, member_id=stranger.member.pk, role=Role.EDITOR)
    assert stranger.names(LIST) == []
    assert "No access profiles yet" in stranger.read(LIST)
    viewer = Reader("viewer@example.com", admin=False)
    members.set_role(
        by=SYSTEM, project_id=world.api.home, member_id=viewer.member.pk, role=Role.VIEWER
    )
    said = viewer.read(LIST)
    assert "Here" in said
    assert "Deactivate" not in said
    assert 'type="checkbox"' not in said


def test_a_saved_filter_is_ones_own_and_its_address_can_be_shared(
    world: World, reader: Reader
) -> None:
    world.a_profile(name="Off", active=False)
    world.a_profile(name="On")
    said = reader.send(LIST, name="Asleep", query="state=inactive&order=-name&page=3&evil=1")
    assert "The filter Asleep was saved." in said
    [address] = re.findall(r'href="(/access-profiles\?[^"]*)"[^>]*>Asleep<', said)
    assert address == "/access-profiles?state=inactive&order=-name"
    assert reader.names(address) == ["Off"]
    another = Reader("another@example.com")
    assert "Asleep" not in another.read(LIST)
    [number] = re.findall(r'name="delete" value="(\d+)"', said)
    another.send(LIST, delete=number)
    assert "Asleep" in reader.read(LIST)
    reader.send(LIST, delete=number)
    assert "Asleep" not in reader.read(LIST)


def test_many_are_deactivated_with_one_preview_and_one_receipt(
    world: World, log: Log, reader: Reader
) -> None:
    one, two = world.a_profile(name="One"), world.a_profile(name="Two")
    world.a_profile(name="Three", active=False)
    now = int(time.time())
    for number in range(3):
        log(
            f"L{number}", at_ms=(now - 60) * 1000, profile_id=one["id"], client_id=world.client["id"],
            collection_id=world.collection["id"], endpoint_id=world.orders["id"],
        )  # fmt: skip
    events = AuditEvent.objects.count()
    preview = reader.read(CHANGE, what="deactivate", all="1", filter="")
    assert "It would have refused 3 calls of 1 profile" in preview
    assert "Will be changed (2)" in preview
    assert "1 access profile is like this already." in preview
    assert AuditEvent.objects.count() == events
    asked = len(world.api.confirmer.asked)
    said = reader.apply(preview, CHANGE)
    assert "<h1>2 access profiles deactivated</h1>" in said
    assert "confirmed by the gateway" in said
    assert len(world.api.confirmer.asked) == asked + 1
    assert not AccessProfile.objects.filter(pk__in=[one["id"], two["id"]], active=True).exists()


@pytest.mark.parametrize(
    ("what", "value", "field"),
    [
        ("add", "Second", "collections"),
        ("remove", "Orders", "collections"),
        ("policy", "Gold", "policy"),
    ],
)
def test_what_a_bulk_action_needs_is_asked_for_before_its_preview(
    world: World, reader: Reader, what: str, value: str, field: str
) -> None:
    second = world.api.done(
        "POST", "api_collections",
        {"name": "Second", "proxy_connection_id": world.collection["proxy_connection_id"]},
    )  # fmt: skip
    policy = world.a_policy("Gold")
    both = [world.collection["id"], second["id"]] if what == "remove" else [world.collection["id"]]
    one = world.a_profile(name="One", api_collection_ids=both)
    ids = {"Second": second["id"], "Orders": world.collection["id"], "Gold": policy["id"]}
    asked = reader.read(CHANGE, what=what, id=one["id"])
    assert f">{value}</option>" in asked
    preview = reader.read(CHANGE, what=what, id=one["id"], value=ids[value])
    assert "Will be changed (1)" in preview
    reader.apply(preview, CHANGE)
    profile = AccessProfile.objects.get(pk=one["id"])
    held = set(profile.collections.values_list("name", flat=True))
    assert held == {"add": {"Orders", "Second"}, "remove": {"Second"}, "policy": {"Orders"}}[what]
    assert (profile.policy is not None) == (what == "policy")


def test_a_bulk_expiry_is_set_and_lifted(world: World, reader: Reader) -> None:
    one = world.a_profile(name="One")
    for value, expected in (("2031-01-31", "2031-02-01"), ("never", "")):
        reader.apply(reader.read(CHANGE, what="expire", id=one["id"], value=value), CHANGE)
        at = AccessProfile.objects.get(pk=one["id"]).expires_at
        assert (at.date().isoformat() if at else "") == expected
    answer = reader.raw(CHANGE, what="expire", id=one["id"], value="2001-01-01")
    assert answer.status_code == 400
    assert b"must be in the future" in answer.content


def test_revoking_the_credentials_of_many_is_previewed_as_refusals(
    world: World, log: Log, reader: Reader
) -> None:
    one = world.a_profile(name="One")
    log(
        "R1", at_ms=int(time.time() - 60) * 1000, profile_id=one["id"], client_id=world.client["id"],
        collection_id=world.collection["id"], endpoint_id=world.orders["id"],
    )  # fmt: skip
    preview = reader.read(CHANGE, what="revoke", id=one["id"])
    assert "It would have refused 1 call of 1 profile" in preview
    reader.apply(preview, CHANGE)
    assert not Credential.objects.filter(revoked_at=None).exists()
    assert AuditEvent.objects.filter(action="credential.cut_off").count() == 1


def test_who_cannot_be_changed_is_named_and_left_out(world: World, reader: Reader) -> None:
    second = world.api.done(
        "POST", "api_collections",
        {"name": "Second", "proxy_connection_id": world.collection["proxy_connection_id"]},
    )  # fmt: skip
    alone = world.a_profile(name="Alone")
    both = world.a_profile(name="Both", api_collection_ids=[world.collection["id"], second["id"]])
    preview = reader.read(
        CHANGE, what="remove", id=[alone["id"], both["id"]], value=world.collection["id"]
    )
    assert (
        "<strong>Alone</strong>: the access profile Alone would have no API collection" in preview
    )
    said = reader.apply(preview, CHANGE)
    assert "<h1>1 access profile changed: the API collection was removed</h1>" in said
    assert AccessProfile.objects.get(pk=alone["id"]).collections.count() == 1


def test_where_a_later_part_fails_the_page_says_what_was_changed(
    world: World, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_bulk, "MOST", 1)
    second = world.api.done(
        "POST", "api_collections",
        {"name": "Second", "proxy_connection_id": world.collection["proxy_connection_id"]},
    )  # fmt: skip
    held = [world.collection["id"], second["id"]]
    both = world.a_profile(name="Both", api_collection_ids=held)
    alone = world.a_profile(name="Alone")
    other = world.a_profile(name="Other", api_collection_ids=held)
    asked = len(world.api.confirmer.asked)

    def sent(*ids: int) -> str:
        form = {"what": "remove", "ids": ",".join(map(str, ids))}
        return reader.send(CHANGE, value=world.collection["id"], **form)

    said = sent(both["id"], alone["id"], other["id"])
    assert "1 access profile changed: the API collection was removed, and then it stopped: " in said
    assert "the access profile Alone would have no API collection" in said
    assert "The other 2 are as they were." in said
    assert "Nothing was changed" not in said
    # What was taken away is waited for all the same.
    assert len(world.api.confirmer.asked) == asked + 1
    assert AccessProfile.objects.get(pk=both["id"]).collections.count() == 1
    assert AccessProfile.objects.get(pk=other["id"]).collections.count() == 2
    assert "Nothing was changed: " in sent(alone["id"], other["id"])
    assert AccessProfile.objects.get(pk=other["id"]).collections.count() == 2


def test_a_filter_by_name_is_typed_where_there_are_more_than_fit_a_select(
    world: World, reader: Reader
) -> None:
    world.a_profile(name="Mine")
    ApiClient.objects.bulk_create(
        ApiClient(project_id=world.api.home, name=f"Other {number}")
        for number in range(MOST_CHOICES - 1)
    )
    assert '<select id="filter-client"' in reader.read(LIST)
    ApiClient.objects.create(project_id=world.api.home, name="One more")
    said = reader.read(LIST, client=world.client["id"])
    assert f'name="client" type="search" value="Acme #{world.client["id"]}"' in said
    assert reader.names(LIST, client=f"Acme #{world.client['id']}") == ["Mine"]
    assert reader.names(LIST, client="acme") == ["Mine"]
    assert reader.names(LIST, client="other") == []


def test_a_list_goes_on_on_further_pages_in_the_order_that_is_asked_for(
    world: World, reader: Reader
) -> None:
    world.a_profile(name="Zulu")
    first = AccessProfile.objects.get()
    AccessProfile.objects.bulk_create(
        AccessProfile(client=first.client, name=f"P{number:02}", auth_type="token", active_since=first.active_since)
        for number in range(PER_PAGE)
    )  # fmt: skip
    assert len(reader.names(LIST)) == PER_PAGE
    assert reader.names(LIST, page=2) == ["Zulu"]
    assert reader.names(LIST, order="-name")[0] == "Zulu"
    assert f"All {PER_PAGE + 1} that match" in reader.read(LIST)
    assert len(reader.csv(LIST)) == PER_PAGE + 2


def test_numbers_of_rows_survive_a_form() -> None:
    ids = [3, 7, 8, 9, 12]
    assert bulk.written(ids) == "3,7-9,12"
    assert bulk.read("3,7-9,12", most=5) == ids
    assert bulk.read("1-9", most=5) == bulk.read("9-1;", most=5) == bulk.read("", most=5) == []


def test_credentials_are_found_by_age_use_and_end_and_revoked_together(
    world: World, reader: Reader
) -> None:
    for name in ("Old", "Young"):
        world.a_profile(name=name)
    old = Credential.objects.get(profile__name="Old")
    at = timezone.now()
    Credential.objects.filter(pk=old.pk).update(
        created_at=at - timedelta(days=400),
        last_used_at=at - timedelta(days=40),
        expires_at=at + timedelta(days=3),
    )
    shown = f"{old.prefix}…{old.last_four}"
    for asked in (
        {"age": "365"}, {"used": "not-30", "expires": "7"}, {"search": "old"}, {"search": shown},
    ):  # fmt: skip
        assert reader.names("/credentials", **asked) == [shown], asked
    assert len(reader.names("/credentials", used="never")) == 1
    preview = reader.read("/credentials/change", what="revoke", all="1", filter="age=365")
    assert "Used before: 1 of 1." in preview
    said = reader.apply(preview, "/credentials/change")
    assert "<h1>1 credential revoked</h1>" in said
    assert list(Credential.objects.filter(revoked_at=None)) != [old]
    assert reader.names("/credentials", state="revoked") == [shown]


def test_endpoints_of_all_collections_are_switched_together(world: World, reader: Reader) -> None:
    assert reader.names("/endpoints", state="inactive") == ["POST /orders-v1/orders"]
    assert len(reader.names("/endpoints", search="/orders-v1/orders")) == 3
    preview = reader.read("/endpoints/change", what="activate", all="1", filter="state=inactive")
    assert "<h1>1 endpoint activated</h1>" in reader.apply(preview, "/endpoints/change")
    assert reader.names("/endpoints", state="inactive") == []


def test_clients_are_switched_together(world: World, reader: Reader) -> None:
    world.a_profile()
    preview = reader.read("/clients/change", what="deactivate", id=world.client["id"])
    assert "Access profiles of these clients: 1." in preview
    asked = len(world.api.confirmer.asked)
    assert "<h1>1 client deactivated</h1>" in reader.apply(preview, "/clients/change")
    assert len(world.api.confirmer.asked) == asked + 1
    assert reader.names("/clients", state="inactive") == ["Acme"]
    assert reader.names(LIST, state="client-inactive") == ["Script"]


def test_a_whole_token_is_not_searched_for_by_an_address(world: World, reader: Reader) -> None:
    secret = world.a_profile(name="Mine")["secret"]
    said = reader.follow(LIST, search=secret)
    assert "That looks like a whole token" in said
    assert secret not in said
    assert "Save this filter" not in said


def test_a_client_s_page_shows_its_profiles_as_rows_of_the_same_list(
    world: World, reader: Reader
) -> None:
    made = [world.a_profile(name=f"P{number:02}") for number in range(PER_PAGE + 1)]
    other = world.api.done("POST", "api_clients", {"name": "B"})["result"]
    world.a_profile(name="Elsewhere", api_client_id=other["id"])
    page = f"/clients/{world.client['id']}"
    shown = reader.read(page)
    assert len(reader.names(page)) == PER_PAGE
    assert reader.names(page, page=2) == ["P25"]
    assert reader.names(page, order="-name")[0] == "P25"
    assert f'href="/access-profiles?client={world.client["id"]}&format=csv"' in shown
    held = Credential.objects.get(profile_id=made[0]["id"])
    for each in (
        f'id="profile-{made[0]["id"]}"', f"{held.prefix}…{held.last_four}", "Refresh",
        f"All {PER_PAGE + 1} that match", 'aria-label="Active: P00"',
    ):  # fmt: skip
        assert each in shown, each
    chosen = {"what": "deactivate", "all": "1", "filter": f"client={world.client['id']}"}
    said = reader.apply(reader.read(CHANGE, **chosen, back=page), CHANGE)
    assert f"{PER_PAGE + 1} access profiles deactivated" in said
    assert f'href="{page}"' in said
    assert AccessProfile.objects.filter(active=True).count() == 1


def test_a_credential_is_given_an_end_and_freed_of_it_on_its_profile_s_page(
    world: World, reader: Reader
) -> None:
    profile = world.a_profile(name="Shop")
    held = Credential.objects.get()
    page = f"/profiles/{profile['id']}/credentials"
    asked = re.search(r'href="(/credentials/change[^"]+)"', reader.read(page))
    assert asked
    assert "Last day (UTC)" in reader.read(asked[1])
    change = "/credentials/change"
    said = reader.apply(reader.read(f"{asked[1]}&value=2031-01-31"), change)
    assert "1 credential given an expiry" in said
    assert f'href="{page}"' in said
    held.refresh_from_db()
    assert held.expires_at == datetime(2031, 2, 1, tzinfo=UTC)
    assert "changed the expiry of a credential" in reader.read(f"/profiles/{profile['id']}/history")
    assert "they stop working at once" in reader.read(f"{asked[1]}&value=2001-01-31")
    Credential.objects.update(expires_at=datetime(2001, 1, 1, tzinfo=UTC))
    preview = reader.read(f"{asked[1]}&value=never")
    assert "Expired ones that work again: 1." in preview
    reader.apply(preview, change)
    held.refresh_from_db()
    assert held.expires_at is None
    Credential.objects.update(revoked_at=timezone.now())
    assert "it is revoked" in reader.read(f"{asked[1]}&value=2031-01-31")
    reader.send(change, what="expire", value="2031-01-31", ids=str(held.pk))
    held.refresh_from_db()
    assert held.expires_at is None
    assert "Set expiry</" not in reader.read(page)
