"""`/api/v2/webhooks`: webhooks to other systems, and their deliveries."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Success,
    Time,
    actor,
    body,
    change,
    if_match,
    showing,
    shown,
    tagged,
    versioned,
)
from ostiary.directory.models import Webhook, WebhookDelivery
from ostiary.directory.webhooks import webhooks
from ostiary.identity.secret import Secret

router = Router(tags=["Webhooks"])

State = Literal["waiting", "delivered", "given_up"]


@body("name", "url", "events")
class WebhookIn(webhooks.WebhookInput):
    """Without a project, it gets events of all projects; only admins may do that."""


@showing(webhooks.WebhookInput)
class WebhookOut(Schema):
    id: int
    project_id: int | None
    old_secret_until: Time | None
    created_at: Time
    updated_at: Time
    secret: str | None = None


class WebhookData(Schema):
    data: WebhookOut


class WebhookQuery(lists.LabelledQuery):
    searched: ClassVar[tuple[str, ...]] = ("name", "key", "url")
    columns: ClassVar[Mapping[str, str]] = {"workspace": "project_id__isnull"}

    project_id: lists.IdFilter = None
    workspace: lists.FlagFilter = Field(
        None,
        description="Whether they get the events of all projects.",
    )
    active: lists.FlagFilter = None


class WebhookPage(lists.CursorPage[WebhookOut]):
    """One page of the webhooks."""


class DeliveryOut(Schema):
    id: int
    event_id: str
    event_type: str
    payload: dict[str, Any]
    state: State
    attempts: int
    status: int | None
    error: str | None
    next_at: Time | None
    created_at: Time
    finished_at: Time | None


class DeliveryData(Schema):
    data: DeliveryOut


class DeliveryPage(lists.CursorPage[DeliveryOut]):
    """One page of the deliveries."""


class DeliveryQuery(lists.ListParameters):
    searched: ClassVar[tuple[str, ...]] = ("event__type", "event__uid", "error")
    columns: ClassVar[Mapping[str, str]] = {
        "event_type": "event__type",
        "event_id": "event__uid",
        "created_after": "event__created_at__gt",
    }

    sort: Annotated[str, lists.sorts("id")] = "-id"
    state: State | None = None
    event_type: lists.TextFilter = None
    event_id: lists.TextFilter = None
    created_after: lists.TimeFilter = None


def _shown(webhook: Webhook, secret: Secret | None = None) -> dict[str, Any]:
    return shown(webhooks.WebhookInput, webhook) | {
        "project_id": webhook.project_id,
        "old_secret_until": webhook.old_secret_until,
        "secret": secret.reveal() if secret else None,
    }


@change(WebhookOut, _shown)
class WebhookChange(ChangeBody, webhooks.WebhookInput):
    """Omitted fields keep their values; `project_id` cannot be changed."""


def _delivery(delivery: WebhookDelivery) -> dict[str, Any]:
    waiting = delivery.state == WebhookDelivery.State.WAITING
    return {
        "id": delivery.pk,
        "event_id": delivery.event.uid,
        "event_type": delivery.event.type,
        "payload": json.loads(delivery.event.payload),
        "state": delivery.state,
        "attempts": delivery.attempts,
        "status": delivery.status,
        "error": delivery.error or None,
        "next_at": delivery.next_at if waiting else None,
        "created_at": delivery.event.created_at,
        "finished_at": delivery.finished_at,
    }


@router.get("/v2/webhooks", response={200: WebhookPage, **ERRORS})
def list_webhooks(request: HttpRequest, query: Query[WebhookQuery], response: HttpResponse) -> Any:
    """The webhooks that the token may change."""
    found = webhooks.webhooks(actor(request))
    return lists.paged(request, response, found, query, _shown)


@router.post("/v2/webhooks", response={200: WebhookData, **ERRORS})
def create_webhook(request: HttpRequest, payload: WebhookIn, response: HttpResponse) -> Any:
    """Make a webhook; `secret`, which verifies its signatures, is shown only once."""
    webhook, secret = webhooks.create(by=actor(request), given=payload)
    versioned(response, webhook)
    return {"data": _shown(webhook, secret)}


@router.get("/v2/webhooks/{int:webhook_id}", response={200: WebhookData, **ERRORS})
def show_webhook(request: HttpRequest, webhook_id: int, response: HttpResponse) -> Any:
    webhook = webhooks.find(actor(request), webhook_id)
    versioned(response, webhook)
    return {"data": _shown(webhook)}


@router.put("/v2/webhooks/{int:webhook_id}", response={200: WebhookData, **ERRORS})
def change_webhook(
    request: HttpRequest, webhook_id: int, payload: WebhookChange, response: HttpResponse
) -> Any:
    """Change the given fields; pending deliveries go to the new address."""
    webhook = webhooks.change(
        by=actor(request),
        webhook_id=webhook_id,
        given=payload,
        if_match=if_match(request),
    )
    versioned(response, webhook)
    return {"data": _shown(webhook)}


@router.delete("/v2/webhooks/{int:webhook_id}", response={200: Success, **ERRORS})
def delete_webhook(request: HttpRequest, webhook_id: int) -> Any:
    webhooks.delete(by=actor(request), webhook_id=webhook_id, if_match=if_match(request))
    return {"success": True}


def _switched(
    request: HttpRequest, webhook_id: int, response: HttpResponse, *, active: bool
) -> Any:
    webhook = webhooks.switch(
        by=actor(request), webhook_id=webhook_id, active=active, if_match=if_match(request)
    )
    versioned(response, webhook)
    return {"data": _shown(webhook)}


@router.put("/v2/webhooks/{int:webhook_id}/enable", response={200: WebhookData, **ERRORS})
def enable_webhook(request: HttpRequest, webhook_id: int, response: HttpResponse) -> Any:
    return _switched(request, webhook_id, response, active=True)


@router.put("/v2/webhooks/{int:webhook_id}/disable", response={200: WebhookData, **ERRORS})
def disable_webhook(request: HttpRequest, webhook_id: int, response: HttpResponse) -> Any:
    """While it is off, no events are recorded for it; pending deliveries are sent once it is on again."""
    return _switched(request, webhook_id, response, active=False)


@router.post("/v2/webhooks/{int:webhook_id}/rotate_secret", response={200: WebhookData, **ERRORS})
def rotate_secret(request: HttpRequest, webhook_id: int, response: HttpResponse) -> Any:
    """Issue a new `secret`, shown only once; for 24 hours the old one signs too."""
    webhook, secret = webhooks.rotate_secret(
        by=actor(request), webhook_id=webhook_id, if_match=if_match(request)
    )
    versioned(response, webhook)
    return {"data": _shown(webhook, secret)}


@router.post("/v2/webhooks/{int:webhook_id}/test", response={200: DeliveryData, **ERRORS})
def send_test(request: HttpRequest, webhook_id: int, response: HttpResponse) -> Any:
    """Send an event of type `webhook.test`; the result is among the deliveries."""
    delivery = webhooks.send_test(
        by=actor(request), webhook_id=webhook_id, if_match=if_match(request)
    )
    tagged(response, webhooks.version(delivery))
    return {"data": _delivery(delivery)}


@router.get(
    "/v2/webhooks/{int:webhook_id}/deliveries",
    response={200: DeliveryPage, **ERRORS},
)
def list_deliveries(
    request: HttpRequest, webhook_id: int, query: Query[DeliveryQuery], response: HttpResponse
) -> Any:
    """The deliveries of the last 30 days, the newest first."""
    found = webhooks.log(actor(request), webhook_id)
    return lists.paged(request, response, found, query, _delivery)


@router.get(
    "/v2/webhooks/{int:webhook_id}/deliveries/{int:delivery_id}",
    response={200: DeliveryData, **ERRORS},
)
def show_delivery(
    request: HttpRequest, webhook_id: int, delivery_id: int, response: HttpResponse
) -> Any:
    """One delivery of the last 30 days."""
    delivery = webhooks.find_delivery(actor(request), webhook_id, delivery_id)
    tagged(response, webhooks.version(delivery))
    return {"data": _delivery(delivery)}


@router.post(
    "/v2/webhooks/{int:webhook_id}/deliveries/{int:delivery_id}/redeliver",
    response={200: DeliveryData, **ERRORS},
)
def redeliver(
    request: HttpRequest, webhook_id: int, delivery_id: int, response: HttpResponse
) -> Any:
    """Send an event again, under the id that it had."""
    delivery = webhooks.redeliver(
        by=actor(request),
        webhook_id=webhook_id,
        delivery_id=delivery_id,
        if_match=if_match(request),
    )
    tagged(response, webhooks.version(delivery))
    return {"data": _delivery(delivery)}
