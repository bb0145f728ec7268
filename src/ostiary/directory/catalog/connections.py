"""Connections: where proxy collections send their calls, and what Ostiary adds to them."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ostiary import settings
from ostiary.access.paths import normalise
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import certificates, upstream_url
from ostiary.directory.changes import audit_log, etags, feed, fields, gateway_check
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.models import Connection
from ostiary.directory.workspace import project_quotas, workspace_settings
from ostiary.identity import fetching
from ostiary.identity.sealing import KeyRing

MOST_URLS = 20
TIMEOUTS = (1, 240)
STREAM_TIMEOUTS = (1, 86_400)
LARGEST_WEIGHT = 100
MOST_RETRIES = 5
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
#: Headers that frame or route a message, or that the gateway says: not for a connection to set.
_RESERVED = re.compile(
    r"(?i)(x-ostiary-.*|x-forwarded-.*|host|connection|content-.*|transfer-encoding|te|trailer"
    r"|upgrade|expect|keep-alive|proxy-.*|cookie|forwarded|range|via)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What an owner may say of a connection. An empty secret keeps the one that is stored."""

    base_urls: object = ()
    auth_type: object = "none"
    auth_name: object = ""
    auth_secret: str | None = None
    token_url: object = ""
    scope: object = ""
    verify_tls: bool = True
    ca_pem: object = ""
    timeout_seconds: object = 30
    health_path: object = ""
    public_address: object = "x_forwarded"
    stream_timeout_seconds: object = 3600
    balancing: object = "round_robin"
    weights: object = ()
    retries: object = None
    retry_writes: bool = False
    http_version: object = "1.1"
    translate_urls: bool = True


def connections(by: Actor) -> QuerySet[Connection]:
    return Connection.objects.visible_to(by).order_by("pk")


def find(by: Actor, connection_id: int) -> Connection:
    connection = connections(by).filter(pk=connection_id).first()
    if connection is None:
        raise NotFound("connection")
    return connection


def create(*, by: Actor, name: object, project_id: int | None, given: Input) -> Saved[Connection]:
    """Make a connection; raises Invalid, NotFound, Forbidden."""
    project = project_of(by, project_id)
    require(by, Role.EDITOR, project.pk)
    connection = Connection(project=project)
    _fill(connection, name, given, _certificates(given.ca_pem, stored=""))
    with transaction.atomic():
        project_quotas.check(project.pk, connections=1)
        _save(connection, given)
        _record(by, "create", connection)
        sequence = _announce(connection)
    return Saved(value=connection, sequence=sequence, warnings=_warnings(connection), adds=True)


def change(
    *, by: Actor, connection_id: int, name: object, given: Input, if_match: str | None = None
) -> Saved[Connection]:
    """Change a connection; calls go the new way as soon as this is confirmed."""
    found = find(by, connection_id)
    require(by, Role.EDITOR, found.project_id)
    # The gateway is asked, which takes a moment, before other writers are held up.
    trusted = _certificates(given.ca_pem, stored=found.ca_pem)
    with transaction.atomic():
        connection = _locked(by, connection_id)
        etags.check(connection, if_match)
        before = _shown(connection)
        _fill(connection, name, given, trusted)
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


def _save(connection: Connection, given: Input) -> None:
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


