"""The effective state: the same in Python, in SQL, and as calls are decided."""

import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from ostiary.access.decision import Deny, decide
from ostiary.access.facts import CollectionId, EndpointId, Facts, Known, Route
from ostiary.access.methods import AuthMethod
from ostiary.directory import states
from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes import progress, unpublished_objects
from ostiary.directory.clients import access_profiles
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Collection,
    Connection,
    Credential,
    Endpoint,
    ManagementToken,
    Member,
    Policy,
    Recipe,
)
from ostiary.directory.states import Conditions, StateCode, Stated
from ostiary.directory.webhooks.webhooks import WebhookInput
from ostiary.review import facts

NOW = timezone.now().replace(microsecond=400_000)
HOUR = timedelta(hours=1)
#: Ends: none, over for long, in this very second, at this moment, soon, and later.
ENDS = (None, NOW - HOUR, NOW + timedelta(microseconds=1), NOW, NOW + HOUR, NOW + 99 * 24 * HOUR)
PAUSES = ((True, None), (False, None), (False, NOW - HOUR), (False, NOW + HOUR))
#: How far the gateway follows; what changed later is not in force.
FOLLOWED = 1_000
EPOCHS = (FOLLOWED, FOLLOWED + 1)


class Progress:
    """A gateway that follows up to one change."""

    def followed(self, least: int) -> int:
        return FOLLOWED

    def published(self, least: int) -> int:
        return FOLLOWED


class Refusals:
    """A gateway that refuses every third row."""

    def reason(self, kind: str, object_id: int) -> str:
        return "No name." if object_id % 3 == 0 else ""

    def ids(self, kind: str) -> frozenset[int]:
        return frozenset(range(0, 3_000, 3))


@pytest.fixture
def follows() -> Iterator[None]:
    before = progress._installed, unpublished_objects._installed
    progress.install(Progress())
    unpublished_objects.install(Refusals())
    yield
    progress.install(before[0])
    unpublished_objects.install(before[1])


def same_in_sql(rows: QuerySet[Model], conditions: Conditions) -> set[StateCode]:
    """Hold the states of rows against the conditions of lists; returns which states there were."""
    in_python: dict[int, StateCode] = {}
    for row in rows:
        assert isinstance(row, Stated)
        with_time = {AccessProfile: states.of_profile, Client: states.of_client,
                     Credential: states.of_credential, ManagementToken: states.of_token}  # fmt: skip
        by_time = with_time.get(type(row))
        state = by_time(row, NOW) if by_time else states.of(row)  # type: ignore[operator]
        in_python[row.pk] = state.code
    in_sql = {pk: code for code, found in conditions.items()
              for pk in rows.filter(found).values_list("pk", flat=True)}  # fmt: skip
    counts = sum(rows.filter(found).count() for found in conditions.values())
    assert counts == len(in_python) == len(in_sql)
    assert in_python == in_sql
    return set(in_python.values())


@pytest.fixture
def profile(collection: Collection, client_of_ours: Client) -> AccessProfile:
    given = access_profiles.NewProfileInput(
        client_id=client_of_ours.pk, auth_type="token", name="P", collection_ids=[collection.pk]
    )
    access_profiles.create(by=SYSTEM, given=given)
    return AccessProfile.objects.get()


@pytest.fixture
def many(profile: AccessProfile) -> None:
    """A profile of every combination of what its state depends on."""
    policy = Policy.objects.create(name="Reported", watched=True)
    project = profile.client.project
    clients = [
        Client.objects.create(
            project=project, name="C", active=on, inactive_until=until, epoch=epoch
        )
        for (on, until), epoch in itertools.product(PAUSES, EPOCHS)
    ]
    AccessProfile.objects.bulk_create(
        AccessProfile(
            client=client, name="P", active=on, inactive_until=until, active_since=NOW,
            auth_type="token", expires_at=end, addresses_watched=reported,
            policy=policy if limited else None, epoch=FOLLOWED,
        )
        for client, (on, until), end, reported, limited in itertools.product(
            clients, PAUSES, ENDS, (True, False), (True, False)
        )
    )  # fmt: skip
    AccessProfile.objects.filter(pk=profile.pk).update(epoch=FOLLOWED + 1)


@pytest.mark.usefixtures("follows", "many")
def test_lists_find_clients_and_profiles_by_the_state_that_they_show() -> None:
    found = same_in_sql(Client.objects.all(), states.client_conditions(NOW))
    assert found == set(states.client_conditions())
    profiles = AccessProfile.objects.select_related("client", "policy")
    assert same_in_sql(profiles, states.profile_conditions(NOW)) == set(states.profile_conditions())


@pytest.mark.usefixtures("many")
def test_what_is_said_to_work_is_admitted_and_what_is_not_is_refused() -> None:
    """With a credential and a call with nothing against them, only the state decides."""
    for credential in _credentials():
        credential.pk = 1
        state = states.of_credential(credential, NOW)
        assert state.works is _admits(credential), state
    for row in AccessProfile.objects.select_related("client", "policy"):
        state = states.of_profile(row, NOW)
        assert state.works is _admits(Credential(pk=1, profile=row)), state


def _owners() -> list[AccessProfile]:
    """A profile in each state that has to do with a switch, an end or the gateway."""
    found: dict[StateCode, AccessProfile] = {}
    rows = AccessProfile.objects.filter(policy=None, addresses_watched=False)
    for row in rows.select_related("client").order_by("pk"):
        found.setdefault(states.of_profile(row, NOW).code, row)
    return list(found.values())


