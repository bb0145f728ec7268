"""Members and management tokens are managed whole, by calls alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.api.conftest import Api

from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import AuditEvent, ManagementToken, Member, MemberSession
from ostiary.directory.people import management_tokens, members


def in_days(days: float) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def life(token: dict[str, Any]) -> float:
    """Days that a token has left."""
    ends = datetime.fromisoformat(token["expires_at"])
    return (ends - datetime.now(UTC)) / timedelta(days=1)


def a_member(api: Api, email: str = "m@example.com", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = api.done("POST", "v2/members", {"email": email, **more})
    return answer


# --- members


def test_an_invited_member_gets_a_link_that_is_shown_once_and_works_once(api: Api) -> None:
    made = a_member(api, name="Mia", sign_in_link=True)
    secret = made["sign_in_link"]["url"].rpartition("#")[2]
    path = f"v2/members/{made['data']['id']}"
    assert secret not in str(api.done("GET", path))
    assert members.redeem_link(secret) is not None
    assert members.redeem_link(secret) is None
    first = api.done("POST", f"{path}/sign_in_link")["data"]["url"].rpartition("#")[2]
    api.done("POST", f"{path}/sign_in_link")
    assert members.redeem_link(first) is None
    assert a_member(api, "n@example.com")["sign_in_link"] is None


def test_a_member_is_renamed_and_what_is_left_out_stays(api: Api) -> None:
    made = a_member(api, name="Mia")["data"]
    path = f"v2/members/{made['id']}"
    changed = api.done("PUT", path, {"name": "Mia M.", "email": "Mia@Example.com"})["data"]
    assert (changed["name"], changed["email"], changed["active"]) == (
        "Mia M.",
        "mia@example.com",
        True,
    )
    event = AuditEvent.objects.get(action="member.change")
    assert event.before == {"name": "Mia", "email": "m@example.com"}
    a_member(api, "n@example.com")
    for email in ("n@example.com", "nobody"):
        status, answer = api("PUT", path, {"email": email})
        assert (status, list(answer["errors"])) == (400, ["email"])
    assert api.done("GET", path)["data"]["email"] == "mia@example.com"


def test_two_who_edit_a_member_do_not_overwrite_each_other(api: Api) -> None:
    path = f"v2/members/{a_member(api)['data']['id']}"
    read = api.answer("GET", path)["ETag"]
    assert api.answer("PUT", path, {"name": "A"}, **{"If-Match": read}).status_code == 200
    assert api.answer("PUT", path, {"name": "B"}, **{"If-Match": read}).status_code == 412
    assert api.answer("DELETE", path, **{"If-Match": read}).status_code == 412


def test_a_deleted_members_sessions_and_tokens_end_and_the_audit_log_stays(api: Api) -> None:
    made = a_member(api, admin=True)["data"]
    member = Member.objects.get(pk=made["id"])
    MemberSession.objects.create(
        digest="d", expires_at=timezone.now() + timedelta(days=1), member=member, content=""
    )
    by = members.actor_of(member, "")
    theirs = management_tokens.create(by=by, name="theirs")
    link = members.create_link(by=SYSTEM, member=member)
    a_member(api, "stays@example.com", admin=True)
    gone = api.done("DELETE", f"v2/members/{made['id']}")
    assert gone == {
        "success": True, "ended_sessions": 1, "revoked_token_ids": [theirs.token.pk]
    }  # fmt: skip
    assert management_tokens.authenticate(theirs.secret.reveal(), "") is None
    assert members.redeem_link(link.reveal()) is None
    assert api("GET", f"v2/members/{made['id']}")[0] == 404
    assert AuditEvent.objects.filter(target_name="m@example.com").count() == 3
    event = AuditEvent.objects.get(action="token.revoke")
    assert event.after["why"] == "m@example.com, who made it, was deleted"


def test_the_last_workspace_admin_is_not_deleted(api: Api) -> None:
    made = a_member(api, admin=True)["data"]
    a_member(api, "other@example.com")
    status, answer = api("DELETE", f"v2/members/{made['id']}")
    assert (status, answer["message"]) == (409, "This is the last workspace admin")


def test_an_owner_lists_the_members_of_the_own_project_and_of_no_other(api: Api) -> None:
    mine, other = (api.done("POST", "folders", {"name": name})["id"] for name in "AB")
    member = a_member(api, name="Mia")["data"]["id"]
    api.done("PUT", f"v2/members/{member}/projects/{mine}", {"role": "editor"})
    owner = api.as_(admin=False, role="owner", project_ids=[mine])
    assert owner.done("GET", f"v2/projects/{mine}/members") == {
        "data": [
            {"id": member, "email": "m@example.com", "name": "Mia", "active": True, "role": "editor"}
        ],
        "count": 1, "page": 1, "per_page": 100, "next_cursor": None,
    }  # fmt: skip
    assert owner("GET", f"v2/projects/{other}/members")[0] == 404
    editor = api.as_(admin=False, role="editor", project_ids=[mine])
    assert editor("GET", f"v2/projects/{mine}/members")[0] == 403
    for path in (f"v2/members/{member}", "v2/members"):
        assert owner("GET", path)[0] == 403


# --- management tokens


def test_a_token_says_what_it_is(api: Api) -> None:
    project = api.done("POST", "folders", {"name": "A"})["id"]
    scoped = api.as_(admin=False, role="editor", project_ids=[project])
    own = scoped.done("GET", "v2/tokens/me")["data"]
    assert (own["role"], own["admin"], own["projects"]) == (
        "editor", False, [{"id": project, "name": "A"}]
    )  # fmt: skip
    assert 89 < life(own) <= 90
    assert scoped.done("GET", f"v2/tokens/{own['id']}")["data"]["name"] == "other"
    assert scoped("GET", f"v2/tokens/{api.token_id}")[0] == 403
    assert scoped("PUT", f"v2/tokens/{own['id']}", {"name": "more"})[0] == 403
    assert api.done("GET", "v2/tokens/me")["data"]["admin"] is True


def test_a_token_without_a_named_end_expires_as_the_workspace_says(api: Api) -> None:
    api.done("PUT", "v2/settings", {"token_default_days": 7, "token_longest_days": 30})
    assert 6.9 < life(api.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]) <= 7
    for ends in (in_days(31), None):
        sent = {"name": "t", "admin": True, "expires_at": ends}
        status, answer = api("POST", "v2/tokens", sent)
        said = "must be at most 30 days from now, the longest life of a token here"
        assert (status, answer["errors"]["expires_at"][-1]) == (400, said)
    assert api("PUT", "v2/settings", {"token_default_days": 31})[0] == 400


def test_a_token_for_ever_is_made_only_where_the_workspace_allows_it_and_it_is_asked_for(
    api: Api,
) -> None:
    # The token in use must not expire itself.
    everlasting = management_tokens.create(by=SYSTEM, name="e", everlasting=True)
    api = Api(everlasting.secret.reveal(), api.confirmer)
    assert api.done("GET", "v2/tokens/me")["data"]["expires_at"] is None
    sent = {"name": "t", "admin": True, "expires_at": None}
    assert api("POST", "v2/tokens", sent)[0] == 400
    api.done("PUT", "v2/settings", {"token_longest_days": 0})
    assert api.done("POST", "v2/tokens", sent)["data"]["expires_at"] is None


def test_name_and_expiry_change_and_what_was_made_ends_no_later(api: Api) -> None:
    made = api.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]
    child = Api(made["secret"], api.confirmer).done(
        "POST", "v2/tokens", {"name": "child", "admin": True}
    )["data"]
    path = f"v2/tokens/{made['id']}"
    read = api.answer("GET", path)["ETag"]
    changed = api.done("PUT", path, {"name": "u", "expires_at": in_days(2)})["data"]
    assert changed["name"] == "u"
    assert 1.9 < life(changed) <= 2
    assert (
        api.done("GET", f"v2/tokens/{child['id']}")["data"]["expires_at"] == changed["expires_at"]
    )
    assert api.answer("PUT", path, {"name": "v"}, **{"If-Match": read}).status_code == 412
    # The child may not give itself, or the one that made it, more time.
    inner = Api(child["secret"], api.confirmer)
    for number in (child["id"], made["id"]):
        assert inner("PUT", f"v2/tokens/{number}", {"expires_at": in_days(3)})[0] == 400
    assert api("PUT", path, {"name": None})[0] == 400


def test_a_token_that_has_ended_does_not_come_back(api: Api) -> None:
    made = api.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]
    path = f"v2/tokens/{made['id']}"
    ManagementToken.objects.filter(pk=made["id"]).update(expires_at=timezone.now())
    status, answer = api("PUT", path, {"expires_at": in_days(2)})
    assert (status, answer["message"]) == (409, "The token has expired; make another one")
    api.done("DELETE", path)
    status, answer = api("POST", f"{path}/rotate", {})
    assert (status, answer["message"]) == (409, "The token was revoked; make another one")


def test_a_rotated_token_works_with_both_secrets_for_the_overlap_alone(api: Api) -> None:
    made = api.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]
    old = Api(made["secret"], api.confirmer)
    rotated = old.done("POST", "v2/tokens/me/rotate", {"overlap_seconds": 60})["data"]
    new = Api(rotated["secret"], api.confirmer)
    assert rotated["id"] == made["id"]
    assert rotated["expires_at"] == made["expires_at"]
    assert rotated["secret"] not in str(new.done("GET", "v2/tokens/me"))
    for each in (old, new):
        assert each("GET", "projects")[0] == 200
    ManagementToken.objects.filter(pk=made["id"]).update(previous_until=timezone.now())
    assert old("GET", "projects")[0] == 401
    assert new("GET", "projects")[0] == 200
    last = Api(new.done("POST", f"v2/tokens/{made['id']}/rotate")["data"]["secret"], api.confirmer)
    assert new("GET", "projects")[0] == 401
    assert last("GET", "projects")[0] == 200


def test_an_old_secret_issues_nothing_that_outlives_its_overlap(api: Api) -> None:
    made = api.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]
    old = Api(made["secret"], api.confirmer)
    rotated = old.done("POST", "v2/tokens/me/rotate", {"overlap_seconds": 60})["data"]
    for path, body in (
        ("v2/tokens/me/rotate", {}),
        (f"v2/tokens/{made['id']}/rotate", {}),
        ("v2/tokens", {"name": "more", "admin": True}),
    ):
        status, answer = old("POST", path, body)
        assert (status, "was replaced" in answer["message"]) == (403, True), path
    new = Api(rotated["secret"], api.confirmer)
    assert new("POST", "v2/tokens", {"name": "more", "admin": True})[0] == 200
    assert new("POST", "v2/tokens/me/rotate", {})[0] == 200


def test_revoking_ends_the_secret_before_the_rotation_too(api: Api) -> None:
    made = api.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]
    api.done("POST", f"v2/tokens/{made['id']}/rotate", {"overlap_seconds": 60})
    api.done("DELETE", f"v2/tokens/{made['id']}")
    assert Api(made["secret"], api.confirmer)("GET", "projects")[0] == 401


def test_only_who_made_a_token_learns_its_next_secret(api: Api) -> None:
    foreign = management_tokens.create(by=SYSTEM, name="foreign").token.pk
    status, answer = api("POST", f"v2/tokens/{foreign}/rotate", {})
    assert (status, answer["message"]) == (
        403, "Only whoever made a token may rotate it; make another one, and revoke this one"
    )  # fmt: skip
    scoped = api.as_(admin=False, role="viewer", everywhere=True)
    assert scoped.done("POST", "v2/tokens/me/rotate")["data"]["role"] == "viewer"


@pytest.mark.parametrize(
    "sent",
    [
        {"admin": True, "role": "viewer"},
        {"admin": True, "all_projects": True},
        {"role": "viewer"},
        {"role": "viewer", "project_ids": [999_999]},
    ],
)
def test_contradictory_tokens_are_refused(api: Api, sent: dict[str, Any]) -> None:
    assert api("POST", "v2/tokens", {"name": "t", **sent})[0] == 400
    assert ManagementToken.objects.count() == 1


# --- users/me and properties


def test_a_scoped_token_is_shown_a_root_folder_that_it_can_see(api: Api) -> None:
    one, two = (api.done("POST", "folders", {"name": name})["id"] for name in "AB")
    both = api.as_(admin=False, role="viewer", project_ids=[two, one])
    root = both.done("GET", "users/me")["root_folder_id"]
    assert root == one
    assert root in {project["id"] for project in both.done("GET", "projects")}


def test_a_property_is_deleted_by_name_and_in_its_project_alone(api: Api) -> None:
    project = api.done("POST", "folders", {"name": "A"})["id"]
    for scope in ("", f"?project_id={project}"):
        api.done("POST", f"properties{scope}", {"properties": {"a": "1", "b": "2"}})
    assert api.done("DELETE", f"properties?name=a&project_id={project}") == {"success": True}
    assert api.done("GET", f"properties?project_id={project}") == {"b": "2"}
    assert api.done("GET", "properties") == {"a": "1", "b": "2"}
    assert api("DELETE", f"properties?name=a&project_id={project}")[0] == 404
    viewer = api.as_(admin=False, role="viewer", project_ids=[project])
    assert viewer("DELETE", f"properties?name=b&project_id={project}")[0] == 403
