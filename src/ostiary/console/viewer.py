"""Who looks: the signed-in member as an actor, and refusals as pages."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse

from ostiary.console.signed_out import signed_in
from ostiary.directory.actor import Actor
from ostiary.directory.errors import Forbidden, NotFound
from ostiary.directory.members import actor_of
from ostiary.directory.models import Member

P = ParamSpec("P")


def page(
    view: Callable[Concatenate[HttpRequest, Actor, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A page for members: passes the actor on, and answers what it may not see with 404."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        member = request.user
        assert isinstance(member, Member)  # noqa: S101 - `signed_in` stands before
        by = actor_of(member, str(request.META.get("REMOTE_ADDR", "")))
        try:
            return view(request, by, *args, **kwargs)
        except NotFound as error:
            raise Http404 from error
        except Forbidden as error:
            raise PermissionDenied from error

    return signed_in(wrapped)
