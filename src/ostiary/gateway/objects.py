"""Published objects: each a key and a JSON text, built from one row of the directory.

Everything is checked as if nobody had checked it at saving: what the gateway must not get raises
Unpublishable, and costs that object alone. Pure. Connections are in `gateway.connection_objects`.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping

from ostiary.access.paths import ENDPOINT_METHODS, BadTemplate, Template, stored_template
from ostiary.directory.models import Collection
from ostiary.directory.workspace import origins
from ostiary.gateway.contract import OBJECTS
from ostiary.gateway.snapshot import CollectionRow, EndpointRow
from ostiary.identity import places

#: Bytes of the largest object that the gateway takes.
LARGEST = 64 * 1024
#: Seconds that a recipe may run where its endpoint does not say.
RECIPE_TIMEOUT = 30
LONGEST_TIMEOUT = 24 * 3600
LONGEST_PATH = 1024
LONGEST_ORIGIN = 300
MOST_ORIGINS = 50
MOST_NETWORKS = 1000
LONGEST_CACHED = 3600

_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_EXPOSED = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_RECIPE = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?")


class Unpublishable(Exception):
    """The object cannot be published; one sentence, without a secret."""


def key(kind: str, object_id: int | str = "") -> str:
    """The key of an object; `kind` is one of `contract.OBJECTS`."""
    return f"{OBJECTS[kind]}{object_id}"


def digest(text: str) -> str:
    """What the gateway lists of a text, so that both sides can be compared."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def collection(row: CollectionRow) -> str:
    """The text of a collection; raises Unpublishable."""
    if not isinstance(row.handle, str) or not _HANDLE.fullmatch(row.handle):
        raise Unpublishable("Its handle is not a single path segment of the allowed form.")
    if row.kind not in Collection.Kind.values:
        raise Unpublishable("Its kind is unknown.")
    recipes = row.kind == Collection.Kind.RECIPE
    return text_of({
        "id": row.id,
        "handle": row.handle,
        "connection": 0 if recipes else row.connection or 0,
        "recipes": recipes,
        "forward_credential": row.forward_credential is True,
        "forward_claims": row.forward_claims is True,
        "encoded_slashes": row.encoded_slashes is True,
        "origins": _origins(row.cors_origins),
        "browsers": _browsers(row) if row.cors_origins else None,
        "leave_authorization": row.leave_authorization is True,
        "places": None if row.credential_places is None else _places(row.credential_places),
        "cache": 0 if recipes else _cached(row.cache_seconds),
        "cache_shared": row.cache_shared is True,
        "cache_generation": row.cache_generation if type(row.cache_generation) is int else 0,
    })  # fmt: skip


