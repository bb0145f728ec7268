"""`/api/users/me`: the owner of a management token, and the project *Home*."""

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from ostiary.api.answers import ERRORS, Time, actor, tagged
from ostiary.directory.catalog import recipes
from ostiary.directory.changes import etags
from ostiary.directory.changes.permission import root_of, visible_projects
from ostiary.directory.models import Recipe
from ostiary.directory.workspace import setup, workspace_settings

router = Router(tags=["Users"])


class UserOut(Schema):
    id: int
    name: str
    email: str
    created_at: Time
    plan_id: str
    current_billing_period_start: Time
    current_billing_period_end: Time
    recipes_count: int
    active_recipes_count: int
    root_folder_id: int
    company_name: str
    admin: bool


@router.get("/users/me", response={200: UserOut, **ERRORS})
def show_me(request: HttpRequest, response: HttpResponse) -> Any:
    """There is no billing here: the period is the current month, the plan `self-hosted`.

    `root_folder_id` is *Home*, or else the first project that the token sees. What the token may do
    is in `GET /api/v2/tokens/me`.
    """
    by = actor(request)
    tagged(response, etags.of_value((by.kind, by.id)))
    start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    home = setup.home()
    root = root_of(by) or visible_projects(by).first()
    found: list[Recipe] = list(recipes.recipes(by))
    return {
        "id": by.id or 0,
        "name": by.name,
        "email": f"token-{by.id}@localhost",
        "created_at": home.created_at,
        "plan_id": "self-hosted",
        "current_billing_period_start": start,
        "current_billing_period_end": end,
        "recipes_count": len(found),
        "active_recipes_count": sum(recipe.started and recipe.present for recipe in found),
        "root_folder_id": root.pk if root else 0,
        "company_name": workspace_settings.read().name,
        "admin": by.admin,
    }
