"""Webhooks: notifications to the owner's own systems, and their deliveries."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.form_pages import once_page
from ostiary.console.frame.forms import filled, initial, project_named, sent
from ostiary.console.frame.listing import PER_PAGE, Pager, number_of
from ostiary.console.frame.questions import (
    ConsequenceQuestion,
    counted,
    made_at,
    say_done,
    unanswered,
)
from ostiary.console.frame.saving import first_time
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import Project, Webhook, WebhookDelivery
from ostiary.directory.projects import projects
from ostiary.directory.webhooks import webhooks
from ostiary.directory.webhooks.events import OFFERED, EventType
from ostiary.identity.secret import Secret

#: Labels of event types on the pages.
LABELS: Mapping[EventType, str] = {
    EventType.CREDENTIAL_ISSUED: "A credential was issued",
    EventType.CREDENTIAL_REFRESHED: "A credential was refreshed",
    EventType.CREDENTIAL_REVOKED: "A credential was revoked or deleted",
    EventType.CREDENTIAL_EXPIRING: "A credential expires soon",
    EventType.CREDENTIAL_AMBIGUOUS: "A signed token fits several access profiles",
    EventType.PROFILE_ACTIVATED: "An access profile was switched on",
    EventType.PROFILE_DEACTIVATED: "An access profile was switched off",
    EventType.CLIENT_ACTIVATED: "A client was switched on",
    EventType.CLIENT_DEACTIVATED: "A client was switched off",
    EventType.QUOTA_WARNING: "80 % of a usage quota is used",
    EventType.QUOTA_REACHED: "A usage quota is used up",
    EventType.HANDOVER_OPENED: "A hand-over link was opened",
    EventType.CONFIG_DRIFTED: "Objects managed by files were changed beside them",
    EventType.TEST: "Test",
}


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    context = {"webhooks": webhooks.webhooks(by), "may_add": by.admin or bool(_projects(by))}
    return render(request, "console/webhooks.html", context)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    """Make a webhook; its secret is shown only once."""

    def save() -> HttpResponse:
        if not first_time(request):
            return redirect("webhooks")
        webhook, secret = webhooks.create(by=by, given=_given(request))
        return _shown_once(request, webhook, secret)

    answer, errors = sent(request, save)
    given = request.POST or initial(webhooks.WebhookInput)
    chosen = request.POST.getlist("events")
    return answer or _form(request, by, None, given, chosen, errors)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, webhook_id: int) -> HttpResponse:
    def save() -> HttpResponse:
        changed = webhooks.change(
            by=by,
            webhook_id=webhook_id,
            given=_given(request),
            if_match=request.POST.get("read"),
        )
        messages.success(request, f"The webhook {changed.name} was changed.")
        return redirect("webhook", webhook_id)

    webhooks.find(by, webhook_id)
    answer, errors = sent(request, save)
    webhook = webhooks.find(by, webhook_id)
    given = request.POST or initial(webhooks.WebhookInput, webhook)
    chosen = request.POST.getlist("events") if request.POST else webhook.events
    return answer or _form(request, by, webhook, given, chosen, errors)


@page
@require_safe
def show(request: HttpRequest, by: Actor, webhook_id: int) -> HttpResponse:
    """One webhook with its deliveries of the last 30 days."""
    webhook = webhooks.find(by, webhook_id)
    state = request.GET.get("state", "")
    state = state if state in WebhookDelivery.State.values else ""
    deliveries = webhooks.log(by, webhook_id, state)
    paging = Pager(
        number=max(1, number_of(request.GET.get("page")) or 1),
        total=deliveries.count(),
        filters={"state": state} if state else {},
    )
    start = (paging.number - 1) * PER_PAGE
    context = {
        "webhook": webhook,
        "events": [LABELS[EventType(kind)] for kind in webhook.events],
        "expiring": EventType.CREDENTIAL_EXPIRING.value in webhook.events,
        "deliveries": [_row(delivery) for delivery in deliveries[start : start + PER_PAGE]],
        "states": [("", "All"), *((s.value, _STATES[s]) for s in WebhookDelivery.State)],
        "state": state,
        "paging": paging,
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/webhook.html", context)


_STATES = {
    WebhookDelivery.State.WAITING: "Waiting",
    WebhookDelivery.State.DELIVERED: "Delivered",
    WebhookDelivery.State.GIVEN_UP: "Given up",
}


def _row(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "delivery": delivery,
        "label": LABELS[EventType(delivery.event.type)],
        "state": _STATES[WebhookDelivery.State(delivery.state)],
        "payload": json.dumps(json.loads(delivery.event.payload), indent=2, ensure_ascii=False),
    }


@page
@require_POST
def switch(request: HttpRequest, by: Actor, webhook_id: int) -> HttpResponse:
    active = request.POST.get("active") == "1"
    back = reverse("webhook", args=[webhook_id])
    if not active and (answer := unanswered(request, lambda: _off(by, webhook_id), back=back)):
        return answer
    webhook = webhooks.switch(by=by, webhook_id=webhook_id, active=active)
    state = "active again" if active else "inactive; events are not sent to it"
    undo = (request.path, "active", "0" if active else "1")
    say_done(request, f"The webhook {webhook.name} is {state}.", undo=undo)
    return redirect(made_at(request, back))


def _off(by: Actor, webhook_id: int) -> ConsequenceQuestion:
    webhook = webhooks.find(by, webhook_id)
    waiting = _waiting(by, webhook_id)
    pending = f" {counted(waiting, 'event')} waiting to be sent." if waiting else ""
    return ConsequenceQuestion(
        title=f"Deactivate the webhook {webhook.name}?",
        sentences=(f"Events that happen while it is inactive are not sent to it.{pending}",),
        verb="Deactivate",
    )


def _waiting(by: Actor, webhook_id: int) -> int:
    return webhooks.log(by, webhook_id, WebhookDelivery.State.WAITING).count()


@page
@require_POST
def send_test(request: HttpRequest, by: Actor, webhook_id: int) -> HttpResponse:
    if first_time(request):
        try:
            webhooks.send_test(by=by, webhook_id=webhook_id)
        except Invalid:
            messages.error(request, "Switch the webhook on first.")
        else:
            messages.success(request, "A test is on its way; reload to see how it went.")
    return redirect("webhook", webhook_id)


@page
@require_POST
def redeliver(request: HttpRequest, by: Actor, webhook_id: int, delivery_id: int) -> HttpResponse:
    if first_time(request):
        try:
            webhooks.redeliver(by=by, webhook_id=webhook_id, delivery_id=delivery_id)
        except Invalid:
            messages.error(request, "Switch the webhook on first.")
        else:
            messages.success(request, "It is sent again; reload to see how it went.")
    return redirect("webhook", webhook_id)


@page
@require_POST
def rotate(request: HttpRequest, by: Actor, webhook_id: int) -> HttpResponse:
    back = reverse("webhook", args=[webhook_id])
    if answer := unanswered(request, lambda: _rotated(by, webhook_id), back=back):
        return answer
    if not first_time(request):
        return redirect("webhook", webhook_id)
    webhook, secret = webhooks.rotate_secret(by=by, webhook_id=webhook_id)
    return _shown_once(request, webhook, secret)


def _rotated(by: Actor, webhook_id: int) -> ConsequenceQuestion:
    webhook = webhooks.find(by, webhook_id)
    hours = webhooks.OLD_SECRET_HOURS
    return ConsequenceQuestion(
        title=f"Replace the secret of {webhook.name}?",
        sentences=(
            f"The new secret is shown once. For {hours} hours, deliveries are signed with both secrets.",
        ),
        verb="Replace",
        in_place=False,
    )


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, webhook_id: int) -> HttpResponse:
    webhook = webhooks.find(by, webhook_id)
    return by_name(
        request,
        lambda: webhooks.delete(by=by, webhook_id=webhook_id),
        what="webhook",
        name=webhook.name,
        consequence="No more events are sent to it.",
        takes=[
            counted(_waiting(by, webhook_id), "event that waits", "events that wait"),
            counted(
                webhooks.log(by, webhook_id).count(), "delivery in its log", "deliveries in its log"
            ),
        ],
        back=reverse("webhook", args=[webhook_id]),
        after=reverse("webhooks"),
        restorable=True,
    )


def _shown_once(request: HttpRequest, webhook: Webhook, secret: Secret) -> HttpResponse:
    rotated = webhook.old_secret_until is not None
    context = {
        "title": f"The secret of the webhook {webhook.name}",
        "label": "Secret",
        "value": secret.reveal(),
        "text": "Your receiver verifies signatures with it."
        + (" For 24 hours the old one signs as well." if rotated else ""),
        "back": "webhooks",
    }
    replace = reverse("webhook", args=[webhook.pk])
    return once_page(request, "console/shown_once.html", context, replace=replace)


def _form(
    request: HttpRequest,
    by: Actor,
    webhook: Webhook | None,
    given: Mapping[str, str],
    chosen: list[str],
    errors: Mapping[str, list[str]],
) -> HttpResponse:
    context = {
        "webhook": webhook,
        "read": etags.etag(webhook) if webhook else "",
        "given": given,
        "errors": errors,
        "kinds": [
            {"value": kind.value, "label": LABELS[kind], "chosen": kind.value in chosen}
            for kind in OFFERED
        ],
        "projects": _projects(by),
        "whole": by.admin,
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/webhook_form.html", context, status=400 if errors else 200)


def _projects(by: Actor) -> list[Project]:
    visible = projects.projects(by).order_by("name")
    return [project for project in visible if by.may(Role.EDITOR, project.pk)]


def _given(request: HttpRequest) -> webhooks.WebhookInput:
    return filled(
        webhooks.WebhookInput,
        request.POST,
        without=("active",),
        **project_named(request.POST),
    )
