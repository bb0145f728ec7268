"""What was counted at the gateways. Ids without foreign keys: a count outlives what it counted."""

from django.db import models


class QuotaCount(models.Model):
    """Admitted calls of a profile in one quota period, harvested from the gateway's counters."""

    profile_id = models.IntegerField()
    interval = models.CharField(max_length=8)
    #: Start of the period, Unix seconds UTC.
    period_start = models.BigIntegerField()
    calls = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["profile_id", "interval", "period_start"], name="one_count_per_period"
            )
        ]
