"""A management token lives no longer than the right of whoever made it."""

from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.people import management_tokens, members


def test_a_token_of_a_member_who_is_switched_off_is_dead() -> None:
    members.create(by=SYSTEM, email="first@example.com", admin=True)
    dismissed = members.create(by=SYSTEM, email="second@example.com", admin=True)
    by = Actor(kind="member", id=dismissed.pk, name=dismissed.email, admin=True)
    theirs = management_tokens.create(by=by, name="Theirs").secret.reveal()
    ours = management_tokens.create(by=SYSTEM, name="Ours").secret.reveal()
    assert management_tokens.authenticate(theirs, "") is not None
    members.change(by=SYSTEM, member_id=dismissed.pk, given=members.MemberInput(active=False))
    assert management_tokens.authenticate(theirs, "") is None
    assert management_tokens.authenticate(ours, "") is not None
    members.change(by=SYSTEM, member_id=dismissed.pk, given=members.MemberInput(active=True))
    assert management_tokens.authenticate(theirs, "") is None
