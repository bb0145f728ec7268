"""Who may manage: members with their roles and sign-in links, and management tokens."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils.crypto import salted_hmac

from ostiary.directory.actor import Role
from ostiary.directory.models.projects import Project

ROLES = [(role.value, role.value) for role in Role]


class MemberManager(BaseUserManager["Member"]):
    def get_by_natural_key(self, username: str | None) -> "Member":
        """Addresses are compared without case, as people type them."""
        return self.get(email__iexact=username)


class Member(AbstractBaseUser):
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=255, blank=True, default="")
    #: Workspace admin: sees every project; settings, members and policies too.
    admin = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    #: Part of every session: another number, and the sessions from before are worth nothing.
    session_version = models.PositiveIntegerField(default=0)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    objects: ClassVar[MemberManager] = MemberManager()

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django's, and the version (it asks for it under old keys as well)."""
        value = f"{self.session_version}\n{self.password}"
        salt = "ostiary.directory.models.Member.session"
        return salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()


class Membership(models.Model):
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=ROLES)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["member", "project"], name="one_role_per_project")
        ]


class SavedFilter(models.Model):
    """A list with filters and order, as a member named it: the part of an address after the `?`."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="saved_filters")
    #: The list that it filters.
    table = models.CharField(max_length=32)
    name = models.CharField(max_length=64)
    query = models.CharField(max_length=1000)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["member", "table", "name"], name="one_filter_per_name")
        ]


class SignInLink(models.Model):
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="sign_in_links")
    fingerprint = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)


class ManagementToken(models.Model):
    name = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32, unique=True)
    prefix = models.CharField(max_length=16)
    last_four = models.CharField(max_length=4)
    #: Acts as a workspace admin; `role`, `everywhere` and `projects` are empty then.
    admin = models.BooleanField(default=False)
    role = models.CharField(max_length=8, choices=ROLES, blank=True, default="")
    #: The role counts in every project. Without it, and without projects, the token may do nothing.
    everywhere = models.BooleanField(default=False)
    projects = models.ManyToManyField(Project, related_name="management_tokens")
    created_by = models.ForeignKey(
        Member, null=True, on_delete=models.CASCADE, related_name="management_tokens"
    )
    #: The token that made this one: it ends with that one.
    made_by = models.ForeignKey(
        "self", null=True, on_delete=models.CASCADE, related_name="descendants"
    )
    #: The secret before the last rotation, which works until then.
    previous_fingerprint = models.BinaryField(max_length=32, null=True, unique=True)
    previous_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
