"""Several teams behind one API: what a project's deletion says, and that no token's right grows."""

import contextlib
import json
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.api.conftest import Api

from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import AuditEvent, Connection, Credential, Endpoint, Member, Recipe
from ostiary.directory.people import members


def a_project(api: Api, name: str = "Team") -> int:
    return int(api.done("POST", "folders", {"name": name})["id"])


def filled(api: Api, project: int) -> dict[str, Any]:
    """A project with a bit of everything in it, secrets too."""
    secret = {"auth_type": "header", "auth_name": "X-Key", "auth_secret": "s3cret-of-theirs"}
    connection = api.done(
        "POST",
        "connections",
        {"name": "Up", "project_id": project, "input": {"base_url": "http://10.0.0.9", **secret}},
    )
    collection = api.done(
        "POST",
        "api_collections",
        {"name": "Team", "project_id": project, "proxy_connection_id": connection["id"]},
    )
    client = api.done("POST", "api_clients", {"name": "Acme", "project_id": project})["result"]
    profile = api.done(
        "POST",
        "api_access_profiles",
        {
            "name": "P",
            "api_client_id": client["id"],
            "api_collection_ids": [collection["id"]],
            "auth_type": "token",
        },
    )["result"]
    api.done("POST", f"properties?project_id={project}", {"properties": {"a": "1"}})
    return {"client": client, "profile": profile, "collection": collection}


def test_a_project_with_contents_goes_only_by_force_and_says_what_went(api: Api) -> None:
    project = a_project(api)
    made = filled(api, project)
    scoped = api.done(
        "POST", "v2/tokens", {"name": "t", "role": "owner", "project_ids": [project]}
    )["data"]
    status, answer = api("DELETE", f"projects/{project}")
    assert (status, answer["message"]) == (403, "Cannot destroy folder")
    assert answer["errors"] == {
        "folder": [
            (
                "holds 1 client, 1 access profile, 1 credential, 1 API collection, 1 connection, "
                "1 property; force=true deletes them with it"
            )
        ]
    }
    assert Connection.objects.filter(project_id=project).exists()
    gone = api.done("DELETE", f"projects/{project}?force=true")
    assert gone["deleted"] == {
        "clients": 1,
        "access_profiles": 1,
        "credentials": 1,
        "api_collections": 1,
        "connections": 1,
        "properties": 1,
    }
    assert gone["revoked_token_ids"] == [scoped["id"]]
    assert gone["revocation"]["confirmed"] == 1
    assert not Credential.objects.filter(profile_id=made["profile"]["id"]).exists()
    event = AuditEvent.objects.get(action="project.delete")
    assert event.after == {"deleted": gone["deleted"], "revoked_tokens": [scoped["id"]]}
    assert Api(scoped["secret"], api.confirmer)("GET", "projects")[0] == 401


def test_a_project_whose_collections_others_call_stays(api: Api) -> None:
    project, other = a_project(api, "A"), a_project(api, "B")
    collection = filled(api, project)["collection"]
    client = api.done("POST", "api_clients", {"name": "B", "project_id": other})["result"]
    api.done(
        "POST",
        "api_access_profiles",
        {
            "name": "P",
            "api_client_id": client["id"],
            "api_collection_ids": [collection["id"]],
            "auth_type": "token",
        },
    )
    status, answer = api("DELETE", f"projects/{project}?force=true")
    assert status == 403
    assert answer["errors"]["folder"][0].startswith("has API collections that 1 access profile of")
    assert api("GET", f"api_collections/{collection['id']}")[0] == 200


def test_home_is_home_whatever_it_is_called(api: Api) -> None:
    api.done("PUT", f"projects/{api.home}", {"name": "Platform"})
    pretender = a_project(api, "Home")
    assert api.done("POST", "api_clients", {"name": "x"})["result"]["project_id"] == api.home
    assert api.done("GET", "users/me")["root_folder_id"] == api.home
    assert api("DELETE", f"projects/{api.home}?force=true")[0] == 403
    assert [p["id"] for p in api.done("GET", "projects") if p["home"]] == [api.home]
    assert api("DELETE", f"projects/{pretender}")[0] == 200


def test_a_scoped_token_without_a_project_named_means_its_own(api: Api) -> None:
    one, two = a_project(api, "A"), a_project(api, "B")
    theirs = api.as_(admin=False, role="editor", project_ids=[one])
    assert theirs.done("GET", "users/me")["root_folder_id"] == one
    assert theirs.done("POST", "api_clients", {"name": "x"})["result"]["project_id"] == one
    both = api.as_(admin=False, role="editor", project_ids=[one, two])
    status, answer = both("POST", "api_clients", {"name": "x"})
    assert (status, list(answer["errors"])) == (400, ["project_id"])


