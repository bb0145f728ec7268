"""Suggestions for fields that choose one of many objects."""

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.views.decorators.http import require_safe

from ostiary.console.frame.choosers import CHOOSERS
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor


@page
@require_safe
def suggestions(request: HttpRequest, by: Actor, kind: str) -> HttpResponse:
    """Options for what was typed, whatever its field is called."""
    chooser = CHOOSERS.get(kind)
    if chooser is None:
        raise Http404
    text = next(iter(request.GET.values()), "")
    found = chooser.suggested(by, str(text))
    return HttpResponse(format_html_join("", '<option value="{}">', ((each,) for each in found)))
