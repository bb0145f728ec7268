"""Which objects are the demo's: they are removed together, and nothing beside them."""

from django.db import models


class DemoObject(models.Model):
    """One object that the demo made."""

    #: "client", "collection", "connection" or "policy".
    kind = models.CharField(max_length=16)
    object_id = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="one_demo_object_each")
        ]
