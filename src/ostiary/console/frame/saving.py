"""Saving a form: once per form, without overwriting others, and in force before the page says so."""

from typing import TypeVar

from django.contrib import messages
from django.http import HttpRequest

from ostiary.directory.changes.confirmation import UNCONFIRMED, Saved, confirm
from ostiary.directory.changes.errors import NotInForce

T = TypeVar("T")

#: Forms that were sent and did their work, as a session remembers them.
MOST_SPENT = 50
#: Said where a form that edits was read before somebody else saved.
STALE = {
    "stale": [
        (
            "Somebody else changed it while you were at it. What you typed is kept: save it again to"
            " overwrite theirs, or cancel to see it."
        )
    ]
}


def in_force(request: HttpRequest, saved: Saved[T]) -> bool:
    """Wait for the gateway; if it does not confirm, the next page says that.

    What only adds is done once it is saved: then the page says both.
    """
    try:
        receipt = confirm(saved)
    except NotInForce as error:
        if saved.adds:
            messages.warning(request, f"{UNCONFIRMED}.")
            return True
        messages.error(request, str(error))
        return False
    if receipt.streams:
        many = (
            "1 open stream is" if receipt.streams == 1 else f"{receipt.streams:,} open streams are"
        )
        messages.info(request, f"{many} closed within a second.")
    return True


def first_time(request: HttpRequest) -> bool:
    """Whether this very form was not sent before; remembers it."""
    once = request.POST.get("once", "")[:64]
    spent: list[str] = request.session.get("spent", [])
    if not once or once in spent:
        return False
    request.session["spent"] = [*spent, once][-MOST_SPENT:]
    return True
