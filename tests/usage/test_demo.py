"""The demo's week of usage, and its removal: what an owner made beside it stays."""

import re
import time
from pathlib import Path

import pytest
from django.db.models import Sum
from django.test import Client as Browser
from tests.api.conftest import Api, api

from ostiary.access.reasons import Reason, by_code, describe
from ostiary.directory import models
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import DemoObject, Member
from ostiary.directory.people import members
from ostiary.review import advice, logged_calls
from ostiary.review.advice import AdviceKind
from ostiary.samples import demo, demo_removal, demo_usage
from ostiary.usage import outcomes, recording, upkeep
from ostiary.usage.models import (
    DecisionTrace,
    LoggedCall,
    MinuteCount,
    MinuteLatency,
    Outcome,
    QuotaCount,
    Total,
)
from ostiary.usage.recording import CountKey, Totals, What

__all__ = ["api"]

DAY = 86_400
KINDS = (models.Client, models.AccessProfile, models.Collection, models.Endpoint, models.Connection)


@pytest.fixture
def now(api: Api) -> int:
    """The demo is made; the moment at which it was."""
    return made()


@pytest.fixture
def shortly(api: Api, monkeypatch: pytest.MonkeyPatch) -> int:
    """A demo with the usage of one day, which is removed sooner."""
    monkeypatch.setattr(demo_usage, "DAYS", 1)
    return made()


def made() -> int:
    moment = int(time.time())
    demo.create(
        upstream="http://127.0.0.1:9", console="http://c", gateway="http://g", recipes=Path(),
        now=moment,
    )  # fmt: skip
    return moment


def the_week() -> list[tuple[object, ...]]:
    columns = ("at_ms", "request_id", "status", "reason", "method", "address", "latency_ms")
    return list(LoggedCall.objects.order_by("pk").values_list(*columns))


def test_what_is_counted_is_what_is_logged(now: int) -> None:
    counted = MinuteCount.objects.aggregate(Sum("calls"))["calls__sum"]
    assert counted == LoggedCall.objects.count() > 5_000
    for reason in set(LoggedCall.objects.values_list("reason", flat=True)):
        lines = LoggedCall.objects.filter(reason=reason).count()
        assert (
            MinuteCount.objects.filter(reason=reason).aggregate(Sum("calls"))["calls__sum"] == lines
        )
    first = LoggedCall.objects.order_by("at_ms").values_list("at_ms", flat=True)[0] // 1000
    assert now - 7 * DAY <= first < now - 6 * DAY
    for used in QuotaCount.objects.all():
        own = LoggedCall.objects.filter(profile_id=used.profile_id)
        own = own.filter(at_ms__gte=used.period_start * 1000)
        admitted = [c for c in own if not outcomes.refused(c.reason)]
        assert used.calls == len(admitted)


def test_the_same_moment_gives_the_same_week(api: Api) -> None:
    weeks = []
    for _ in range(2):
        demo.create(
            upstream="http://127.0.0.1:9", console="http://c", gateway="http://g", recipes=Path(),
            now=1_795_521_600,
        )  # fmt: skip
        weeks.append(the_week())
        demo_removal.remove(by=SYSTEM)
        Member.objects.all().delete()
        models.Recipe.objects.all().delete()
    assert weeks[0] == weeks[1]


def test_every_refusal_of_the_week_is_explained_as_it_was_logged(now: int) -> None:
    found = set()
    for code in set(LoggedCall.objects.exclude(reason=0).values_list("reason", flat=True)):
        call = LoggedCall.objects.filter(reason=code).first()
        assert call is not None
        told = logged_calls.explained(by=SYSTEM, request_id=call.request_id)
        assert told.reason is by_code(code)
        if not describe(by_code(code)).is_admitted:
            assert not told.changes
        found.add(by_code(code))
    assert found >= {
        Reason.RATE_LIMITED, Reason.QUOTA_EXCEEDED, Reason.ADDRESS_NOT_ALLOWED,
        Reason.PROFILE_INACTIVE, Reason.METHOD_NOT_ALLOWED, Reason.ENDPOINT_NOT_FOUND,
        Reason.COLLECTION_NOT_GRANTED, Reason.CREDENTIAL_MISSING, Reason.UPSTREAM_TIMEOUT,
    }  # fmt: skip
    assert LoggedCall.objects.filter(latency_ms__gte=1000, reason=0).exists()


