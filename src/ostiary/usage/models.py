"""What was counted and logged at the gateways.

Ids without foreign keys, 0 where unknown: a count outlives what it counted. Times are Unix seconds,
or milliseconds where the name says so, always UTC.
"""

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


class _Bucket(models.Model):
    """A stretch of time at one gateway, and what called what in it."""

    #: Start of the bucket, Unix seconds UTC.
    time = models.BigIntegerField()
    node = models.CharField(max_length=32, default="")
    profile_id = models.IntegerField(default=0)
    client_id = models.IntegerField(default=0)
    collection_id = models.IntegerField(default=0)
    endpoint_id = models.IntegerField(default=0)

    class Meta:
        abstract = True


_WHAT = ("time", "node", "profile_id", "client_id", "collection_id", "endpoint_id")


class _Count(_Bucket):
    """Exact counts. An admitted call has reason 0; a refused one the code of its reason."""

    #: 2 to 5: the class of the status that the caller got; 0: none was sent.
    status = models.SmallIntegerField()
    #: `access.reasons` code of the refusal; 0: admitted.
    reason = models.SmallIntegerField(default=0)
    #: Code of the reason for which a rule that is only watched would have refused; 0: none.
    would = models.SmallIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(
                fields=[*_WHAT, "status", "reason", "would"], name="one_%(class)s_each"
            )
        ]


class MinuteCount(_Count):
    pass


class HourCount(_Count):
    pass


class DayCount(_Count):
    pass


class _Latency(_Bucket):
    """How many calls took how long, by `latency.bucket_of`; from log lines, so an estimate."""

    bucket = models.SmallIntegerField()
    calls = models.BigIntegerField(default=0)

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(fields=[*_WHAT, "bucket"], name="one_%(class)s_each")
        ]


class MinuteLatency(_Latency):
    pass


class HourLatency(_Latency):
    pass


class DayLatency(_Latency):
    pass


class LoggedCall(models.Model):
    """One line of the request log: never a credential, a query or a body."""

    id = models.BigAutoField(primary_key=True)
    #: When the call ended, Unix milliseconds UTC.
    at_ms = models.BigIntegerField()
    request_id = models.CharField(max_length=40)
    node = models.CharField(max_length=32, default="")
    #: -1: no answer was sent.
    status = models.SmallIntegerField()
    reason = models.SmallIntegerField(default=0)
    would = models.SmallIntegerField(default=0)
    method = models.CharField(max_length=16)
    collection_id = models.IntegerField(default=0)
    endpoint_id = models.IntegerField(default=0)
    client_id = models.IntegerField(default=0)
    profile_id = models.IntegerField(default=0)
    credential_id = models.IntegerField(default=0)
    #: The caller's address, as decided on.
    address = models.CharField(max_length=45)
    latency_ms = models.IntegerField()
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)
    #: How many calls this line stands for: more than 1 above the rate up to which all are logged.
    stands_for = models.IntegerField(default=1)
    #: Of a refused call: `path`, `peer` and `forwarded` (where a trusted proxy spoke for the
    #: caller), `trace` (number of a `DecisionTrace`), and the limit that was reached.
    details = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["at_ms"], name="logged_at"),
            models.Index(fields=["request_id"], name="logged_request"),
            models.Index(fields=["profile_id", "at_ms"], name="logged_profile"),
            models.Index(fields=["client_id", "at_ms"], name="logged_client"),
            models.Index(fields=["collection_id", "at_ms"], name="logged_collection"),
        ]


class DecisionTrace(models.Model):
    """Why the authority refused: the checks of `access.explain` as it took them."""

    id = models.BigAutoField(primary_key=True)
    #: By this the gateway names the decision, also for later calls that it refuses by it.
    number = models.IntegerField(db_index=True)
    at_ms = models.BigIntegerField(db_index=True)
    #: The sequence of the change feed that the decision was taken on: the epoch at that time.
    sequence = models.BigIntegerField()
    profile_id = models.IntegerField(default=0)
    credential_id = models.IntegerField(default=0)
    #: `[{"check", "outcome", "inputs": {name: value}, "reason"}]`, in order.
    steps = models.JSONField()
