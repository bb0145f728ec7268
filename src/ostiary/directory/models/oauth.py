"""What the OAuth 2.0 token endpoint keeps: keys to sign with, and tokens revoked before their end."""

from django.db import models


class SigningKey(models.Model):
    """The newest that is not retired signs; a retired one verifies until its tokens are gone."""

    kid = models.CharField(max_length=64, unique=True)
    #: Public JWK, as it is published.
    public = models.JSONField()
    #: Private JWK, sealed.
    sealed = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)


class RevokedToken(models.Model):
    """An access token that was revoked (RFC 7009), until it would have expired."""

    #: SHA-256 of the token's id.
    fingerprint = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField(db_index=True)