class Calls(RuleBasedStateMachine):
    """Tokens call what there is on tokens, projects, members and clients, in any order."""

    api: Api

    def __init__(self) -> None:
        super().__init__()
        self._around = transaction.atomic()
        self._around.__enter__()
        self.callers: list[Api] = [self.api]
        #: What each caller was made with: nothing for an admin, or all its projects.
        self.scopes: list[set[int] | None] = [None]
        self.ids: list[int] = [0]
        self.projects = [self.api.home]
        self.member = self.api.done("POST", "v2/members", {"email": "m@example.com"})["data"]["id"]

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._around.__exit__(None, None, None)

    who = st.integers(0, 9)

    @rule(
        who=who,
        content=st.fixed_dictionaries(
            {
                "name": st.just("t"),
                "admin": st.booleans(),
                "role": st.sampled_from(["viewer", "editor", "owner", None]),
                "all_projects": st.booleans(),
            }
        ),
        picked=st.sets(st.integers(0, 3), max_size=2),
    )
    def make_token(self, who: int, content: dict[str, Any], picked: set[int]) -> None:
        number = who % len(self.callers)
        ids = {self.projects[i % len(self.projects)] for i in picked}
        sent = content | {"project_ids": sorted(ids)}
        status, answer = self.callers[number]("POST", "v2/tokens", sent)
        if status != 200:
            return
        assert self.scopes[number] is None
        self.callers.append(Api(answer["data"]["secret"], self.api.confirmer))
        everything = content["admin"] or content["all_projects"]
        self.scopes.append(None if everything else ids)
        self.ids.append(answer["data"]["id"])
        if content["all_projects"]:
            # It sees all, but may make no token: those of its own would be an admin's.
            self.scopes[-1] = set(range(10_000))

    @rule(who=who, which=st.integers(1, 9))
    def revoke(self, who: int, which: int) -> None:
        self._of(who)("DELETE", f"v2/tokens/{self.ids[which % len(self.ids)]}")

    @rule(who=who, name=st.sampled_from(["A", "B", "Home"]))
    def add_project(self, who: int, name: str) -> None:
        status, answer = self._of(who)("POST", "folders", {"name": name})
        if status == 200:
            self.projects.append(answer["id"])

    @rule(who=who, which=st.integers(0, 9), force=st.booleans())
    def delete_project(self, who: int, which: int, force: bool) -> None:
        path = f"projects/{self._project(which)}?force={str(force).lower()}"
        self._of(who)("DELETE", path)

    @rule(who=who, which=st.integers(0, 9), role=st.sampled_from(["viewer", "owner", None]))
    def give_role(self, who: int, which: int, role: str | None) -> None:
        project = self._project(which)
        path = f"v2/members/{self.member}/projects/{project}"
        number = who % len(self.callers)
        if self.callers[number]("PUT", path, {"role": role})[0] == 200:
            scope = self.scopes[number]
            assert scope is None or project in scope

    @rule(who=who, which=st.one_of(st.none(), st.integers(0, 9)))
    def add_client(self, who: int, which: int | None) -> None:
        given = {} if which is None else {"project_id": self._project(which)}
        self._of(who)("POST", "api_clients", {"name": "C"} | given)

    def _of(self, who: int) -> Api:
        return self.callers[who % len(self.callers)]

    def _project(self, which: int) -> int:
        return self.projects[which % len(self.projects)]

    @invariant()
    def nobody_sees_more_than_at_first(self) -> None:
        for caller, scope in list(zip(self.callers, self.scopes, strict=True))[1:]:
            if scope is None:
                continue
            status, found = caller("GET", "projects")
            if status == 401:
                continue
            seen = {project["id"] for project in found}
            assert seen <= scope
            clients = caller.done("GET", "api_clients")
            assert {client["project_id"] for client in clients} <= seen
            with contextlib.suppress(KeyError):
                assert caller.done("GET", "users/me")["root_folder_id"] in seen | {0}


def test_no_sequence_of_calls_widens_a_token(api: Api) -> None:
    Calls.api = api
    # Many steps call with a token that is revoked by now, all within a minute.
    api.done("PUT", "v2/settings", {"address_failures_per_minute": 0})
    run_state_machine_as_test(
        Calls,
        settings=settings(
            max_examples=15, stateful_step_count=20, suppress_health_check=list(HealthCheck)
        ),
    )