def _credentials() -> list[Credential]:
    """One of every combination, for each of these profiles."""
    made = itertools.product(_owners(), (None, NOW - HOUR), ENDS, ENDS)
    return [
        Credential(
            profile=owner, fingerprint=number.to_bytes(32, "big"), revoked_at=revoked,
            overlap_until=overlap, expires_at=end,
        )
        for number, (owner, revoked, overlap, end) in enumerate(made, start=1)
    ]  # fmt: skip


def _admits(credential: Credential) -> bool:
    known = facts.known(credential, credential.profile)
    verdict = decide(
        Facts(
            now=int(NOW.timestamp()), address=None, presented=True, method=AuthMethod.TOKEN,
            known=Known(credential=known.credential, profile=known.profile, client=known.client),
            route=Route(collection=CollectionId(1), granted=True, endpoint=EndpointId(1)),
        )
    )  # fmt: skip
    return not isinstance(verdict, Deny)


@pytest.mark.usefixtures("follows", "many")
def test_lists_find_credentials_by_the_state_that_they_show() -> None:
    Credential.objects.all().delete()
    Credential.objects.bulk_create(_credentials())
    rows = Credential.objects.select_related("profile__client")
    conditions = states.credential_conditions(NOW)
    assert same_in_sql(rows, conditions) == set(conditions)


def test_lists_find_management_tokens_by_the_state_that_they_show(directory: None) -> None:
    makers = [
        Member.objects.create(email=f"{on}-{admin}@example.com", is_active=on, admin=admin)
        for on, admin in itertools.product((True, False), repeat=2)
    ]
    made = itertools.product((None, *makers), (None, NOW - HOUR), ENDS, ENDS)
    ManagementToken.objects.bulk_create(
        ManagementToken(
            name="T", fingerprint=number.to_bytes(32, "big"), created_by=maker, revoked_at=revoked,
            previous_until=overlap, expires_at=end,
        )
        for number, (maker, revoked, overlap, end) in enumerate(made)
    )  # fmt: skip
    rows = ManagementToken.objects.select_related("created_by")
    conditions = states.token_conditions(NOW)
    assert same_in_sql(rows, conditions) == set(conditions)


@pytest.mark.usefixtures("follows")
def test_lists_find_what_is_called_by_the_state_that_it_shows(collection: Collection) -> None:
    project, connections = collection.project, []
    for number, epoch in itertools.product(range(4), EPOCHS):
        name = f"{number}-{epoch}"
        connections.append(
            Connection.objects.create(project=project, name=name, base_urls=[], epoch=epoch)
        )
    recipes = [
        Recipe.objects.create(name=f"R{on}{there}{error}", started=on, present=there, error=error)
        for on, there, error in itertools.product((True, False), (True, False), ("", "Wrong."))
    ]
    for number, (connection, epoch) in enumerate(itertools.product((None, *connections), EPOCHS)):
        each = Collection.objects.create(
            project=project, name="C", handle=f"c{number}", kind="proxy" if connection else "recipe",
            connection=connection, epoch=epoch,
        )  # fmt: skip
        for place, (recipe, on) in enumerate(itertools.product((None, *recipes), (True, False))):
            Endpoint.objects.create(
                collection=each, name="E", method="GET", path=f"/{place}", shape=f"/{place}",
                active=on, recipe=recipe,
            )  # fmt: skip
    assert same_in_sql(Recipe.objects.all(), states.recipe_conditions()) == set(
        states.recipe_conditions()
    )
    found = same_in_sql(Connection.objects.all(), states.connection_conditions())
    assert found == set(states.connection_conditions())
    rows = Endpoint.objects.select_related("collection", "recipe")
    assert same_in_sql(rows, states.endpoint_conditions()) == set(states.endpoint_conditions())


def test_every_state_is_named_and_an_end_is_told_in_the_largest_unit(
    profile: AccessProfile,
) -> None:
    assert set(states.NAMES) == set(StateCode)
    for left, words in (
        (timedelta(days=6, hours=23), "Expires in 6 days"),
        (timedelta(days=1), "Expires in 1 day"),
        (timedelta(hours=5, minutes=59), "Expires in 5 hours"),
        (timedelta(minutes=2), "Expires in 2 minutes"),
        (timedelta(seconds=3), "Expires in less than a minute"),
        (timedelta(days=8), "Active"),
    ):
        profile.expires_at = NOW + left
        assert states.of_profile(profile, NOW).text == words


def test_what_expires_soon_is_what_webhooks_send_their_event_of() -> None:
    assert WebhookInput.model_fields["expiry_days"].default == states.SOON.days


@pytest.mark.django_db(transaction=True)
def test_credentials_that_end_soon_are_read_from_an_index() -> None:
    soon = Credential.objects.filter(
        expires_at__gt=NOW, expires_at__lte=NOW + 7 * 24 * HOUR, revoked_at=None, trial=False
    ).order_by("expires_at", "pk")[:5]
    with transaction.atomic(), database.cursor() as cursor:
        if database.vendor == "postgresql":
            # It reads a table that is nearly empty as a whole.
            cursor.execute("SET LOCAL enable_seqscan = off")
        assert "credential_expires" in soon.explain()
