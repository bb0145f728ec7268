"""How members prove who they are, and where they are signed in."""

from django.db import models

from ostiary.directory.models.members import Member

TOTP, PASSKEY = "totp", "passkey"


class SecondFactor(models.Model):
    """An authenticator app or a passkey of a member."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="second_factors")
    kind = models.CharField(max_length=7, choices=[(TOTP, TOTP), (PASSKEY, PASSKEY)])
    name = models.CharField(max_length=64)
    #: The secret of an authenticator app, sealed to this row.
    sealed_secret = models.TextField(blank=True, default="")
    #: The time step of the last code that was taken: no code is taken twice.
    last_step = models.BigIntegerField(default=0)
    #: SHA-256 of a passkey's id, which may have a thousand bytes.
    fingerprint = models.BinaryField(max_length=32, null=True, unique=True)
    #: A passkey's id and public key, as the authenticator attested them.
    credential = models.BinaryField(default=b"")
    #: The host that a passkey was made for; it works nowhere else.
    host = models.CharField(max_length=253, blank=True, default="")
    #: How often the passkey signed, if it counts: a copy of it would count on its own.
    sign_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)


class RecoveryCode(models.Model):
    """A way in without the second factor, good once; only its fingerprint is kept."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="recovery_codes")
    fingerprint = models.BinaryField(max_length=32, unique=True)
    used_at = models.DateTimeField(null=True)


class Provider(models.Model):
    """The OpenID provider that members may sign in with; there is one at most."""

    issuer = models.CharField(max_length=500)
    client_id = models.CharField(max_length=255)
    #: Sealed to this row; empty: a public client.
    sealed_secret = models.TextField(blank=True, default="")
    label = models.CharField(max_length=64)


class ProviderLink(models.Model):
    """Who somebody is at a provider. By its own id: an address can change hands there."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="provider_links")
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_member_per_subject"),
            models.UniqueConstraint(fields=["member", "issuer"], name="one_subject_per_member"),
        ]


class MemberSession(models.Model):
    """A browser's session; nobody is signed in where there is no member."""

    #: SHA-256 of the key in the cookie: who reads this table cannot step into a session.
    digest = models.CharField(max_length=64, primary_key=True)
    content = models.TextField()
    expires_at = models.DateTimeField(db_index=True)
    member = models.ForeignKey(Member, null=True, on_delete=models.CASCADE, related_name="sessions")
    signed_in_at = models.DateTimeField(null=True)
    address = models.CharField(max_length=64, blank=True, default="")
    browser = models.CharField(max_length=200, blank=True, default="")
