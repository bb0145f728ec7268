"""Webhooks: notifications to an owner's own systems.

A project's are for its editors, those of the workspace for admins.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from pydantic import AfterValidator, Field

from ostiary import settings
from ostiary.directory import states
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, deletions, etags, keys
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.inputs import (
    Flag,
    IdOrNull,
    ListOf,
    Name,
    OneOf,
    Problems,
    Text,
    Whole,
)
from ostiary.directory.changes.permission import project_of, require, require_admin
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import Project, Webhook, WebhookDelivery
from ostiary.directory.webhooks import deliveries, events
from ostiary.directory.workspace import project_quotas, workspace_settings
from ostiary.identity import fetching, tokens
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

MOST = 100
#: Entries of a list of events.
MOST_EVENTS = 100
#: How long the secret from before a rotation signs as well.
OLD_SECRET_HOURS = 24


Events = Annotated[
    list[str],
    ListOf(each=OneOf(events.OFFERED, named=True), most=MOST_EVENTS, required=True),
    AfterValidator(lambda chosen: [str(kind) for kind in events.OFFERED if kind in chosen]),
    Field(description=" ".join(f"`{each}`: {events.MEANINGS[each]}" for each in events.OFFERED)),
]


class WebhookInput(keys.KeyedInput):
    """Input for a webhook. Without a project, it gets events of all projects."""

    required: ClassVar[tuple[str, ...]] = ("name", "url", "events")
    fixed: ClassVar[tuple[str, ...]] = ("project_id",)

    name: Name = ""
    url: Annotated[str, Text(maximum=2048)] = ""
    events: Events = []
    project_id: IdOrNull = None
    expiry_days: Annotated[int, Whole(least=1, most=90)] = states.SOON.days
    active: Flag = True


def webhooks(by: Actor) -> QuerySet[Webhook]:
    """Those that `by` may change; their addresses may hold a secret, so viewers see none."""
    found = Webhook.objects.select_related("project").order_by("pk")
    if by.admin:
        return found
    if by.everywhere is not None and by.everywhere.rank >= Role.EDITOR.rank:
        return found.exclude(project=None)
    projects = [pk for pk in by.project_ids if by.may(Role.EDITOR, pk)]
    return found.filter(project_id__in=projects)


def find(by: Actor, webhook_id: int) -> Webhook:
    webhook = webhooks(by).filter(pk=webhook_id).first()
    if webhook is None:
        raise NotFound("webhook")
    return webhook


def create(*, by: Actor, given: WebhookInput) -> tuple[Webhook, Secret]:
    """Make a webhook, and return its secret, which is shown this once.

    Without a project it is told of all of them. Raises Invalid, NotFound, Forbidden.
    """
    given.check_complete()
    webhook = Webhook(project=_project(by, given.project_id))
    problems = Problems(WebhookInput)
    _fill(problems, webhook, given)
    if Webhook.objects.count() >= MOST:
        problems.add("name", f"can't be added: there are already {MOST} webhooks")
    problems.raise_if_any()
    secret = tokens.issue_webhook_secret()
    with transaction.atomic():
        if webhook.project_id is not None:
            project_quotas.check(webhook.project_id, webhooks=1)
        keys.check(problems, webhook)
        problems.raise_if_any()
        webhook.save()
        webhook.secret = _sealed(webhook, secret)
        webhook.save(update_fields=["secret"])
        _record(by, "create", webhook, after=_shown(webhook))
    return webhook, secret


def check(webhook: Webhook, given: WebhookInput) -> None:
    """Put what was sent into a webhook that nobody saves; raises Invalid."""
    problems = Problems(WebhookInput)
    _fill(problems, webhook, given)
    problems.raise_if_any()


def _project(by: Actor, project_id: int | None) -> Project | None:
    if project_id is None:
        require_admin(by)
        return None
    project = project_of(by, project_id)
    require(by, Role.EDITOR, project.pk)
    return project


def change(
    *, by: Actor, webhook_id: int, given: WebhookInput, if_match: str | None = None
) -> Webhook:
    """Change what was sent; what waits goes to the new address. The project stays."""
    with transaction.atomic():
        webhook = _locked(by, webhook_id)
        etags.check(webhook, if_match)
        given.check_fixed(webhook)
        before, stored = _shown(webhook), snapshot(webhook)
        problems = Problems(WebhookInput)
        _fill(problems, webhook, given)
        keys.check(problems, webhook)
        problems.raise_if_any()
        if snapshot(webhook) == stored:
            return webhook
        webhook.save()
        _record(by, "change", webhook, before=before, after=_shown(webhook))
    return webhook


def switch(*, by: Actor, webhook_id: int, active: bool, if_match: str | None = None) -> Webhook:
    """Switch it on or off. While it is off, no events are recorded; pending deliveries stay queued."""
    with transaction.atomic():
        webhook = _locked(by, webhook_id)
        etags.check(webhook, if_match)
        if webhook.active == active:
            return webhook
        before = _shown(webhook)
        webhook.active = active
        webhook.save(update_fields=["active", "updated_at"])
        verb = "activate" if active else "deactivate"
        _record(by, verb, webhook, before=before, after=_shown(webhook))
    return webhook


def rotate_secret(
    *, by: Actor, webhook_id: int, if_match: str | None = None
) -> tuple[Webhook, Secret]:
    """Sign with a new secret, shown only once; for a day the old one signs too."""
    secret = tokens.issue_webhook_secret()
    with transaction.atomic():
        webhook = _locked(by, webhook_id)
        etags.check(webhook, if_match)
        webhook.old_secret = webhook.secret
        webhook.old_secret_until = timezone.now() + timedelta(hours=OLD_SECRET_HOURS)
        webhook.secret = _sealed(webhook, secret)
        webhook.save()
        _record(by, "rotate_secret", webhook)
    return webhook, secret


def delete(*, by: Actor, webhook_id: int, if_match: str | None = None) -> None:
    """Delete a webhook with its deliveries, also those that wait."""
    with transaction.atomic():
        webhook = _locked(by, webhook_id)
        etags.check(webhook, if_match)
        deletions.keep(by, "webhook", webhook, project_id=webhook.project_id)
        _record(by, "delete", webhook, before=_shown(webhook))
        webhook.delete()


def send_test(*, by: Actor, webhook_id: int, if_match: str | None = None) -> WebhookDelivery:
    """Send an event of type `webhook.test`, whatever the webhook asks for; raises Invalid."""
    with transaction.atomic():
        webhook = _active(by, webhook_id)
        etags.check(webhook, if_match)
        data = {"webhook": {"id": webhook.pk, "name": webhook.name}}
        events.tell(events.EventType.TEST, data, [webhook])
        _record(by, "test", webhook)
        return webhook.deliveries.select_related("event").order_by("-pk")[0]


def log(by: Actor, webhook_id: int, state: str = "") -> QuerySet[WebhookDelivery]:
    """A webhook's deliveries, the newest first; in one state if given."""
    found = find(by, webhook_id).deliveries.select_related("event").order_by("-pk")
    return found.filter(state=state) if state else found