def a_recipe_endpoint(api: Api, project: int, recipe: int, handle: str) -> tuple[int, Any]:
    collection = api.done(
        "POST",
        "api_collections",
        {"name": handle, "project_id": project, "kind": "recipe"},
    )
    content = {"name": "E", "method": "GET", "path": "/e", "flow_id": recipe}
    return api("POST", f"api_collections/{collection['id']}/api_endpoints", content)


def test_a_recipe_of_one_project_is_not_there_for_another(api: Api) -> None:
    mine, other = a_project(api, "A"), a_project(api, "B")
    ours = api.as_(admin=False, role="editor", project_ids=[mine])
    theirs = api.as_(admin=False, role="owner", project_ids=[other])
    recipe = Recipe.objects.create(name="total")
    path = f"recipes/{recipe.pk}"
    # A new one is for all to run, and for admins to switch.
    for editor in (ours, theirs):
        assert editor.done("GET", path)["shared"] is True
        assert editor("PUT", f"{path}/stop")[0] == 403
        assert editor("PUT", path, {"project_id": mine})[0] == 403
    assert a_recipe_endpoint(theirs, other, recipe.pk, "theirs")[0] == 200
    status, answer = api("PUT", path, {"project_id": mine})
    assert (status, answer["message"]) == (
        409, "The recipe is run by 1 endpoint of other projects",
    )  # fmt: skip
    Endpoint.objects.all().delete()
    changed = api.done("PUT", path, {"project_id": mine})
    assert (changed["project_id"], changed["shared"]) == (mine, False)
    assert api("PUT", path, {"project_id": mine, "shared": True})[0] == 400
    for method, suffix in (("GET", ""), ("PUT", "/stop"), ("PUT", "/start")):
        assert theirs(method, f"{path}{suffix}")[0] == 404
    assert theirs.done("GET", "recipes") == []
    assert theirs.done("GET", "users/me")["recipes_count"] == 0
    unknown = a_recipe_endpoint(theirs, other, 999_999, "one")
    assert a_recipe_endpoint(theirs, other, recipe.pk, "two") == unknown
    assert unknown[0] == 400
    assert ours("PUT", f"{path}/stop")[0] == 200
    assert ours("PUT", f"{path}/start")[0] == 200
    assert a_recipe_endpoint(ours, mine, recipe.pk, "ours")[0] == 200
    event = AuditEvent.objects.filter(action="recipe.stop").get()
    assert event.project_id == mine
    # What a project leaves behind is not shared with the others.
    assert api("DELETE", f"projects/{mine}?force=true")[0] == 200
    left = api.done("GET", path)
    assert (left["project_id"], left["shared"]) == (None, False)
    assert theirs("GET", path)[0] == 404


def test_a_policy_of_one_project_is_not_there_for_another(api: Api) -> None:
    mine, other = a_project(api, "A"), a_project(api, "B")
    ours = api.as_(admin=False, role="editor", project_ids=[mine])
    theirs = api.as_(admin=False, role="owner", project_ids=[other])
    viewer = api.as_(admin=False, role="viewer", project_ids=[mine])
    limits = {"rate_limit": {"limit": 5, "interval": "minute"}}
    common = api.done("POST", "v2/api_policies", {"name": "P", **limits})["data"]
    given = {"name": "P", "project_id": mine, **limits}
    own = ours.done("POST", "v2/api_policies", given)["data"]
    assert (own["project_id"], common["project_id"]) == (mine, None)
    assert ours("POST", "v2/api_policies", given)[1]["errors"] == {
        "name": ["has already been taken"]
    }
    # Names are free in each project, and none says what another has.
    status, answer = theirs("POST", "v2/api_policies", given)
    assert (status, answer["codes"]) == (400, {"project_id": ["unknown"]})
    assert theirs("POST", "v2/api_policies", {**given, "project_id": other})[0] == 200
    assert ours("POST", "v2/api_policies", {"name": "Q"})[0] == 403
    assert viewer("POST", "v2/api_policies", {**given, "name": "Q"})[0] == 403
    path = f"v2/api_policies/{own['id']}"
    assert [policy["id"] for policy in ours.done("GET", "v2/api_policies")["data"]] == [
        common["id"], own["id"]
    ]  # fmt: skip
    assert viewer("GET", path)[0] == 200
    changed = {"name": "P", "rate_limit": {"limit": 9, "interval": "minute"}}
    for method in ("GET", "PUT", "DELETE"):
        content = changed if method == "PUT" else None
        assert theirs(method, path, content)[0] == 404
        assert ours(method, f"v2/api_policies/{common['id']}", content)[0] == (
            200 if method == "GET" else 403
        )
    assert viewer("PUT", path, changed)[0] == 403
    assert ours.done("PUT", path, changed)["data"]["rate_limit"]["limit"] == 9
    assert ours("PUT", path, {**changed, "project_id": other})[0] == 400
    profile = {
        "name": "P", "auth_type": "token",
        "api_collection_ids": [filled(api, mine)["collection"]["id"]],
    }  # fmt: skip
    client = ours.done("POST", "api_clients", {"name": "C", "project_id": mine})["result"]["id"]
    profile |= {"api_client_id": client, "api_policy_id": own["id"]}
    assert ours("POST", "api_access_profiles", profile)[0] == 200
    elsewhere = theirs.done("POST", "api_clients", {"name": "C"})["result"]["id"]
    own_collection = theirs.done("POST", "api_collections", {"name": "Theirs"})["id"]
    profile |= {"api_client_id": elsewhere, "api_collection_ids": [own_collection]}
    unknown = theirs("POST", "api_access_profiles", {**profile, "api_policy_id": 999_999})
    assert theirs("POST", "api_access_profiles", profile) == unknown
    assert unknown[0] == 400
    # Limits that hold in a project do not vanish with a move.
    status, answer = api("PUT", f"api_clients/{client}", {"project_id": other})
    assert (status, list(answer["errors"])) == (400, ["project_id"])
    gone = api.done("DELETE", f"projects/{mine}?force=true")
    assert gone["deleted"]["policies"] == 1


