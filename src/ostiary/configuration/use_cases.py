"""What API and console ask for: plan a configuration, apply a plan, export a project."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import TextField
from django.db.models.functions import Cast, Length
from django.utils import timezone

from ostiary.configuration import applying, checks, effects, entries, exporting, plans, sets
from ostiary.configuration.applying import Applied
from ostiary.configuration.descriptions import described
from ostiary.configuration.plans import Options
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import InUse, NotFound
from ostiary.directory.changes.permission import project_of, require, visible_projects
from ostiary.directory.models import ConfigurationPlan
from ostiary.identity.secret import Secret

#: How long a plan may be applied, and read.
KEPT = timedelta(days=7)
#: Plans of one project, and the characters of all their files: the oldest ones go first.
MOST_PLANS = 200
MOST_CHARACTERS = 128 * 1024 * 1024


def plan(
    by: Actor, content: object, options: Options, secrets: Mapping[str, Secret]
) -> ConfigurationPlan:
    """Plan a configuration and keep the plan; raises Invalid, NotFound, Forbidden.

    Nothing else is written. `secrets` are compared, and not kept.
    """
    configuration = entries.read(content)
    made = plans.make(by, configuration, options, secrets)
    checks.check(by, made, secrets)
    seen = effects.of_plan(by, made)
    ConfigurationPlan.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    stored = ConfigurationPlan.objects.create(
        project=made.project,
        content=content,
        options={
            "delete": options.delete,
            "most_deleted": options.most_deleted,
            "adopt": options.adopt,
        },
        digest=made.digest,
        described=described(made, seen),
        made_by=by.name[:255],
    )
    _forget_oldest(made.project.pk)
    return stored


def _forget_oldest(project_id: int) -> None:
    """Delete a project's oldest plans beyond what it may have; its newest one stays."""
    found = ConfigurationPlan.objects.filter(project_id=project_id).order_by("-pk")
    sizes = found.annotate(size=Length(Cast("content", TextField()))).values_list("pk", "size")
    total, newest = 0, True
    for number, (pk, size) in enumerate(sizes):
        total += size
        if not newest and (total > MOST_CHARACTERS or number >= MOST_PLANS):
            found.filter(pk__lte=pk).delete()
            return
        newest = False


def find(by: Actor, plan_id: int) -> ConfigurationPlan:
    """A plan of a project that `by` may see; raises NotFound."""
    visible = ConfigurationPlan.objects.filter(project__in=visible_projects(by).values("pk"))
    found = visible.select_related("project").filter(pk=plan_id).first()
    if found is None:
        raise NotFound("plan")
    return found


def described_for(by: Actor, plan: ConfigurationPlan) -> dict[str, Any]:
    """A plan in words, without kinds of objects that `by` doesn't see in its project."""
    parts = ("changes", "blocked", "left_over")
    seen = {
        name: [
            each for each in plan.described[name] if sets.sees(by, each["kind"], plan.project_id)
        ]
        for name in parts
    }
    return {**plan.described, **seen}


def apply(
    by: Actor, plan_id: int, secrets: Mapping[str, Secret], *, commit: str = ""
) -> tuple[ConfigurationPlan, Applied]:
    """Apply a plan, once; raises Stale if anything that it speaks of has moved since."""
    find(by, plan_id)
    with transaction.atomic():
        stored = ConfigurationPlan.objects.select_for_update().get(pk=plan_id)
        if stored.applied_at is not None:
            raise InUse("The plan was applied already")
        applied = applying.apply(
            by,
            entries.read(stored.content),
            Options(**stored.options),
            secrets,
            digest=stored.digest,
            commit=commit,
        )
        # It is not applied a second time, and may be large.
        stored.applied_at, stored.content = timezone.now(), {}
        stored.save(update_fields=["applied_at", "content"])
    return stored, applied


def export(by: Actor, project_id: int | None, *, set_name: str) -> Mapping[str, Any]:
    """A project as a configuration; raises NotFound, Forbidden."""
    project = project_of(by, project_id)
    require(by, Role.VIEWER, project.pk)
    return exporting.export(by, project, set_name=set_name)
