"""Policies: the limits that profiles are given, counted per profile."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from ostiary.directory.actor import Actor
from ostiary.directory.models.projects import Project

INTERVALS = [(i, i) for i in ("second", "minute", "hour", "day")]
PERIODS = [(p, p) for p in ("day", "week", "month", "30 days", "60 days", "90 days")]


class PolicyQuerySet(models.QuerySet["Policy"]):
    def visible_to(self, actor: Actor) -> Self:
        """The workspace's own, and those of projects that `actor` may see."""
        if actor.sees_all:
            return self
        return self.filter(Q(project=None) | Q(project_id__in=actor.project_ids))


class Policy(models.Model):
    #: Empty: the workspace's own, for profiles of every project, and changed by admins alone.
    project = models.ForeignKey(
        Project, null=True, on_delete=models.PROTECT, related_name="policies"
    )
    name = models.CharField(max_length=255)
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    description = models.TextField(blank=True, default="")
    rate_limit = models.PositiveIntegerField(null=True)
    rate_interval = models.CharField(max_length=8, choices=INTERVALS, blank=True, default="")
    #: Further rate limits, `{"limit": …, "interval": …}`, one for each longer interval at most.
    more_rates = models.JSONField(default=list)
    quota_limit = models.PositiveIntegerField(null=True)
    quota_interval = models.CharField(max_length=8, choices=PERIODS, blank=True, default="")
    #: The limits refuse nothing: what they would refuse is counted and logged.
    watched = models.BooleanField(default=False)
    #: Also send the older `X-RateLimit-*` headers on every answer, not on refusals alone.
    legacy_headers = models.BooleanField(default=False)
    epoch = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Policy"]] = PolicyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="policy_in_project"),
            models.UniqueConstraint(
                fields=["name"], condition=Q(project=None), name="policy_of_workspace"
            ),
            models.UniqueConstraint(fields=["project", "key"], name="policy_key"),
            models.UniqueConstraint(
                fields=["key"], condition=Q(project=None), name="policy_key_of_workspace"
            ),
            models.CheckConstraint(
                condition=Q(rate_limit=None, rate_interval="")
                | (Q(rate_limit__gte=1) & ~Q(rate_interval="")),
                name="rate_limit_whole",
            ),
            models.CheckConstraint(
                condition=Q(quota_limit=None, quota_interval="")
                | (Q(quota_limit__gte=1) & ~Q(quota_interval="")),
                name="quota_whole",
            ),
        ]