def _fill(connection: Connection, name: object, given: Input, trusted: tuple[str, str]) -> None:
    problems = fields.Problems()
    connection.name = fields.text(problems, "name", name)
    connection.base_urls = _urls(problems, given.base_urls)
    _fill_auth(problems, connection, given)
    connection.verify_tls = given.verify_tls
    if given.verify_tls and any(_is_https_address(url) for url in connection.base_urls):
        problems.add(
            "base_url",
            "has an IP address, whose certificate the gateway cannot verify; use a host name, or"
            " switch TLS verification off",
        )
    connection.ca_pem, problem = trusted
    if problem:
        problems.add("ca_pem", problem)
    least, most = TIMEOUTS
    timeout = fields.number(
        problems, "timeout_seconds", given.timeout_seconds, least=least, most=most, default=30
    )
    connection.timeout_seconds = timeout or 30
    connection.health_path = _health(problems, given.health_path)
    if connection.health_path and any(u.startswith("grpc") for u in connection.base_urls):
        problems.add(
            "health_path", "is for http and https; servers of gRPC are checked by a connection"
        )
    versions_of_http = [each.value for each in Connection.HttpVersion]
    connection.http_version = (
        fields.choice(problems, "http_version", given.http_version, versions_of_http)
        or Connection.HttpVersion.HTTP_1_1
    )
    clear_http2 = connection.http_version == Connection.HttpVersion.HTTP_2 and any(
        u.startswith("http:") for u in connection.base_urls
    )
    if connection.health_path and clear_http2:
        problems.add(
            "health_path",
            "is asked over HTTP/1.1; servers of HTTP/2 without TLS are checked by a connection",
        )
    told = [each.value for each in Connection.PublicAddress]
    connection.public_address = (
        fields.choice(problems, "public_address", given.public_address, told) or "none"
    )
    connection.translate_urls = given.translate_urls
    _fill_servers(problems, connection, given)
    problems.raise_if_any()


def _fill_servers(problems: fields.Problems, connection: Connection, given: Input) -> None:
    least, most = STREAM_TIMEOUTS
    connection.stream_timeout_seconds = (
        fields.number(
            problems, "stream_timeout_seconds", given.stream_timeout_seconds,
            least=least, most=most, default=3600,
        ) or 3600
    )  # fmt: skip
    kinds = [kind.value for kind in Connection.Balancing]
    connection.balancing = (
        fields.choice(problems, "balancing", given.balancing, kinds)
        or Connection.Balancing.ROUND_ROBIN
    )
    connection.weights = _weights(problems, given.weights, len(connection.base_urls))
    connection.retries = fields.number(
        problems, "retries", given.retries, least=0, most=MOST_RETRIES, default=None
    )
    connection.retry_writes = given.retry_writes


def _weights(problems: fields.Problems, value: object, urls: int) -> list[int]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.add("weights", "must be a list of numbers")
        return []
    if not value:
        return []
    if not all(type(each) is int and 1 <= each <= LARGEST_WEIGHT for each in value):
        problems.add("weights", f"must be whole numbers from 1 to {LARGEST_WEIGHT}")
        return []
    if urls and len(value) != urls:
        problems.add("weights", "must be one number for each base URL")
        return []
    return list(value)


def _urls(problems: fields.Problems, value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(t, str) for t in texts):
        problems.add("base_url", "must be a URL or a list of URLs")
        return []
    if len(texts) > MOST_URLS:
        problems.add("base_url", f"at most {MOST_URLS} URLs fit")
        return []
    own = own_listeners()
    urls = []
    for text in texts:
        try:
            urls.append(upstream_url.parse(text.strip(), own))
        except upstream_url.BadUrl as error:
            problems.add("base_url", f"{text[:80]!r} {error}")
    if len({(url.scheme, url.base_path) for url in urls}) > 1:
        problems.add("base_url", "all URLs must have the same scheme and path")
    return [str(url) for url in urls]


