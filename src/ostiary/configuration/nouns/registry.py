"""All nouns that are kept in files."""

from collections.abc import Mapping, Sequence

from django.db import models

from ostiary.configuration.nouns.catalog import COLLECTIONS, CONNECTIONS, ENDPOINTS
from ostiary.configuration.nouns.clients import CLIENTS, DEFAULTS, PROFILES
from ostiary.configuration.nouns.file_noun import AnyNoun, Keys
from ostiary.configuration.nouns.limits import ADDRESS_LISTS, POLICIES
from ostiary.configuration.nouns.workspace import PROPERTIES, WEBHOOKS
from ostiary.directory.models import Policy

#: All of them, each after those that it refers to.
NOUNS: tuple[AnyNoun, ...] = (
    POLICIES, ADDRESS_LISTS, CONNECTIONS, COLLECTIONS, ENDPOINTS, CLIENTS, DEFAULTS, PROFILES, WEBHOOKS,
    PROPERTIES,
)  # fmt: skip
BY_KIND: Mapping[str, AnyNoun] = {noun.kind: noun for noun in NOUNS}


def read_project(project_id: int) -> tuple[Mapping[str, Sequence[models.Model]], Keys]:
    """Everything of a project that files can hold, by kind, and its keys."""
    keys = Keys()
    rows: dict[str, Sequence[models.Model]] = {}
    for noun in NOUNS:
        rows[noun.kind] = list(noun.rows(project_id))
        keys.add(noun, rows[noun.kind])
        if noun is POLICIES:
            keys.add_shared(noun, list(Policy.objects.filter(project=None).order_by("pk")))
    return rows, keys


def parts_of(noun: AnyNoun) -> Sequence[AnyNoun]:
    """The nouns whose entries stand inside those of another."""
    return [each for each in NOUNS if each.parent == noun.kind]
