"""Configuration that is kept in files: which sets there are, what belongs to them, and plans."""

from django.db import models

from ostiary.directory.models.projects import Project


class ConfigurationSet(models.Model):
    """A set of files that owns objects of one project."""

    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="configuration_sets"
    )
    name = models.CharField(max_length=64)
    #: What was applied last: when, and from which commit.
    applied_at = models.DateTimeField(null=True)
    commit = models.CharField(max_length=100, blank=True, default="")
    #: Who applied it, by name.
    applied_by = models.CharField(max_length=255, blank=True, default="")
    #: Objects that were changed beside the files since: how many, and the first of them.
    drifted = models.PositiveIntegerField(default=0)
    drift = models.JSONField(default=list)
    #: The newest event of the audit log of its project when it was compared, and when that was.
    compared_event = models.BigIntegerField(default=0)
    compared_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="configuration_set_in_project")
        ]


class ManagedObject(models.Model):
    """An object that belongs to a set."""

    set = models.ForeignKey(ConfigurationSet, on_delete=models.CASCADE, related_name="objects_of")
    kind = models.CharField(max_length=32)
    object_id = models.IntegerField()
    key = models.CharField(max_length=700)
    #: What the files said of it when they were last applied, by field.
    applied = models.JSONField(default=dict)
    #: Fingerprints of its secrets, by field, made with a key of the key ring.
    fingerprints = models.JSONField(default=dict)
    #: How often its credential was rotated by the files.
    rotated = models.PositiveIntegerField(default=0)
    #: It is never deleted by a plan.
    protected = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="managed_by_one_set")
        ]


class ConfigurationPlan(models.Model):
    """A plan that was made, and may be applied once."""

    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="configuration_plans"
    )
    #: The configuration as it was sent, without a secret.
    content = models.JSONField()
    options = models.JSONField(default=dict)
    #: What the plan does, as one value (`configuration.plans.Plan.digest`).
    digest = models.CharField(max_length=64)
    #: What it was said to do.
    described = models.JSONField()
    made_by = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    applied_at = models.DateTimeField(null=True)
