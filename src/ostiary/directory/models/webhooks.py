"""Webhooks, their events, and the deliveries."""

from django.db import models
from django.db.models import Q

from ostiary.directory.models.projects import Project


class Webhook(models.Model):
    #: Empty: events of every project; only admins may do that.
    project = models.ForeignKey(
        Project, null=True, on_delete=models.CASCADE, related_name="webhooks"
    )
    name = models.CharField(max_length=255)
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    url = models.CharField(max_length=2048)
    #: Types of events, a list of `webhooks.EventType`.
    events = models.JSONField(default=list)
    active = models.BooleanField(default=True)
    #: Days before a credential's end at which the expiry event is sent.
    expiry_days = models.PositiveIntegerField(default=7)
    #: The key that signs, sealed.
    secret = models.TextField(blank=True, default="")
    #: The key from before the last rotation, sealed; it signs too until then.
    old_secret = models.TextField(blank=True, default="")
    old_secret_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "key"], name="webhook_key"),
            models.UniqueConstraint(
                fields=["key"], condition=Q(project=None), name="webhook_key_of_workspace"
            ),
        ]


class WebhookEvent(models.Model):
    """An event for at least one webhook."""

    id = models.BigAutoField(primary_key=True)
    #: The `webhook-id` of every attempt, by which a receiver knows what it had already.
    uid = models.CharField(max_length=40, unique=True)
    type = models.CharField(max_length=64)
    #: The body exactly as it is signed and sent; never a secret.
    payload = models.TextField()
    #: Key of an event that may happen only once; empty: no restriction.
    once = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001 - NULLs are not unique
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)


class WebhookDelivery(models.Model):
    """One event on its way to one webhook."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        GIVEN_UP = "given_up"

    id = models.BigAutoField(primary_key=True)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    #: When it is tried next. Who tries moves it ahead first, so that no other tries meanwhile,
    #: and somebody does should it never come back.
    next_at = models.DateTimeField()
    #: When it was asked for, by the event or by a member; retries count from here.
    since = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    #: Status of the last answer; empty: there was none.
    status = models.PositiveSmallIntegerField(null=True)
    #: Why the last attempt failed; one sentence.
    error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        indexes = [
            models.Index(fields=["state", "next_at"], name="delivery_due"),
            models.Index(fields=["webhook", "-id"], name="delivery_of_webhook"),
        ]
