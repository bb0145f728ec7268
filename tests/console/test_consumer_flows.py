"""Pages by which owners look after a consumer: handed over, off for a time, rotated, offboarded."""

import re
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone
from tests.api.conftest import api
from tests.console.test_tables import Reader
from tests.review.conftest import World, world

from ostiary.directory.actor import SYSTEM, Role
from ostiary.directory.models import AccessProfile, AuditEvent, Change, Credential, Handover
from ostiary.directory.models import Client as ApiClient
from ostiary.directory.people import members

__all__ = ["api", "world"]


@pytest.fixture
def owner(world: World) -> Reader:
    return Reader("owner@example.com")


@pytest.fixture
def viewer(world: World) -> Reader:
    reader = Reader("viewer@example.com", admin=False)
    members.set_role(
        by=SYSTEM, member_id=reader.member.pk, project_id=world.api.home, role=Role.VIEWER.value
    )
    return reader


def link_on(page: str) -> str:
    found = re.search(r'id="url" readonly value="([^"]*#osth_[^"]*)"', page)
    assert found, page[:2000]
    return found[1]


def opened(link: str) -> str:
    answer = Client().post("/handover", {"code": link})
    return unescape(answer.content.decode())


def test_a_new_profile_is_handed_over_without_its_owner_seeing_the_secret(
    world: World, owner: Reader
) -> None:
    fields = {
        "name": "Partner", "auth_type": "token", "collections": world.collection["id"],
        "step": "next",
    }  # fmt: skip
    path = f"/clients/{world.client['id']}/profiles/new"
    page = owner.send(path, **fields)
    assert "Create and hand over by link" in page
    page = owner.send(path, **{**fields, "step": "hand-over", "once": "1"})
    made = AccessProfile.objects.get(name="Partner")
    assert not re.search(r"ost_[\w-]{40}", page)
    # A whole link that is pasted works as well.
    text = opened(link_on(page))
    assert "Your credential" in text
    assert Credential.objects.filter(profile=made).count() == 1
    page = owner.read(f"/profiles/{made.pk}/credentials")
    assert "from 127.0.0.1" in page
    assert "Withdraw" not in page


def test_a_link_is_withdrawn_on_the_profiles_page(world: World, owner: Reader) -> None:
    profile = world.a_profile()
    path = f"/profiles/{profile['id']}/handover"
    link = link_on(owner.send(path, once="1", valid="3600", overlap="0"))
    assert "Not opened yet" in owner.read(f"/profiles/{profile['id']}/credentials")
    made = Handover.objects.get()
    page = owner.send(f"/handovers/{made.pk}/withdraw")
    assert "Hand-over link withdrawn" in page
    assert "This link shows nothing" in opened(link)


def test_a_form_that_is_sent_twice_issues_one_credential(world: World, owner: Reader) -> None:
    profile = world.a_profile()
    for _ in range(2):
        owner.send(f"/profiles/{profile['id']}/handover", once="7")
    assert Handover.objects.count() == 1


@pytest.mark.parametrize("what", ["profile", "client"])
def test_something_is_off_for_a_time_and_says_until_when(
    world: World, owner: Reader, what: str
) -> None:
    profile = world.a_profile()
    path = f"/profiles/{profile['id']}"
    if what == "client":
        path = f"/clients/{world.client['id']}"
    assert "Deactivate for a time" in owner.read(path)
    assert "choose for how long" in owner.send(f"{path}/pause")
    page = owner.send(f"{path}/pause", span="3600")
    assert "It comes back by itself." in page
    row = (ApiClient if what == "client" else AccessProfile).objects.get()
    assert not row.active
    assert row.inactive_until is not None
    assert 3500 < (row.inactive_until - timezone.now()).total_seconds() < 3700
    owner.send(f"{path}/active", active="1")
    until = timezone.now().replace(year=timezone.now().year + 1, month=1, day=2)
    owner.send(f"{path}/pause", span="typed", until=until.strftime("%Y-%m-%dT10:30"))
    row.refresh_from_db()
    assert row.inactive_until is not None
    assert (row.inactive_until.hour, row.inactive_until.minute) == (10, 30)


def test_a_refresh_keeps_the_old_one_for_a_day_and_revoking_it_says_who_would_be_refused(
    world: World, owner: Reader
) -> None:
    profile = world.a_profile()
    path = f"/profiles/{profile['id']}"
    assert '<option value="86400" selected>' in owner.read(f"{path}/refresh")
    owner.send(f"{path}/refresh", once="1", overlap="86400")
    old, new = Credential.objects.order_by("pk")
    page = owner.read(f"{path}/credentials/{old.pk}/cut-off")
    assert "has not been used yet" in page
    Credential.objects.filter(pk=new.pk).update(last_used_at=timezone.now())
    assert "Follow the rotation" in owner.read(path)
    assert "it can be revoked" in owner.read(f"{path}/credentials")
    owner.send(f"{path}/credentials/{old.pk}/cut-off")
    old.refresh_from_db()
    assert old.revoked_at is not None
    assert "rotation" not in owner.read(path)
    assert "Rotation" not in owner.read(f"{path}/credentials")
    page = owner.read(f"{path}/credentials/{new.pk}/cut-off")
    assert "It is the only credential" in page


