"""What happens to a page whose session has ended: what it asks for leads to sign-in, and back to it.

What was typed waits in the browser's tab meanwhile, see `console.js`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

#: Says to the scripts of a page that the console answered, and not a proxy in front of it.
ANSWERED = "X-Ostiary-Console"

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page_of(request: HttpRequest) -> str:
    """The page that a request was made on: a form or a part of it may lie at another address."""
    if request.method in {"GET", "HEAD"} and "HX-Request" not in request.headers:
        return request.get_full_path()
    named = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    parts = urlsplit(named)
    if parts.netloc != request.get_host():
        return "/"
    return parts._replace(scheme="", netloc="", fragment="").geturl() or "/"


def signed_in(view: View[P]) -> View[P]:
    """A view for members; others sign in first, and come back to the page that they were at."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        return redirect(f"{reverse('sign-in')}?{urlencode({'next': page_of(request)})}")

    return wrapped


class WholePages:
    """htmx would put the page that a redirect leads to into a part of the one that asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers[ANSWERED] = "1"
        if "HX-Request" not in request.headers or response.status_code != 302:
            return response
        return HttpResponse(
            status=204, headers={"HX-Redirect": response.headers["Location"], ANSWERED: "1"}
        )
