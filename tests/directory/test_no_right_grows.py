"""No sequence of use cases lets a token or a member see or do what it could not before."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.examples import examples

from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.changes import permission
from ostiary.directory.changes.errors import Forbidden, Invalid, Refused
from ostiary.directory.clients import clients
from ostiary.directory.models import (
    AuditEvent,
    Folder,
    ManagementToken,
    Member,
    MemberSession,
    Project,
    SignInLink,
)
from ostiary.directory.people import management_tokens, members
from ostiary.directory.projects import project_deletion, projects
from ostiary.directory.workspace import setup

ROLES = [role.value for role in Role]
#: More than any role: what an admin may do.
EVERYTHING = 99


def rights(by: Actor | None) -> dict[int, int]:
    """The rank that an actor has in each project that there is; nothing where it sees none."""
    if by is None:
        return {}
    ranks = {}
    for pk in Project.objects.values_list("pk", flat=True):
        held = [role.rank for role in Role if by.may(role, pk)]
        if held:
            ranks[pk] = EVERYTHING if by.admin else max(held)
    return ranks


@dataclass(kw_only=True)
class Made:
    """A token as it was when it was made."""

    pk: int
    secret: str
    admin: bool
    everywhere: bool
    ranks: dict[int, int]
    ends: datetime | None
    #: The member that it comes from in the end, and what that member must stay: an admin.
    member: int | None
    #: It was seen not to work, so it may never work again.
    dead: bool = False

    def actor(self) -> Actor | None:
        return management_tokens.authenticate(self.secret, "")


#: Who acts: mostly one of those whom there are at first.
WHO = st.one_of(st.integers(0, 5), st.integers(0, 40))


class Teams(RuleBasedStateMachine):
    """Members and tokens try everything that they have a use case for, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._around = transaction.atomic()
        self._around.__enter__()
        self.tokens: dict[int, Made] = {}
        self.member_ids: list[int] = []
        #: What members were given by somebody who might: project → rank.
        self.granted: dict[int, dict[int, int]] = {}
        self.admins: set[int] = set()
        self.project_ids = [setup.home().pk]
        self._begin()

    def _begin(self) -> None:
        """Somebody of every kind, so that few steps lead far: no two of them may do the same."""
        for number, admin in enumerate((True, True, False, False)):
            made = members.create(by=SYSTEM, email=f"m{number}@example.com", admin=admin)
            self.member_ids.append(made.pk)
            self.granted[made.pk] = {}
            self.admins |= {made.pk} if admin else set()
        self.project_ids.append(
            projects.create_folder(by=SYSTEM, given=projects.FolderInput(name="P")).pk
        )
        for pk, role in zip(self.member_ids[2:], (Role.EDITOR, Role.OWNER), strict=True):
            members.set_role(
                by=SYSTEM, member_id=pk, project_id=self.project_ids[1], role=role.value
            )
            self.granted[pk][self.project_ids[1]] = role.rank
        self.make_token(1, True, False, None, set(), None)
        self.make_token(1, False, False, "owner", {1}, 1)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._around.__exit__(None, None, None)

    # -- who acts

    def acting(self, number: int) -> Actor | None:
        """One of all members and tokens, as a request of it would be authenticated; or nobody."""
        everyone: list[Callable[[], Actor | None]] = [
            *(lambda pk=pk: self._member(pk) for pk in self.member_ids),
            *(made.actor for made in self.tokens.values()),
        ]
        return everyone[number % len(everyone)]()

    def _member(self, pk: int) -> Actor | None:
        member = Member.objects.filter(pk=pk, is_active=True).first()
        return members.actor_of(member, "") if member else None

    # -- what they do

    @rule(
        who=WHO, admin=st.booleans(), everywhere=st.booleans(),
        role=st.sampled_from([*ROLES, None]), picked=st.sets(st.integers(0, 3), max_size=3),
        days=st.sampled_from([None, 1, 30]),
    )  # fmt: skip
    def make_token(
        self, who: int, admin: bool, everywhere: bool, role: str | None,
        picked: set[int], days: int | None,
    ) -> None:  # fmt: skip
        by = self.acting(who)
        if by is None:
            return
        before = rights(by)
        ids = [self.project_ids[i % len(self.project_ids)] for i in picked]
        ends = timezone.now() + timedelta(days=days) if days else None
        try:
            issued = management_tokens.create(
                by=by, name="t", admin=admin, role=role, everywhere=everywhere,
                project_ids=ids, expires_at=ends,
            )  # fmt: skip
        except Refused:
            return
        made = Made(
            pk=issued.token.pk, secret=issued.secret.reveal(), admin=admin,
            everywhere=everywhere, ranks={}, ends=issued.token.expires_at,
            member=issued.token.created_by_id,
        )  # fmt: skip
        made.ranks = rights(made.actor())
        assert all(before.get(pk, -1) >= rank for pk, rank in made.ranks.items())
        assert made.ranks or not Project.objects.exists()
        if by.kind == "token" and by.id is not None:
            maker = self.tokens[by.id]
            assert maker.ends is None or (made.ends is not None and made.ends <= maker.ends)
            assert made.member == maker.member
        self.tokens[made.pk] = made

    @rule(who=WHO, which=st.integers(0, 5))
    def revoke_token(self, who: int, which: int) -> None:
        by = self.acting(who)
        if by is None or not self.tokens:
            return
        pk = list(self.tokens)[which % len(self.tokens)]
        with contextlib.suppress(Refused):
            for token in management_tokens.revoke(by=by, token_id=pk):
                self.tokens[token.pk].dead = True

    @rule(who=WHO, which=st.integers(0, 5), overlap=st.sampled_from([0, 60]))
    def rotate_token(self, who: int, which: int, overlap: int) -> None:
        by = self.acting(who)
        if by is None or not self.tokens:
            return
        made = list(self.tokens.values())[which % len(self.tokens)]
        row = ManagementToken.objects.get(pk=made.pk)
        try:
            issued = management_tokens.rotate(by=by, token_id=made.pk, overlap_seconds=overlap)
        except Refused:
            return
        assert not made.dead, "a token that had ended was rotated"
        # Nobody learns a secret that outlives the right to learn it.
        if by.kind == "token":
            assert by.id in {made.pk, row.made_by_id}
        else:
            assert by.id == made.member
        assert (made.actor() is None) == (overlap == 0)
        made.secret = issued.secret.reveal()
        assert issued.token.expires_at == made.ends

    @rule(who=WHO, which=st.integers(0, 5), days=st.sampled_from([None, 1, 30, 90]))
    def change_tokens_end(self, who: int, which: int, days: int | None) -> None:
        by = self.acting(who)
        if by is None or not self.tokens:
            return
        made = list(self.tokens.values())[which % len(self.tokens)]
        caller = self.tokens[by.id].ends if by.kind == "token" and by.id is not None else None
        ends = timezone.now() + timedelta(days=days) if days else None
        given = management_tokens.TokenInput(expires_at=ends)
        try:
            management_tokens.change(by=by, token_id=made.pk, given=given)
        except Refused:
            return
        assert by.admin
        assert not made.dead
        assert caller is None or (ends is not None and ends <= caller)
        for each in self.tokens.values():
            each.ends = ManagementToken.objects.get(pk=each.pk).expires_at

    @invariant()
    def no_token_ends_later_than_the_one_that_made_it(self) -> None:
        for row in ManagementToken.objects.exclude(made_by=None).select_related("made_by"):
            maker = row.made_by
            if maker is not None and maker.expires_at is not None and maker.revoked_at is None:
                assert row.expires_at is not None
                assert row.expires_at <= maker.expires_at

    @rule(who=WHO)
    def delete_member(self, who: int) -> None:
        by = self.acting(who)
        if by is None or len(self.member_ids) <= 4:
            return
        pk = self.member_ids[-1]
        try:
            ended = members.delete(by=by, member_id=pk)
        except Refused:
            return
        assert by.admin
        self.member_ids.pop()
        self.admins.discard(pk)
        del self.granted[pk]
        for token in ended.tokens:
            assert self.tokens[token].member == pk
        for key in [key for key, made in self.tokens.items() if made.member == pk]:
            assert self.tokens.pop(key).actor() is None

    @rule(who=WHO, admin=st.booleans())
    def add_member(self, who: int, admin: bool) -> None:
        by = self.acting(who)
        if by is None:
            return
        with contextlib.suppress(Refused):
            email = f"m{len(self.member_ids)}@example.com"
            member = members.create(by=by, email=email, admin=admin)
            assert by.admin
            self.member_ids.append(member.pk)
            self.granted[member.pk] = {}
            self.admins |= {member.pk} if admin else set()

    @rule(
        who=WHO, whom=st.integers(0, 3),
        admin=st.sampled_from([None, True, False]), active=st.sampled_from([None, True, False]),
    )  # fmt: skip
    def change_member(self, who: int, whom: int, admin: bool | None, active: bool | None) -> None:
        by = self.acting(who)
        if by is None:
            return
        pk = self.member_ids[whom % len(self.member_ids)]
        was = Member.objects.get(pk=pk)
        MemberSession.objects.create(
            digest=secrets.token_hex(32),
            expires_at=timezone.now() + timedelta(days=1), member=was, content="",
        )  # fmt: skip
        try:
            flags = {"admin": admin, "active": active}
            named = {name: value for name, value in flags.items() if value is not None}
            members.change(by=by, member_id=pk, given=members.MemberInput(**named))
        except Refused:
            return
        assert by.admin
        now = Member.objects.get(pk=pk)
        self.admins = self.admins | {pk} if now.admin else self.admins - {pk}
        if (was.admin and not now.admin) or (was.is_active and not now.is_active):
            assert not MemberSession.objects.filter(member=now).exists()
            assert not SignInLink.objects.filter(member=now, used_at=None).exists()
            for made in self.tokens.values():
                made.dead |= made.member == pk

    @rule(whom=st.integers(1, 3), admin=st.booleans())
    def lose_and_regain_a_right(self, whom: int, admin: bool) -> None:
        pk = self.member_ids[whom]
        was = Member.objects.get(pk=pk)
        lost: dict[str, Any] = {"admin": False} if admin else {"active": False}
        if not (was.is_active and was.admin >= admin):
            return
        with contextlib.suppress(Refused):
            members.change(by=SYSTEM, member_id=pk, given=members.MemberInput(**lost))
            regained: dict[str, Any] = dict.fromkeys(lost, True)
            members.change(by=SYSTEM, member_id=pk, given=members.MemberInput(**regained))
            for made in self.tokens.values():
                made.dead |= made.member == pk

    @rule(
        who=st.integers(0, 5), whom=st.integers(0, 3), which=st.just(1),
        role=st.sampled_from([*ROLES, None]), invited=st.booleans(),
    )  # fmt: skip
    def give_role(self, who: int, whom: int, which: int, role: str | None, invited: bool) -> None:
        by = self.acting(who)
        if by is None:
            return
        pk = self.member_ids[whom % len(self.member_ids)]
        project = self.project_ids[which % len(self.project_ids)]
        before = rights(by)
        try:
            if invited:
                email = Member.objects.get(pk=pk).email
                members.invite(by=by, project_id=project, email=email, role=role)
            else:
                members.set_role(by=by, member_id=pk, project_id=project, role=role)
        except Refused:
            return
        # Nobody gives what they have not.
        assert before[project] >= Role.OWNER.rank
        self.granted[pk].pop(project, None)
        if role:
            self.granted[pk][project] = Role(role).rank

    @rule(who=WHO, name=st.integers(0, 2))
    def add_project(self, who: int, name: int) -> None:
        by = self.acting(who)
        if by is None:
            return
        with contextlib.suppress(Refused):
            made = projects.create_folder(by=by, given=projects.FolderInput(name=f"P{name}"))
            assert by.admin
            self.project_ids.append(made.pk)

    @rule(who=WHO, which=st.integers(0, 2), force=st.booleans())
    def delete_project(self, who: int, which: int, force: bool) -> None:
        by = self.acting(who)
        if by is None:
            return
        pk = self.project_ids[which % len(self.project_ids)]
        before = rights(by)
        held = clients.clients(SYSTEM, project_id=pk).exists()
        try:
            projects.delete_folder(by=by, folder_id=pk, force=force)
        except Refused:
            return
        assert before[pk] >= Role.OWNER.rank
        assert force or not held
        for granted in self.granted.values():
            granted.pop(pk, None)
        assert pk != setup.home().pk

    @rule(who=WHO, which=st.integers(0, 2), name=st.sampled_from(["Home", "X", "Y"]))
    def rename_project(self, who: int, which: int, name: str) -> None:
        by = self.acting(who)
        if by is None:
            return
        home = setup.home().pk
        with contextlib.suppress(Refused):
            pk = self.project_ids[which % len(self.project_ids)]
            projects.change_folder(by=by, folder_id=pk, given=projects.FolderInput(name=name))
        assert setup.home().pk == home

    @rule(who=WHO, which=st.sampled_from([None, 0, 1, 2]))
    def add_client(self, who: int, which: int | None) -> None:
        by = self.acting(who)
        if by is None:
            return
        pk = None if which is None else self.project_ids[which % len(self.project_ids)]
        before = rights(by)
        with contextlib.suppress(Refused):
            made = clients.create(by=by, given=clients.ClientInput(name="C", project_id=pk))
            assert before[made.project_id] >= Role.EDITOR.rank

    @rule(who=WHO, what=st.integers(0, 9), where=st.integers(0, 9))
    def move_client(self, who: int, what: int, where: int) -> None:
        by = self.acting(who)
        every = list(clients.clients(SYSTEM).values_list("pk", "project_id"))
        if by is None or not every:
            return
        pk, project = every[what % len(every)]
        target = self.project_ids[where % len(self.project_ids)]
        before = rights(by)
        with contextlib.suppress(Refused):
            clients.change(by=by, client_id=pk, given=clients.ClientInput(project_id=target))
            assert before[project] >= Role.EDITOR.rank
            assert before[target] >= Role.EDITOR.rank

    # -- what holds all the time

    @invariant()
    def no_token_has_more_than_it_was_made_with(self) -> None:
        for made in self.tokens.values():
            by = made.actor()
            if by is None:
                made.dead = True
                continue
            assert not made.dead, "a token that had ended works again"
            assert by.admin <= made.admin
            if not (made.admin or made.everywhere):
                assert rights(by).items() <= made.ranks.items()
            seen = {project.pk for project in projects.projects(by)}
            assert seen == set(rights(by))
            found = clients.clients(by).values_list("project_id", flat=True)
            assert set(found) <= seen
            events = AuditEvent.objects.exclude(project_id=None)
            if not (by.admin or made.everywhere):
                assert not ({e.project_id for e in events if by.sees(e.project_id or 0)} - seen)

    @invariant()
    def no_member_has_more_than_was_given(self) -> None:
        for pk in self.member_ids:
            member = Member.objects.get(pk=pk)
            assert member.admin == (pk in self.admins)
            if not member.admin:
                assert rights(members.actor_of(member, "")) == self.granted[pk]

    @invariant()
    def one_admin_and_one_home_remain(self) -> None:
        assert Member.objects.filter(admin=True, is_active=True).exists()
        assert Project.objects.filter(home=True).count() == 1