def test_a_client_is_offboarded_with_one_receipt_and_a_report(world: World, owner: Reader) -> None:
    shop, script = world.a_profile(name="Shop"), world.a_profile(name="Script")
    world.api.done("POST", f"v2/access_profiles/{shop['id']}/handovers", {})
    path = f"/clients/{world.client['id']}/offboarding"
    page = owner.read(path)
    assert "cannot be brought back" in page
    before = Change.objects.filter(kind="profile").count()
    page = owner.send(path)
    assert "2 active access profiles deactivated, 3 credentials revoked, 1 hand-over links" in page
    assert "Nothing of this client can call any API" in page
    # However many profiles there are, a gateway follows one kind of change.
    assert Change.objects.filter(kind="profile").count() == before
    assert not Credential.objects.filter(revoked_at=None).exists()
    assert not AccessProfile.objects.filter(active=True).exists()
    lines = owner.csv(f"{path}.csv")
    assert lines[0][:3] == ["access_profile_id", "access_profile", "auth_type"]
    assert {line[1] for line in lines[1:]} == {"Shop", "Script"}
    assert all(line[9] for line in lines[1:])
    assert AuditEvent.objects.filter(action="client.offboard").count() == 1
    assert script["id"]


def test_the_api_offboards_and_reports_the_same(world: World) -> None:
    world.a_profile()
    path = f"v2/api_clients/{world.client['id']}"
    assert world.api.done("GET", f"{path}/offboarding")["data"]["offboarded"] is False
    answer = world.api.done("POST", f"{path}/offboard")
    assert answer["data"]["offboarded"] is True
    assert answer["revocation"]["confirmed"] == 1
    assert world.api.done("GET", f"{path}/offboarding")["data"] == answer["data"]


def test_a_viewer_is_offered_none_of_it_and_may_do_none_of_it(world: World, viewer: Reader) -> None:
    profile = world.a_profile()
    page = f"/profiles/{profile['id']}"
    tabs = (page, f"{page}/credentials", f"{page}/requests", f"{page}/history")
    pages = "".join(map(viewer.read, (*tabs, f"/clients/{world.client['id']}")))
    for offered in (
        "New credential by link", "Deactivate for a time", "Offboard", "Revoke…", "Set expiry",
        "Refresh", ">Settings</a>\n</nav>",
    ):  # fmt: skip
        assert offered not in pages
    for path in (
        f"/profiles/{profile['id']}/handover",
        f"/profiles/{profile['id']}/pause",
        f"/clients/{world.client['id']}/pause",
    ):
        assert viewer.raw(path).status_code == 403
    viewer.send(f"/clients/{world.client['id']}/offboarding")
    assert ApiClient.objects.get().active


def test_a_deletion_says_what_it_takes_along_and_is_undone_on_a_page(
    world: World, owner: Reader, viewer: Reader
) -> None:
    world.a_profile(name="Shop")
    path = f"/clients/{world.client['id']}/delete"
    page = owner.read(path)
    for said in ("1 access profile, 1 of them active", "1 working credential", "deactivate it"):
        assert said in page
    owner.send(path, name="Acme")
    assert not ApiClient.objects.exists()
    page = owner.read("/recently-deleted")
    assert "1 access profile, 1 credential" in page
    number = re.findall(r"/recently-deleted/(\d+)/restore", page)[0]
    assert "Put back" not in viewer.read("/recently-deleted")
    viewer.send(f"/recently-deleted/{number}/restore")
    assert not ApiClient.objects.exists()
    page = owner.send(f"/recently-deleted/{number}/restore")
    assert "Client Acme was put back." in page
    assert "Credentials are gone" in page
    assert "put back already" in owner.send(f"/recently-deleted/{number}/restore")


def test_a_profile_has_a_page_for_each_question_and_says_which_one_it_is(
    world: World, owner: Reader
) -> None:
    profile, other = world.a_profile(name="Shop"), world.a_profile(name="Other")
    page = f"/profiles/{profile['id']}"
    names = {"": "Overview", "/requests": "Requests", "/credentials": "Credentials"}
    for path, name in {**names, "/history": "History", "/edit": "Settings"}.items():
        said = owner.read(page + path)
        assert f'<a href="{page}{path}" aria-current="page">{name}</a>' in said, path
        assert said.count('aria-current="page">') == 2, path  # with the one of the main menu
    held = Credential.objects.get(profile_id=profile["id"])
    said = owner.read(f"{page}/credentials")
    assert f'data-key="{held.pk}"' in said
    assert f"{page}/credentials/{held.pk}/cut-off" in said
    assert str(Credential.objects.get(profile_id=other["id"]).last_four) not in said
    world.change(profile, name="Web shop")
    said = owner.read(f"{page}/history")
    assert "created the access profile" in said
    assert "Web shop" in said
    assert "Other" not in said
    assert "How to call" in owner.read(page)
    assert "<auth token>" in owner.read(page)
