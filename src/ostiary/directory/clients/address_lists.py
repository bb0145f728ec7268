"""Named lists of addresses, which profiles of one project share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from ostiary.access import addresses
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, deletions, etags, feed, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.inputs import (
    Description,
    IdOrNull,
    Name,
    Problems,
    Text,
    refusal,
)
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import AccessProfile, AddressList
from ostiary.directory.workspace import project_quotas

#: Characters of a list as it is typed, comments included.
LONGEST = 4_000_000
#: Sentences about single entries that an answer holds.
MOST_SENTENCES = 20


def _one_text(value: object) -> object:
    """A list of entries as one text, with an entry in each line."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(str, value))
    return value


class Entries(Text):
    """One text of entries, or a list of them."""

    def checked(self, value: object) -> str:
        if not isinstance(value := _one_text(value), str):
            raise refusal("type", "must be a list of addresses or CIDR ranges")
        if len(value) > LONGEST:
            raise refusal("too_long", f"is too long (maximum is {LONGEST:,} characters)")
        return value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class AddressListInput(keys.KeyedInput):
    """Input for an address list."""

    required: ClassVar[tuple[str, ...]] = ("name", "text")
    fixed: ClassVar[tuple[str, ...]] = ("project_id",)
    apart: ClassVar[tuple[str, ...]] = ("text",)

    name: Name = ""
    project_id: IdOrNull = None
    description: Description = ""
    #: One text, or the entries: each may have a comment after `#`.
    text: Annotated[str, Entries()] = Field("", alias="entries")


def address_lists(by: Actor) -> QuerySet[AddressList]:
    """The lists that `by` may see, by name, without their content."""
    return AddressList.objects.visible_to(by).order_by("name", "pk").defer("text", "packed")


def find(by: Actor, list_id: int) -> AddressList:
    found = AddressList.objects.visible_to(by).filter(pk=list_id).first()
    if found is None:
        raise NotFound("address list")
    return found


def users(by: Actor, list_id: int) -> QuerySet[AccessProfile]:
    """The profiles that use a list; all of them are of its project."""
    using = Q(allowed_lists=list_id) | Q(denied_lists=list_id)
    visible = AccessProfile.objects.visible_to(by).filter(using).distinct()
    return visible.select_related("client").order_by("pk")


def create(*, by: Actor, given: AddressListInput) -> Saved[AddressList]:
    """Make a list; raises Invalid, NotFound, Forbidden."""
    given.check_complete()
    project = project_of(by, given.project_id)
    require(by, Role.EDITOR, project.pk)
    made = AddressList(project=project)
    with transaction.atomic():
        warnings = _fill(made, given)
        project_quotas.check(project.pk, address_lists=1)
        _save(made)
        sequence = _announced(by, "create", made)
    return Saved(value=made, sequence=sequence, warnings=warnings, adds=True)


def change(
    *, by: Actor, list_id: int, given: AddressListInput, if_match: str | None = None
) -> Saved[AddressList]:
    """Change what was sent; in force for every profile that uses it once confirmed."""
    with transaction.atomic():
        found = _locked(by, list_id)
        etags.check(found, if_match)
        given.check_fixed(found)
        before, stored = _shown(found), snapshot(found)
        warnings = _fill(found, given)
        if snapshot(found) == stored:
            return unchanged(found, found.epoch, warnings)
        _save(found)
        sequence = _announced(by, "change", found, before)
    return Saved(value=found, sequence=sequence, warnings=warnings)


def delete(*, by: Actor, list_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a list that no profile uses; raises InUse."""
    with transaction.atomic():
        found = _locked(by, list_id)
        etags.check(found, if_match)
        used = AccessProfile.objects.filter(
            Q(allowed_lists=found) | Q(denied_lists=found)
        ).distinct().count()  # fmt: skip
        if used:
            raise InUse(f"The address list is used by {used} access profile{'s' * (used > 1)}")
        deletions.keep(by, "address_list", found, project_id=found.project_id)
        sequence = _announced(by, "delete", found, _shown(found))
        found.delete()
    return Saved(value=None, sequence=sequence)


def chosen(
    problems: Problems, field: str, ids: Iterable[int], project_id: int
) -> list[AddressList]:
    """The lists of a project that ids name, for a profile."""
    wanted = set(ids)
    found = AddressList.objects.filter(project_id=project_id, pk__in=wanted).defer("text", "packed")
    missing = sorted(wanted - {each.pk for each in found})
    if missing:
        sentence = f"there is no address list {missing[0]} in the client's project"
        problems.add(field, sentence, code="unknown")
    return sorted(found, key=lambda each: each.pk)


def _locked(by: Actor, list_id: int) -> AddressList:
    found = find(by, list_id)
    require(by, Role.EDITOR, found.project_id)
    locked = AddressList.objects.select_for_update().filter(pk=found.pk).first()
    if locked is None:
        raise NotFound("address list")
    return locked


def check(made: AddressList, given: AddressListInput) -> None:
    """Whether input fits a list that nobody saves; raises Invalid."""
    _fill(made, given)


def _fill(made: AddressList, given: AddressListInput) -> tuple[str, ...]:
    given.assign(made)
    return _fill_entries(made, given.text) if given.has("text") else ()


def _fill_entries(made: AddressList, text: str) -> tuple[str, ...]:
    problems = Problems(AddressListInput)
    parsed = addresses.parse_list(text, most=addresses.MOST_NAMED)
    problems.add("text", *_some(parsed.problems))
    if not parsed.entries and not parsed.problems:
        sentence = "can't be blank: a list without an entry would let nobody in"
        problems.add("text", sentence, code="blank")
    problems.raise_if_any()
    made.text = "\n".join(line.rstrip() for line in text.strip().splitlines())
    made.packed = addresses.pack(parsed.networks)
    made.entries = len(parsed.entries)
    return _some(parsed.warnings)


def _some(sentences: Sequence[str]) -> tuple[str, ...]:
    more = len(sentences) - MOST_SENTENCES
    return (*sentences[:MOST_SENTENCES], *((f"and {more:,} more",) if more > 0 else ()))


def _save(made: AddressList) -> None:
    problems = Problems(AddressListInput)
    keys.check(problems, made)
    problems.raise_if_any()
    try:
        with transaction.atomic():
            made.save()
    except IntegrityError:
        raise Invalid({"name": ["has already been taken"]}) from None


def _shown(found: AddressList) -> Mapping[str, object]:
    """A list as the audit log shows it; its entries only where they are few."""
    few = len(found.text) <= 20_000
    return {
        **AddressListInput.stored(found),
        "entries": found.entries,
        "text": found.text if few else f"{found.entries:,} entries",
    }


def _announced(
    by: Actor, verb: str, found: AddressList, before: Mapping[str, object] | None = None
) -> int:
    audit_log.record(
        by,
        f"address_list.{verb}",
        target_kind="address_list",
        target_id=found.pk,
        target_name=found.name,
        project_id=found.project_id,
        before=before,
        after=_shown(found) if verb != "delete" else None,
    )
    found.epoch = feed.announce(feed.Kind.ADDRESS_LIST, found.pk)
    AddressList.objects.filter(pk=found.pk).update(epoch=found.epoch)
    return found.epoch