def test_the_week_gives_advice_of_most_kinds(now: int) -> None:
    assert {each.kind for each in advice.advised(by=SYSTEM).advice} == {*AdviceKind} - {
        AdviceKind.UNUSED
    }


def test_one_press_removes_the_demo_with_its_usage(api: Api, shortly: int) -> None:
    upkeep.run(shortly)
    browser = Browser()
    browser.force_login(Member.objects.get())
    assert "This is demo data" in browser.get("/").content.decode()
    html = {"accept": "text/html"}
    asked = browser.post("/demo/remove", headers=html)
    asked = browser.get(asked.headers["Location"], headers=html)
    text = re.sub(r"\s+", " ", asked.content.decode())
    numbers = (
        "3 clients, 5 access profiles, 2 API collections, 5 endpoints, 1 connection and 2 policies"
    )
    assert f"This deletes {numbers}, with their credentials." in text
    assert DemoObject.objects.exists()
    answer = browser.post("/demo/remove", {"sure": "1"})
    assert answer.status_code == 302
    page = browser.get("/").content.decode()
    assert "The demo was removed." in page
    assert "This is demo data" not in page
    for model in (*KINDS, models.Policy, DemoObject):
        assert not model._default_manager.exists(), model
    for rows in (LoggedCall, MinuteCount, MinuteLatency, Total, Outcome, QuotaCount, DecisionTrace):
        assert not rows._default_manager.exists(), rows
    assert Member.objects.count() == 1


def test_nobody_but_an_admin_is_offered_it_or_may_do_it(api: Api, shortly: int) -> None:
    browser = Browser()
    browser.force_login(members.create(by=SYSTEM, email="reader@example.com", admin=False))
    assert "This is demo data" not in browser.get("/").content.decode()
    assert browser.post("/demo/remove", {"sure": "1"}).status_code == 403
    assert DemoObject.objects.exists()


def test_what_the_owner_made_beside_it_stays(api: Api, shortly: int) -> None:
    """An own profile of a demo client, an own endpoint, an own collection on the demo's connection."""
    acme = models.Client.objects.get(name="Acme Corporation")
    orders = models.Collection.objects.get(name="Orders")
    own = api.done(
        "POST", "api_collections", {"name": "Mine", "proxy_connection_id": orders.connection_id}
    )
    content = {
        "name": "Mine", "api_client_id": acme.pk, "api_collection_ids": [own["id"]], "auth_type": "token",
    }  # fmt: skip
    profile = api.done("POST", "api_access_profiles", content)["result"]["id"]
    extra = {"name": "Mine", "method": "GET", "path": "/mine", "active": True}
    endpoint = api.done("POST", f"api_collections/{orders.pk}/api_endpoints", extra)["id"]
    minute = shortly // 60 * 60 - 3 * 3600
    what = What(minute, profile, acme.pk, int(own["id"]), 0)
    recording.store_counts("", {CountKey(what, 2, 0, 0): Totals(11, 100, 100)}, {})
    upkeep.run(shortly)
    saved = demo_removal.remove(by=SYSTEM).value
    assert saved.stays == (
        "The client Acme Corporation stays: 1 access profile of yours belongs to it.",
        "The API collection Orders stays: 1 endpoint of yours belongs to it.",
        "The connection Sample orders service stays: 2 API collections of yours use it.",
    )
    assert list(models.Client.objects.values_list("pk", flat=True)) == [acme.pk]
    assert list(models.AccessProfile.objects.values_list("pk", flat=True)) == [profile]
    assert list(models.Endpoint.objects.values_list("pk", flat=True)) == [int(endpoint)]
    assert not demo_removal.exists()
    assert not LoggedCall.objects.exists()
    upkeep.run(shortly + 60)
    assert {total.calls for total in Total.objects.all()} == {11}
    assert MinuteCount.objects.get().calls == 11


def test_an_interrupted_removal_goes_on(
    api: Api, shortly: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary.usage.removal.PATIENCE", 0)
    upkeep.run(shortly)
    with upkeep.alone(shortly):
        browser = Browser()
        browser.force_login(Member.objects.get())
        browser.post("/demo/remove", {"sure": "1"})
        assert "try again" in browser.get("/").content.decode()
    assert LoggedCall.objects.exists()
    demo_removal.remove(by=SYSTEM)
    assert not LoggedCall.objects.exists()
    assert not DemoObject.objects.exists()
