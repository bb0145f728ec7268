"""What happened: audit log and change feed."""

from django.db import models


class AuditEvent(models.Model):
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor_kind = models.CharField(max_length=8)
    actor_id = models.IntegerField(null=True)
    actor_name = models.CharField(max_length=255)
    action = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=32)
    target_id = models.IntegerField(null=True)
    target_name = models.CharField(max_length=255, blank=True, default="")
    #: No foreign key: the event outlives its project. Empty: the whole workspace.
    project_id = models.IntegerField(null=True, db_index=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    address = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        indexes = [
            models.Index(fields=["target_kind", "target_id", "id"], name="event_target"),
            models.Index(fields=["actor_kind", "actor_id", "id"], name="event_actor"),
        ]


class Change(models.Model):
    """The feed that authorities follow; its id is the epoch of what changed."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=16)
    object_id = models.IntegerField()
    at = models.DateTimeField(auto_now_add=True)
