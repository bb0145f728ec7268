"""Search over all objects that an owner may see: by name, path, key or credential.

Each kind is asked for as its own list is, so nothing is found that its list would not show. A text
that is a whole token finds whose it is by its digest, as the gateway does, and nothing else.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Case, Model, Q, QuerySet, Value, When

from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, connections, endpoints, recipes
from ostiary.directory.changes import finding
from ostiary.directory.clients import (
    address_lists,
    clients,
    credentials,
    listed_networks,
    policies,
)
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Connection,
    Credential,
    Endpoint,
    ManagementToken,
    Recipe,
)
from ostiary.directory.people import management_tokens, members
from ostiary.directory.projects import projects
from ostiary.directory.states import Stated
from ostiary.directory.webhooks import webhooks
from ostiary.identity import tokens

#: Hits that are shown of each kind; whether there are more is said.
MOST = 5
SHORTEST = 2
LONGEST = 200
#: A token as pages mask it: its beginning and its end.
_MASKED = re.compile(r"([A-Za-z0-9_-]{4,16})…([A-Za-z0-9_-]{4})")
_KEY = re.compile(r"[A-Za-z0-9_.:/@-]{4,}")
_WHOLE = re.compile(r"ost[a-z]?_[A-Za-z0-9_-]{40,}")

#: What a secret may look like: a token of ours, a JWT, or a long text without blanks or slashes.
_OURS = re.compile(r"ost[a-z]?_[A-Za-z0-9_-]{17,}|eyJ\S{10,}")
_LONG = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[^\s/]{24,}")
_ID = re.compile(r"[0-9a-f-]{24,36}")

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What was found; `page` is the id of the object whose page shows it.

    `own`: its own id, where that is another one.
    """

    page: int
    name: str
    detail: str = ""
    own: int = 0

    @property
    def id(self) -> int:
        return self.own or self.page


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    kind: str
    hits: tuple[Hit, ...]
    more: bool = False


def may_be_secret(text: str) -> bool:
    """Whether a text may be a credential, so that it must stand in no address."""
    if _OURS.search(text):
        return True
    return any(_LONG.fullmatch(word) and not _ID.fullmatch(word) for word in text.split())


def search(by: Actor, text: str) -> list[Group]:
    """Everything that `text` finds, by kind; nothing for less than two characters."""
    text = text.strip()[:LONGEST]
    if len(text) < SHORTEST or "\x00" in text:
        return []
    found = _by_secret if _WHOLE.fullmatch(text) else _by_name
    return [
        Group(kind=kind, hits=tuple(hits[:MOST]), more=len(hits) > MOST)
        for kind, hits in found(by, text)
        if hits
    ]


def _by_secret(by: Actor, text: str) -> Iterator[tuple[str, list[Hit]]]:
    fitting = credentials_like(by, text)
    ids = [] if fitting is None else list(fitting.values_list("profile_id", flat=True))
    yield "profile", _profiles(by, Q(pk__in=ids))
    if by.admin:
        prints = [tokens.fingerprint(text)]
        held = management_tokens.management_tokens(by).filter(fingerprint__in=prints)
        yield "token", [Hit(page=token.pk, name=token.name) for token in held]


def _by_name(by: Actor, text: str) -> Iterator[tuple[str, list[Hit]]]:
    # `team: payments` is how pages show the label `team:payments`.
    text = text.replace(": ", ":")
    key = ("key",)
    yield "client", _hits(clients.clients(by), text, "name", "key", "project__name", also=key)
    yield "profile", _profiles(by, *_keys(by, text), text=text)
    yield "collection", _hits(collections.collections(by), text, "name", "handle", also=("handle",))
    yield "endpoint", _endpoints(by, text)
    yield (
        "connection",
        _hits(connections.connections(by), text, "name", "key", "project__name", also=key),
    )
    yield "policy", _hits(policies.policies(by), text, "name", "key", also=key)
    yield (
        "address_list",
        _hits(address_lists.address_lists(by), text, "name", "key", "project__name", also=key),
    )
    yield "recipe", _hits(recipes.recipes(by), text, "name", "file", labelled=False)
    yield "project", _hits(projects.projects(by), text, "name", "key", also=key)
    yield "webhook", _hits(webhooks.webhooks(by), text, "name", "key", also=key)
    if by.admin:
        yield (
            "member",
            _hits(members.members(by), text, "email", "name", also=("name",), labelled=False),
        )
        yield (
            "token",
            _hits(management_tokens.management_tokens(by), text, "name", "prefix", labelled=False),
        )


def _hits(
    found: QuerySet[M],
    text: str,
    name: str,
    *details: str,
    also: tuple[str, ...] = (),
    labelled: bool = True,
) -> list[Hit]:
    rows = _ordered(found, text, name, *also, labelled=labelled)
    return [
        Hit(page=row[0], name=row[1], detail=" ".join(filter(None, row[2:])))
        for row in rows.values_list("pk", name, *details)[: MOST + 1]
    ]


