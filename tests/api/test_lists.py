"""Every list of the API: found, sorted, paged and counted in one way."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from tests.api.conftest import Api

from ostiary.api.application import api as application
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    AuditEvent,
    Client,
    Collection,
    ConfigurationSet,
    Connection,
    Credential,
    Endpoint,
    Folder,
    ManagementToken,
    Member,
    Membership,
    Policy,
    Project,
    Recipe,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)

SEVERAL = 7


@dataclass(frozen=True)
class Listed:
    """One list, filled with seven rows."""

    path: str
    #: Filters that fit some of the rows and not all.
    filters: Mapping[str, str] = field(default_factory=dict)
    #: A word that finds the row with the number 3.
    word: str = "name3"
    labelled: bool = False
    key: str = ""
    sort: str = "name"
    dated: bool = True


LISTS = {
    "projects": Listed("projects", {"home": "true", "name": "name2"}, labelled=True, key="key3"),
    "folders": Listed(
        "folders?with_nested_folders=true",
        {"parent_id": "{home}", "project_id": "{home}", "name": "name2"},
        labelled=True, key="key3",
    ),
    "connections": Listed(
        "connections", {"project_id": "{other}", "auth_type": "none"}, labelled=True, key="key3"
    ),
    "collections": Listed(
        "api_collections",
        {"project_id": "{other}", "kind": "proxy", "handle": "handle3", "version": "3",
         "proxy_connection_id": "{connection}"},
        labelled=True, key="handle3", sort="handle",
    ),
    "endpoints": Listed(
        "api_endpoints",
        {"project_id": "{home}", "api_collection_id": "{collection}", "method": "GET",
         "path": "p3", "active": "true", "flow_id": "{recipe}"},
        labelled=True, key="GET /p3", sort="path",
    ),
    "clients": Listed(
        "api_clients", {"project_id": "{other}", "active": "false"}, labelled=True, key="key3"
    ),
    "clients, newer dialect": Listed(
        "v2/api_clients", {"project_id": "{other}", "active": "false"}, labelled=True, key="key3"
    ),
    "API keys": Listed(
        "v2/api_clients/{busy}/api_keys",
        {"active": "true", "auth_type": "oauth2"},
        word="busy3", labelled=True, key="busy3",
    ),
    "access profiles": Listed(
        "api_access_profiles",
        {"project_id": "{home}", "api_client_id": "{client}", "active": "false",
         "api_collection_id": "{collection}", "api_policy_id": "{policy}",
         "address_list_id": "{address_list}", "auth_type": "token",
         "expires_before": "2031-01-01T00:00:00Z"},
        labelled=True, key="key3",
    ),
    "credentials": Listed(
        "v2/access_profiles/{profile}/credentials", {"imported": "true"}, word="pre3",
        sort="created_at", dated=False,
    ),
    "credentials of all profiles": Listed(
        "v2/credentials",
        {"project_id": "{home}", "api_client_id": "{busy}", "access_profile_id": "{profile}",
         "api_collection_id": "{collection}", "auth_type": "token", "effective_state": "revoked",
         "imported": "true", "never_used": "false", "expires_before": "2031-01-01T00:00:00Z"},
        word="busy3", sort="created_at",
    ),
    "policies": Listed(
        "v2/api_policies", {"project_id": "{other}", "workspace": "true", "watch_only": "true"},
        labelled=True, key="key3",
    ),
    "address lists": Listed(
        "v2/address_lists", {"project_id": "{other}"}, labelled=True, key="key3"
    ),
    "webhooks": Listed(
        "v2/webhooks", {"project_id": "{other}", "workspace": "true", "active": "false"},
        labelled=True, key="key3",
    ),
    "deliveries": Listed(
        "v2/webhooks/{webhook}/deliveries",
        {"state": "delivered", "event_type": "type3", "event_id": "uid3"},
        word="type3", sort="id", dated=False,
    ),
    "recipes": Listed(
        "recipes", {"project_id": "{other}", "shared": "true", "running": "false", "name": "name3"}
    ),
    "members": Listed(
        "v2/members",
        {"project_id": "{home}", "admin": "true", "active": "false", "email": "E3@x.example"},
    ),
    "project's members": Listed(
        "v2/projects/{home}/members", {"role": "owner", "active": "false"}, dated=False
    ),
    "tokens": Listed(
        "v2/tokens",
        {"admin": "true", "role": "viewer", "all_projects": "true", "project_id": "{home}",
         "made_by_token_id": "{token}", "revoked": "true",
         "expires_before": "2031-01-01T00:00:00Z"},
    ),
    "configuration sets": Listed(
        "v2/configuration/sets", {"project_id": "{other}", "name": "name3", "has_drift": "true"},
        dated=False,
    ),
    "audit events": Listed(
        "v2/audit_events",
        {"project_id": "{other}", "actor_kind": "member", "member_id": "3", "token_id": "3",
         "action": "client.change", "target_kind": "policy", "target_id": "3",
         "from": "{now}", "to": "{now}"},
        sort="id", dated=False,
    ),
}  # fmt: skip


@pytest.fixture
def rows(api: Api) -> dict[str, str]:
    """Seven rows of each kind, and what they are called in the addresses of the lists."""
    now = timezone.now()
    home = Project.objects.get(pk=api.home)
    other = Project.objects.create(name="other")
    half = [home, other]
    upstream = Connection.objects.create(project=home, name="up", auth_type="header")
    busy = Client.objects.create(project=home, name="busy")
    own: dict[str, Any] = {}
    made: dict[str, list[Any]] = {}
    for n in range(SEVERAL):
        named: dict[str, Any] = {"name": f"name{n}"}
        keyed = named | {"key": f"key{n}", "labels": {"team": f"t{n % 2}", "a.b/1": "x"}}
        # Nothing is asked of the rows but to be there, so no use case has to make them.
        project, odd = half[n % 2], bool(n % 2)
        own = {
            "project": Folder.objects.create(**keyed),
            "folder": Folder.objects.create(parent_id=home.pk, project=home, **keyed),
            "connection": Connection.objects.create(
                project=project, auth_type="basic" if odd else "none", **keyed
            ),
            "recipe": Recipe.objects.create(
                project=other if odd else None, shared=not odd, started=not odd, **named
            ),
            "policy": Policy.objects.create(project=other if odd else None, watched=odd, **keyed),
            "address_list": AddressList.objects.create(
                project=project, text="", packed="", entries=0, **keyed
            ),
            "webhook": Webhook.objects.create(
                project=other if odd else None, active=odd, url="https://x", **keyed
            ),
            "member": Member.objects.create(
                email=f"e{n}@x.example", admin=odd, is_active=odd, **named
            ),
            "client": Client.objects.create(project=project, active=odd, **keyed),
            "set": ConfigurationSet.objects.create(project=project, drifted=n % 2, **named),
        }
        own["collection"] = Collection.objects.create(
            project=project, kind="proxy" if odd else "recipe", handle=f"handle{n}", version=str(n),
            connection=upstream if odd else None, name=f"name{n}", labels=keyed["labels"],
        )  # fmt: skip
        for name, each in own.items():
            made.setdefault(name, []).append(each)
        own["endpoint"] = Endpoint.objects.create(
            collection=made["collection"][1 if odd else -1], method="GET" if n == 3 else "PUT",
            path=f"/p{n}", shape=f"/p{n}", active=odd, recipe=own["recipe"] if odd else None,
            name=f"name{n}", labels=keyed["labels"],
        )  # fmt: skip
        profile = AccessProfile.objects.create(
            client=made["client"][1 if odd else -1], active=odd, active_since=now,
            auth_type="token" if odd else "oauth2", policy=own["policy"] if odd else None,
            expires_at="2030-01-01T00:00:00Z" if odd else None, **keyed,
        )  # fmt: skip
        made.setdefault("profile", []).append(profile)
        if odd:
            profile.collections.add(made["collection"][1])
            (profile.allowed_lists if n == 1 else profile.denied_lists).add(made["address_list"][0])
        keyholder = AccessProfile.objects.create(
            client=busy, active=odd, active_since=now, auth_type="token" if odd else "oauth2",
            name=f"busy{n}", key=f"busy{n}", labels=keyed["labels"],
        )  # fmt: skip
        Credential.objects.create(
            profile=profile if n == 1 else keyholder, fingerprint=b"k%031d" % n,
            prefix=f"key-{n}", last_used_at=now if odd else None, revoked_at=None if odd else now,
            expires_at="2030-01-01T00:00:00Z" if odd else None,
        )  # fmt: skip
        Credential.objects.create(
            profile=made["profile"][0], fingerprint=b"%032d" % n, prefix=f"pre{n}", imported=odd
        )
        event = WebhookEvent.objects.create(uid=f"uid{n}", type=f"type{n}", payload="{}")
        WebhookDelivery.objects.create(
            webhook=made["webhook"][0], event=event, state="delivered" if odd else "waiting",
            next_at=now, since=now,
        )  # fmt: skip
        role = "owner" if odd else "viewer"
        if n != 2:
            Membership.objects.create(
                member=own["member"], project_id=home.pk, role=role if n else "owner"
            )
        token = ManagementToken.objects.create(
            fingerprint=b"t%031d" % n, prefix="ostm_", last_four="abcd", admin=odd,
            role="" if odd else role, everywhere=not odd and n > 2,
            revoked_at=now if odd else None, expires_at="2030-01-01T00:00:00Z" if odd else None,
            made_by=ManagementToken.objects.first() if odd else None, **named,
        )  # fmt: skip
        if n < 2:
            token.projects.add(home)
        AuditEvent.objects.create(
            actor_kind="member" if odd else "token", actor_id=3 if n in {3, 4} else 9,
            actor_name=f"name{n}", action="client.change" if odd else "policy.delete",
            target_kind="client" if odd else "policy", target_id=n, project_id=half[n % 2].pk,
        )  # fmt: skip
    AuditEvent.objects.filter(actor_kind="system").update(at=now - timedelta(days=1))
    AuditEvent.objects.filter(action="policy.delete").update(at=now + timedelta(hours=1))
    middle = now + timedelta(minutes=30)
    return {
        "home": str(home.pk),
        "other": str(other.pk),
        "now": middle.isoformat().replace("+00:00", "Z"),
        "token": str(ManagementToken.objects.order_by("pk")[0].pk),
        "connection": str(upstream.pk),
        "collection": str(made["collection"][1].pk),
        "busy": str(busy.pk),
        "client": str(made["client"][0].pk),
        "policy": str(made["policy"][1].pk),
        "recipe": str(made["recipe"][1].pk),
        "profile": str(made["profile"][0].pk),
        "webhook": str(made["webhook"][0].pk),
        "address_list": str(made["address_list"][0].pk),
    }


class Walk:
    """Calls of one list."""

    def __init__(self, api: Api, listed: Listed, rows: Mapping[str, str]) -> None:
        self._api, self.listed, self._names = api, listed, rows
        self._path = listed.path.format(**rows)

    def answer(self, *parameters: str) -> Any:
        path, _, given = self._path.partition("?")
        every = [each for each in (given, *parameters) if each]
        query = "&".join(each.format(**self._names).replace("+", "%2B") for each in every)
        return self._api.answer("GET", f"{path}?{query}")

    def page(self, *parameters: str) -> tuple[list[Any], Any]:
        """The rows, and the headers."""
        answer = self.answer(*parameters)
        assert answer.status_code == 200, answer.content
        content = answer.json()
        if not isinstance(content, list):
            assert content["count"] == int(answer["X-Total-Count"])
            assert content["next_cursor"] == answer.headers.get("X-Next-Cursor")
            content = content["data"]
        return content, answer.headers

    def ids(self, *parameters: str) -> list[Any]:
        return [row["id"] for row in self.page(*parameters)[0]]


@pytest.fixture
def walks(api: Api, rows: dict[str, str]) -> list[Walk]:
    """All lists in one test: to make the rows takes longer than to ask for them."""
    return [Walk(api, listed, rows) for listed in LISTS.values()]


def test_no_list_is_forgotten() -> None:
    """All operations with pages are in the table, but for those of another kind.

    Usage and request log are not rows; the links of one profile and what was deleted within seven days
    are few, and in the order of time.
    """
    paths = application.get_openapi_schema()["paths"]
    paged = {
        re.sub(r"\{[a-z_]+\}", "{}", path.removeprefix("/api/"))
        for path, operations in paths.items()
        for parameter in operations.get("get", {}).get("parameters", ())
        if parameter["name"] == "per_page"
    }
    listed = {re.sub(r"\{[a-z_]+\}", "{}", each.path.partition("?")[0]) for each in LISTS.values()}
    others = {"v2/access_profiles/{}/handovers", "v2/deleted_objects"}
    assert paged - listed == {"v2/request_logs", "v2/usage", *others}


def test_a_list_is_walked_by_cursor_and_by_page_alike(walks: list[Walk]) -> None:
    for walk in walks:
        every = walk.ids()
        assert len(every) >= SEVERAL - 1
        for order in (walk.listed.sort, f"-{walk.listed.sort}"):
            sort = f"sort={order}"
            whole = walk.ids(sort)
            assert sorted(whole) == sorted(every)
            pages = range(1, len(every) // 5 + 2)
            by_page = [pk for n in pages for pk in walk.ids(sort, "per_page=5", f"page={n}")]
            assert by_page == whole, walk.listed.path
            by_cursor, cursor = [], ""
            while True:
                shown, headers = walk.page(sort, "per_page=4", cursor)
                by_cursor += [row["id"] for row in shown]
                assert int(headers["X-Total-Count"]) == len(every)
                if "X-Next-Cursor" not in headers:
                    break
                cursor = f"cursor={headers['X-Next-Cursor']}"
            assert by_cursor == whole, walk.listed.path


def test_links_lead_through_a_list(walks: list[Walk], api: Api) -> None:
    for walk in walks:
        links = _links(walk.page("per_page=2", "page=2")[1]["Link"])
        assert set(links) == {"first", "prev", "next", "last"}
        assert "page=3" in links["next"]
        seen, follow = [], ""
        answer = walk.answer("per_page=4")
        while answer is not None:
            content = answer.json()
            seen += [
                row["id"] for row in (content if isinstance(content, list) else content["data"])
            ]
            follow = _links(answer["Link"]).get("next", "")
            answer = api.answer("GET", follow.partition("/api/")[2]) if follow else None
        assert seen == walk.ids()


def _links(header: str) -> dict[str, str]:
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="([a-z]+)"', header)}


def test_each_filter_chooses_some_rows(walks: list[Walk]) -> None:
    for walk in walks:
        every = set(walk.ids())
        for name, value in walk.listed.filters.items():
            chosen = set(walk.ids(f"{name}={value}"))
            assert chosen, (walk.listed.path, name)
            assert chosen < every, (walk.listed.path, name)


def test_a_search_finds_by_part_of_a_text(walks: list[Walk]) -> None:
    for walk in walks:
        word = walk.listed.word
        shown, _ = walk.page(f"search={word.upper()}")
        assert len(shown) == 1 or walk.listed.path.startswith("folders")
        assert all(word in str(row.values()) for row in shown)
        assert walk.ids("search=nothing-has-this") == []
        assert walk.ids(f"search={word} nothing-has-this") == []


def test_keys_and_labels_find(walks: list[Walk]) -> None:
    for walk in walks:
        if not walk.listed.labelled:
            assert walk.answer("label=team").status_code in {200, 400}
            continue
        found = walk.page(f"key={walk.listed.key}")[0]
        assert found
        assert {row["key"] for row in found} == {walk.listed.key}
        assert walk.ids("key=nothing-has-this") == []
        some = walk.page("label=team:t1")[0]
        assert {row["labels"]["team"] for row in some} == {"t1"}
        assert len(walk.ids("label=team")) > len(some)
        assert walk.ids("label=team:t1", "label=a.b/1:x") == [row["id"] for row in some]
        assert walk.ids("label=team:t1", "label=a.b/1:y") == []
        assert walk.answer("label=Not").status_code == 400


def test_times_choose(walks: list[Walk]) -> None:
    for walk in walks:
        if not walk.listed.dated:
            continue
        for name in ("created_after", "updated_after"):
            assert walk.ids(f"{name}=2020-01-01T00:00:00Z") == walk.ids()
            assert walk.ids(f"{name}=2100-01-01T00:00:00Z") == []
            assert walk.answer(f"{name}=yesterday").status_code == 400


def test_what_a_list_does_not_have_is_refused_by_name(walks: list[Walk]) -> None:
    for walk in walks:
        for parameter in ("sort=colour", "cursor=x", "cursor=bnVsbA", "page=0", "per_page=101"):
            answer = walk.answer(parameter)
            assert answer.status_code == 400, (walk.listed.path, parameter)
            assert list(answer.json()["errors"]) == [parameter.partition("=")[0]]


def test_a_cursor_stands_still_while_rows_come_and_go(api: Api) -> None:
    ids = [Client.objects.create(project_id=api.home, name=f"c{n}").pk for n in range(6)]
    first = api.answer("GET", "api_clients?sort=-name&per_page=2")
    assert [row["id"] for row in first.json()] == ids[:3:-1]
    Client.objects.filter(pk=ids[5]).delete()
    Client.objects.create(project_id=api.home, name="z")
    then = api.done("GET", f"api_clients?sort=-name&per_page=2&cursor={first['X-Next-Cursor']}")
    assert [row["id"] for row in then] == [ids[3], ids[2]]


def test_a_cursor_is_of_one_order_and_not_beside_a_page(api: Api) -> None:
    for n in range(3):
        Client.objects.create(project_id=api.home, name=f"c{n}")
    cursor = api.answer("GET", "api_clients?sort=name&per_page=1")["X-Next-Cursor"]
    for query in (f"cursor={cursor}", f"sort=name&page=1&cursor={cursor}"):
        status, answer = api("GET", f"api_clients?{query}")
        assert (status, list(answer["errors"])) == (400, ["cursor"])


def test_equal_names_are_all_listed_once(api: Api) -> None:
    ids = [Client.objects.create(project_id=api.home, name="same").pk for _ in range(5)]
    seen: list[int] = []
    for shown in _walked(api, "api_clients?sort=-name&per_page=2"):
        seen += shown
    assert seen == ids[::-1]


def _walked(api: Api, path: str) -> Iterator[list[int]]:
    cursor = ""
    while True:
        answer = api.answer("GET", f"{path}{cursor}")
        yield [row["id"] for row in answer.json()]
        if "X-Next-Cursor" not in answer.headers:
            return
        cursor = f"&cursor={answer['X-Next-Cursor']}"


def test_a_list_shows_and_counts_only_what_the_token_sees(api: Api, rows: dict[str, str]) -> None:
    viewer = api.as_(admin=False, role="viewer", project_ids=[int(rows["other"])])
    for path in ("api_clients", "connections", "api_access_profiles", "v2/audit_events"):
        answer = viewer.answer("GET", f"{path}?search=name&sort=-id")
        content = answer.json()
        shown = content if isinstance(content, list) else content["data"]
        assert int(answer["X-Total-Count"]) == len(shown) < SEVERAL, path


def test_what_a_token_did_last_night_is_one_question(api: Api) -> None:
    made = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    api.done("PUT", f"api_clients/{made['id']}", {"name": "Acme Ltd"})
    query = f"token_id={api.token_id}&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
    found = api.done("GET", f"v2/audit_events?{query}&project_id={api.home}")
    assert [event["action"] for event in found["data"]] == ["client.change", "client.create"]
    narrower = api.done("GET", f"v2/audit_events?{query}&action=client.&target_id={made['id']}")
    assert narrower["count"] == 2
    assert api.done("GET", f"v2/audit_events?{query}&action=client.delete")["count"] == 0


@pytest.mark.parametrize("far", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_utc_has_not_is_refused(api: Api, far: str) -> None:
    query = urlencode({"created_after": far})
    assert api("GET", f"v2/api_clients?{query}")[0] == 400
    assert _cursor_status(api, "created_at", far) == 400


def test_a_cursor_that_no_database_can_hold_is_refused(api: Api) -> None:
    assert _cursor_status(api, "name", "\ud800") == 400
    assert _cursor_status(api, "name", "a") == 200


def _cursor_status(api: Api, sort: str, value: str) -> int:
    content = json.dumps([sort, value, 1]).encode()
    cursor = base64.urlsafe_b64encode(content).decode().rstrip("=")
    return api("GET", f"v2/api_clients?sort={sort}&cursor={cursor}")[0]
