"""A made-up population, to see how the console and the gateway do with many."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes import feed
from ostiary.directory.changes.errors import InUse
from ostiary.directory.models import AccessProfile, Client, Credential, Policy, Project
from ostiary.directory.workspace import setup
from ostiary.identity import tokens

#: Rows written in one transaction: longer ones would hold up every other writer.
BATCH = 500


def make(*, profiles: int, per_client: int = 10) -> None:
    """Fill an empty directory with `profiles` profiles of made-up clients; raises InUse."""
    if Client.objects.exists():
        raise InUse("The directory is not empty")
    setup.ensure()
    collection = _collection()
    policy, _ = Policy.objects.get_or_create(
        name="Made up", defaults={"rate_limit": 1000, "rate_interval": "minute"}
    )
    home = setup.home()
    made = 0
    while made < profiles:
        count = min(BATCH, profiles - made)
        with transaction.atomic():
            _batch(home, collection, policy, made, count, per_client)
        made += count


def _collection() -> int:
    connection = connections.create(
        by=SYSTEM,
        given=connections.ConnectionInput(
            name="Made-up upstream", base_urls=["http://127.0.0.1:9"]
        ),
    ).value
    collection = collections.create(
        by=SYSTEM,
        given=collections.CollectionInput(name="Made up", connection_id=connection.pk),
    ).value.collection
    endpoints.create(
        by=SYSTEM,
        collection_id=collection.pk,
        given=endpoints.EndpointInput(name="Item", method="GET", path="/items/{id}", active=True),
    )
    return collection.pk


def _batch(
    home: Project, collection: int, policy: Policy, start: int, count: int, per_client: int
) -> None:
    now = timezone.now()
    clients = Client.objects.bulk_create(
        Client(project=home, name=f"Client {start // per_client + i:06}")
        for i in range(-(-count // per_client))
    )
    made = AccessProfile.objects.bulk_create(
        AccessProfile(
            client=clients[i // per_client],
            name=f"Profile {start + i:07}",
            auth_type="token",
            active_since=now - timedelta(days=i % 90),
            policy=policy,
            policy_since=now,
        )
        for i in range(count)
    )
    through = AccessProfile.collections.through
    through.objects.bulk_create(
        through(accessprofile_id=profile.pk, collection_id=collection) for profile in made
    )
    # Nobody is given these tokens: only their digests are made.
    Credential.objects.bulk_create(
        Credential(
            profile=profile,
            fingerprint=tokens.fingerprint(f"made-up-{start + i}"),
            prefix="ost_made",
            last_four="0000",
        )
        for i, profile in enumerate(made)
    )
    feed.announce(feed.Kind.COLLECTION, collection)
