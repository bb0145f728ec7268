"""After a save: waiting until it is in force, and saying so if it is not."""

from typing import TypeVar

from django.contrib import messages
from django.http import HttpRequest

from ostiary.directory.enforcement import Saved, confirm
from ostiary.directory.errors import NotInForce

T = TypeVar("T")


def in_force(request: HttpRequest, saved: Saved[T]) -> bool:
    """Wait for the gateway; if it does not confirm, the next page says that."""
    try:
        confirm(saved)
    except NotInForce as error:
        messages.error(request, str(error))
        return False
    return True