@pytest.mark.slow
def test_no_sequence_widens_a_token_or_a_member() -> None:
    run_state_machine_as_test(
        Teams,
        settings=settings(
            max_examples=examples(40), stateful_step_count=30, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def _project(name: str = "D") -> int:
    return projects.create_folder(by=SYSTEM, given=projects.FolderInput(name=name)).pk


def _actor(issued: management_tokens.IssuedManagementToken) -> Actor | None:
    return management_tokens.authenticate(issued.secret.reveal(), "")


def test_a_token_whose_last_project_is_deleted_is_revoked_with_an_event() -> None:
    first, second = _project("D"), _project("E")
    both = management_tokens.create(
        by=SYSTEM, name="both", admin=False, role="owner", project_ids=[first, second]
    )
    one = management_tokens.create(
        by=SYSTEM, name="one", admin=False, role="owner", project_ids=[first]
    )
    by = _actor(one)
    assert by is not None
    deleted = project_deletion.delete(by=by, project_id=first, force=False).value
    assert [token.pk for token in deleted.revoked_tokens] == [one.token.pk]
    assert _actor(one) is None
    narrowed = _actor(both)
    assert narrowed is not None
    assert rights(narrowed) == {second: Role.OWNER.rank}
    event = AuditEvent.objects.get(action="token.revoke", target_id=one.token.pk)
    assert event.after["why"] == "its last project was deleted"
    event = AuditEvent.objects.get(action="token.change", target_id=both.token.pk)
    assert (event.before, event.after) == (
        {"project_ids": [first, second]}, {"project_ids": [second]}
    )  # fmt: skip


def test_a_token_without_projects_sees_and_does_nothing() -> None:
    issued = management_tokens.create(
        by=SYSTEM, name="t", admin=False, role="owner", project_ids=[_project()]
    )
    # However it came to this.
    ManagementToken.projects.through.objects.all().delete()
    by = _actor(issued)
    assert by is not None
    assert not by.sees_all
    assert rights(by) == {}
    with pytest.raises(Invalid):
        permission.project_of(by, None)
    with pytest.raises(Invalid):
        permission.project_of(by, setup.home().pk)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"admin": False, "role": "viewer"}, "project_ids"),
        ({"admin": True, "role": "viewer"}, "role"),
        ({"admin": True, "everywhere": True}, "all_projects"),
        ({"admin": True, "project_ids": [1]}, "project_ids"),
        ({"admin": False, "role": "viewer", "everywhere": True, "project_ids": [1]}, "project_ids"),
        ({"admin": False, "role": "viewer", "project_ids": [999_999]}, "project_ids"),
    ],
)
def test_contradictory_scopes_are_refused_by_name(given: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        management_tokens.create(by=SYSTEM, name="t", **given)  # type: ignore[arg-type]
    assert set(refused.value.errors) == {field}


def test_what_a_token_makes_ends_with_it_and_no_later() -> None:
    ends = timezone.now() + timedelta(days=1)
    issued = management_tokens.create(by=SYSTEM, name="a", expires_at=ends)
    by = _actor(issued)
    assert by is not None
    with pytest.raises(Invalid):
        management_tokens.create(by=by, name="b", expires_at=ends + timedelta(days=1))
    child = management_tokens.create(by=by, name="b")
    assert child.token.expires_at == ends
    grandchild = management_tokens.create(by=_actor(child) or SYSTEM, name="c")
    management_tokens.revoke(by=SYSTEM, token_id=issued.token.pk)
    assert _actor(child) is None
    assert _actor(grandchild) is None
    assert AuditEvent.objects.filter(action="token.revoke").count() == 3


def test_a_demoted_members_tokens_sessions_and_links_end() -> None:
    members.create(by=SYSTEM, email="first@example.com", admin=True)
    second = members.create(by=SYSTEM, email="second@example.com", admin=True)
    by = members.actor_of(second, "")
    own = management_tokens.create(by=by, name="own", admin=True)
    inherited = management_tokens.create(by=_actor(own) or SYSTEM, name="inherited")
    link = members.create_link(by=SYSTEM, member=second)
    members.change(by=SYSTEM, member_id=second.pk, given=members.MemberInput(admin=False))
    members.change(by=SYSTEM, member_id=second.pk, given=members.MemberInput(admin=True))
    assert (_actor(own), _actor(inherited)) == (None, None)
    assert members.redeem_link(link.reveal()) is None
    assert AuditEvent.objects.filter(action="token.revoke").count() == 2
    # One who was an admin when the request began makes no token after all.
    members.change(by=SYSTEM, member_id=second.pk, given=members.MemberInput(admin=False))
    with pytest.raises(Forbidden):
        management_tokens.create(by=by, name="late")


def test_a_projects_deletion_counts_everything_that_goes_with_it() -> None:
    """A new kind of asset must not vanish unsaid: each model with a project is named, or known to stay."""
    said = {
        "clients", "api_collections", "connections", "webhooks", "properties", "folders", "policies",
        "address_lists",
    }  # fmt: skip
    #: Who has a role, and the tokens: these are in the audit log by themselves. Recipes stay.
    apart = {"memberships", "management_tokens", "recipes"}
    # What files have said of all this, and plans of it.
    apart |= {"configuration_sets", "configuration_plans"}
    related = {
        relation.get_accessor_name()
        for relation in [*Folder._meta.related_objects, *Project._meta.related_objects]
        if relation.field.name in {"project", "projects"}
    }
    named = {"collections" if kind == "api_collections" else kind for kind in said}
    assert related == named | apart
    assert said <= set(project_deletion.KINDS)