def _cached(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LONGEST_CACHED:
        raise Unpublishable(f"Its answers are not kept for 0 to {LONGEST_CACHED} seconds.")
    return value


def _origins(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MOST_ORIGINS:
        raise Unpublishable(f"Its CORS origins are not a list of at most {MOST_ORIGINS} origins.")
    for origin in value:
        if (
            not isinstance(origin, str)
            or len(origin) > LONGEST_ORIGIN
            or not origins.ALLOWED.fullmatch(origin)
        ):
            raise Unpublishable(f"{shown(origin)} is not an origin such as https://app.example.")
    return value


def _browsers(row: CollectionRow) -> Mapping[str, object]:
    """What pages of allowed origins may do."""
    exposed, seconds = row.cors_exposed_headers, row.cors_max_age
    if not isinstance(exposed, list) or len(exposed) > MOST_ORIGINS:
        raise Unpublishable(f"Its exposed headers are not a list of at most {MOST_ORIGINS} names.")
    if not all(isinstance(name, str) and _EXPOSED.fullmatch(name) for name in exposed):
        raise Unpublishable("One of its exposed headers is not a name of a header.")
    if not isinstance(seconds, int) or not 0 <= seconds <= LONGEST_TIMEOUT:
        raise Unpublishable(f"Its CORS max age is not 0 to {LONGEST_TIMEOUT} seconds.")
    credentials = row.cors_credentials is True
    if credentials and {origins.ANY, origins.OPAQUE} & set(_origins(row.cors_origins)):
        raise Unpublishable("It lets every origin send credentials.")
    return {"credentials": credentials, "exposed": exposed, "max_age": seconds}


def endpoint(row: EndpointRow) -> str:
    """The text of an active endpoint; raises Unpublishable."""
    if row.method not in ENDPOINT_METHODS:
        raise Unpublishable("Its method is not one that the gateway knows.")
    path = _template("path", row.path)
    target = _template("target path", row.target_path) if row.target_path else path
    unknown = set(target.tokens) - set(path.tokens)
    if unknown:
        raise Unpublishable(f"Its target path has {shown(min(unknown))}, which is not in its path.")
    timeout = seconds(row.timeout_seconds, least=0) if row.timeout_seconds is not None else 0
    return text_of({
        "id": row.id,
        "collection": row.collection,
        "method": row.method,
        "path": path.text,
        "target": "" if target.text == path.text else target.text,
        "timeout": timeout,
        "recipe": _recipe(row, timeout),
        "cache": None if row.cache_seconds is None else _cached(row.cache_seconds),
    })  # fmt: skip


def _recipe(row: EndpointRow, timeout: int) -> Mapping[str, object] | None:
    if row.kind != Collection.Kind.RECIPE:
        if row.recipe is not None:
            raise Unpublishable("It has a recipe, but its collection is not one of recipes.")
        return None
    if row.recipe is None:
        raise Unpublishable("It has no recipe.")
    if not isinstance(row.recipe, str) or not _RECIPE.fullmatch(row.recipe):
        raise Unpublishable("The name of its recipe does not fit a header.")
    return {
        "name": row.recipe,
        "timeout": timeout or RECIPE_TIMEOUT,
        "validate": row.validate is not False,
    }


def _template(what: str, value: object) -> Template:
    if not isinstance(value, str) or len(value) > LONGEST_PATH:
        raise Unpublishable(f"Its {what} is not a text of at most {LONGEST_PATH} characters.")
    try:
        template = stored_template(value)
    except BadTemplate as error:
        raise Unpublishable(f"Its {what} {error}.") from None
    if template.text != value:
        raise Unpublishable(f"Its {what} is not in the one normal form.")
    return template


def _places(value: object) -> Mapping[str, object]:
    if not isinstance(value, list):
        raise Unpublishable("The places of credentials are not a list.")
    try:
        return places.gathered(places.parse_all(value)).published()
    except places.BadPlace:
        raise Unpublishable("One of the places of credentials is invalid.") from None


def settings(
    trusted_proxies: object, credential_places: object, *, public_url: str, configured: bool
) -> str:
    """The workspace settings that the gateway needs, as text; raises Unpublishable.

    `public_url`: where consumers call; `configured`: the owner has set it, it is not the listener's.
    """
    if not isinstance(trusted_proxies, list) or len(trusted_proxies) > MOST_NETWORKS:
        raise Unpublishable(f"The trusted proxies are not a list of at most {MOST_NETWORKS}.")
    return text_of({
        "trusted": [_network(value) for value in trusted_proxies],
        "public": _public(public_url, configured=configured),
        "places": _places(credential_places) if credential_places else None,
    })  # fmt: skip


def _public(url: str, *, configured: bool) -> Mapping[str, object]:
    """The public address in the parts that upstreams are told; none for one that does not read."""
    if not origins.STORED.fullmatch(url):
        return {}
    scheme, _, authority = url.partition("://")
    usual = {"http": 80, "https": 443}[scheme]
    host, _, port = authority.rpartition(":") if authority[-1] != "]" else (authority, "", "")
    if not host:
        host, port = authority, ""
    number = int(port or usual)
    return {
        "scheme": scheme,
        "host": host,
        "port": number,
        "authority": host if number == usual else f"{host}:{number}",
        "origin": url if configured else "",
    }


def _network(value: object) -> str:
    try:
        # Everybody trusted would let any caller claim any address.
        if isinstance(value, str) and (network := ipaddress.ip_network(value)).prefixlen:
            return str(network)
    except ValueError:
        pass
    raise Unpublishable(f"{shown(value)} is not a network such as 10.0.0.0/8.")


def seconds(value: object, *, least: int) -> int:
    if not isinstance(value, int) or not least <= value <= LONGEST_TIMEOUT:
        raise Unpublishable(f"Its timeout is not {least} to {LONGEST_TIMEOUT} seconds.")
    return int(value)


def shown(value: object) -> str:
    """A value as a sentence may show it: short, in printable ASCII."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def text_of(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if len(text) > LARGEST:
        raise Unpublishable(f"It is larger than {LARGEST // 1024} KB.")
    return text
