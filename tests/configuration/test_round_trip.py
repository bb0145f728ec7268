"""Properties of exports over generated projects: a plan of one changes nothing, and elsewhere it makes the same."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.api.conftest import Api
from tests.configuration.test_plans import plan

from ostiary.cli.files import loading, writing
from ostiary.directory.models import Policy, Recipe

pytestmark = pytest.mark.slow

HOOK = "https://hooks.example/services/T0/B0"
SECRET = "kept-0123456789-ABCDEFGHIJKLMNOP"
NAMES = st.sampled_from(
    ["A", "a", "A b", "a-b", "Größe: 1", "no", "1.10", "ж", "~", "'x'", "# y", "x" * 64]
)
TEXTS = st.sampled_from(
    ["", "one\ntwo\n", " blank", "a: b", "\ttab", "end:", "x" * 120, "null", "ž\u2028y"]
)
KEYS = st.one_of(st.none(), st.sampled_from(["a", "a-b", "k.1", "small", "x" * 64]))
LABELS = st.dictionaries(
    st.sampled_from(["env", "team/a", "n"]), st.sampled_from(["", "1", "yes", "a b"]), max_size=2
)
ADDRESSES = st.lists(
    st.sampled_from(["192.0.2.1", "198.51.100.0/24", "2001:db8::/32", "203.0.113.9"]),
    max_size=2,
    unique=True,
)
PATHS = ["/", "/a", "/a/{id}", "/a/{id}/b", "/files/{rest...}", "/x%20y", "/{p...}"]


def fields(required: Mapping[str, Any], **optional: Any) -> Any:
    return st.fixed_dictionaries(dict(required), optional=optional)


def named(**optional: Any) -> Any:
    return fields({"name": NAMES}, key=KEYS.filter(bool), labels=LABELS, **optional)


#: One limit for each of some windows.
RATES = st.lists(st.sampled_from(["second", "minute", "hour", "day"]), unique=True, max_size=3).map(
    lambda each: [{"limit": 10 * (n + 1), "interval": i} for n, i in enumerate(each)]
)
POLICY = named(
    rate_limits=RATES, usage_quota=st.one_of(st.none(), st.just({"limit": 9, "interval": "month"}))
)
LIST = named(
    entries=st.just(["192.0.2.0/24 # office", "", "# a comment", "2001:db8::1"]), description=TEXTS
)
CONNECTION = st.one_of(
    named(
        timeout_seconds=st.integers(1, 240),
        retries=st.one_of(st.none(), st.integers(0, 3)),
        verify_tls=st.booleans(),
    ),
    named(auth_type=st.just("header"), auth_name=st.just("X-Key"), auth_secret=st.just(SECRET)),
    named(
        auth_type=st.just("oauth2_client_credentials"),
        auth_name=st.just("id"),
        auth_secret=st.just(SECRET),
        token_url=st.just("https://192.0.2.7/token"),
        scope=st.sampled_from(["", "a b"]),
    ),
)
COLLECTION = fields(
    {"name": NAMES, "kind": st.sampled_from(["proxy", "recipe"])},
    description=TEXTS,
    version=st.sampled_from(["1", "1.10", "2024-01-01"]),
    labels=LABELS,
    cors_origins=st.sampled_from([[], ["https://a.example"], ["*"]]),
)
ENDPOINT = fields(
    {
        "name": NAMES,
        "method": st.sampled_from(["GET", "POST", "ANY", "DELETE"]),
        "path": st.sampled_from(PATHS),
    },
    description=TEXTS,
    active=st.booleans(),
    weight=st.integers(0, 3),
    timeout_seconds=st.one_of(st.none(), st.integers(1, 240)),
)
CLIENT = named(description=TEXTS)
PROOF = st.one_of(
    st.just({"auth_type": "token"}),
    st.just({"auth_type": "oauth2"}),
    st.just({"auth_type": "jwt", "jwt_method": "hmac", "jwt_secret": SECRET}),
    fields(
        {"auth_type": st.just("oidc"), "oidc_issuer": st.just("https://issuer.example")},
        audience=st.sampled_from(["", "a"]),
        leeway_seconds=st.integers(0, 300),
        required_claims=st.sampled_from([[], ["sub", "/a~1b"]]),
        allow_without_exp=st.booleans(),
    ),
)
PROFILE = st.tuples(
    named(
        ip_allow_list=ADDRESSES, ip_deny_list=ADDRESSES, active=st.booleans(), ip_watch_only=st.booleans(),
        expires_at=st.sampled_from([None, "2999-01-01T00:00:00Z", "2999-12-31T23:59:59.123Z"]),
    ),
    PROOF,
).map(lambda both: both[0] | both[1])  # fmt: skip
WEBHOOK = named(
    events=st.sampled_from([["quota.reached"], ["credential.issued", "credential.revoked"]]),
    expiry_days=st.integers(1, 90), active=st.booleans(),
)  # fmt: skip
#: Their names are no keys: they may have blanks, and letters of any script.
PROPERTY = st.sampled_from(["a.x", "A x", "é", "a-" * 50])
#: References are numbers, taken among what there is.
PROJECT = st.fixed_dictionaries(
    {
        "policies": st.lists(POLICY, max_size=3),
        "lists": st.lists(LIST, max_size=2),
        "connections": st.lists(CONNECTION, max_size=3),
        "collections": st.lists(st.tuples(COLLECTION, st.lists(ENDPOINT, max_size=3)), max_size=2),
        "webhooks": st.lists(WEBHOOK, max_size=2),
        "properties": st.dictionaries(PROPERTY, st.sampled_from(["", "1", " no", "a\nb", "é"]), max_size=3),
        "clients": st.lists(st.tuples(CLIENT, st.booleans(), st.lists(PROFILE, max_size=3)), max_size=3),
        "pick": st.integers(0, 6),
    }
)  # fmt: skip


class Project:
    """What one example makes by hand; what is refused there, such as a name that is taken, is left out."""

    def __init__(self, api: Api, shared: Mapping[str, Any]) -> None:
        self._api, self._shared = api, shared

    def make(self, drawn: Mapping[str, Any]) -> None:
        pick = drawn["pick"]
        policies = [
            *self._made("v2/api_policies", drawn["policies"], "data"),
            *self._shared["policies"],
        ]
        self._made("v2/webhooks", [{"url": HOOK, **each} for each in drawn["webhooks"]], "data")
        if drawn["properties"]:
            path = f"properties?project_id={self._api.home}"
            self._api.done("POST", path, {"properties": drawn["properties"]})
        lists = self._made("v2/address_lists", drawn["lists"], "data")
        connections = [
            self._api("POST", "connections", {
                "name": each["name"], "provider": "http",
                **{n: each[n] for n in ("key", "labels") if n in each},
                "input": {"base_url": f"https://u{n}.example/{n}"} | {
                    name: value for name, value in each.items() if name not in {"name", "key", "labels"}
                },
            })
            for n, each in enumerate(drawn["connections"])
        ]  # fmt: skip
        known = [answer["id"] for status, answer in connections if status == 200]
        collections = [*self._shared["collections"]]
        for number, (collection, endpoints) in enumerate(drawn["collections"]):
            body = {"handle": f"c-{number}", **collection}
            if collection["kind"] == "proxy" and known and pick % 3:
                body["proxy_connection_id"] = known[pick % len(known)]
            status, made = self._api("POST", "api_collections", body)
            if status != 200:
                continue
            collections.append(made["id"])
            for endpoint in endpoints:
                own = {"flow_id": self._shared["recipe"]} if collection["kind"] == "recipe" else {}
                self._api("POST", f"api_collections/{made['id']}/api_endpoints", endpoint | own)
        for client, active, profiles in drawn["clients"]:
            status, answer = self._api("POST", "api_clients", client)
            if status != 200:
                continue
            client_id = answer["result"]["id"]
            if not active:
                self._api("PUT", f"v2/api_clients/{client_id}/disable")
            if pick % 2:
                self._follow(client_id, collections, policies, pick)
            for profile in profiles:
                body = profile | {
                    "api_client_id": client_id,
                    "api_collection_ids": collections[: pick % 3 + 1],
                }
                body["api_policy_id"] = ([None, *policies])[pick % (len(policies) + 1)]
                body["ip_allow_list_ids"] = lists[: pick % 2]
                body["ip_deny_list_ids"] = lists[: (pick + 1) % 2]
                self._api("POST", "api_access_profiles", body)

    def _follow(
        self, client_id: int, collections: list[int], policies: list[int], pick: int
    ) -> None:
        """Give the client defaults, and a key that follows them."""
        rules: dict[str, Any] = {"auth_type": "token"}
        if pick % 3 == 0:
            rules = {
                "auth_type": "jwt",
                "jwt_method": "hmac",
                "jwt_secret": SECRET,
                "audience": "a",
            }
        body = {"api_collection_ids": collections[:2], "api_policy_id": policies[0], **rules}
        status, answer = self._api("PUT", f"v2/api_clients/{client_id}", body)
        assert status == 200, answer
        keys = f"v2/api_clients/{client_id}/api_keys"
        self._api("POST", keys, {"name": "Follows", "active": pick % 4 != 0})

    def _made(self, path: str, bodies: list[Any], wrapper: str) -> list[int]:
        answers = [
            self._api("POST", path, {"project_id": self._api.home, **each}) for each in bodies
        ]
        return [answer[wrapper]["id"] for status, answer in answers if status == 200]


def export(api: Api, folder: Path) -> Mapping[str, bytes]:
    content = api.done("GET", "v2/configuration?set=main")["data"]
    writing.write(folder, content, None, overwrite=True)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


_VARIABLE = re.compile(r"env: ([A-Z0-9_]+)\s")


def load(folder: Path) -> loading.Loaded:
    """A folder, with one value for every variable that it names."""
    texts = [path.read_text() for path in folder.rglob("*.yaml")]
    named = {name for text in texts for name in _VARIABLE.findall(text)}
    before = dict(os.environ)  # noqa: TID251 - which files name
    os.environ.update({n: HOOK if n.endswith("_URL") else SECRET for n in named})  # noqa: TID251 - which files name
    try:
        return loading.load(folder)
    finally:
        os.environ.clear()  # noqa: TID251 - which files name
        os.environ.update(before)  # noqa: TID251 - which files name


@pytest.fixture
def shared(api: Api) -> Mapping[str, Any]:
    """What other projects and the workspace have, in both Ostiaries."""
    policies = [
        Policy.objects.create(name=name, key=key, project=None).pk
        for name, key in (("Small", "small"), ("A", None), ("a", None))
    ]
    recipe = Recipe.objects.create(name="hello", started=True, present=True, project=None)
    other = api.done("POST", "folders", {"name": "Other"})["project_id"]
    collection = {"name": "Of others", "handle": "others-v1", "kind": "proxy", "project_id": other}
    made = api.done("POST", "api_collections", collection)
    return {"policies": policies, "recipe": recipe.pk, "collections": [made["id"]]}


# Nothing is made smaller: that takes minutes, and the differences say enough.
@settings(
    max_examples=25,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(PROJECT)
def test_an_export_plans_to_no_change_and_makes_the_same_bytes_elsewhere(
    api: Api, shared: Mapping[str, Any], drawn: Mapping[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as name, transaction.atomic():
        folder = Path(name)
        here = transaction.savepoint()
        Project(api, shared).make(drawn)
        files = export(api, folder)
        loaded = load(folder)
        made = plan(api, loaded.content, secrets=loaded.secrets)
        assert [(c["key"], c["fields"]) for c in made["changes"]] == []
        assert made["blocked"] == []
        transaction.savepoint_rollback(here)
        # Now it is empty.
        elsewhere = transaction.savepoint()
        made = plan(api, loaded.content, secrets=loaded.secrets)
        api.done("POST", f"v2/plans/{made['id']}/apply", {"secrets": loaded.secrets})
        assert export(api, folder) == files
        assert plan(api, loaded.content, secrets=loaded.secrets)["changes"] == []
        transaction.savepoint_rollback(elsewhere)
