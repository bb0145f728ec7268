"""What the ORM reads for owners' questions is what the authority reads to decide."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.review.conftest import World

from ostiary.authority import deciding
from ostiary.authority.lookup import SqliteLookup
from ostiary.directory.models import AccessProfile, Client, Credential, Policy
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
    return Policy.objects.create(
        name=f"P{Policy.objects.count()}", rate_limit=rate[0], rate_interval=rate[1],
        quota_limit=quota[0], quota_interval=quota[1], watched=values["watched"],
    )  # fmt: skip


def _read(path: Path, fingerprint: bytes, collection: int) -> object:
    """As the authority does, from a copy of the database as this transaction sees it."""
    path.write_bytes(connection.connection.serialize())
    lookup = SqliteLookup(str(path))
    try:
        row = asyncio.run(lookup.find(fingerprint, collection))
        assert row.granted
        return deciding.known(row)
    finally:
        asyncio.run(lookup.close())
