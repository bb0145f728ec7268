"""Connections: where proxy collections send their calls, and what Ostiary adds to them."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from pydantic import AfterValidator, Field

from ostiary import settings
from ostiary.access.paths import normalise
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import certificates, upstream_url
from ostiary.directory.changes import audit_log, deletions, etags, feed, gateway_check, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.inputs import (
    BLANK,
    Checked,
    Flag,
    IdOrNull,
    Input,
    ListOf,
    Name,
    OneOf,
    Problems,
    Text,
    Whole,
    is_printable,
    refusal,
)
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import Connection
from ostiary.directory.workspace import project_quotas, workspace_settings
from ostiary.identity import fetching
from ostiary.identity.sealing import KeyRing

MOST_URLS = 20
LARGEST_WEIGHT = 100
MOST_RETRIES = 5
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
#: Headers that frame or route a message, or that the gateway says: not for a connection to set.
_RESERVED = re.compile(
    r"(?i)(x-ostiary-.*|x-forwarded-.*|host|connection|content-.*|transfer-encoding|te|trailer"
    r"|upgrade|expect|keep-alive|proxy-.*|cookie|forwarded|range|via)"
)


def _normal_path(path: str) -> str:
    if path and normalise(path) != path:
        raise refusal("path", "must be a path in normal form, such as /health")
    return path


def _scopes(scope: str) -> str:
    """Scopes, parted by spaces (RFC 6749, section 3.3)."""
    if scope and not re.fullmatch(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*", scope):
        raise refusal("scope", "must be names parted by single spaces")
    return scope


def _secret(secret: str) -> str:
    if len(secret) > 4096 or not is_printable(secret, blanks=True) or secret != secret.strip():
        raise refusal("characters", "must be at most 4096 printable ASCII characters")
    return secret


class _BaseUrl(Checked):
    """A base URL as it is stored."""

    names_value = True

    def checked(self, value: object) -> str:
        if not isinstance(value, str):
            raise refusal("type", "must be a URL or a list of URLs")
        try:
            return str(upstream_url.parse(value.strip(), own_listeners()))
        except upstream_url.BadUrl as error:
            raise refusal("url", f"{value[:80]!r} {error}") from None


class UpstreamInput(Input):
    """Input for the API behind a connection. An empty secret keeps the stored one."""

    apart: ClassVar[tuple[str, ...]] = ("auth_secret",)

    base_urls: Annotated[
        list[str], ListOf(each=_BaseUrl(), most=MOST_URLS, or_one=True, required=True)
    ] = Field([], alias="base_url")
    auth_type: Annotated[str, OneOf(Connection.Auth.values)] = "none"
    auth_name: Annotated[str, Text(required=False, plain=True)] = ""
    auth_secret: Annotated[str | None, AfterValidator(lambda text: text and _secret(text))] = None
    token_url: Annotated[str, Text(required=False, maximum=2048, plain=True, blanks=False)] = ""
    scope: Annotated[str, Text(maximum=1024, required=False), AfterValidator(_scopes)] = ""
    verify_tls: Flag = True
    ca_pem: str = ""
    timeout_seconds: Annotated[int, Whole(least=1, most=240)] = 30
    health_path: Annotated[str, Text(maximum=512, required=False), AfterValidator(_normal_path)] = (
        ""
    )
    stream_timeout_seconds: Annotated[int, Whole(least=1, most=86_400)] = 3600
    balancing: Annotated[str, OneOf(Connection.Balancing.values)] = "round_robin"
    weights: Annotated[
        list[int], ListOf(each=Whole(least=1, most=LARGEST_WEIGHT), most=MOST_URLS)
    ] = []
    retries: Annotated[int | None, Whole(least=0, most=MOST_RETRIES)] = None
    retry_writes: Flag = False
    http_version: Annotated[str, OneOf(Connection.HttpVersion.values)] = "1.1"
    public_address: Annotated[str, OneOf(Connection.PublicAddress.values)] = "x_forwarded"
    translate_urls: Flag = True


class ConnectionInput(UpstreamInput, keys.KeyedInput):
    """Input for a connection."""

    required: ClassVar[tuple[str, ...]] = ("name", "base_urls")
    fixed: ClassVar[tuple[str, ...]] = ("project_id",)

    name: Name = ""
    project_id: IdOrNull = None


def connections(by: Actor) -> QuerySet[Connection]:
    return Connection.objects.visible_to(by).order_by("pk")


def find(by: Actor, connection_id: int) -> Connection:
    connection = connections(by).filter(pk=connection_id).first()
    if connection is None:
        raise NotFound("connection")
    return connection


def create(*, by: Actor, given: ConnectionInput) -> Saved[Connection]:
    """Make a connection; raises Invalid, NotFound, Forbidden."""
    given.check_complete()
    project = project_of(by, given.project_id)
    require(by, Role.EDITOR, project.pk)
    connection = Connection(project=project)
    _fill(connection, given, _certificates(given.ca_pem, stored=""))
    with transaction.atomic():
        project_quotas.check(project.pk, connections=1)
        _save(connection, given)
        _record(by, "create", connection)
        sequence = _announce(connection)
    return Saved(value=connection, sequence=sequence, warnings=_warnings(connection), adds=True)


def change(
    *, by: Actor, connection_id: int, given: ConnectionInput, if_match: str | None = None
) -> Saved[Connection]:
    """Change what was sent; calls go the new way as soon as this is confirmed."""
    found = find(by, connection_id)
    require(by, Role.EDITOR, found.project_id)
    # The gateway is asked, which takes a moment, before other writers are held up.
    trusted = _certificates(given.ca_pem, stored=found.ca_pem) if given.has("ca_pem") else None
    with transaction.atomic():
        connection = _locked(by, connection_id)
        etags.check(connection, if_match)
        given.check_fixed(connection)
        before, stored = ConnectionInput.stored(connection), snapshot(connection)
        _fill(connection, given, trusted)
        if snapshot(connection) == stored and not _changes_secret(connection, given):
            return unchanged(connection, connection.epoch, _warnings(connection))
        _save(connection, given)
        _record(by, "change", connection, before=before)
        sequence = _announce(connection)
    return Saved(value=connection, sequence=sequence, warnings=_warnings(connection))


def delete(*, by: Actor, connection_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a connection that no collection has; raises InUse."""
    with transaction.atomic():
        connection = _locked(by, connection_id)
        etags.check(connection, if_match)
        used = list(connection.collections.values_list("name", flat=True)[:3])
        if used:
            raise InUse(f"The connection is used by {', '.join(used)}")
        deletions.keep(by, "connection", connection, project_id=connection.project_id)
        _record(by, "delete", connection)
        sequence = feed.announce(feed.Kind.CONNECTION, connection.pk)
        connection.delete()
    return Saved(value=None, sequence=sequence)


