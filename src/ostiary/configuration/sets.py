"""Sets of files: which there are, what belongs to them, and what was changed beside them.

What was changed is found by comparing the directory with what the files said when they were applied.
That happens in the background, once something of a project has changed: pages and metrics read what
was found.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from django.db import close_old_connections, transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from ostiary.configuration.nouns.file_noun import as_json
from ostiary.configuration.nouns.registry import BY_KIND, NOUNS, read_project
from ostiary.directory.actor import Actor
from ostiary.directory.changes.permission import visible_projects
from ostiary.directory.models import AuditEvent, ConfigurationSet, ManagedObject
from ostiary.directory.webhooks import events

log = logging.getLogger(__name__)

#: Seconds between two searches for sets whose project has changed.
SECONDS = 30.0
#: A set is compared at most so often: with many thousands of objects that takes seconds.
PAUSE = timedelta(minutes=1)
#: A set is compared after this time even if nothing is known to have changed in its project: an object
#: may have been moved to another one, or a comparison may have been broken off.
AT_LATEST = timedelta(hours=1)
#: Objects that are named; there may be more.
MOST_NAMED = 100
#: Objects that an event names.
MOST_SENT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftedObject:
    """An object of a set that is not as the files said when they were applied."""

    kind: str
    key: str
    #: The fields that differ; none: the object is gone.
    fields: Sequence[str]


def visible(by: Actor) -> QuerySet[ConfigurationSet]:
    """The sets of the projects that `by` sees, with the number of their objects."""
    found = ConfigurationSet.objects.filter(project__in=visible_projects(by).values("pk"))
    found = found.select_related("project").annotate(objects_held=Count("objects_of"))
    return found.order_by("project__name", "name")


def owner(kind: str, object_id: int, project_id: int) -> ConfigurationSet | None:
    """The set of a project that an object belongs to; one that was moved belongs to none there."""
    found = ManagedObject.objects.filter(kind=kind, object_id=object_id, set__project_id=project_id)
    managed = found.select_related("set").first()
    return managed.set if managed is not None else None


def sees(by: Actor, kind: str, project_id: int) -> bool:
    """Whether `by` sees objects of a kind in a project, as in console and API."""
    noun = BY_KIND.get(kind)
    # What is blocked in a plan may be the configuration as a whole, which has no kind.
    return noun is None or by.may(noun.least, project_id)


def drift(by: Actor, row: ConfigurationSet) -> list[Mapping[str, object]]:
    """The named objects that were changed beside the files, of those that `by` sees."""
    return [each for each in row.drift if sees(by, str(each["kind"]), row.project_id)]


def compared(row: ConfigurationSet) -> list[DriftedObject]:
    """The objects of a set that were changed or deleted since it was applied."""
    rows, keys = read_project(row.project_id)
    live = {(noun.kind, each.pk): each for noun in NOUNS for each in rows[noun.kind]}
    found = []
    for managed in ManagedObject.objects.filter(set=row).order_by("kind", "key").iterator():
        there = live.get((managed.kind, managed.object_id))
        if there is None:
            found.append(DriftedObject(kind=managed.kind, key=managed.key, fields=()))
            continue
        shown = BY_KIND[managed.kind].shown(there, keys)
        fields = [
            name for name, said in managed.applied.items() if as_json(shown.get(name)) != said
        ]
        if fields:
            found.append(DriftedObject(kind=managed.kind, key=managed.key, fields=sorted(fields)))
    return found


def compare_changed() -> int:
    """Compare the sets whose project has changed since they were compared; returns how many."""
    number = 0
    for row in ConfigurationSet.objects.exclude(applied_at=None).order_by("pk"):
        newest = (
            AuditEvent.objects.filter(project_id=row.project_id)
            .order_by("-pk")
            .values_list("pk", flat=True)
            .first()
        ) or 0
        age = timezone.now() - row.compared_at if row.compared_at is not None else AT_LATEST
        recent = age < PAUSE and row.compared_event
        if age >= AT_LATEST or (newest != row.compared_event and not recent):
            number += _compared_safely(row, newest)
    return number


def _compared_safely(row: ConfigurationSet, newest: int) -> bool:
    """Compare one set; one that cannot be compared holds up no other, and is tried again."""
    before = {"compared_event": row.compared_event, "compared_at": row.compared_at}
    try:
        return _compare(row, newest)
    except Exception:
        log.exception("the configuration set %s could not be compared", row.pk)
        ConfigurationSet.objects.filter(pk=row.pk, compared_event=newest).update(**before)
        return False


def _compare(row: ConfigurationSet, newest: int) -> bool:
    """Compare one set, unless another process has begun to; tells webhooks of what is new."""
    mine = ConfigurationSet.objects.filter(pk=row.pk, compared_event=row.compared_event)
    if not mine.update(compared_event=newest, compared_at=timezone.now()):
        return False
    applied = row.applied_at
    found = compared(row)
    named = [{**asdict(each), "fields": list(each.fields)} for each in found[:MOST_NAMED]]
    with transaction.atomic():
        # What was applied meanwhile is compared the next time.
        still = ConfigurationSet.objects.select_for_update().filter(pk=row.pk, applied_at=applied)
        stored = still.first()
        if stored is None:
            return False
        if found and (stored.drifted, stored.drift) != (len(found), named):
            events.of_drift(stored, drifted=len(found), objects=named[:MOST_SENT])
        stored.drifted, stored.drift = len(found), named
        stored.save(update_fields=["drifted", "drift"])
    return True


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Compare in the background until the end of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(stop,), name="configuration-drift", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # A comparison that is broken off is made again an hour later at the latest.
        thread.join(timeout=1.0)


def _watch(stop: threading.Event) -> None:
    while not stop.wait(SECONDS):
        try:
            close_old_connections()
            compare_changed()
        except Exception:
            # Such as a database that is away: the next round compares.
            log.exception("configuration sets could not be compared")
