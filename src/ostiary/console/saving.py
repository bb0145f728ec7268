"""Around a save: once for each form, and in force before the next page says that it is done."""

from typing import TypeVar

from django.contrib import messages
from django.http import HttpRequest

from ostiary.directory.enforcement import Saved, confirm
from ostiary.directory.errors import NotInForce

T = TypeVar("T")

#: Forms that were sent and did their work, as a session remembers them.
MOST_SPENT = 50


def in_force(request: HttpRequest, saved: Saved[T]) -> bool:
    """Wait for the gateway; if it does not confirm, the next page says that."""
    try:
        confirm(saved)
    except NotInForce as error:
        messages.error(request, str(error))
        return False
    return True


def first_time(request: HttpRequest) -> bool:
    """Whether this very form was not sent before; remembers it."""
    once = request.POST.get("once", "")[:64]
    spent: list[str] = request.session.get("spent", [])
    if not once or once in spent:
        return False
    request.session["spent"] = [*spent, once][-MOST_SPENT:]
    return True