def own_listeners() -> tuple[settings.Bind, ...]:
    """Where Ostiary itself listens: no upstream may lead back there."""
    now = settings.current()
    return now.gateway_bind, now.control_bind, *((now.h2c_bind,) if now.h2c_bind else ())


def _locked(by: Actor, connection_id: int) -> Connection:
    found = find(by, connection_id)
    require(by, Role.EDITOR, found.project_id)
    return Connection.objects.select_for_update().get(pk=found.pk)


def _announce(connection: Connection) -> int:
    sequence = feed.announce(feed.Kind.CONNECTION, connection.pk)
    Connection.objects.filter(pk=connection.pk).update(epoch=sequence)
    connection.epoch = sequence
    return sequence


def _changes_secret(connection: Connection, given: ConnectionInput) -> bool:
    return bool(given.auth_secret) and not has_secret(connection, given.auth_secret or "")


def has_secret(connection: Connection, secret: str) -> bool:
    """Whether that is the secret of a connection."""
    if not connection.auth_secret:
        return False
    ring = KeyRing.load(settings.current().data / "keyring.json")
    return secret == ring.open(connection.auth_secret, secret_context(connection.pk))


def _save(connection: Connection, given: ConnectionInput) -> None:
    problems = Problems(ConnectionInput)
    keys.check(problems, connection)
    problems.raise_if_any()
    try:
        with transaction.atomic():
            connection.save()
            if given.auth_secret:
                ring = KeyRing.load(settings.current().data / "keyring.json")
                context = secret_context(connection.pk)
                connection.auth_secret = ring.seal(given.auth_secret, context)
                connection.save(update_fields=["auth_secret"])
    except IntegrityError:
        raise Invalid({"name": ["has already been taken"]}) from None


def secret_context(connection_id: int) -> str:
    """Where a connection's secret is sealed to."""
    return f"directory_connection:{connection_id}:auth_secret"


def check(connection: Connection, given: ConnectionInput) -> None:
    """Whether input fits a connection that nobody saves, but for its certificates; raises Invalid."""
    _fill(connection, given, None)


