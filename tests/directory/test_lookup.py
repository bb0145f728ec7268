"""The statement of an upcall on PostgreSQL; on SQLite the tests of `review` compare it with the ORM."""

import asyncio
from dataclasses import replace

import pytest
from django.db import connection

from ostiary import settings
from ostiary.authority.lookup import PostgresqlLookup, Row
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import endpoints
from ostiary.directory.clients import access_profiles, policies
from ostiary.directory.models import Client, Collection, Credential

pytestmark = pytest.mark.django_db(transaction=True)


async def _find(fingerprint: bytes, collection: int, endpoint: int) -> Row:
    name = str(connection.settings_dict["NAME"])
    lookup = PostgresqlLookup(replace(settings.current().database, name=name))
    await lookup.open()
    try:
        return await lookup.find(fingerprint, collection, endpoint)
    finally:
        await lookup.close()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="is about PostgreSQL")
def test_what_a_decision_needs_is_read_in_one_statement(
    collection: Collection, client_of_ours: Client
) -> None:
    policy = policies.create(
        by=SYSTEM, given=policies.PolicyInput.of(
            name="P", legacy_headers=True,
            rate_limits=[{"limit": 5, "interval": "minute"}, {"limit": 9, "interval": "day"}],
        ),
    ).value  # fmt: skip
    given = access_profiles.NewProfileInput(
        client_id=client_of_ours.pk,
        auth_type="token",
        name="P",
        collection_ids=[collection.pk],
        policy_id=policy.pk,
        allow_list=["192.0.2.7"],
    )
    access_profiles.create(by=SYSTEM, given=given)
    endpoint = endpoints.create(
        by=SYSTEM, collection_id=collection.pk,
        given=endpoints.EndpointInput(name="E", method="GET", path="/e", active=True),
    ).value  # fmt: skip
    fingerprint = bytes(Credential.objects.get().fingerprint)
    row = asyncio.run(_find(fingerprint, collection.pk, endpoint.pk))
    assert (row.granted, row.callable, row.legacy_headers) == (True, True, True)
    assert row.project == client_of_ours.project_id
    assert row.allow_list == '["192.0.2.7"]'
    assert (row.rate_limit, row.rate_interval) == (5, "minute")
    assert row.more_rates == '[{"limit": 9, "interval": "day"}]'
    endpoints.switch(by=SYSTEM, endpoint_id=endpoint.pk, active=False)
    row = asyncio.run(_find(fingerprint, collection.pk, endpoint.pk))
    assert (row.granted, row.callable) == (True, False)
