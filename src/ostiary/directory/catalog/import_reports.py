"""What became of an import: what was taken from a document, what was not, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ostiary.directory.actor import Actor
from ostiary.directory.catalog import openapi
from ostiary.directory.changes import audit_log
from ostiary.directory.changes.errors import NotFound
from ostiary.directory.models import Collection, ImportReport

#: Entries of a report that are kept; the answer of the API that imported has all of them.
MOST_KEPT = 2000
#: Operations of which a refusal says why they can't be taken.
MOST_TOLD = 20
NOTHING_THERE = "No endpoint can be made: the document has no operations"
NOTHING_TAKEN = "No endpoint can be made: none of the document's operations can be taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A new collection, and what of an OpenAPI document became its endpoints."""

    collection: Collection
    read: openapi.Document | None = None
    taken: int = 0
    skipped: Sequence[openapi.Skipped] = ()
    notes: Sequence[openapi.Noted] = ()
    #: Sentences: why no call can be served yet.
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The outcome in one sentence; the usual one only if there is nothing more to say."""
        if self.skipped:
            many = self.taken + len(self.skipped)
            return f"{self.taken} of {many} endpoints were imported; the others could not be taken"
        if self.warnings:
            return f"Imported ({self.taken}), but calls can't be served yet"
        return "Import completed successfully"


def nothing_taken(read: openapi.Document) -> Iterator[str]:
    """Sentences about a document of which nothing can be taken."""
    yield NOTHING_TAKEN if read.skipped else NOTHING_THERE
    for each in read.skipped[:MOST_TOLD]:
        yield f"{each.place}: {each.reason}"
    if len(read.skipped) > MOST_TOLD:
        yield f"and {len(read.skipped) - MOST_TOLD:,} more"


def warnings(*, no_connection: str) -> tuple[str, ...]:
    """What is to be said at once of an import; `no_connection`: why calls have nowhere to go."""
    if not no_connection:
        return ()
    return (f"{no_connection} Every call is answered 503 until the collection has a connection.",)


def keep(imported: Imported) -> None:
    """Keep a report with its collection, in place of an earlier one, in the caller's transaction."""
    ImportReport.objects.filter(collection=imported.collection).delete()
    ImportReport.objects.create(
        collection=imported.collection,
        taken=imported.taken,
        left_out=len(imported.skipped),
        skipped=[[each.place, each.reason] for each in imported.skipped[:MOST_KEPT]],
        notes=[[each.place, each.note] for each in imported.notes[:MOST_KEPT]],
        warnings=list(imported.warnings),
    )


def report(collection: Collection) -> ImportReport:
    """The report of a collection's import; raises NotFound."""
    found = ImportReport.objects.filter(collection=collection).first()
    if found is None:
        raise NotFound("import report")
    return found


def dismiss(*, by: Actor, collection: Collection) -> None:
    """Delete the report of a collection that the caller has locked; raises NotFound."""
    report(collection).delete()
    audit_log.record(
        by,
        "collection.dismiss_import_report",
        target_kind="collection",
        target_id=collection.pk,
        target_name=collection.name,
        project_id=collection.project_id,
    )