def _fill_auth(problems: fields.Problems, connection: Connection, given: Input) -> None:
    kinds = [kind.value for kind in Connection.Auth]
    kind = fields.choice(problems, "auth_type", given.auth_type, kinds)
    changed = kind != connection.auth_type
    connection.auth_type = kind or Connection.Auth.NONE
    needs_name = kind in kinds and kind != "none"
    connection.auth_name = fields.plain(problems, "auth_name", given.auth_name, required=needs_name)
    if kind == "header" and not _good_header(connection.auth_name):
        problems.add("auth_name", "is no name of a header that a connection may set")
    if kind == "query" and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", connection.auth_name):
        problems.add("auth_name", "is no name of a query parameter")
    if kind == "basic" and ":" in connection.auth_name:
        problems.add("auth_name", "must not hold a colon")
    secret = given.auth_secret or ""
    if len(secret) > 4096 or not all(" " <= c <= "~" for c in secret) or secret != secret.strip():
        problems.add("auth_secret", "must be at most 4096 printable ASCII characters")
    if kind == "query" and not re.fullmatch(r"[A-Za-z0-9_.~%+-]*", secret):
        problems.add("auth_secret", "must be percent-encoded for a query")
    if needs_name and not secret and (changed or not connection.auth_secret):
        problems.add("auth_secret", "can't be blank")
    if kind == "none":
        connection.auth_secret = connection.auth_name = ""
    oauth = kind == Connection.Auth.OAUTH2
    connection.token_url = _token_url(problems, given.token_url) if oauth else ""
    connection.scope = _scope(problems, given.scope) if oauth else ""


def _token_url(problems: fields.Problems, value: object) -> str:
    """Where a token is asked for. We ask, not the gateway: so it is public, or an admin allows it."""
    url = fields.plain(problems, "token_url", value, maximum=2048, blanks=False)
    if url:
        try:
            fetching.check_url(url, workspace_settings.read().fetch_hosts)
        except fetching.FetchRefused as error:
            problems.add("token_url", str(error).rstrip("."))
    return url


def _scope(problems: fields.Problems, value: object) -> str:
    """Scopes, parted by spaces (RFC 6749, section 3.3)."""
    scope = fields.text(problems, "scope", value, maximum=1024, required=False)
    if scope and not re.fullmatch(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*", scope):
        problems.add("scope", "must be names parted by single spaces")
    return scope


def _good_header(name: str) -> bool:
    return bool(_HEADER.fullmatch(name)) and not _RESERVED.fullmatch(name)


def _certificates(value: object, *, stored: str) -> tuple[str, str]:
    """The certificates in the form in which they are stored, and why they are not if they are not."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "", ""
    if not isinstance(value, str):
        return "", "must be a text"
    try:
        pem = certificates.read(value)
    except certificates.BadCertificates as error:
        return "", str(error)
    if pem == stored:
        return pem, ""
    problem = gateway_check.check_certificates(pem)
    return ("", problem) if problem else (pem, "")


def _health(problems: fields.Problems, value: object) -> str:
    path = fields.text(problems, "health_path", value, maximum=512, required=False)
    if path and normalise(path) != path:
        problems.add("health_path", "must be a path in normal form, such as /health")
    return path


def _warnings(connection: Connection) -> tuple[str, ...]:
    warnings = []
    if not connection.verify_tls and any(
        u.startswith(("https", "grpcs")) for u in connection.base_urls
    ):
        warnings.append("TLS certificates of the upstream are not verified")
    if any(u.startswith(("http://", "grpc://")) and not _local(u) for u in connection.base_urls):
        warnings.append("Calls to the upstream are not encrypted")
    return tuple(warnings)


def _is_https_address(url: str) -> bool:
    parsed = upstream_url.parse(url)
    return parsed.is_tls and parsed.is_ip


def _local(url: str) -> bool:
    host = upstream_url.parse(url).host
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def _shown(connection: Connection) -> Mapping[str, object]:
    return {
        "name": connection.name,
        "base_urls": connection.base_urls,
        "auth_type": connection.auth_type,
        "auth_name": connection.auth_name,
        "token_url": connection.token_url,
        "scope": connection.scope,
        "verify_tls": connection.verify_tls,
        "timeout_seconds": connection.timeout_seconds,
        "health_path": connection.health_path,
        "stream_timeout_seconds": connection.stream_timeout_seconds,
        "balancing": connection.balancing,
        "weights": connection.weights,
        "retries": connection.retries,
        "retry_writes": connection.retry_writes,
        "http_version": connection.http_version,
        "public_address": connection.public_address,
        "translate_urls": connection.translate_urls,
    }


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
        after=_shown(connection),
    )
