"""Live pages: the browser polls an open page every few seconds.

A page's version is the number of the last change that anybody made to anything, so asking costs one
look-up, and the answer is 304 unless something happened.
"""

import hashlib
import time

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import render as whole

from ostiary.directory.changes import audit_log, feed

#: Sent by `live.js` alone. Such an answer leaves messages for the next page that is looked at.
HEADER = "X-Ostiary-Live"


def minute() -> int:
    """For pages with states: ends pass without a change, and the gateway follows after it."""
    return int(time.time()) // 60


def render(
    request: HttpRequest, template: str, context: dict[str, object], *also: object
) -> HttpResponse:
    """Render a page with a part to be kept true; `also` is what it shows besides the directory.

    Querysets in `context` are not asked unless the page is rendered.
    """
    # Before the page is read: what changes in between is asked for once more, and not missed.
    seen = hashlib.sha256(repr(also).encode()).hexdigest()[:16] if also else ""
    version = f'"{audit_log.latest()}-{feed.latest()}-{seen}"'
    polled = HEADER in request.headers
    if polled and request.headers.get("If-None-Match") == version:
        return HttpResponseNotModified(headers={"ETag": version})
    live = {"url": request.get_full_path(), "version": version}
    response = whole(request, template, {**context, "live": live, "polled": polled})
    response["ETag"] = version
    return response
