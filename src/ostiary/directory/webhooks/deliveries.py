"""Deliveries of events to webhooks: which are due, who tries them, and how it went.

An attempt is claimed by moving its time ahead, so that of several who send one tries it, and so
that an attempt that nobody ends (its process was killed) is made again.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone

from ostiary import settings
from ostiary.directory.models import Webhook, WebhookDelivery, WebhookEvent
from ostiary.identity.sealing import KeyRing, SealingError
from ostiary.identity.secret import Secret

State = WebhookDelivery.State

#: Seconds until an attempt that did not end is made again: twice what one may take.
CLAIM_SECONDS = 20
#: Seconds after each failed attempt; after the last one, a day after the first, it is given up.
RETRIES = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
#: Attempts at one webhook at the same time: a slow one must not take the room of the others.
AT_ONCE_EACH = 4
#: How long deliveries are shown, and events that happen once are remembered: a quota's period
#: has at most 90 days.
KEEP_DAYS, REMEMBER_DAYS = 30, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One claimed attempt. `secrets`: what signs; the newest first."""

    delivery_id: int
    webhook_id: int
    uid: str
    url: str
    body: str
    secrets: tuple[Secret, ...]
    number: int


def secret_context(webhook_id: int) -> str:
    """Where a webhook's secret is sealed to."""
    return f"directory_webhook:{webhook_id}:secret"


def claim(*, now: datetime, busy: Mapping[int, int], most: int) -> list[DeliveryAttempt]:
    """Claim at most `most` attempts that are due; `busy`: those under way, by webhook."""
    due = WebhookDelivery.objects.filter(
        state=State.WAITING, next_at__lte=now, webhook__active=True
    )
    attempts: list[DeliveryAttempt] = []
    for webhook_id in due.order_by("webhook_id").values_list("webhook_id", flat=True).distinct():
        room = min(AT_ONCE_EACH - busy.get(webhook_id, 0), most - len(attempts))
        found = due.filter(webhook_id=webhook_id).select_related("webhook", "event")
        next_ones = found.order_by("next_at", "pk")[: max(0, room)]
        attempts += [_attempt(delivery) for delivery in next_ones if _claimed(delivery, now)]
    return attempts


def _claimed(delivery: WebhookDelivery, now: datetime) -> bool:
    mine = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=State.WAITING, next_at=delivery.next_at
    )
    ahead = now + timedelta(seconds=CLAIM_SECONDS)
    return mine.update(next_at=ahead, attempts=F("attempts") + 1) == 1


def _attempt(delivery: WebhookDelivery) -> DeliveryAttempt:
    return DeliveryAttempt(
        delivery_id=delivery.pk,
        webhook_id=delivery.webhook_id,
        uid=delivery.event.uid,
        url=delivery.webhook.url,
        body=delivery.event.payload,
        secrets=_secrets(delivery.webhook),
        number=delivery.attempts + 1,
    )


def _secrets(webhook: Webhook) -> tuple[Secret, ...]:
    """The secrets that sign now; none if they do not open."""
    context = secret_context(webhook.pk)
    until = webhook.old_secret_until
    sealed = [webhook.secret]
    if until is not None and until > timezone.now():
        sealed.append(webhook.old_secret)
    try:
        ring = KeyRing.load(settings.current().data / "keyring.json")
        return tuple(Secret(ring.open(text, context)) for text in sealed)
    except SealingError:
        return ()


def finish(attempt: DeliveryAttempt, *, now: datetime, status: int | None, error: str) -> State:
    """Write down how an attempt went: an empty `error` means that it was delivered."""
    mine = WebhookDelivery.objects.filter(pk=attempt.delivery_id, state=State.WAITING)
    told = {"status": status, "error": error[:300]}
    if not error:
        mine.update(state=State.DELIVERED, finished_at=now, **told)
        return State.DELIVERED
    if attempt.number > len(RETRIES):
        mine.update(state=State.GIVEN_UP, finished_at=now, **told)
        return State.GIVEN_UP
    # Not all at the same moment, when whatever was down is up again.
    seconds = RETRIES[attempt.number - 1] * random.uniform(0.9, 1.1)
    mine.update(next_at=now + timedelta(seconds=seconds), **told)
    return State.WAITING


def tidy(now: datetime) -> int:
    """Delete what is no longer shown; returns how many rows."""
    old = now - timedelta(days=KEEP_DAYS)
    done = WebhookDelivery.objects.exclude(state=State.WAITING).filter(finished_at__lt=old)
    deleted = done.delete()[0]
    # Of a webhook that was switched off for so long.
    deleted += WebhookDelivery.objects.filter(state=State.WAITING, since__lt=old).delete()[0]
    told = WebhookEvent.objects.filter(deliveries=None)
    deleted += told.filter(once=None, created_at__lt=old).delete()[0]
    forgotten = now - timedelta(days=REMEMBER_DAYS)
    return deleted + told.filter(created_at__lt=forgotten).delete()[0]
