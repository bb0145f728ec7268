"""Reads of the directory for publishing. This module decides nothing."""

from collections.abc import Collection as Several
from typing import NamedTuple

from django.db.models import Q, QuerySet

from ostiary.access.methods import AuthMethod
from ostiary.directory.models import (
    AccessProfile,
    Collection,
    Connection,
    Credential,
    Endpoint,
    Setting,
)


def provider_of(profile_id: int) -> tuple[str, str] | None:
    """Issuer and key set URL of a profile with OpenID Connect; one of them is empty."""
    found = AccessProfile.objects.filter(pk=profile_id, auth_type=AuthMethod.OIDC).first()
    if found is None:
        return None
    return found.proof.get("issuer", ""), found.proof.get("jwks_uri", "")


# --- for publishing: rows of single objects, as the database has them ------------------------------


class CollectionRow(NamedTuple):
    """What of a collection is published."""

    id: int
    handle: object
    kind: object
    connection: int | None
    forward_credential: bool
    forward_claims: bool
    encoded_slashes: bool
    cors_origins: object
    cors_credentials: bool
    cors_exposed_headers: object
    cors_max_age: object
    leave_authorization: bool
    credential_places: object
    cache_seconds: object
    cache_shared: bool
    cache_generation: object


class EndpointRow(NamedTuple):
    """What of an endpoint is published, with the kind of its collection and its recipe's name."""

    id: int
    collection: int
    kind: object
    method: object
    path: object
    target_path: object
    timeout_seconds: object
    recipe: object
    validate: bool
    cache_seconds: object


class ConnectionRow(NamedTuple):
    """What of a connection is published; the secret is still sealed."""

    id: int
    base_urls: object
    auth_type: object
    auth_name: object
    auth_secret: object
    token_url: object
    scope: object
    verify_tls: bool
    ca_pem: object
    timeout_seconds: object
    health_path: object
    public_address: object
    translate_urls: bool
    stream_timeout_seconds: object
    balancing: object
    http_version: object
    weights: object
    retries: object
    retry_writes: bool


def trusted_proxies() -> object:
    """The stored networks of trusted proxies; may be empty."""
    stored = Setting.objects.filter(name="trusted_proxies").values_list("value", flat=True)
    return next(iter(stored), [])


def credential_places() -> object:
    """The stored places of the workspace where calls may carry their credential."""
    stored = Setting.objects.filter(name="credential_places").values_list("value", flat=True)
    return next(iter(stored), [])


def collection_rows(ids: Several[int]) -> list[CollectionRow]:
    """The existing collections among `ids`."""
    rows = Collection.objects.filter(pk__in=ids).values_list(
        "pk", "handle", "kind", "connection_id", "forward_credential", "forward_claims",
        "encoded_slashes", "cors_origins", "cors_credentials", "cors_exposed_headers", "cors_max_age",
        "leave_authorization", "credential_places", "cache_seconds", "cache_shared", "cache_generation",
    )  # fmt: skip
    return [CollectionRow(*row) for row in rows]


def endpoint_rows(ids: Several[int]) -> list[EndpointRow]:
    """The endpoints of `ids` that may be called: active ones whose recipe, if any, runs."""
    rows = _callable_endpoints().filter(pk__in=ids).values_list(
        "pk", "collection_id", "collection__kind", "method", "path", "target_path",
        "timeout_seconds", "recipe__name", "validate_request", "cache_seconds",
    )  # fmt: skip
    return [EndpointRow(*row) for row in rows]


def connection_rows(ids: Several[int]) -> list[ConnectionRow]:
    """The existing connections among `ids`."""
    rows = Connection.objects.filter(pk__in=ids).values_list(
        "pk", "base_urls", "auth_type", "auth_name", "auth_secret", "token_url", "scope",
        "verify_tls", "ca_pem", "timeout_seconds", "health_path", "public_address",
        "translate_urls", "stream_timeout_seconds", "balancing", "http_version", "weights", "retries",
        "retry_writes",
    )  # fmt: skip
    return [ConnectionRow(*row) for row in rows]


def _callable_endpoints() -> QuerySet[Endpoint]:
    stopped = Q(recipe__started=False) | Q(recipe__present=False)
    return Endpoint.objects.filter(active=True).exclude(stopped)


def collection_ids() -> list[int]:
    """Every collection."""
    return list(Collection.objects.values_list("pk", flat=True))


def connection_ids() -> list[int]:
    """Every connection."""
    return list(Connection.objects.values_list("pk", flat=True))


def endpoint_ids(*, collection: int = 0, recipe: int = 0) -> list[int]:
    """Endpoints that may be called; of one collection, or with one recipe, if that is named."""
    endpoints = _callable_endpoints() if not recipe else Endpoint.objects.filter(recipe_id=recipe)
    if collection:
        endpoints = endpoints.filter(collection_id=collection)
    return list(endpoints.values_list("pk", flat=True))


def imported_prints(*, profile: int = 0) -> list[tuple[bytes, int]]:
    """SHA-256 and profile of imported credentials that may still be good, of one profile or all."""
    credentials = Credential.objects.filter(imported=True, revoked_at=None)
    if profile:
        credentials = credentials.filter(profile_id=profile)
    rows = credentials.values_list("fingerprint", "profile_id")
    return [(bytes(fingerprint), profile_id) for fingerprint, profile_id in rows.iterator()]


def still_imported(prints: Several[bytes]) -> set[bytes]:
    """Which of these digests belong to imported credentials that may still be good."""
    credentials = Credential.objects.filter(
        fingerprint__in=list(prints), imported=True, revoked_at=None
    )
    return {bytes(fingerprint) for fingerprint in credentials.values_list("fingerprint", flat=True)}
