"""The Overview: the steps to a first call, and what needs attention, of what its reader may see."""

import re
import time
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from tests.api.conftest import api
from tests.console.test_forms import Refusals, refusals
from tests.review.conftest import Log, World, log, world

from ostiary import settings
from ostiary.access.reasons import Reason
from ostiary.console.frame import documentation
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import protection
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.models import AccessProfile, Credential, Member
from ostiary.directory.people import members
from ostiary.usage.models import QuotaCount

__all__ = ["api", "log", "refusals", "world"]

#: Statements of a page at most, whatever there is: none of them runs once for a row.
MOST_STATEMENTS = 60


def signed_in(*, admin: bool = True) -> Client:
    client = Client()
    email = f"reader{Member.objects.count()}@example.com"
    client.force_login(members.create(by=SYSTEM, email=email, admin=admin))
    return client


def read(client: Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", unescape(answer.content.decode()))


@pytest.mark.django_db(transaction=True)
def test_an_empty_workspace_leads_step_by_step_to_a_first_call() -> None:
    page = read(signed_in())
    assert "Get to a first request" in page
    for address in ("/protect", "/connections/new", "/collections/new", "/clients/new"):
        assert f'href="{address}"' in page


def test_a_step_is_done_once_its_object_is_there(world: World) -> None:
    page = read(signed_in())
    steps = re.findall(r"<li>(.*?)</li>", page)
    assert any("Create a client" in each and "(done)" in each for each in steps)
    assert any("Send a first request" in each and "(done)" not in each for each in steps)


def test_what_expires_soon_is_named_and_leads_to_its_page(world: World) -> None:
    profile = protection.protect(by=SYSTEM, url="http://127.0.0.1:9000").profile
    assert profile is not None
    AccessProfile.objects.filter(pk=profile.pk).update(
        expires_at=timezone.now() + timedelta(days=2)
    )
    Credential.objects.filter(profile=profile).update(expires_at=timezone.now() + timedelta(days=3))
    page = read(signed_in())
    assert 'href="/access-profiles?expires=7"' in page
    assert 'href="/credentials?expires=7"' in page
    assert "expire within 7 days" in page
    assert f'href="/profiles/{profile.pk}"' in page


def test_whoever_may_see_no_project_sees_nothing_of_it(world: World) -> None:
    protection.protect(by=SYSTEM, url="http://127.0.0.1:9000")
    AccessProfile.objects.update(expires_at=timezone.now() + timedelta(days=2))
    page = read(signed_in(admin=False))
    assert "expire within 7 days" not in page
    assert "Protect your API" not in page


def test_the_page_takes_few_statements(world: World) -> None:
    client = signed_in()
    with CaptureQueriesContext(connection) as statements:
        read(client)
    assert len(statements) <= MOST_STATEMENTS


def test_who_is_near_a_quota_is_named_with_its_figures(world: World) -> None:
    policy = world.a_policy(usage_quota={"limit": 10, "interval": "day"})
    near = world.a_profile(name="Near", api_policy_id=policy["id"])
    far = world.a_profile(name="Far", api_policy_id=policy["id"])
    today = int(time.time()) // 86_400 * 86_400
    for profile, calls in ((near, 9), (far, 3)):
        AccessProfile.objects.filter(pk=profile["id"]).update(last_used_at=timezone.now())
        QuotaCount.objects.create(
            profile_id=profile["id"], interval="day", period_start=today, calls=calls
        )
    page = read(signed_in())
    assert "Near or over the quota" in page
    assert f'href="/profiles/{near["id"]}"' in page
    assert "9 of 10 a day" in page
    assert f'href="/profiles/{far["id"]}"' not in page


def test_what_the_gateway_left_out_is_named_with_its_reason(
    world: World, refusals: Refusals
) -> None:
    collection, order = world.collection["id"], world.order["id"]
    reasons = {
        (unpublished_objects.COLLECTION, collection): "Its path is too long.",
        (unpublished_objects.ENDPOINT, order): "Its pattern is ambiguous.",
    }
    refusals.reasons.update(reasons)
    page = read(signed_in())
    assert "Left out of the gateway" in page
    assert all(reason in page for reason in reasons.values())
    assert f'href="/collections/{collection}"' in page


@pytest.mark.django_db(transaction=True)
def test_pages_link_to_the_documents_where_somebody_serves_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = signed_in()
    assert ">Docs</a>" not in read(client)
    monkeypatch.setenv("OSTIARY_DOCS_URL", "https://docs.example.com/")
    settings.current.cache_clear()
    try:
        for path, address in (("/", "tutorial"), ("/policies", "how-to/limit-calls")):
            page = client.get(path).content.decode()
            assert f'href="https://docs.example.com/{address}.html"' in page
    finally:
        monkeypatch.undo()
        settings.current.cache_clear()


def test_each_page_of_the_documents_that_is_linked_exists() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for name in {*documentation.PAGES.values(), "index"}:
        assert (docs / f"{name}.md").is_file(), name


def test_search_results_and_explanations_show_the_state(world: World, log: Log) -> None:
    profile = world.a_profile(name="Ended script")
    AccessProfile.objects.filter(pk=profile["id"]).update(
        expires_at=timezone.now() - timedelta(days=1)
    )
    owner = signed_in()
    found = owner.get("/search", {"find": "ended"}).content.decode()
    assert re.search(r'Ended script</bdi>.*?<span class="state [^>]*>Expired', found, re.DOTALL)
    found = owner.get("/search", {"find": "POST /orders"}).content.decode()
    assert re.search(r'POST /orders</bdi>.*?<span class="state [^>]*>Inactive', found, re.DOTALL)
    log(
        "id-1", reason=Reason.PROFILE_EXPIRED, profile_id=profile["id"],
        client_id=world.client["id"], details={"path": "/orders-v1/orders"},
    )  # fmt: skip
    page = owner.get("/logs/id-1").content.decode()
    assert re.search(r'Ended script</a> <span class="state [^>]*>Expired', page)
    asked = {"profile": str(profile["id"]), "method": "GET", "path": "/orders-v1/orders"}
    page = owner.get("/explain", asked).content.decode()
    assert re.search(r'Ended script</a> <span class="state [^>]*>Expired', page)
    told = world.api.done("POST", "v2/explain", {"request_id": "id-1"})["data"]
    assert told["effective_state"] == "expired"
