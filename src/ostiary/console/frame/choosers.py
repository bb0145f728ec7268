"""Fields that choose one object: a select, or where there are many a field that is typed into.

What is typed is a name, or a text with the object's number at its end, as the suggestions write it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import QuerySet

from ostiary.directory.actor import Actor
from ostiary.directory.changes import finding
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles
from ostiary.directory.models import Collection, Endpoint

#: Choices of a select.
MOST_OPTIONS: Final = 50
#: Suggestions for what is typed.
MOST_SUGGESTED: Final = 20
#: The number at the end of a text: `Nightly (Acme) #12`.
_NUMBER: Final = re.compile(r"(?:^|#)\s*([0-9]{1,9})$")

#: Rows to choose from.
Choice = QuerySet[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooserField:
    """A field as a page shows it."""

    name: str
    label: str
    #: In the address of its suggestions.
    kind: str
    value: str
    options: Sequence[tuple[str, str]] = ()
    is_typed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """What can be chosen, and how it is written."""

    kind: str
    rows: Callable[[Actor], Choice]
    text: Callable[[Any], str]
    columns: tuple[str, ...]
    order: tuple[str, ...]

    def field(
        self, by: Actor, name: str, label: str, given: str, rows: Choice | None = None
    ) -> ChooserField:
        """The field, with what was given in it. `rows`: fewer than all."""
        found = self.rows(by) if rows is None else rows
        first = list(found.order_by(*self.order)[: MOST_OPTIONS + 1])
        numbered = _NUMBER.search(given)
        if len(first) <= MOST_OPTIONS:
            options = [(str(each.pk), self.text(each)) for each in first]
            value = numbered[1] if numbered else given
            return ChooserField(
                name=name, label=label, kind=self.kind, value=value, options=options
            )
        chosen = found.filter(pk=int(numbered[1])).first() if numbered else None
        value = self.written(chosen) if chosen else given
        return ChooserField(name=name, label=label, kind=self.kind, value=value, is_typed=True)

    def words(self, by: Actor, number: int | None) -> str:
        """What an object is called; empty for none, and for one that is not to be seen."""
        found = self.rows(by).filter(pk=number).first() if number else None
        return self.text(found) if found else ""

    def written(self, row: Any) -> str:
        return f"{self.text(row)} #{row.pk}"

    def chosen(self, by: Actor, name: str, given: str, rows: Choice | None = None) -> int | None:
        """The number that was given, or that of the one with this name; raises Invalid."""
        given = given.strip()
        numbered = _NUMBER.search(given)
        if numbered or not given:
            return int(numbered[1]) if numbered else None
        found = self.rows(by) if rows is None else rows
        fitting = list(self.like(found, given)[:MOST_SUGGESTED])
        exact = [each for each in fitting if given.casefold() in _names(self.text(each))]
        if len(exact or fitting) != 1:
            why = "matches several; choose one of the suggestions" if fitting else "matches nothing"
            raise Invalid({name: [why]})
        return int((exact or fitting)[0].pk)

    def like(self, rows: Choice, text: str) -> Choice:
        numbered = _NUMBER.search(text)
        if numbered:
            return rows.filter(pk=int(numbered[1]))
        # Brackets are of the text that is shown, not of a name.
        words = re.sub(r"[(),:]", " ", text)
        return finding.with_words(rows, words, self.columns).order_by(*self.order)

    def suggested(self, by: Actor, text: str) -> list[str]:
        text = text.strip().replace("\x00", "")[:100]
        found = self.like(self.rows(by), text) if text else self.rows(by).order_by(*self.order)
        return [self.written(each) for each in found[:MOST_SUGGESTED]]


def _names(text: str) -> set[str]:
    """A text, and what stands in it before a bracket."""
    return {text.casefold(), text.rpartition(" (")[0].casefold()}


PROFILES: Final = Chooser(
    kind="profiles",
    rows=access_profiles.named,
    text=lambda each: f"{each.name} ({each.client.name})",
    columns=("name", "client__name"),
    order=("name", "pk"),
)
ENDPOINTS: Final = Chooser(
    kind="endpoints",
    rows=lambda by: Endpoint.objects.visible_to(by).select_related("collection"),
    text=lambda each: f"{each.method} /{each.collection.handle}{each.path}",
    columns=("path", "name", "method", "collection__handle"),
    order=("collection__handle", "path", "method"),
)
COLLECTIONS: Final = Chooser(
    kind="collections",
    rows=Collection.objects.visible_to,
    text=lambda each: str(each.name),
    columns=("name", "handle"),
    order=("name", "pk"),
)
CHOOSERS: Final = {each.kind: each for each in (PROFILES, ENDPOINTS, COLLECTIONS)}
