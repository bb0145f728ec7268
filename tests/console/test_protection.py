"""Protect your API and the test of a connection: what the forms create, show and refuse."""

import json
import re
import shlex
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.test import Client
from tests.api.conftest import Api, api
from tests.review.conftest import log, world
from tests.stage import Upstream, free_port

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import connection_tests, connections
from ostiary.directory.models import Collection, Connection
from ostiary.directory.people import members

__all__ = ["api", "log", "world"]

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


def signed_in(*, admin: bool = True) -> Client:
    client = Client()
    member = members.create(by=SYSTEM, email="owner@example.com", admin=admin)
    client.force_login(member)
    return client


def sent(client: Client, path: str, **fields: str) -> str:
    """The page that a browser sees after it sent a form."""
    browser = {"Accept": "text/html"}
    answer: Any = client.post(path, fields, headers=browser)
    assert answer.status_code == 303
    answer = client.get(answer.headers["Location"], headers=browser)
    return re.sub(r"\s+", " ", unescape(answer.content.decode()))


def test_one_form_puts_an_api_behind_the_gateway_and_shows_its_token_once(
    upstream: Upstream,
) -> None:
    owner = signed_in()
    page = sent(owner, "/protect", url=upstream.url, name="Books", once="1")
    assert "Books is protected" in page
    assert re.search(r"curl -i -H 'API-TOKEN: ost_[\w-]+'", page)
    collection = Collection.objects.get(name="Books")
    assert collection.connection is not None
    assert collection.connection.base_urls == [upstream.url]
    assert {each.method for each in collection.endpoints.all()} == {"ANY"}
    assert collection.profiles.get().client.name == "Books clients"


def test_the_first_requests_to_a_path_of_a_foreign_document_run_no_command_of_its_own(
    upstream: Upstream,
) -> None:
    document = {
        "openapi": "3.1.0", "info": {"title": "B", "version": "1"},
        "paths": {"/it's$(id)": {"get": {"responses": {"200": {"description": "Fine"}}}}},
    }  # fmt: skip
    page = sent(
        signed_in(), "/protect", url=upstream.url, once="1", openapi_spec=json.dumps(document)
    )
    for name, words in (("refused", 3), ("admitted", 5)):
        call = page.partition(f'<textarea id="{name}"')[2].partition(">")[2]
        found = shlex.split(call.partition("</textarea>")[0])
        assert len(found) == words
        assert found[-1].endswith("/it's$(id)")


def test_an_api_that_is_protected_already_is_left_as_it_is(upstream: Upstream) -> None:
    owner = signed_in()
    sent(owner, "/protect", url=upstream.url, once="1")
    page = sent(owner, "/protect", url=upstream.url, once="2")
    assert "is protected already; nothing was changed." in page
    assert Connection.objects.filter(base_urls=[upstream.url]).count() == 1


def test_an_api_that_does_not_answer_is_shown_with_its_remedy_and_not_protected() -> None:
    port = free_port()
    page = sent(signed_in(), "/protect", url=f"http://127.0.0.1:{port}", once="1")
    assert f"Nothing listens on port {port} of 127.0.0.1." in page
    assert "Start your API, or correct the port." in page
    assert not Connection.objects.filter(base_urls=[f"http://127.0.0.1:{port}"]).exists()


def test_whoever_may_change_nothing_is_not_let_in() -> None:
    assert signed_in(admin=False).get("/protect").status_code == 403


def test_a_test_of_a_connection_shows_each_step_and_sends_no_secret(upstream: Upstream) -> None:
    given = connections.ConnectionInput.of(
        name="Guarded", base_urls=[upstream.url], auth_type="header", auth_name="X-Key",
        auth_secret="very-secret-value",
    )  # fmt: skip
    connection = connections.create(by=SYSTEM, given=given).value
    page = sent(signed_in(), f"/connections/{connection.pk}/test")
    assert re.findall(r'<th scope="row">(\w+)</th>', page) == ["DNS", "TCP", "HTTP"]
    assert "GET / answered 200." in page
    assert "very-secret-value" not in page
    assert [name for name, _ in upstream.seen[0].headers if name.lower() == "x-key"] == []


def test_the_api_tests_a_connection_as_the_console_does(api: Api, upstream: Upstream) -> None:
    given = {
        "base_url": upstream.url,
        "auth_type": "header",
        "auth_name": "X-Key",
        "auth_secret": "very-secret-value",
    }
    made = api.done("POST", "connections", {"name": "Tested", "input": given})
    told = api.done("POST", f"connections/{made['id']}/test")
    assert (told["good"], told["untested_servers"]) == (True, 0)
    (server,) = told["servers"]
    assert (server["url"], server["good"]) == (upstream.url, True)
    assert [step["step"] for step in server["steps"]] == ["DNS", "TCP", "HTTP"]
    assert server["steps"][-1]["detail"] == "GET / answered 200."
    assert "very-secret-value" not in str(upstream.seen[-1].headers)
    viewer = api.as_(admin=False, role="viewer", everywhere=True)
    assert viewer("POST", f"connections/{made['id']}/test")[0] == 403
    assert api("POST", "connections/999/test")[0] == 404


def test_neither_test_goes_where_no_connection_may(api: Api, upstream: Upstream) -> None:
    """What is stored may be older than the rule, or than a listener of Ostiary's own."""
    given = {"base_url": upstream.url}
    made = api.done("POST", "connections", {"name": "Inner", "input": given})
    Connection.objects.filter(pk=made["id"]).update(base_urls=["http://169.254.169.254/"])
    told = api.done("POST", f"connections/{made['id']}/test")
    assert not told["good"]
    (step,) = told["servers"][0]["steps"]
    assert (step["step"], step["good"]) == ("DNS", False)
    assert "must not be a link-local" in step["detail"]
    page = sent(signed_in(), f"/connections/{made['id']}/test")
    assert "must not be a link-local" in page


@pytest.mark.parametrize(
    ("path", "good", "said"),
    [
        ("/status/404", True, "That is fine if your API has nothing at this path."),
        ("/status/401", True, "The test sends no credential."),
        ("/status/302", True, "It redirects."),
        ("/status/503", False, "The API itself fails"),
    ],
)
def test_a_status_is_explained(upstream: Upstream, path: str, good: bool, said: str) -> None:
    tested = connection_tests.of_url(f"{upstream.url}{path}")
    assert tested.good is good
    assert said in tested.findings[-1].remedy


def test_tls_where_there_is_none_is_named(upstream: Upstream) -> None:
    tested = connection_tests.of_url(upstream.url.replace("http://127.0.0.1", "https://localhost"))
    assert [each.step for each in tested.findings if not each.good] == ["TLS"]
    assert "begin the URL with http://" in tested.findings[-1].remedy


def test_a_name_without_an_address_is_named() -> None:
    tested = connection_tests.of_url("http://nothing.invalid")
    assert [each.step for each in tested.findings] == ["DNS"]
    assert "nothing.invalid has no address" in tested.findings[0].detail
