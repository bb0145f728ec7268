"""A rotation that is under way: who still uses the old credential, and when it is safe to revoke it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.review.conftest import Log, World

from ostiary.directory.models import AccessProfile, Credential
from ostiary.review import rotations
from ostiary.review.rotations import RotationStage

NOW = timezone.now()
AGO = {"never": None, "minutes": timedelta(minutes=5), "hours": timedelta(hours=2)}


@pytest.fixture
def rotated(world: World) -> Any:
    made = world.a_profile()
    sent = {"overlap_seconds": 86_400}
    world.api.done("PUT", f"api_access_profiles/{made['id']}/refresh_secret", sent)
    return AccessProfile.objects.get(pk=made["id"])


def used(profile: AccessProfile, *, old: str, new: str) -> None:
    older, newer = Credential.objects.filter(profile=profile).order_by("pk")
    for credential, span in ((older, AGO[old]), (newer, AGO[new])):
        credential.last_used_at = None if span is None else NOW - span
        credential.save()


@pytest.mark.parametrize(
    ("old", "new", "stage"),
    [
        ("minutes", "never", RotationStage.WAITING),
        ("never", "never", RotationStage.WAITING),
        ("minutes", "minutes", RotationStage.CHANGING),
        ("hours", "minutes", RotationStage.SAFE),
        ("never", "minutes", RotationStage.SAFE),
    ],
)
def test_it_is_safe_once_the_new_one_is_used_and_the_old_one_is_quiet(
    rotated: AccessProfile, old: str, new: str, stage: RotationStage
) -> None:
    used(rotated, old=old, new=new)
    found = rotations.of_profile(rotated, NOW)
    assert found is not None
    assert found.stage is stage


def test_calls_and_addresses_are_counted_since_the_new_one_was_issued(
    rotated: AccessProfile, log: Log
) -> None:
    older, newer = Credential.objects.filter(profile=rotated).order_by("pk")
    at = int(newer.created_at.timestamp() * 1000) + 1000
    line = {"profile_id": rotated.pk, "credential_id": older.pk}
    log("before", at_ms=at - 60_000, **line)
    log("1", at_ms=at, **line)
    log("2", at_ms=at, stands_for=10, **line)
    log("3", at_ms=at, profile_id=rotated.pk, credential_id=newer.pk, address="192.0.2.8")
    found = rotations.of_profile(rotated, NOW)
    assert found is not None
    assert (found.old.calls, found.old.addresses) == (11, 1)
    assert (found.new.calls, found.new.addresses) == (1, 1)
    assert not found.least


def test_a_profile_with_one_credential_is_in_no_rotation(world: World) -> None:
    made = world.a_profile()
    assert rotations.of_profile(AccessProfile.objects.get(pk=made["id"]), NOW) is None