def find_delivery(by: Actor, webhook_id: int, delivery_id: int) -> WebhookDelivery:
    delivery = log(by, webhook_id).filter(pk=delivery_id).first()
    if delivery is None:
        raise NotFound("delivery")
    return delivery


def version(delivery: WebhookDelivery) -> str:
    """A delivery's ETag: how far it has come."""
    return etags.of_value((delivery.pk, delivery.state, delivery.attempts, delivery.next_at))


def redeliver(
    *, by: Actor, webhook_id: int, delivery_id: int, if_match: str | None = None
) -> WebhookDelivery:
    """Send an event once more, under the id that it had; raises NotFound, Invalid."""
    with transaction.atomic():
        webhook = _active(by, webhook_id)
        found = WebhookDelivery.objects.select_for_update(of=("self",)).select_related("event")
        delivery = found.filter(webhook=webhook, pk=delivery_id).first()
        if delivery is None:
            raise NotFound("delivery")
        etags.check_tag(version(delivery), if_match)
        now = timezone.now()
        delivery.state = WebhookDelivery.State.WAITING
        delivery.attempts, delivery.next_at, delivery.since = 0, now, now
        delivery.finished_at = None
        delivery.save()
        _record(by, "redeliver", webhook, after={"event": delivery.event.uid})
    return delivery


def _locked(by: Actor, webhook_id: int) -> Webhook:
    find(by, webhook_id)
    webhook = Webhook.objects.select_for_update().filter(pk=webhook_id).first()
    if webhook is None:
        raise NotFound("webhook")
    return webhook


def _active(by: Actor, webhook_id: int) -> Webhook:
    webhook = _locked(by, webhook_id)
    if not webhook.active:
        raise Invalid({"active": ["must be on to send anything"]})
    return webhook


def _fill(problems: Problems, webhook: Webhook, given: WebhookInput) -> None:
    stored = webhook.url
    given.assign(webhook)
    if given.has("url") and given.url != stored:
        try:
            fetching.check_url(given.url, workspace_settings.read().fetch_hosts)
        except fetching.FetchRefused as error:
            problems.add("url", f"can't be used: {str(error).rstrip('.')}", code="url")


def _sealed(webhook: Webhook, secret: Secret) -> str:
    ring = KeyRing.load(settings.current().data / "keyring.json")
    return ring.seal(secret.reveal(), deliveries.secret_context(webhook.pk))


def _shown(webhook: Webhook) -> Mapping[str, object]:
    """A webhook as the audit log shows it: of the address, what holds no secret."""
    parts = urlsplit(webhook.url)
    return {
        **{name: value for name, value in WebhookInput.stored(webhook).items() if name != "url"},
        "host": parts.netloc,
    }


def _record(
    by: Actor,
    verb: str,
    webhook: Webhook,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    audit_log.record(
        by,
        f"webhook.{verb}",
        target_kind="webhook",
        target_id=webhook.pk,
        target_name=webhook.name,
        project_id=webhook.project_id,
        before=before,
        after=after,
    )
