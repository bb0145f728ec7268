"""Links by which a consumer gets its credential from us, and not from a copy of it."""

from typing import ClassVar

from django.db import models

from ostiary.directory.models.clients import AccessProfile, Credential
from ostiary.directory.models.scoped import ProfileScopedQuerySet


class Handover(models.Model):
    """One link. The key that opens it is in the link alone."""

    profile = models.ForeignKey(AccessProfile, on_delete=models.CASCADE, related_name="handovers")
    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="handovers")
    #: SHA-256 of the link's key (`identity.handover_keys`).
    fingerprint = models.BinaryField(max_length=32, unique=True)
    #: The secret, sealed under the link's key; empty once it was shown or cannot be shown any more.
    sealed = models.TextField(blank=True, default="")
    made_by = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    #: The address that opened it.
    opened_from = models.CharField(max_length=64, blank=True, default="")
    withdrawn_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager["Handover"]] = ProfileScopedQuerySet["Handover"].as_manager()
