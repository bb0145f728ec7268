"""A collection's next OpenAPI document: uploaded, previewed, and taken over operation by operation."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Several
from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ostiary.console.catalog.openapi_documents import carried, carried_back, sent_document, tags_of
from ostiary.console.frame.forms import sent
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections, openapi, reimports
from ostiary.directory.changes.errors import Invalid, Stale
from ostiary.directory.changes.permission import require
from ostiary.directory.models import Collection
from ostiary.review import reimport_effects
from ostiary.review.reimport_effects import Touched

NO_DOCUMENT = "Choose a file, or paste the document."
MOVED = (
    "Nothing was imported: the collection was changed after the preview. This is the preview as of"
    " now; choose again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRow:
    """One operation of the preview, with its box."""

    difference: reimports.OperationDifference
    touched: Touched
    ticked: bool
    #: Whether its endpoint is to be active.
    active: bool = False
    tags: tuple[str, ...] = ()

    @property
    def unnamed(self) -> int:
        """How many access profiles called it beside those that are named."""
        return self.touched.profiles - len(self.touched.callers)


@page
@require_http_methods(["GET", "POST"])
def reimport(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """The form for the document; with a document, the preview; with what was chosen, the import."""
    collection = collections.find(by, collection_id)
    require(by, Role.EDITOR, collection.project_id)
    if collection.kind != Collection.Kind.PROXY:
        raise Http404
    step = _apply if request.POST.get("step") == "apply" else _preview
    answer, errors = sent(request, lambda: step(request, by, collection))
    context = {
        "collection": collection,
        "errors": errors,
        "given": request.POST,
        "largest": openapi.LARGEST_MEGABYTES,
    }
    status = 400 if errors else 200
    return answer or render(request, "console/reimport_form.html", context, status=status)


def _preview(request: HttpRequest, by: Actor, collection: Collection) -> HttpResponse:
    document = sent_document(request)
    if document is None:
        raise Invalid({"openapi_spec": [NO_DOCUMENT]})
    return _previewed(request, by, collection, document)


def _apply(request: HttpRequest, by: Actor, collection: Collection) -> HttpResponse:
    content, form = document = carried_back(request)
    choice = reimports.Choice(
        added=request.POST.getlist("added"),
        changed=request.POST.getlist("changed"),
        gone=request.POST.getlist("gone"),
        active=request.POST.get("active") == "1",
        activated=request.POST.getlist("activate"),
    )
    try:
        saved = reimports.take(
            by=by,
            collection_id=collection.pk,
            content=content,
            form=form,
            choice=choice,
            # Without a version nothing was previewed, and nothing is taken.
            if_match=request.POST.get("version", ""),
        )
    except Stale:
        return _previewed(request, by, collection, document, problem=MOVED)
    except Invalid as error:
        return _previewed(request, by, collection, document, problem=error.sentences, choice=choice)
    taken = saved.value
    if in_force(request, saved):
        sentence = (
            f"The document was imported: {taken.added:,} added, {taken.changed:,} changed,"
            f" {taken.deleted:,} deleted."
        )
        if taken.added:
            sentence += f" {_active(taken.active, taken.added)}"
        messages.success(request, sentence)
    if skipped := len(taken.read.skipped):
        many = "1 operation was" if skipped == 1 else f"{skipped:,} operations were"
        messages.warning(request, f"{many} not taken: the report below says why.")
    return redirect("collection", collection.pk)


def _active(active: int, added: int) -> str:
    if active in {0, added}:
        return f"What was added is {'active' if active else 'inactive'}."
    return f"Of what was added, {active:,} are active."


def _previewed(
    request: HttpRequest,
    by: Actor,
    collection: Collection,
    document: tuple[str, str],
    *,
    problem: str = "",
    choice: reimports.Choice | None = None,
) -> HttpResponse:
    """The preview; `choice`: what was chosen before, else what is added and changed is ticked."""
    content, form = document
    value = request.POST.get("document") or carried(request, content)
    plan = reimports.plan(by=by, collection_id=collection.pk, content=content, form=form)
    touched = reimport_effects.touched(by, plan)
    chosen = choice or reimports.Choice()
    context = {
        "collection": collection,
        "problem": problem,
        "plan": plan,
        "document": value,
        "active": chosen.active,
        "days": reimport_effects.DAYS,
        "profiles": plan.collection.profiles.count(),
        "added": _rows(
            plan.added,
            touched,
            chosen.added,
            active=chosen.activates,
            tags=tags_of(plan.read),
        ),
        "changed": _rows(plan.changed, touched, chosen.changed),
        "gone": _rows(plan.gone, touched, chosen.gone),
    }
    status = 400 if problem else 200
    return render(request, "console/reimport_preview.html", context, status=status)


def _rows(
    differences: Sequence[reimports.OperationDifference],
    touched: Mapping[int, Touched],
    names: Several[str] | None,
    *,
    active: Callable[[str], bool] = lambda _: False,
    tags: Mapping[str, tuple[str, ...]] | None = None,
) -> list[PreviewRow]:
    """`names`: what is ticked; None: all. `active`: whether one is to be active, by its name."""
    ticked = None if names is None else set(names)
    return [
        PreviewRow(
            difference=each,
            touched=touched.get(each.endpoint.pk, Touched()) if each.endpoint else Touched(),
            ticked=ticked is None or each.name in ticked,
            active=active(each.name),
            tags=(tags or {}).get(each.name, ()),
        )
        for each in differences
    ]
