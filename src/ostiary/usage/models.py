"""What was counted and logged at the gateways.

Ids without foreign keys, 0 where unknown: a count outlives what it counted. Times are Unix seconds,
or milliseconds where the name says so, always UTC.
"""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q


class _Literal(models.Lookup):
    """A condition without parameters: SQLite uses a partial index for the very same text alone."""

    prepare_rhs = False
    condition: ClassVar[str]

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} {self.condition}", parameters


@models.IntegerField.register_lookup
class Failing(_Literal):
    """A status that is a refusal or an error, or none that was sent."""

    lookup_name = "failing"
    condition = "NOT BETWEEN 100 AND 399"


@models.IntegerField.register_lookup
class Slow(_Literal):
    """A latency of a second or more."""

    lookup_name = "slow"
    condition = ">= 1000"


class QuotaCount(models.Model):
    """Admitted calls of a profile in one quota period, from the gateway's counters.

    Of rate limits in windows of an hour and a day, the newest window (`access.limits.kept_as`).
    """

    id = models.BigAutoField(primary_key=True)
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
    """A time bucket at one gateway, with the ids of caller and endpoint."""

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
    #: Code of the reason for which a watch-only rule would have refused; 0: none.
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
    #: Each upsert takes a number of PostgreSQL's sequence, also one that only updates.
    id = models.BigAutoField(primary_key=True)


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
    id = models.BigAutoField(primary_key=True)


class _RolledUp(models.Model):
    """What was counted in an hour, a day, a week or a month at all gateways; see `rollups`."""

    id = models.BigAutoField(primary_key=True)
    #: Encoded (level, granularity, start), see `buckets.slot`.
    slot = models.BigIntegerField()
    #: The project of the client, or of the collection where no client is known; 0 where the ids
    #: below are enough to say so.
    project_id = models.IntegerField(default=0)
    client_id = models.IntegerField(default=0)
    profile_id = models.IntegerField(default=0)
    collection_id = models.IntegerField(default=0)
    endpoint_id = models.IntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)

    class Meta:
        abstract = True
        indexes = [
            models.Index(fields=["slot"], name="%(class)s_slot"),
            models.Index(fields=["client_id", "slot"], name="%(class)s_client"),
        ]


class Total(_RolledUp):
    """One row for all outcomes: what most questions are about."""

    refused = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    #: `latency.pack`.
    latencies = models.BinaryField(default=b"")

    class Meta(_RolledUp.Meta):
        # Ranking all consumers reads the index alone, without the rows and their latencies.
        indexes = [
            models.Index(fields=["slot", "client_id", "profile_id", "calls"], name="total_ranks"),
            models.Index(fields=["client_id", "slot"], name="total_client"),
        ]


class Outcome(_RolledUp):
    """Grouped by status, refusal reason, and the reason of a watch-only rule."""

    status = models.SmallIntegerField()
    reason = models.SmallIntegerField(default=0)
    would = models.SmallIntegerField(default=0)


class RolledUp(models.Model):
    """A rolled-up bucket, and whether it must be redone."""

    span = models.SmallIntegerField()
    time = models.BigIntegerField()
    #: Checksum of the source minutes; a mismatch means that late rows arrived.
    seen = models.CharField(max_length=200, default="")
    #: Rows of its source have changed since.
    stale = models.BooleanField(default=False)
    #: A client or a collection has another project since.
    moved = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["span", "time"], name="one_rolled_up_each")]


class Standing(models.Model):
    """A snapshot of each consumer's cumulative calls since 1 January; see `running_totals`."""

    #: The start of the year.
    since = models.BigIntegerField()
    time = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["since", "time"], name="one_standing_each")]
        indexes = [models.Index(fields=["time"], name="standing_time")]


class StandingPart(models.Model):
    """The part of a collection (at the level of consumers), or of an endpoint (of profiles)."""

    id = models.BigAutoField(primary_key=True)
    standing = models.ForeignKey(Standing, on_delete=models.CASCADE, related_name="parts")
    level = models.SmallIntegerField()
    part = models.IntegerField()
    packed = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["standing", "level", "part"], name="one_part_each")
        ]


class Progress(models.Model):
    """Progress of a periodic job, Unix seconds UTC."""

    name = models.CharField(max_length=16, primary_key=True)
    until = models.BigIntegerField(default=0)


class Belonging(models.Model):
    """The project of a client or a collection, remembered when that is deleted."""

    kind = models.CharField(max_length=16)
    asset_id = models.IntegerField()
    project_id = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "asset_id"], name="one_project_each")
        ]


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
    #: How many calls this line stands for; more than 1 if calls were sampled.
    stands_for = models.IntegerField(default=1)
    #: Of a call that was refused or failed, its `path`. Of a refused one also `peer` and `forwarded`
    #: (where a trusted proxy spoke for the caller), `trace` (number of a `DecisionTrace`), and the
    #: limit that was reached.
    details = models.JSONField(default=dict)

    class Meta:
        # Each index costs about a microsecond of every line, twice: when it is stored and when it
        # is deleted. Other filters look through the lines of the time that is asked for.
        indexes = [
            models.Index(fields=["at_ms"], name="logged_at"),
            models.Index(fields=["request_id"], name="logged_request"),
            models.Index(fields=["profile_id", "at_ms"], name="logged_profile"),
            models.Index(fields=["client_id", "at_ms"], name="logged_client"),
            # Most lines are in none of these.
            models.Index(
                fields=["at_ms"], name="logged_failing", condition=Q(status__failing=True)
            ),
            models.Index(fields=["at_ms"], name="logged_slow", condition=Q(latency_ms__slow=True)),
        ]


class DecisionTrace(models.Model):
    """Why the authority refused: the checks of `access.explain` as it took them."""

    id = models.BigAutoField(primary_key=True)
    #: The decision's number at the gateway, also for later calls that it refuses by it.
    number = models.IntegerField(db_index=True)
    at_ms = models.BigIntegerField(db_index=True)
    #: The sequence of the change feed that the decision was taken on: the epoch at that time.
    sequence = models.BigIntegerField()
    profile_id = models.IntegerField(default=0)
    credential_id = models.IntegerField(default=0)
    #: `[{"check", "outcome", "inputs": {name: value}, "reason"}]`, in order.
    steps = models.JSONField()


class CounterBaseline(models.Model):
    """How far a counter of a gateway has been taken into account; see `recording.store_counts`."""

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=32, default="")
    #: Birth of the gateway's memory and the counter's key: equal for no two counters.
    identity = models.CharField(max_length=160)
    #: The hour that the counter counts, Unix time / 3600.
    hour = models.IntegerField()
    calls = models.BigIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "identity"], name="one_baseline_per_counter")
        ]


class LogPosition(models.Model):
    """How far a file of log lines has been stored, in bytes from its start."""

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=32, default="")
    #: The file's inode and a digest of its first line: an inode's number is used again.
    identity = models.CharField(max_length=80)
    #: So far its lines are in the request log.
    offset = models.BigIntegerField()
    #: So far they are in the histograms of latencies, which are written less often.
    timed = models.BigIntegerField()
    #: When it was last written, Unix seconds.
    at = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "identity"], name="one_position_per_file")
        ]