def _fill(connection: Connection, given: ConnectionInput, trusted: tuple[str, str] | None) -> None:
    """Fill in what was sent. `trusted`: its certificates, and what is wrong with them."""
    problems = Problems(ConnectionInput)
    stored = ConnectionInput.stored(connection)
    given.assign(connection)
    urls = [upstream_url.parse(text) for text in connection.base_urls]
    if len({(url.scheme, url.base_path) for url in urls}) > 1:
        problems.add("base_urls", "all URLs must have the same scheme and path")
    _fill_auth(problems, connection, given, stored)
    if connection.verify_tls and any(url.is_tls and url.is_ip for url in urls):
        problems.add(
            "base_urls",
            "has an IP address, whose certificate the gateway cannot verify; use a host name, or"
            " switch TLS verification off",
        )
    if trusted is not None:
        connection.ca_pem, problem = trusted
        if problem:
            problems.add("ca_pem", problem)
    if connection.health_path and any(u.startswith("grpc") for u in connection.base_urls):
        problems.add(
            "health_path", "is for http and https; servers of gRPC are checked by a connection"
        )
    clear_http2 = connection.http_version == Connection.HttpVersion.HTTP_2 and any(
        u.startswith("http:") for u in connection.base_urls
    )
    if connection.health_path and clear_http2:
        problems.add(
            "health_path",
            "is asked over HTTP/1.1; servers of HTTP/2 without TLS are checked by a connection",
        )
    if connection.weights and len(connection.weights) != len(urls):
        problems.add("weights", "must be one number for each base URL")
    problems.raise_if_any()


def _fill_auth(
    problems: Problems,
    connection: Connection,
    given: ConnectionInput,
    stored: Mapping[str, object],
) -> None:
    kind, name, secret = connection.auth_type, connection.auth_name, given.auth_secret or ""
    changed, needs_name = kind != stored["auth_type"], kind != "none"
    _refuse_contradictions(problems, kind, given, stored)
    if needs_name and not name:
        problems.add("auth_name", BLANK, code="blank")
    elif kind == "header" and not _good_header(name):
        problems.add("auth_name", "isn't a header name that a connection may set")
    elif kind == "query" and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        problems.add("auth_name", "isn't a query parameter name")
    elif kind == "basic" and ":" in name:
        problems.add("auth_name", "must not hold a colon")
    if kind == "query" and not re.fullmatch(r"[A-Za-z0-9_.~%+-]*", secret):
        problems.add("auth_secret", "must be percent-encoded for a query")
    nulled = given.has("auth_secret") and given.auth_secret is None
    if needs_name and not secret and (changed or nulled or not connection.auth_secret):
        problems.add("auth_secret", BLANK, code="blank")
    if not needs_name:
        connection.auth_secret = connection.auth_name = ""
    if kind != Connection.Auth.OAUTH2:
        connection.token_url = connection.scope = ""
    elif not connection.token_url:
        problems.add("token_url", BLANK, code="blank")
    elif changed or connection.token_url != stored["token_url"]:
        _check_token_url(problems, connection.token_url)


def _refuse_contradictions(
    problems: Problems, kind: str, given: ConnectionInput, stored: Mapping[str, object]
) -> None:
    """Refuse what another kind of authentication has. What repeats the stored value goes with it."""
    unused: tuple[str, ...] = ()
    if kind == Connection.Auth.NONE:
        unused = ("auth_name", "auth_secret", "token_url", "scope")
    elif kind != Connection.Auth.OAUTH2:
        unused = ("token_url", "scope")
    for name in unused:
        value = getattr(given, name)
        if value and value != stored.get(name):
            problems.add(name, f"isn't used with the auth_type {kind}", code="contradiction")


def _check_token_url(problems: Problems, url: str) -> None:
    """We ask for the token, not the gateway: so its URL is public, or an admin allows it."""
    try:
        fetching.check_url(url, workspace_settings.read().fetch_hosts)
    except fetching.FetchRefused as error:
        problems.add("token_url", str(error).rstrip("."))


def _good_header(name: str) -> bool:
    return bool(_HEADER.fullmatch(name)) and not _RESERVED.fullmatch(name)


def _certificates(value: str, *, stored: str) -> tuple[str, str]:
    """The certificates in the form in which they are stored, and why they are not if they are not."""
    if not value.strip():
        return "", ""
    try:
        pem = certificates.read(value)
    except certificates.BadCertificates as error:
        return "", str(error)
    if pem == stored:
        return pem, ""
    problem = gateway_check.check_certificates(pem)
    return ("", problem) if problem else (pem, "")


def _warnings(connection: Connection) -> tuple[str, ...]:
    warnings = []
    if not connection.verify_tls and any(
        u.startswith(("https", "grpcs")) for u in connection.base_urls
    ):
        warnings.append("TLS certificates of the upstream are not verified")
    if any(u.startswith(("http://", "grpc://")) and not _local(u) for u in connection.base_urls):
        warnings.append("Calls to the upstream are not encrypted")
    return tuple(warnings)


def _local(url: str) -> bool:
    host = upstream_url.parse(url).host
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def _record(
    by: Actor, verb: str, connection: Connection, before: Mapping[str, object] | None = None
) -> None:
    audit_log.record(
        by,
        f"connection.{verb}",
        target_kind="connection",
        target_id=connection.pk,
        target_name=connection.name,
        project_id=connection.project_id,
        before=before,
        after=ConnectionInput.stored(connection),
    )
