"""Named lists of addresses, which profiles of one project share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from ostiary.access import addresses
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.models import AccessProfile, AddressList
from ostiary.directory.workspace import project_quotas

#: Characters of a list as it is typed, comments included.
LONGEST = 4_000_000
#: Sentences about single entries that an answer holds.
MOST_SENTENCES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an owner may say of a list; empty where it does not. `text` is one text or the entries."""

    name: object = None
    description: object = None
    text: object = None


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


def create(*, by: Actor, given: Given, project_id: int | None = None) -> Saved[AddressList]:
    """Make a list; raises Invalid, NotFound, Forbidden."""
    project = project_of(by, project_id)
    require(by, Role.EDITOR, project.pk)
    made = AddressList(project=project)
    with transaction.atomic():
        warnings = _fill(made, given, new=True)
        project_quotas.check(project.pk, address_lists=1)
        _save(made)
        sequence = _announced(by, "create", made)
    return Saved(value=made, sequence=sequence, warnings=warnings, adds=True)


def change(
    *, by: Actor, list_id: int, given: Given, if_match: str | None = None
) -> Saved[AddressList]:
    """Change what is given; in force for every profile that uses it once confirmed."""
    with transaction.atomic():
        found = _locked(by, list_id)
        etags.check(found, if_match)
        before = _shown(found)
        warnings = _fill(found, given, new=False)
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
        sequence = _announced(by, "delete", found, _shown(found))
        found.delete()
    return Saved(value=None, sequence=sequence)


def chosen(
    problems: fields.Problems, field: str, value: object, project_id: int
) -> list[AddressList]:
    """The lists of a project that ids name, for a profile."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > 20:
        problems.add(field, "must be a list of at most 20 ids")
        return []
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in value):
        problems.add(field, "must be a list of at most 20 ids")
        return []
    found = AddressList.objects.filter(project_id=project_id, pk__in=set(value)).defer(
        "text", "packed"
    )
    missing = sorted(set(value) - {each.pk for each in found})
    if missing:
        problems.add(field, f"there is no address list {missing[0]} in the client's project")
    return sorted(found, key=lambda each: each.pk)


def _locked(by: Actor, list_id: int) -> AddressList:
    found = find(by, list_id)
    require(by, Role.EDITOR, found.project_id)
    locked = AddressList.objects.select_for_update().filter(pk=found.pk).first()
    if locked is None:
        raise NotFound("address list")
    return locked


def _fill(made: AddressList, given: Given, *, new: bool) -> tuple[str, ...]:
    problems = fields.Problems()
    warnings: tuple[str, ...] = ()
    if given.name is not None or new:
        made.name = fields.text(problems, "name", given.name)
    if given.description is not None:
        made.description = fields.text(
            problems, "description", given.description, maximum=4000, required=False, lines=True
        )
    if given.text is not None or new:
        warnings = _fill_entries(problems, made, given.text)
    problems.raise_if_any()
    return warnings


def _fill_entries(problems: fields.Problems, made: AddressList, value: object) -> tuple[str, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = "\n".join(map(str, value))
    if not isinstance(value, str):
        problems.add("entries", "must be a list of addresses or CIDR ranges")
        return ()
    if len(value) > LONGEST:
        problems.add("entries", f"is too long (maximum is {LONGEST:,} characters)")
        return ()
    parsed = addresses.parse_list(value, most=addresses.MOST_NAMED)
    problems.add("entries", *_some(parsed.problems))
    if not parsed.entries and not parsed.problems:
        problems.add("entries", "can't be blank: a list without an entry would let nobody in")
    made.text = "\n".join(line.rstrip() for line in value.strip().splitlines())
    made.packed = addresses.pack(parsed.networks)
    made.entries = len(parsed.entries)
    return _some(parsed.warnings)


def _some(sentences: Sequence[str]) -> tuple[str, ...]:
    more = len(sentences) - MOST_SENTENCES
    return (*sentences[:MOST_SENTENCES], *((f"and {more:,} more",) if more > 0 else ()))


def _save(made: AddressList) -> None:
    try:
        with transaction.atomic():
            made.save()
    except IntegrityError:
        raise Invalid({"name": ["has already been taken"]}) from None


def _shown(found: AddressList) -> Mapping[str, object]:
    """A list as the audit log shows it; its entries only where they are few."""
    few = len(found.text) <= 20_000
    return {
        "name": found.name,
        "description": found.description,
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
