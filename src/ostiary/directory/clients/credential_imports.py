"""Access profiles made from a list of credentials that consumers already have, all or none."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from django.db import transaction

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, Problem, Refused
from ostiary.directory.changes.inputs import (
    IdOrNull,
    Input,
    ListOf,
    Moment,
    Name,
    Problems,
    Text,
)
from ostiary.directory.changes.permission import project_of
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.clients.access_profiles import NewProfileInput
from ostiary.directory.models import Client, Collection, Project

#: Credentials of one call: writers wait for its transaction.
MOST = 200


class RowInput(Input):
    """One credential: whose it is, where it may call, and its SHA-256 or itself."""

    required: ClassVar[tuple[str, ...]] = ("client", "collections")

    #: Name of the client in the project, or its id.
    client: Name = ""
    #: Name of the access profile; left out, the client's.
    profile: Annotated[str, Text(required=False)] = ""
    #: Handles of the API collections, or their ids.
    collections: Annotated[list[str], ListOf(each=Text(), most=1000, required=True)] = []
    token: str | None = None
    token_sha256: str | None = None
    api_policy_id: IdOrNull = None
    expires_at: Annotated[datetime | None, Moment()] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCredentials:
    """What became of one row."""

    profile_id: int
    profile: str
    client_id: int
    client: str
    new_client: bool


def run(
    *,
    by: Actor,
    project_id: int | None,
    rows: list[RowInput],
    create_clients: bool,
    apply: bool,
) -> Saved[list[ImportedCredentials]]:
    """Make an access profile of each row, or without `apply` find out whether that would work.

    What it finds out is exact, as everything is done and undone. Raises Invalid with the problems of all
    rows, under `rows.N.`; then nothing is saved.
    """
    project = project_of(by, project_id)
    made: list[ImportedCredentials] = []
    problems: list[Problem] = []
    sequence = 0
    with transaction.atomic():
        for place, row in enumerate(rows):
            try:
                with transaction.atomic():
                    imported, sequence = _make(by, project, row, create_clients=create_clients)
            except Refused as refused:
                problems += _of_row(place, refused)
            else:
                made.append(imported)
        if problems:
            raise Invalid(problems)
        if not apply:
            transaction.set_rollback(True)
    return Saved(value=made, sequence=sequence if apply else 0, adds=True)


def _of_row(place: int, refused: Refused) -> Iterator[Problem]:
    """The problems of one row; those of its profile have the names of the row's fields."""
    names = {"collection_ids": "collections", "policy_id": "api_policy_id", "name": "profile"}
    if not isinstance(refused, Invalid):
        yield Problem(field=f"rows.{place}", code="refused", sentence=str(refused))
        return
    for each in refused.problems:
        field = names.get(each.field, each.field)
        yield Problem(field=f"rows.{place}.{field}", code=each.code, sentence=each.sentence)


def _make(
    by: Actor, project: Project, row: RowInput, *, create_clients: bool
) -> tuple[ImportedCredentials, int]:
    row.check_complete()
    problems = Problems(RowInput)
    if (row.token is None) == (row.token_sha256 is None):
        problems.add("token", "give the token or its SHA-256", code="missing")
    collections = _collections(by, problems, row.collections)
    client = _client(by, problems, project, row.client)
    if client is None and not create_clients:
        problems.add("client", f"there is no client {row.client} in the project", code="unknown")
    problems.raise_if_any()
    new = client is None
    if client is None:
        client = clients.create(
            by=by, given=clients.ClientInput(name=row.client, project_id=project.pk)
        )
    given = NewProfileInput.of(
        name=row.profile or client.name, client_id=client.pk, collection_ids=collections,
        auth_type=AuthMethod.TOKEN.value, token=row.token, token_sha256=row.token_sha256,
        policy_id=row.api_policy_id, expires_at=row.expires_at,
    )  # fmt: skip
    saved, _ = access_profiles.create(by=by, given=given)
    imported = ImportedCredentials(
        profile_id=saved.value.pk, profile=saved.value.name, client_id=client.pk,
        client=client.name, new_client=new,
    )  # fmt: skip
    return imported, saved.sequence


def _client(by: Actor, problems: Problems, project: Project, said: str) -> Client | None:
    """The client that is meant, by name or id; nothing if there is none. Of a name there may be several."""
    seen = clients.clients(by).filter(project=project)
    named = list(seen.filter(name=said).order_by("pk")[:2])
    if not named and said.isascii() and said.isdigit() and len(said) < 10:
        named = list(seen.filter(pk=int(said)))
    if len(named) > 1:
        problems.add("client", f"several clients are called {said}; give the id", code="ambiguous")
    return named[0] if named else None


def _collections(by: Actor, problems: Problems, said: list[str]) -> list[int]:
    ids = []
    for each in said:
        seen = Collection.objects.visible_to(by)
        found = seen.filter(handle=each).values_list("pk", flat=True).first()
        if found is None and each.isascii() and each.isdigit() and len(each) < 10:
            found = seen.filter(pk=int(each)).values_list("pk", flat=True).first()
        if found is None:
            problems.add("collections", f"there is no API collection {each}", code="unknown")
        else:
            ids.append(found)
    return ids
