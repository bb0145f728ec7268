"""Answers of the management API that are kept to be repeated."""

from django.db import models

from ostiary.directory.models.members import ManagementToken


class StoredAnswer(models.Model):
    """The answer to one call with an `Idempotency-Key`; secrets in it are masked."""

    token = models.ForeignKey(ManagementToken, models.CASCADE, related_name="stored_answers")
    key = models.CharField(max_length=255)
    #: A keyed digest of method, path and body, in hex.
    request = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    etag = models.CharField(max_length=64, blank=True, default="")
    body = models.TextField(blank=True, default="")
    #: The change that the gateway must follow before the answer is true; 0: none.
    sequence = models.BigIntegerField(default=0)
    #: Whether the call takes a right away, so that it isn't done before the gateway follows.
    revokes = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="one_answer_per_key")]
