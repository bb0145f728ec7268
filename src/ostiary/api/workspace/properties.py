"""`/api/properties`: named values of a project, or of the workspace."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from ostiary.api.answers import ERRORS, Strict, Success, actor, if_match, tagged
from ostiary.directory.workspace import properties

router = Router(tags=["Properties"])


class Scope(Strict):
    project_id: int | None = Field(None, ge=1, le=2**31 - 1)


class Wanted(Scope):
    prefix: str = Field("", max_length=100)


class Named(Scope):
    name: str = Field(max_length=100)


class PropertiesIn(Strict):
    #: `null` deletes a property.
    properties: dict[str, str | None]


@router.get("/properties", response={200: dict[str, str], **ERRORS})
def list_properties(request: HttpRequest, query: Query[Wanted], response: HttpResponse) -> Any:
    """The properties whose names begin with `prefix`. The version is that of all of the project."""
    tagged(response, properties.version(query.project_id))
    return properties.read(by=actor(request), project_id=query.project_id, prefix=query.prefix)


@router.post("/properties", response={200: Success, **ERRORS})
def set_properties(
    request: HttpRequest, payload: PropertiesIn, query: Query[Scope], response: HttpResponse
) -> Any:
    """Set properties, and delete those whose value is null; all or none."""
    made = properties.write(
        by=actor(request),
        project_id=query.project_id,
        values=payload.properties,
        if_match=if_match(request),
    )
    tagged(response, made)
    return {"success": True}


@router.delete("/properties", response={200: Success, **ERRORS})
def delete_property(request: HttpRequest, query: Query[Named]) -> Any:
    """Delete one property; 404 if there is none of this name."""
    properties.delete(
        by=actor(request),
        project_id=query.project_id,
        name=query.name,
        if_match=if_match(request),
    )
    return {"success": True}
