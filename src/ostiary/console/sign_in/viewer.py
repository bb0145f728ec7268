"""The signed-in member as an actor, and refusals as pages."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse

from ostiary.console.frame.sign_in_redirects import signed_in
from ostiary.console.sign_in.steps import actor_for, member_of
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import Forbidden, NotFound

P = ParamSpec("P")

#: Names of pages that are forms to change something. An address list is read on its form.
_FORMS = re.compile(
    r"(?!edit-address-list$)((new|edit|delete|refresh|raise|pause)-.*|client-defaults|reimport|hand-over)"
)


def page(
    view: Callable[Concatenate[HttpRequest, Actor, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A view for members: passes the actor, and answers 404 for objects that it may not see."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        by = actor_for(request, member_of(request))
        try:
            _refuse_form(request, by)
            return view(request, by, *args, **kwargs)
        except NotFound as error:
            raise Http404 from error
        except Forbidden as error:
            raise PermissionDenied from error

    return signed_in(wrapped)


def _refuse_form(request: HttpRequest, by: Actor) -> None:
    """Who may change nothing gets no form, to be refused when it is filled in."""
    match = request.resolver_match
    if match is None or not _FORMS.fullmatch(match.url_name or ""):
        return
    if not by.may_somewhere(Role.EDITOR):
        raise Forbidden("A viewer changes nothing")
