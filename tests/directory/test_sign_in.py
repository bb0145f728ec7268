"""Second factors, sessions and links to a provider, as the use cases keep them."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from tests.console.authenticator import App

from ostiary.console.sign_in.sessions import ENTRY, SessionStore
from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.changes.errors import Forbidden, InUse, Invalid, NotFound
from ostiary.directory.models import AuditEvent, Member, MemberSession, RecoveryCode, SecondFactor
from ostiary.directory.people import members, second_factors, sign_ins, single_sign_on
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import one_time_codes
from ostiary.identity.openid import OpenIdPerson
from ostiary.identity.passkeys import Passkey
from ostiary.identity.secret import Secret

ISSUER = "https://login.example.com"


@pytest.fixture
def ann(directory: None) -> Member:
    return members.create(by=SYSTEM, email="ann@example.com")


@pytest.fixture
def me(ann: Member) -> Actor:
    return members.actor_of(ann, "127.0.0.1")


def code_of(secret: Secret, ahead: int = 0) -> str:
    return App(secret.reveal()).code(ahead)


def an_app(me: Actor, ann: Member, name: str = "Phone") -> tuple[Secret, second_factors.Added]:
    secret = one_time_codes.new_secret()
    added = second_factors.add_app(
        by=me, member=ann, name=name, secret=secret, code=code_of(secret)
    )
    return secret, added


def a_passkey(number: int) -> Passkey:
    return Passkey(id=bytes([number]) * 16, credential=b"key", host="localhost", sign_count=0)


def test_a_code_is_taken_once_and_not_an_earlier_one_after_it(me: Actor, ann: Member) -> None:
    secret, _ = an_app(me, ann)
    assert second_factors.use_code(ann, code_of(secret)) is None, "it set the app up"
    later = code_of(secret, ahead=1)
    assert second_factors.use_code(ann, later) == "authenticator app"
    assert second_factors.use_code(ann, later) is None
    assert second_factors.use_code(ann, code_of(secret)) is None


def test_recovery_codes_come_with_the_first_factor_and_go_with_the_last(
    me: Actor, ann: Member
) -> None:
    _, first = an_app(me, ann)
    assert len(first.recovery_codes) == 10
    second = second_factors.add_passkey(by=me, member=ann, name="Key", passkey=a_passkey(1))
    assert not second.recovery_codes
    code = first.recovery_codes[0].reveal()
    assert second_factors.use_code(ann, code) == "recovery code"
    assert second_factors.use_code(ann, code) is None
    assert second_factors.codes_left(ann) == 9
    again = second_factors.new_recovery_codes(by=me, member=ann)
    assert second_factors.use_code(ann, first.recovery_codes[1].reveal()) is None
    assert second_factors.use_code(ann, again[0].reveal()) == "recovery code"
    for factor in list(second_factors.of(ann)):
        second_factors.remove(by=me, member=ann, factor_id=factor.pk)
    assert not RecoveryCode.objects.exists()
    with pytest.raises(InUse):
        second_factors.new_recovery_codes(by=me, member=ann)


def test_codes_of_one_member_are_nothing_to_another(me: Actor, ann: Member) -> None:
    bob = members.create(by=SYSTEM, email="bob@example.com")
    secret, added = an_app(me, ann)
    an_app(members.actor_of(bob, ""), bob)
    assert second_factors.use_code(bob, code_of(secret, ahead=1)) is None
    assert second_factors.use_code(bob, added.recovery_codes[0].reveal()) is None
    with pytest.raises(NotFound):
        second_factors.remove(by=me, member=bob, factor_id=added.factor.pk)


def test_the_last_factor_stays_where_one_is_required(me: Actor, ann: Member) -> None:
    _, added = an_app(me, ann)
    workspace_settings.change(by=SYSTEM, values={"require_second_factor": True})
    with pytest.raises(InUse):
        second_factors.remove(by=me, member=ann, factor_id=added.factor.pk)
    second_factors.reset(by=SYSTEM, member=ann)
    assert not second_factors.of(ann).exists()


def test_names_are_needed_and_differ_and_there_is_an_end(me: Actor, ann: Member) -> None:
    an_app(me, ann)
    for name in ("", "phone", "x" * 65, "a\nb"):
        with pytest.raises(Invalid):
            second_factors.add_passkey(by=me, member=ann, name=name, passkey=a_passkey(1))
    for number in range(2, 21):
        second_factors.add_passkey(by=me, member=ann, name=str(number), passkey=a_passkey(number))
    with pytest.raises(Invalid, match="Validation"):
        second_factors.add_passkey(by=me, member=ann, name="one more", passkey=a_passkey(99))
    with pytest.raises(Invalid):
        bob = members.create(by=SYSTEM, email="bob@example.com")
        second_factors.add_passkey(by=SYSTEM, member=bob, name="same", passkey=a_passkey(2))


def test_a_passkey_that_counts_backwards_is_a_copy(me: Actor, ann: Member) -> None:
    added = second_factors.add_passkey(by=me, member=ann, name="Key", passkey=a_passkey(1))
    counts = [(0, True), (0, True), (5, True), (5, False), (4, False), (0, False), (6, True)]
    for count, works in counts:
        factor = SecondFactor.objects.get(pk=added.factor.pk)
        assert second_factors.use_passkey(factor, count) is works, count
    assert second_factors.passkey(b"\1" * 16, "localhost")
    assert second_factors.passkey(b"\1" * 16, "ostiary.example.com") is None
    members.change(by=SYSTEM, member_id=ann.pk, given=members.MemberInput(active=False))
    assert second_factors.passkey(b"\1" * 16, "localhost") is None


def test_a_reset_is_for_admins_and_for_others(me: Actor, ann: Member) -> None:
    an_app(me, ann)
    with pytest.raises(Forbidden):
        second_factors.reset(by=me, member=ann)
    admin = members.create(by=SYSTEM, email="admin@example.com", admin=True)
    with pytest.raises(Forbidden):
        second_factors.reset(by=members.actor_of(admin, ""), member=admin)
    second_factors.reset(by=members.actor_of(admin, ""), member=ann)
    event = AuditEvent.objects.latest("pk")
    assert event.action == "member.second_factor_reset"
    assert event.before == {"second_factors": ["totp: Phone"]}


def test_no_secret_is_in_the_audit_log(me: Actor, ann: Member) -> None:
    secret, added = an_app(me, ann)
    sign_ins.set_password(
        by=me, member=ann, password="a long enough secret", again="a long enough secret"
    )
    sign_ins.refused(email="perhaps a password", address="127.0.0.1", step="password")
    told = json.dumps(list(AuditEvent.objects.values()), default=str)
    for text in (
        secret.reveal(),
        "a long enough",
        "perhaps a password",
        *(code.reveal() for code in added.recovery_codes),
    ):
        assert text not in told


# Single sign-on.


def a_person(subject: str, email: str = "") -> OpenIdPerson:
    return OpenIdPerson(issuer=ISSUER, subject=subject, email=email)


def test_the_link_counts_and_the_address_no_more(me: Actor, ann: Member) -> None:
    bob = members.create(by=SYSTEM, email="bob@example.com")
    found = single_sign_on.find(a_person("a", "Ann@example.com"))
    assert found
    assert (found.member, found.link) == (ann, (ISSUER, "a"))
    assert single_sign_on.link(by=me, member=ann, issuer=ISSUER, subject="a")
    moved = single_sign_on.find(a_person("a", "bob@example.com"))
    assert moved
    assert (moved.member, moved.link) == (ann, None)
    assert single_sign_on.find(a_person("b", "ann@example.com")) is None
    assert single_sign_on.find(a_person("c")) is None
    # Two who are under way at once: the first one is linked, and nobody twice.
    assert single_sign_on.link(by=me, member=ann, issuer=ISSUER, subject="a")
    assert not single_sign_on.link(by=me, member=ann, issuer=ISSUER, subject="b")
    assert not single_sign_on.link(by=me, member=bob, issuer=ISSUER, subject="a")
    link = single_sign_on.links(ann).get()
    with pytest.raises(Forbidden):
        single_sign_on.unlink(by=members.actor_of(bob, ""), member=ann, link_id=link.pk)
    single_sign_on.unlink(by=me, member=ann, link_id=link.pk)
    assert single_sign_on.find(a_person("b", "ann@example.com"))


def test_only_an_admin_sets_the_provider_and_its_secret_stays_sealed(me: Actor) -> None:
    given: dict[str, Any] = {
        "issuer": f"{ISSUER}/.well-known/openid-configuration",
        "client_id": "console",
        "client_secret": "of the provider",
        "label": "Sign in",
    }
    with pytest.raises(Forbidden):
        single_sign_on.configure(by=me, **given)
    provider = single_sign_on.configure(by=SYSTEM, **given)
    assert provider.issuer == ISSUER
    assert "of the provider" not in provider.sealed_secret
    single_sign_on.configure(by=SYSTEM, **{**given, "client_secret": "", "label": "Other"})
    kept = single_sign_on.provider()
    assert kept
    assert single_sign_on.client_at(kept).secret.reveal() == "of the provider"
    with pytest.raises(Invalid):
        single_sign_on.configure(
            by=SYSTEM, **{**given, "client_secret": "", "issuer": "https://evil.example"}
        )
    for issuer in ("", "ftp://x", "http://login.example.com", "https://10.0.0.1", "https://u:p@x"):
        with pytest.raises(Invalid):
            single_sign_on.configure(by=SYSTEM, **{**given, "issuer": issuer})
    told = json.dumps(list(AuditEvent.objects.values()), default=str)
    assert "of the provider" not in told
    single_sign_on.remove(by=SYSTEM)
    assert single_sign_on.provider() is None


# Sessions.


def test_a_session_is_stored_under_a_digest_with_what_its_member_sees(ann: Member) -> None:
    session = SessionStore()
    session[SESSION_KEY] = str(ann.pk)
    session[ENTRY] = {"at": "2026-11-24T12:00:00+00:00", "address": "192.0.2.1", "browser": "B"}
    session.save()
    key = str(session.session_key)
    row = MemberSession.objects.get()
    assert re.fullmatch(r"[0-9a-f]{64}", row.digest)
    assert (row.member, row.address, row.browser) == (ann, "192.0.2.1", "B")
    assert SessionStore(key)[SESSION_KEY] == str(ann.pk)
    assert SessionStore(row.digest).load() == {}
    old = SessionStore(key)
    old.cycle_key()
    assert SessionStore(key).load() == {}
    members.end_sessions(by=SYSTEM, member=ann)
    assert not MemberSession.objects.exists()
    stale = SessionStore(old.session_key)
    assert stale.load() == {}
