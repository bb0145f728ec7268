"""The life of a profile's credentials, against a small model of which one is alive."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from ostiary.directory.actor import SYSTEM
from ostiary.directory.clients import access_profiles, credentials
from ostiary.directory.models import AuditEvent, Change, Client, Collection, Credential
from ostiary.identity import tokens

actions = st.lists(
    st.one_of(
        st.tuples(st.just("refresh"), st.sampled_from([0, 60, 86_400])),
        st.tuples(st.just("cut"), st.integers(0, 3)),
        st.tuples(st.just("switch"), st.sampled_from([0, 1])),
    ),
    max_size=8,
)


@dataclass
class Model:
    """The secrets that must work, the newest last; at most one has none after it."""

    alive: list[str]

    def refresh(self, secret: str, overlap: int) -> None:
        newest = self.alive[-1:] if self.alive and self.newest_is_current else []
        self.alive = [*(newest if overlap else []), secret]
        self.newest_is_current = True

    newest_is_current: bool = True

    def cut(self, secret: str) -> None:
        if secret in self.alive:
            if self.alive[-1] == secret:
                self.newest_is_current = False
            self.alive.remove(secret)


@pytest.mark.slow
@given(actions)
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_never_more_than_two_are_alive_and_every_change_is_announced_and_recorded(
    collection: Collection, client_of_ours: Client, steps: list[tuple[str, int]]
) -> None:
    saved, secret = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput(
            client_id=client_of_ours.pk, auth_type="token", name="P", collection_ids=[collection.pk]
        ),
    )
    profile = saved.value
    issued = [secret.reveal()]
    model = Model(alive=[issued[0]])
    for action, value in steps:
        changes, events = Change.objects.count(), AuditEvent.objects.count()
        profile.refresh_from_db()
        repeated = action == "switch" and profile.active == bool(value)
        if action == "refresh":
            done, secret = credentials.refresh(
                by=SYSTEM, profile_id=profile.pk, overlap_seconds=value
            )
            issued.append(secret.reveal())
            model.refresh(issued[-1], value)
        elif action == "cut":
            victim = issued[value % len(issued)]
            stored = Credential.objects.get(fingerprint=tokens.fingerprint(victim))
            repeated = stored.revoked_at is not None
            done = credentials.cut_off(by=SYSTEM, profile_id=profile.pk, credential_id=stored.pk)
            model.cut(victim)
        else:
            done = access_profiles.switch(by=SYSTEM, profile_id=profile.pk, active=bool(value))
        alive = {bytes(c.fingerprint) for c in credentials.alive(profile)}
        assert alive == {tokens.fingerprint(text) for text in model.alive}
        assert len(alive) <= 2
        assert Change.objects.count() == changes + (not repeated)
        assert AuditEvent.objects.count() == events + (not repeated)
        profile.refresh_from_db()
        assert profile.epoch == done.sequence == Change.objects.latest("pk").pk
    assert len(set(issued)) == len(issued)
    access_profiles.delete(by=SYSTEM, profile_id=profile.pk)
    assert not Credential.objects.filter(profile_id=profile.pk).exists()