def test_who_may_read_a_collection_may_not_let_consumers_into_it(api: Api) -> None:
    mine, other = a_project(api, "A"), a_project(api, "B")
    collection = filled(api, mine)["collection"]
    member = members.create(by=SYSTEM, email="m@example.com")
    members.set_role(by=SYSTEM, member_id=member.pk, project_id=mine, role="viewer")
    members.set_role(by=SYSTEM, member_id=member.pk, project_id=other, role="owner")
    by = members.actor_of(member, "")
    client = clients.create(by=by, given=clients.ClientInput(name="C", project_id=other))
    given = access_profiles.NewProfileInput(
        name="P", client_id=client.pk, auth_type="token", collection_ids=[collection["id"]]
    )
    with pytest.raises(Invalid) as refused:
        access_profiles.create(by=by, given=given)
    assert "needs the role editor" in refused.value.errors["collection_ids"][0]
    members.set_role(by=SYSTEM, member_id=member.pk, project_id=mine, role="editor")
    by = members.actor_of(Member.objects.get(pk=member.pk), "")
    made, _ = access_profiles.create(by=by, given=given)
    # What was granted stays, and may be saved again, without the role.
    members.set_role(by=SYSTEM, member_id=member.pk, project_id=mine, role="viewer")
    by = members.actor_of(Member.objects.get(pk=member.pk), "")
    access_profiles.change(by=by, profile_id=made.value.pk, given=given)


def test_an_owner_learns_of_members_by_address_alone(api: Api) -> None:
    stranger = members.create(by=SYSTEM, email="elsewhere@example.com").pk
    mine = a_project(api, "Mine")
    owner = api.as_(admin=False, role="owner", project_ids=[mine])
    path = f"v2/members/{stranger}/projects/{mine}"
    for role in ("viewer", None):
        assert owner("PUT", path, {"role": role})[0] == 404
    assert "elsewhere" not in json.dumps(owner.done("GET", "v2/audit_events"))
    invited = {"email": "Elsewhere@example.com", "role": "viewer"}
    owner.done("POST", f"v2/projects/{mine}/members", invited)
    owner.done("PUT", path, {"role": "editor"})
    assert (
        owner("POST", f"v2/projects/{mine}/members", invited | {"email": "x@y.example"})[0] == 400
    )


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"])
def test_a_date_beyond_all_calendars_is_refused_with_a_sentence(api: Api, moment: str) -> None:
    status, answer = api("POST", "v2/tokens", {"name": "t", "admin": True, "expires_at": moment})
    assert (status, answer["errors"]) == (400, {"expires_at": ["must be before the year 9000"]})


@pytest.mark.parametrize("name", ["a\u202eb", "a\u200b", "a\x1b", ""])
def test_the_workspace_has_a_name_that_can_be_read(api: Api, name: str) -> None:
    status, answer = api("PUT", "v2/settings", {"name": name})
    assert status == 400, answer
    assert set(answer["errors"]) == {"name"}
