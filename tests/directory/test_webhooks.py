"""Events for webhooks: written with the change or not at all, claimed by one, retried for a day."""

import json
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.changes.errors import Forbidden, Invalid, NotFound
from ostiary.directory.clients import access_profiles, credentials
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Collection,
    Credential,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)
from ostiary.directory.webhooks import deliveries, events, webhooks

ALL = [kind.value for kind in events.OFFERED]


def a_webhook(project_id: int | None = None, **more: object) -> Webhook:
    given = webhooks.WebhookInput.of(
        name="W",
        url="https://hooks.example.com/x",
        project_id=project_id,
        **{"events": ALL, **more},
    )
    return webhooks.create(by=SYSTEM, given=given)[0]


def a_profile(client: Client, collection: Collection) -> AccessProfile:
    saved, _ = access_profiles.create(
        by=SYSTEM,
        given=access_profiles.NewProfileInput(
            client_id=client.pk, auth_type="token", name="P", collection_ids=[collection.pk]
        ),
    )
    return saved.value


def types() -> list[str]:
    return list(WebhookEvent.objects.order_by("pk").values_list("type", flat=True))


def test_what_is_rolled_back_is_not_told(client_of_ours: Client, collection: Collection) -> None:
    a_webhook()
    profile = a_profile(client_of_ours, collection)
    before = types()
    with pytest.raises(RuntimeError), transaction.atomic():
        credentials.refresh(by=SYSTEM, profile_id=profile.pk)
        assert types() == [*before, "credential.refreshed"]
        raise RuntimeError
    assert types() == before == ["credential.issued"]


def test_without_a_webhook_nothing_is_written(
    client_of_ours: Client, collection: Collection
) -> None:
    a_webhook(events=["quota.reached"])
    switched_off = a_webhook()
    webhooks.switch(by=SYSTEM, webhook_id=switched_off.pk, active=False)
    a_profile(client_of_ours, collection)
    assert types() == []


def test_an_attempt_is_claimed_by_one_and_again_if_nobody_ends_it() -> None:
    webhook = a_webhook()
    webhooks.send_test(by=SYSTEM, webhook_id=webhook.pk)
    now = timezone.now()
    first = deliveries.claim(now=now, busy={}, most=10)
    assert len(first) == 1
    assert deliveries.claim(now=now, busy={}, most=10) == []
    later = now + timedelta(seconds=deliveries.CLAIM_SECONDS + 1)
    again = deliveries.claim(now=later, busy={}, most=10)
    assert [attempt.uid for attempt in again] == [first[0].uid]
    assert again[0].number == 2


def test_it_is_given_up_after_a_day_and_shown() -> None:
    webhook = a_webhook()
    webhooks.send_test(by=SYSTEM, webhook_id=webhook.pk)
    began = now = timezone.now()
    waits = []
    while True:
        attempts = deliveries.claim(now=now, busy={}, most=10)
        deliveries.finish(attempts[0], now=now, status=500, error="It answered 500.")
        delivery = WebhookDelivery.objects.get()
        if delivery.state != WebhookDelivery.State.WAITING:
            break
        waits.append((delivery.next_at - now).total_seconds())
        now = delivery.next_at
    assert delivery.state == WebhookDelivery.State.GIVEN_UP
    assert (delivery.attempts, delivery.error) == (11, "It answered 500.")
    assert waits[0] < 6
    assert timedelta(hours=20) < now - began < timedelta(hours=27)
    webhooks.redeliver(by=SYSTEM, webhook_id=webhook.pk, delivery_id=delivery.pk)
    assert deliveries.claim(now=timezone.now(), busy={}, most=10)[0].number == 1


def test_one_webhook_takes_no_more_than_its_share() -> None:
    many, one = a_webhook(), a_webhook()
    for _ in range(9):
        webhooks.send_test(by=SYSTEM, webhook_id=many.pk)
    webhooks.send_test(by=SYSTEM, webhook_id=one.pk)
    now = timezone.now()
    claimed = deliveries.claim(now=now, busy={many.pk: 1}, most=10)
    assert [a.webhook_id for a in claimed] == [many.pk] * 3 + [one.pk]


