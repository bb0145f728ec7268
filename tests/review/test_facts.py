"""What the ORM reads for owners' questions is what the authority reads to decide."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.review.conftest import World

from ostiary.access.limits import WINDOWS
from ostiary.authority import decisions
from ostiary.authority.lookup import Row, SqliteLookup
from ostiary.directory import states
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Collection,
    Credential,
    Endpoint,
    Policy,
    Recipe,
)
from ostiary.review import facts

#: Whole milliseconds: SQLite rounds to them, where the ORM cuts.
moments = st.none() | st.integers(1_577_836_800_000, 2_208_988_800_000).map(
    lambda ms: datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)
)
entries = st.lists(
    st.sampled_from(["192.0.2.7", "198.51.100.3/20", "2001:db8::/32", "::ffff:10.0.0.1"]),
    unique=True, max_size=3,
)  # fmt: skip
policies = st.none() | st.fixed_dictionaries(
    {
        "rate": st.none() | st.tuples(st.integers(1, 9), st.sampled_from(["second", "day"])),
        "more": st.lists(st.sampled_from(["minute", "hour"]), unique=True),
        "quota": st.none() | st.tuples(st.integers(1, 9), st.sampled_from(["week", "30 days"])),
        "watched": st.booleans(),
    }
)


@given(
    profile=st.fixed_dictionaries(
        {
            "active": st.booleans(),
            "allow_list": entries,
            "deny_list": entries,
            "addresses_watched": st.booleans(),
            "expires_at": moments,
            "policy_since": moments,
            "raised_limits": st.dictionaries(st.sampled_from(WINDOWS), st.integers(1, 20)),
            "raised_until": moments,
            "limit_resets": st.dictionaries(st.sampled_from(WINDOWS), st.integers(1, 2**33)),
        }
    ),
    credential=st.fixed_dictionaries(
        {"revoked_at": moments, "expires_at": moments, "overlap_until": moments}
    ),
    client_active=st.booleans(),
    policy=policies,
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_readings_agree(
    world: World,
    tmp_path: Path,
    profile: dict[str, Any],
    credential: dict[str, Any],
    client_active: bool,
    policy: dict[str, Any] | None,
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("one statement for both databases, asked on SQLite")
    made = world.a_profile()
    Client.objects.filter(pk=world.client["id"]).update(active=client_active)
    stored = _policy(policy) if policy else None
    AccessProfile.objects.filter(pk=made["id"]).update(policy=stored, **profile)
    held = Credential.objects.get(profile_id=made["id"])
    Credential.objects.filter(pk=held.pk).update(**credential)
    row = AccessProfile.objects.select_related("client", "policy").get(pk=made["id"])
    held.refresh_from_db()
    read = _read(tmp_path / "copy.sqlite3", bytes(held.fingerprint), world.collection["id"])
    assert read == facts.known(held, row)


def _policy(values: dict[str, Any]) -> Policy:
    rate, quota = values["rate"] or (None, ""), values["quota"] or (None, "")
    more = [{"limit": 7, "interval": interval} for interval in values["more"]]
    return Policy.objects.create(
        name=f"P{Policy.objects.count()}", rate_limit=rate[0], rate_interval=rate[1], more_rates=more,
        quota_limit=quota[0], quota_interval=quota[1], watched=values["watched"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("active", "recipe", "is_callable"),
    [
        pytest.param(True, None, True, id="active"),
        pytest.param(False, None, False, id="inactive"),
        pytest.param(True, (True, True), True, id="recipe-started"),
        pytest.param(True, (False, True), False, id="recipe-stopped"),
        pytest.param(True, (True, False), False, id="recipe-gone"),
        pytest.param(False, (True, True), False, id="inactive-recipe-started"),
    ],
)
def test_what_is_callable_is_what_owners_are_told(
    world: World, tmp_path: Path, active: bool, recipe: tuple[bool, bool] | None, is_callable: bool
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("one statement for both databases, asked on SQLite")
    policy = Policy.objects.create(name="Older headers", legacy_headers=True)
    made = world.a_profile(api_policy_id=policy.pk)
    held = Credential.objects.get(profile_id=made["id"])
    endpoint = Endpoint.objects.get(pk=world.orders["id"])
    endpoint.active = active
    if recipe is not None:
        started, present = recipe
        endpoint.recipe = Recipe.objects.create(name="r", started=started, present=present)
    endpoint.save()
    collection = world.collection["id"]
    path, fingerprint = tmp_path / "copy.sqlite3", bytes(held.fingerprint)
    row = _row(path, fingerprint, collection, endpoint.pk)
    assert row.callable == states.is_there(endpoint) == is_callable
    assert row.legacy_headers
    assert (row.weight, row.policy_name) == (endpoint.weight, "Older headers")
    assert row.project == Client.objects.get(pk=world.client["id"]).project_id
    other = Collection.objects.create(
        project_id=row.project, name="Other", handle="other-v1", kind="proxy"
    )
    assert not _row(path, fingerprint, other.pk, endpoint.pk).callable
    assert not _row(path, fingerprint, collection, 0).callable
    nobody = _row(path, b"nobody", collection, endpoint.pk)
    assert nobody.credential is None
    assert not nobody.granted


def _read(path: Path, fingerprint: bytes, collection: int) -> object:
    row = _row(path, fingerprint, collection)
    assert row.granted
    return decisions.known(row, int(time.time()))


def _row(path: Path, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
    """As the authority does, from a copy of the database as this transaction sees it."""
    path.write_bytes(connection.connection.serialize())
    lookup = SqliteLookup(str(path))
    try:
        return asyncio.run(lookup.find(fingerprint, collection, endpoint))
    finally:
        asyncio.run(lookup.close())
