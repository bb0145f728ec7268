"""Connections to upstreams, collections, and their endpoints."""

import json
from typing import ClassVar

from django.db import models

from ostiary.directory.models.projects import Project
from ostiary.directory.models.recipes import Recipe
from ostiary.directory.models.scoped import CollectionScopedQuerySet, ScopedQuerySet


def _texts(stored: object) -> list[str]:
    """A stored list of texts, to be shown; anything else in it is shown as JSON."""
    values = stored if isinstance(stored, list) else [] if stored is None else [stored]
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


class Connection(models.Model):
    class Auth(models.TextChoices):
        NONE = "none"
        HEADER = "header"
        QUERY = "query"
        BASIC = "basic"
        OAUTH2 = "oauth2_client_credentials"

    class Balancing(models.TextChoices):
        ROUND_ROBIN = "round_robin"
        LEAST_CONNECTIONS = "least_connections"

    class HttpVersion(models.TextChoices):
        HTTP_1_1 = "1.1"
        HTTP_2 = "2"

    class PublicAddress(models.TextChoices):
        NONE = "none"
        X_FORWARDED = "x_forwarded"
        FORWARDED = "forwarded"
        HOST = "host"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="connections")
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    name = models.CharField(max_length=255)
    #: List of base URLs as `upstream_url.parse` accepts them; all serve the same API.
    base_urls = models.JSONField(default=list)
    auth_type = models.CharField(max_length=32, choices=Auth.choices, default=Auth.NONE)
    #: Header or query parameter name, user name, or OAuth 2.0 client id, by `auth_type`.
    auth_name = models.CharField(max_length=255, blank=True, default="")
    #: Sealed value of the header, parameter, password or client secret.
    auth_secret = models.TextField(blank=True, default="")
    token_url = models.CharField(max_length=2048, blank=True, default="")
    scope = models.CharField(max_length=1024, blank=True, default="")
    verify_tls = models.BooleanField(default=True)
    #: PEM certificates trusted instead of the system's; empty: the system's.
    ca_pem = models.TextField(blank=True, default="")
    timeout_seconds = models.PositiveIntegerField(default=30)
    #: Path asked by health checks; empty: a TCP connect.
    health_path = models.CharField(max_length=512, blank=True, default="")
    #: Seconds of silence that a WebSocket or an event stream may have.
    stream_timeout_seconds = models.PositiveIntegerField(default=3600)
    balancing = models.CharField(
        max_length=20, choices=Balancing.choices, default=Balancing.ROUND_ROBIN
    )
    #: One number for each base URL; empty: all are alike.
    weights = models.JSONField(default=list)
    #: How often a call that failed is tried again; empty: twice where there are several servers.
    retries = models.PositiveSmallIntegerField(null=True)
    #: By which HTTP calls go to the servers; those of gRPC always go by HTTP/2.
    http_version = models.CharField(
        max_length=3, choices=HttpVersion.choices, default=HttpVersion.HTTP_1_1
    )
    #: Whether to retry PUT and DELETE although the upstream may have received them.
    retry_writes = models.BooleanField(default=False)
    #: How the upstream is told the address that consumers call.
    public_address = models.CharField(
        max_length=16, choices=PublicAddress.choices, default=PublicAddress.X_FORWARDED
    )
    #: Whether URLs and cookies in answers that point at the upstream are translated.
    translate_urls = models.BooleanField(default=True)
    epoch = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Connection"]] = ScopedQuerySet["Connection"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="connection_in_project"),
            models.UniqueConstraint(fields=["project", "key"], name="connection_key"),
        ]

    @property
    def shown_urls(self) -> list[str]:
        """The base URLs for people to look at, whatever is stored."""
        return _texts(self.base_urls)


