"""Clients, their access profiles, and the credentials these have."""

from typing import ClassVar

from django.db import models

from ostiary.access.methods import AuthMethod
from ostiary.directory.models.address_lists import AddressList
from ostiary.directory.models.collections import Collection
from ostiary.directory.models.policies import Policy
from ostiary.directory.models.projects import Project
from ostiary.directory.models.scoped import (
    ClientScopedQuerySet,
    ProfileScopedQuerySet,
    ScopedQuerySet,
)


class Client(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="clients")
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True, default="")
    active = models.BooleanField(default=True)
    #: An inactive one is active again from then on; empty: when somebody says so.
    inactive_until = models.DateTimeField(null=True)
    #: PNG, re-encoded by us, fitting 48 and 96 pixels; empty: no logo.
    logo_small = models.BinaryField(default=b"", blank=True)
    logo_medium = models.BinaryField(default=b"", blank=True)
    #: Part of the logo's address, so that a browser may keep it; 0: no logo.
    logo_version = models.PositiveIntegerField(default=0)
    epoch = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Client"]] = ScopedQuerySet["Client"].as_manager()

    class Meta:
        # Lists of everything, and of a project, are read in the order of names, and searched.
        indexes = [
            models.Index(fields=["project", "name"]),
            models.Index(fields=["name"]),
            models.Index(fields=["name", "key"]),
            models.Index(fields=["id"], name="inactive_clients", condition=models.Q(active=False)),
            models.Index(
                fields=["inactive_until"],
                condition=models.Q(inactive_until__isnull=False),
                name="client_inactive_until",
            ),
        ]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="client_key")]


class ClientDefaults(models.Model):
    """What the profiles that follow a client have: they hold a copy, written in the same transaction."""

    client = models.OneToOneField(
        Client, primary_key=True, on_delete=models.CASCADE, related_name="defaults"
    )
    auth_type = models.CharField(max_length=8, choices=[(m.value, m.value) for m in AuthMethod])
    collections = models.ManyToManyField(Collection, related_name="defaults")
    policy = models.ForeignKey(Policy, null=True, on_delete=models.PROTECT, related_name="defaults")
    #: As a profile has them.
    proof = models.JSONField(default=dict)
    sealed_secret = models.TextField(blank=True, default="")
    custom_claim = models.CharField(max_length=255, blank=True, default="")


class AccessProfile(models.Model):
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="profiles")
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True, db_index=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    #: Collections, policy and rules of signed tokens are those of the client's defaults.
    follows_client = models.BooleanField(default=False)
    name = models.CharField(max_length=255)
    active = models.BooleanField(default=True)
    #: An inactive one is active again from then on; empty: when somebody says so.
    inactive_until = models.DateTimeField(null=True)
    active_since = models.DateTimeField()
    auth_type = models.CharField(max_length=8, choices=[(m.value, m.value) for m in AuthMethod])
    collections = models.ManyToManyField(Collection, related_name="profiles")
    policy = models.ForeignKey(Policy, null=True, on_delete=models.PROTECT, related_name="profiles")
    #: When the policy was given to the profile: 30, 60 and 90 day quotas count from that day.
    policy_since = models.DateTimeField(null=True)
    #: Limits that are wider than the policy's until then, by name (`access.limits.WINDOWS`).
    raised_limits = models.JSONField(default=dict)
    raised_until = models.DateTimeField(null=True)
    #: When each limit was last reset, by name; Unix seconds.
    limit_resets = models.JSONField(default=dict)
    #: Entries as the owner wrote them, each one valid; empty: every address.
    allow_list = models.JSONField(default=list)
    deny_list = models.JSONField(default=list)
    #: Lists that profiles of the project share, beside these.
    allowed_lists = models.ManyToManyField(AddressList, related_name="allowing")
    denied_lists = models.ManyToManyField(AddressList, related_name="denying")
    #: The lists refuse nobody: whom they would refuse is counted and logged.
    addresses_watched = models.BooleanField(default=False)
    #: How signed tokens are verified, see `directory.clients.token_rules`; empty for the other methods.
    proof = models.JSONField(default=dict)
    #: The HMAC secret, sealed; empty: none.
    sealed_secret = models.TextField(blank=True, default="")
    #: Claim that holds the profile key; empty: where tokens say their subject.
    custom_claim = models.CharField(max_length=255, blank=True, default="", db_index=True)
    expires_at = models.DateTimeField(null=True, db_index=True)
    #: The latest use of its credentials, to within minutes.
    last_used_at = models.DateTimeField(null=True, db_index=True)
    epoch = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["AccessProfile"]] = ClientScopedQuerySet[
        "AccessProfile"
    ].as_manager()

    class Meta:
        # Lists are read in the order of names, of a client and of all, and searched.
        indexes = [
            models.Index(fields=["client", "name"]),
            models.Index(fields=["name"]),
            models.Index(fields=["name", "key"]),
            # Those of a state are counted without reading whole rows.
            models.Index(fields=["active", "expires_at", "client"]),
            models.Index(
                fields=["inactive_until"],
                condition=models.Q(inactive_until__isnull=False),
                name="profile_inactive_until",
            ),
        ]


class ListedNetwork(models.Model):
    """A network of a profile's own address lists, to find the profiles that list an address."""

    profile = models.ForeignKey(
        AccessProfile, on_delete=models.CASCADE, related_name="listed_networks"
    )
    #: In its normal form, such as 203.0.113.0/24.
    network = models.CharField(max_length=43, db_index=True)


class Credential(models.Model):
    """What a consumer proves itself with; of what is secret only the SHA-256 is kept."""

    profile = models.ForeignKey(AccessProfile, on_delete=models.CASCADE, related_name="credentials")
    #: SHA-256 of the token, client id or profile key (`identity.tokens`); unique over every profile.
    fingerprint = models.BinaryField(max_length=32, unique=True)
    #: The OAuth 2.0 client id, or the profile key that signed tokens carry; empty for tokens.
    public_id = models.CharField(max_length=255, blank=True, default="", db_index=True)
    #: SHA-256 of the OAuth 2.0 client secret; empty for the other methods.
    secret_fingerprint = models.BinaryField(max_length=32, default=b"", blank=True)
    prefix = models.CharField(max_length=16, blank=True, default="", db_index=True)
    last_four = models.CharField(max_length=4, blank=True, default="")
    imported = models.BooleanField(default=False)
    #: Made for one call of an owner's own (`directory.catalog.test_calls`), and deleted right after it.
    trial = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    #: Set when a newer one replaced it and it may still be used for a while.
    overlap_until = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager["Credential"]] = ProfileScopedQuerySet[
        "Credential"
    ].as_manager()

    class Meta:
        # Few have an end, and lists of what ends soon are read in its order.
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=models.Q(expires_at__isnull=False),
                name="credential_expires",
            )
        ]