def test_credentials_that_expire_are_told_of_once(
    client_of_ours: Client, collection: Collection
) -> None:
    week, month = (a_webhook(events=["credential.expiring"], expiry_days=days) for days in (7, 30))
    profile = a_profile(client_of_ours, collection)
    now = timezone.now()
    AccessProfile.objects.filter(pk=profile.pk).update(expires_at=now + timedelta(days=20))
    assert events.tell_expiring(now) == 1
    assert events.tell_expiring(now) == 0
    assert WebhookDelivery.objects.get().webhook_id == month.pk
    assert events.tell_expiring(now + timedelta(days=14)) == 1
    assert WebhookDelivery.objects.filter(webhook=week).count() == 1
    credentials.refresh(by=SYSTEM, profile_id=profile.pk, overlap_seconds=86_400)
    assert events.tell_expiring(now) == 2 + 1  # the old one's overlap to both, the new one's end
    assert events.tell_expiring(now + timedelta(days=90)) == 0
    told = json.loads(WebhookEvent.objects.order_by("pk")[0].payload)["data"]
    assert told["access_profile"]["id"] == profile.pk
    assert told["credential"]["expires_at"].endswith("Z")


def test_a_deleted_client_tells_of_each_credential(
    client_of_ours: Client, collection: Collection
) -> None:
    from ostiary.directory.clients import clients

    a_webhook(events=["credential.revoked"])
    for _ in range(3):
        a_profile(client_of_ours, collection)
    clients.delete(by=SYSTEM, client_id=client_of_ours.pk)
    assert types() == ["credential.revoked"] * 3
    assert not Credential.objects.exists()


def test_old_deliveries_go_and_what_happens_once_is_remembered_longer() -> None:
    webhook = a_webhook()
    with transaction.atomic():
        for once in (None, "quota:1:0:80"):
            events.tell(events.EventType.QUOTA_WARNING, {}, [webhook], once=once)
    now = timezone.now()
    for attempt in deliveries.claim(now=now, busy={}, most=10):
        deliveries.finish(attempt, now=now, status=200, error="")
    assert deliveries.tidy(now + timedelta(days=29)) == 0
    deliveries.tidy(now + timedelta(days=31))
    assert list(WebhookEvent.objects.values_list("once", flat=True)) == ["quota:1:0:80"]
    assert not WebhookDelivery.objects.exists()
    deliveries.tidy(now + timedelta(days=121))
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"events": []}, "events"),
        ({"events": ["quota.reached", "no.such"]}, "events"),
        ({"expiry_days": 0}, "expiry_days"),
        ({"expiry_days": 91}, "expiry_days"),
        ({"expiry_days": "7"}, "expiry_days"),
        ({"events": "quota.reached"}, "events"),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        a_webhook(**more)  # type: ignore[arg-type]
    assert list(refused.value.errors) == [field]


def test_editors_have_those_of_their_projects_and_admins_the_workspaces() -> None:
    from ostiary.directory.workspace import setup

    home = setup.home().pk
    everywhere, here = a_webhook(), a_webhook(home)
    editor = Actor(kind="member", id=1, name="E", roles={home: Role.EDITOR})
    viewer = Actor(kind="member", id=2, name="V", roles={home: Role.VIEWER})
    assert list(webhooks.webhooks(editor)) == [here]
    assert list(webhooks.webhooks(viewer)) == []
    assert list(webhooks.webhooks(SYSTEM)) == [everywhere, here]
    with pytest.raises(NotFound):
        webhooks.delete(by=editor, webhook_id=everywhere.pk)
    for by, project in ((editor, None), (viewer, home)):
        with pytest.raises(Forbidden):
            webhooks.create(
                by=by,
                given=webhooks.WebhookInput(
                    name="W", url="https://example.com", events=ALL, project_id=project
                ),
            )