class Collection(models.Model):
    class Kind(models.TextChoices):
        RECIPE = "recipe"
        PROXY = "proxy"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="collections")
    name = models.CharField(max_length=255)
    labels = models.JSONField(default=dict)
    version = models.CharField(max_length=32, default="1.0")
    #: The first segment of every path of the collection; unique in the workspace.
    handle = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    connection = models.ForeignKey(
        Connection, null=True, on_delete=models.PROTECT, related_name="collections"
    )
    #: Origins a browser may call from, as `origins.parse` writes them; empty: CORS is off.
    cors_origins = models.JSONField(default=list)
    #: Let pages send cookies and read answers to calls with them.
    cors_credentials = models.BooleanField(default=False)
    #: Names of the upstream's headers that pages may read, besides those that always are.
    cors_exposed_headers = models.JSONField(default=list)
    #: Seconds that a browser may remember the answer to a preflight.
    cors_max_age = models.PositiveIntegerField(default=600)
    #: Whether the upstream gets the consumer's credential; the safe default is that it does not.
    forward_credential = models.BooleanField(default=False)
    #: Tell the upstream the verified claims of signed tokens.
    forward_claims = models.BooleanField(default=False)
    #: Seconds that answers to GET are kept at most; 0: they are not.
    cache_seconds = models.PositiveIntegerField(default=0)
    #: Whether a cached answer is given to other profiles than the one that asked.
    cache_shared = models.BooleanField(default=False)
    #: Raised by a purge: answers kept under another number are not found any more.
    cache_generation = models.PositiveIntegerField(default=0)
    #: Let `%2F`, `%5C` and `;` stand within segments of paths; the safe default is that they do not.
    encoded_slashes = models.BooleanField(default=False)
    #: The upstream gets the caller's Authorization, which isn't a credential of Ostiary's.
    leave_authorization = models.BooleanField(default=False)
    #: Where calls may carry their credential, as `identity.places` writes it; empty: as the workspace says.
    credential_places = models.JSONField(null=True, default=None)
    epoch = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Collection"]] = ScopedQuerySet["Collection"].as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind="proxy") | models.Q(connection=None),
                name="recipe_collection_without_connection",
            )
        ]

    @property
    def keeps_answers(self) -> bool:
        """Whether answers of some of its endpoints are kept."""
        return self.cache_seconds > 0 or self.endpoints.filter(cache_seconds__gt=0).exists()

    @property
    def shown_origins(self) -> list[str]:
        """The CORS origins for people to look at, whatever is stored."""
        return _texts(self.cors_origins)

    @property
    def shown_exposed_headers(self) -> list[str]:
        """The exposed headers for people to look at, whatever is stored."""
        return _texts(self.cors_exposed_headers)

    @property
    def shown_places(self) -> list[str] | None:
        """The collection's own places for people to look at; empty: the workspace's."""
        return None if self.credential_places is None else _texts(self.credential_places)


class Endpoint(models.Model):
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="endpoints")
    name = models.CharField(max_length=255)
    #: One of METHODS, or ANY.
    method = models.CharField(max_length=8)
    #: Template below the handle in its one normal form, with a leading slash.
    path = models.CharField(max_length=512)
    #: The template without its parameters' names: what must be unique beside the method.
    shape = models.CharField(max_length=512)
    labels = models.JSONField(default=dict)
    active = models.BooleanField(default=False)
    description = models.TextField(blank=True, default="")
    #: Template on the upstream (proxy); the same as `path` unless the owner says otherwise.
    target_path = models.CharField(max_length=512, blank=True, default="")
    recipe = models.ForeignKey(
        Recipe, null=True, on_delete=models.PROTECT, related_name="endpoints"
    )
    #: What a call counts in limits and quotas; 0: nothing.
    weight = models.PositiveIntegerField(default=1)
    #: Seconds; empty: the connection's, or 30 for a recipe.
    timeout_seconds = models.PositiveIntegerField(null=True)
    #: Seconds that answers are cached; 0: not, empty: as the collection says.
    cache_seconds = models.PositiveIntegerField(null=True)
    #: Whether a recipe's input is checked against its schema before it runs.
    validate_request = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Endpoint"]] = CollectionScopedQuerySet[
        "Endpoint"
    ].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "method", "shape"], name="endpoint_in_collection"
            )
        ]


class ImportedSpecification(models.Model):
    """What a collection's OpenAPI documents say of its endpoints: parameters, bodies, responses."""

    collection = models.OneToOneField(
        Collection, on_delete=models.CASCADE, related_name="specification"
    )
    #: JSON in zlib's format, as `specifications` writes it.
    content = models.BinaryField()
    updated_at = models.DateTimeField(auto_now=True)


class ImportReport(models.Model):
    """What was taken from the document that a collection was made from, and what was not."""

    collection = models.OneToOneField(
        Collection, on_delete=models.CASCADE, related_name="import_report"
    )
    taken = models.PositiveIntegerField()
    left_out = models.PositiveIntegerField()
    #: Pairs of a place in the document and a reason; the first ones, if there are many.
    skipped = models.JSONField(default=list)
    #: Pairs of a place and a note: taken, but not in all that the document says.
    notes = models.JSONField(default=list)
    warnings = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