def _ordered(found: QuerySet[M], text: str, name: str, *also: str, labelled: bool) -> QuerySet[M]:
    """Rows with every word of the text in a field, or as a label; what begins with it comes first.

    But for labels, no columns but those that are shown are read: an index has them all.
    """
    matching = finding.with_words(found, text, (name, *also), labelled=labelled)
    first = Case(When(**{f"{name}__istartswith": text}, then=Value(0)), default=Value(1))
    return matching.select_related(None).order_by(first, name, "pk")


def _profiles(by: Actor, *wheres: Q, text: str = "") -> list[Hit]:
    """Profiles by what their credentials show, then by their name."""
    visible = AccessProfile.objects.visible_to(by)
    some: list[QuerySet[AccessProfile]] = [
        visible.filter(where).order_by("name", "pk") for where in wheres
    ]
    if text:
        some.append(_ordered(visible, text, "name", "key", labelled=True))
    rows: dict[int, Hit] = {}
    for found in some:
        for pk, client_id, name, client in found.values_list(
            "pk", "client_id", "name", "client__name"
        )[: MOST + 1]:
            rows.setdefault(pk, Hit(page=client_id, own=pk, name=name, detail=client))
    return list(rows.values())


#: The kinds whose rows have a state, and what its state is read from besides.
_STATED: Mapping[str, QuerySet[Any]] = {
    "client": Client.objects.defer("logo_small", "logo_medium"),
    "profile": AccessProfile.objects.select_related("client", "policy").defer(
        "client__logo_small", "client__logo_medium"
    ),
    "endpoint": Endpoint.objects.select_related("collection", "recipe"),
    "connection": Connection.objects.all(),
    "recipe": Recipe.objects.all(),
    "token": ManagementToken.objects.select_related("created_by"),
}


def stated(group: Group) -> Mapping[int, Stated]:
    """The rows of a group's hits by id, for their states; empty for kinds that have none."""
    rows = _STATED.get(group.kind)
    return {} if rows is None else rows.in_bulk([hit.id for hit in group.hits])


def credentials_like(by: Actor, text: str) -> QuerySet[Credential] | None:
    """Credentials that are the text, or whose token, client id or profile key begins like it.

    None: no credential can look like this.
    """
    visible = credentials.credentials(by)
    if _WHOLE.fullmatch(text):
        prints = [tokens.fingerprint(text), tokens.client_fingerprint(text)]
        return visible.filter(Q(fingerprint__in=prints) | Q(public_id=text))
    masked = _MASKED.fullmatch(text)
    if masked:
        return visible.filter(last_four=masked[2]).filter(_begins("prefix", masked[1]))
    if _KEY.fullmatch(text):
        return visible.filter(_begins("prefix", text) | _begins("public_id", text))
    return None


def credentials_with(by: Actor, found: QuerySet[Credential], text: str) -> QuerySet[Credential]:
    """Those by mask or beginning, or by the name of their profile or its client."""
    shown = credentials_like(by, text)
    if shown is not None and shown.exists():
        return found.filter(pk__in=shown.order_by().values("pk"))
    # Names by their indexes, and not the profile and client of each credential.
    named = finding.with_words(AccessProfile.objects.visible_to(by), text, ("name",))
    owners = finding.with_words(Client.objects.visible_to(by), text, ("name",))
    profiles = AccessProfile.objects.filter(
        Q(pk__in=named.values("pk")) | Q(client__in=owners.values("pk"))
    )
    return found.filter(profile__in=profiles.values("pk"))


def _keys(by: Actor, text: str) -> Iterator[Q]:
    """Profiles whose token, client id or profile key begins like this, or whose lists hold an address."""
    network = listed_networks.asked(text)
    if network is not None:
        yield listed_networks.listing(by, network)
    shown = credentials_like(by, text)
    if shown is None:
        return
    ids = shown.order_by().values_list("profile_id", flat=True)
    # A few, before anything is sorted: very many tokens may begin alike.
    yield Q(pk__in=list(ids[: MOST + 1]))


def _begins(field: str, text: str) -> Q:
    """The same on both databases, by an index: SQLite has none for a LIKE with an escape."""
    if connection.vendor == "sqlite":
        return Q(**{f"{field}__gte": text, f"{field}__lt": text + "\U0010ffff"})
    return Q(**{f"{field}__startswith": text})


def _endpoints(by: Actor, text: str) -> list[Hit]:
    """Endpoints by name, or by path, also as consumers write it: below the collection's handle."""
    method, _, path = text.rpartition(" ")
    handle, slash, rest = path.strip("/").partition("/")
    where = Q(name__icontains=text) | Q(path__icontains=text)
    if path.startswith("/"):
        where |= Q(collection__handle=handle, path__startswith=f"/{rest}" if slash else "/")
        where |= Q(path__icontains=path)
    found = endpoints.endpoints(by).filter(where)
    if method.isupper():
        found = found.filter(method=method)
    if ":" in text and not path.startswith("/"):
        columns = ("name", "path")
        found = finding.with_words(endpoints.endpoints(by), text, columns, labelled=True)
    shown = ("pk", "collection_id", "method", "path", "name", "collection__name")
    return [
        Hit(page=collection, own=pk, name=f"{method} {path}", detail=f"{name} · {of}")
        for pk, collection, method, path, name, of in found.order_by("path", "pk").values_list(
            *shown
        )[: MOST + 1]
    ]
