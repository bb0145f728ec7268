"""What a search finds is what its actor may see."""

import pytest

from ostiary.directory import search
from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.clients import access_profiles, address_lists
from ostiary.directory.models import (
    AddressList,
    Client,
    Collection,
    Connection,
    Policy,
    Project,
    Webhook,
)


def kinds(by: Actor, text: str) -> dict[str, list[str]]:
    return {group.kind: [hit.name for hit in group.hits] for group in search.search(by, text)}


@pytest.fixture
def secret(collection: Collection, client_of_ours: Client) -> str:
    _, secret = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput(
            client_id=client_of_ours.pk,
            auth_type="token",
            name="Acme 100% script",
            collection_ids=[collection.pk],
        ),
    )
    return secret.reveal()


def test_another_project_finds_nothing_by_name_prefix_or_secret(
    secret: str, client_of_ours: Client
) -> None:
    elsewhere = Project.objects.create(name="Elsewhere")
    stranger = Actor(kind="member", id=None, name="S", roles={elsewhere.pk: Role.OWNER})
    friend = Actor(kind="member", id=None, name="F", roles={client_of_ours.project_id: Role.VIEWER})
    for text in ("Acme", "Things", secret, secret[:8], f"{secret[:8]}…{secret[-4:]}", "Upstream"):
        assert kinds(friend, text), text
        assert not kinds(stranger, text), text
    assert kinds(stranger, "Elsewhere") == {"project": ["Elsewhere"]}
    assert "project" not in kinds(friend, "Elsewhere")


def test_a_whole_token_finds_its_profile_alone(secret: str) -> None:
    assert kinds(SYSTEM, secret) == {"profile": ["Acme 100% script"]}
    assert kinds(SYSTEM, f" {secret} ") == {"profile": ["Acme 100% script"]}


@pytest.mark.parametrize(
    "text", ["%", "__", "a", "", " ", "\x00\x00", "' OR 1=1 --", "\\", "🦓" * 300]
)
def test_what_means_something_to_a_database_means_nothing_here(secret: str, text: str) -> None:
    assert kinds(SYSTEM, text) == {}


def test_an_address_list_is_found_by_its_name(client_of_ours: Client) -> None:
    given = address_lists.AddressListInput(
        name="Runners of GitHub", text="192.0.2.0/24", project_id=client_of_ours.project_id
    )
    address_lists.create(by=SYSTEM, given=given)
    stranger = Actor(kind="member", id=None, name="S", roles={})
    assert kinds(SYSTEM, "github") == {"address_list": ["Runners of GitHub"]}
    assert kinds(stranger, "github") == {}


def test_a_percent_sign_is_one(secret: str) -> None:
    assert kinds(SYSTEM, "100%") == {"profile": ["Acme 100% script"]}


def test_what_begins_with_it_comes_first_and_more_is_said(client_of_ours: Client) -> None:
    project = client_of_ours.project
    for name in ("Big Acme", *(f"Acme {i}" for i in range(6))):
        Client.objects.create(project=project, name=name)
    found = next(group for group in search.search(SYSTEM, "acme") if group.kind == "client")
    assert [hit.name for hit in found.hits] == ["Acme", "Acme 0", "Acme 1", "Acme 2", "Acme 3"]
    assert found.more


def test_keys_and_labels_are_found_of_every_kind_that_has_them(
    collection: Collection, client_of_ours: Client
) -> None:
    own = {"key": "acme-nightly", "labels": {"team": "payments"}}
    home = client_of_ours.project
    profile = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput(
            client_id=client_of_ours.pk, auth_type="token", name="P",
            collection_ids=[collection.pk], **own,
        ),
    )[0].value  # fmt: skip
    Client.objects.filter(pk=client_of_ours.pk).update(**own)
    Policy.objects.create(name="Gold", project=home, **own)
    Connection.objects.filter(collections=collection).update(**own)
    AddressList.objects.create(name="Office", project=home, entries=0, **own)
    Webhook.objects.create(name="Hook", project=home, url="https://a.example", secret="x", **own)
    Collection.objects.filter(pk=collection.pk).update(labels=own["labels"])
    named = {
        "client": ["Acme"], "profile": [profile.name], "connection": ["Upstream"],
        "policy": ["Gold"], "address_list": ["Office"], "webhook": ["Hook"],
    }  # fmt: skip
    assert kinds(SYSTEM, "acme-nightly") == named
    assert kinds(SYSTEM, "nightly") == named
    for text in ("team:payments", "team: payments"):
        assert kinds(SYSTEM, text) == {**named, "collection": ["Things"]}
    assert kinds(SYSTEM, "team:others") == {}
    assert kinds(SYSTEM, collection.handle)["collection"] == ["Things"]
