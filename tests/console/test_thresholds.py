"""One more than every page shows at first: it says so, and leads to the whole list; nothing is out of reach."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone
from tests.api.conftest import api
from tests.console.test_tables import LIST, Reader
from tests.review.conftest import World, world

from ostiary.console.catalog.collections import MOST_NAMED as OF_A_COLLECTION
from ostiary.console.clients.access_profiles import MOST_ENDPOINTS
from ostiary.console.clients.address_lists import MOST_TOUCHED
from ostiary.console.frame.choosers import MOST_OPTIONS, MOST_SUGGESTED
from ostiary.console.frame.listing import MOST_NAMED as OF_A_ROW
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Collection,
    Credential,
    Endpoint,
    Policy,
)
from ostiary.directory.search import MOST as SEARCH_HITS
from ostiary.identity import tokens
from ostiary.review.advice import MOST_OF_A_KIND

__all__ = ["api", "world"]


@pytest.fixture
def reader(world: World) -> Reader:
    return Reader("reader@example.com")


def profiles(world: World, many: int) -> list[AccessProfile]:
    """So many profiles with the collection: the last one is the one that is easily lost."""
    world.a_profile(name="Profile 000")
    first = AccessProfile.objects.get()
    made = AccessProfile.objects.bulk_create(
        AccessProfile(
            client=first.client,
            name=f"Profile {number:03}",
            auth_type="token",
            active_since=first.active_since,
        )
        for number in range(1, many)
    )
    through = AccessProfile.collections.through
    through.objects.bulk_create(
        through(accessprofile=each, collection_id=world.collection["id"]) for each in made
    )
    return [first, *made]


@pytest.mark.parametrize("path", ["/explain", "/endpoints/{}/try"])
def test_one_profile_more_than_a_select_holds_is_typed_and_found(
    world: World, reader: Reader, path: str
) -> None:
    made = profiles(world, MOST_OPTIONS)
    path = path.format(world.orders["id"])
    assert '<select id="profile" name="profile"' in reader.read(path)
    last = AccessProfile.objects.get(pk=made[-1].pk)
    last.pk, last.name = None, "Profile zzz"
    last.save()
    last.collections.add(world.collection["id"])
    said = reader.read(path)
    assert '<input id="profile" name="profile"' in said
    assert 'hx-get="/choices/profiles"' in said
    for typed in (str(last.pk), f"whatever #{last.pk}"):
        assert 'name="profile" value="' in reader.read(path, profile=typed)
        assert f"#{last.pk}" in reader.read(path, profile=typed)


def test_suggestions_are_of_what_the_reader_may_see(world: World, reader: Reader) -> None:
    made = profiles(world, MOST_SUGGESTED + 1)
    assert reader.read("/choices/profiles").count("<option") == MOST_SUGGESTED
    last = made[-1]
    found = reader.read("/choices/profiles", profile=f"{last.name} acme")
    assert found == f'<option value="{last.name} (Acme) #{last.pk}">'
    assert reader.read("/choices/endpoints", any="orders/").count("<option") == 1
    assert Reader("nobody@example.com", admin=False).read("/choices/profiles") == ""


def test_a_call_is_simulated_for_a_profile_that_was_typed(world: World, reader: Reader) -> None:
    made = profiles(world, MOST_OPTIONS + 1)
    last = made[-1]
    for typed in (f"{last.name} (Acme) #{last.pk}", f"{last.name} (Acme)", last.name.upper()):
        said = reader.read("/explain", profile=typed, method="GET", path="/orders-v1/orders")
        assert 'id="answer"' in said, typed
    answer = reader.raw("/explain", profile="Profile", method="GET", path="/orders-v1/orders")
    assert answer.status_code == 400
    assert b"matches several; choose one of the suggestions" in answer.content


def test_a_collection_names_some_profiles_and_leads_to_all(world: World, reader: Reader) -> None:
    profiles(world, OF_A_COLLECTION + 1)
    said = reader.read(f"/collections/{world.collection['id']}")
    assert f"These are the first {OF_A_COLLECTION}." in said
    assert f'href="/access-profiles?collection={world.collection["id"]}"' in said
    assert len(reader.names(LIST, collection=world.collection["id"])) == OF_A_COLLECTION + 1


def test_a_policy_and_an_address_list_name_some_profiles_and_lead_to_all(
    world: World, reader: Reader
) -> None:
    made = profiles(world, MOST_TOUCHED + 1)
    policy = Policy.objects.get(pk=world.a_policy("Gold")["id"])
    listed = AddressList.objects.get(
        pk=world.api.done("POST", "v2/address_lists", {"name": "L", "entries": ["192.0.2.1"]})[
            "data"
        ]["id"]
    )
    ids = [each.pk for each in made[: OF_A_ROW + 1]]
    AccessProfile.objects.filter(pk__in=ids).update(policy=policy)
    listed.allowing.set(made)
    for path, link, many in (
        ("/policies", f"policy={policy.pk}", OF_A_ROW + 1),
        ("/address-lists", f"list={listed.pk}", MOST_TOUCHED + 1),
        (f"/address-lists/{listed.pk}", f"list={listed.pk}", MOST_TOUCHED + 1),
    ):
        assert f'<a href="/access-profiles?{link}">more: show all</a>' in reader.read(path)
        assert f"{many} access profiles" in reader.read(f"/access-profiles?{link}")


def test_advice_that_is_cut_off_leads_to_all_of_its_kind(world: World, reader: Reader) -> None:
    made = profiles(world, MOST_OF_A_KIND + 1)
    Credential.objects.bulk_create(
        Credential(profile=each, fingerprint=tokens.fingerprint(each.name)) for each in made[1:]
    )
    Credential.objects.update(created_at=timezone.now() - timedelta(days=400))
    said = reader.read("/advice")
    assert f"Showing the first {MOST_OF_A_KIND}." in said
    assert 'href="/credentials?state=working&used=never"' in said
    found = reader.read("/credentials", state="working", used="never")
    assert f"{MOST_OF_A_KIND + 1} credentials" in found


def test_the_review_of_a_new_profile_leads_to_all_endpoints(world: World, reader: Reader) -> None:
    collection = Collection.objects.get(pk=world.collection["id"])
    Endpoint.objects.bulk_create(
        Endpoint(collection=collection, name=path, method="GET", path=path, shape=path, active=True)
        for path in (f"/more/{number:03}" for number in range(MOST_ENDPOINTS))
    )
    said = reader.send(
        f"/clients/{world.client['id']}/profiles/new",
        step="next", name="New", auth_type="token", collections=collection.pk,
    )  # fmt: skip
    assert "and 2 more. All active endpoints of" in said
    assert f'href="/endpoints?collection={collection.pk}&amp;state=active"' in said or (
        f'href="/endpoints?collection={collection.pk}&state=active"' in said
    )
    numbers = [int(each.rpartition("/")[2]) for each in reader.names("/endpoints", search="/more/")]
    assert all(one < two for one, two in pairwise(numbers))


@pytest.mark.parametrize("path", ["/usage", "/logs"])
def test_one_endpoint_more_than_a_select_holds_is_typed_and_found(
    world: World, reader: Reader, path: str
) -> None:
    collection = Collection.objects.get(pk=world.collection["id"])
    Endpoint.objects.bulk_create(
        Endpoint(collection=collection, name=way, method="GET", path=way, shape=way, active=True)
        for way in (f"/more/{number:03}" for number in range(MOST_OPTIONS - 3))
    )
    assert '<select id="endpoint" name="endpoint"' in reader.read(path)
    last = Endpoint.objects.create(
        collection=collection, name="/zzz", method="GET", path="/zzz", shape="/zzz", active=True
    )
    typed = f"GET /orders-v1/zzz #{last.pk}"
    assert f'name="endpoint" value="{typed}"' in reader.follow(path, endpoint=typed)
    assert f'name="endpoint" value="{typed}"' in reader.read(path, endpoint=last.pk)
    said = reader.raw(path, endpoint="nothing of this kind").content.decode()
    assert "matches nothing" in said


def test_a_search_with_more_hits_than_it_shows_leads_to_all(world: World, reader: Reader) -> None:
    profiles(world, SEARCH_HITS + 1)
    said = reader.read("/search", find="profile")
    assert f"These are the first {SEARCH_HITS}." in said
    assert 'href="/access-profiles?search=profile"' in said
    assert len(reader.names(LIST, search="profile")) == SEARCH_HITS + 1
