"""Nodes: the machines that run parts of this Ostiary, as each reports itself."""

from django.db import models


class NodeReport(models.Model):
    """One role on one machine. Times are the database's, so that machines' clocks need not agree."""

    name = models.CharField(max_length=63)
    role = models.CharField(max_length=16)
    #: Tells one start of it from another.
    instance = models.CharField(max_length=32)
    release = models.CharField(max_length=32)
    #: A digest of its folder of recipes; empty: it runs none.
    recipes = models.CharField(max_length=64, blank=True, default="")
    #: Seconds without the change feed after which its gateway honours no lease; 0: it honours them on.
    fence_seconds = models.PositiveIntegerField(default=0)
    #: The changes that its gateway follows, and those whose objects it has; 0: it has no gateway.
    confirmed = models.BigIntegerField(default=0)
    published = models.BigIntegerField(default=0)
    #: Its latest changes that affected open streams: pairs of a sequence and their number.
    streams = models.JSONField(default=list)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    #: It takes no new calls, and ends those that it has.
    draining = models.BooleanField(default=False)
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "role"], name="one_node_per_role")]
