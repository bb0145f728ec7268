"""Questions before what cannot be undone, or takes others along: with its numbers, on a page or in a dialog.

Browsers are asked: a form without the word that says "sure" is answered with the question, which
carries the form's fields. Scripts that send the form are not asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ostiary.console.frame.form_pages import DRAFT, is_browser
from ostiary.console.frame.sign_in_redirects import page_of

#: Fields of a question's form: that the answer is yes, and the page that it was asked on.
SURE, BACK = "sure", "back"
#: The mark of a message that can be undone: a form's address, and its field with a value.
UNDO = "undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsequenceQuestion:
    """What is asked: a title, what would happen, and the button's word for yes."""

    title: str
    sentences: tuple[str, ...]
    verb: str
    #: A page that shows more of what would happen.
    more: str = ""
    more_label: str = ""
    #: False: the answer is a page of its own, such as one that shows a secret once.
    in_place: bool = True
    #: The page asks before a form is saved, and leads back to it as it was typed.
    returns: bool = False


def unanswered(
    request: HttpRequest, question: Callable[[], ConsequenceQuestion | None], *, back: str
) -> HttpResponse | None:
    """The question as a page; nothing: it was answered, there is none, or nobody is there to be asked."""
    if not is_browser(request) or request.POST.get(SURE) == "1":
        return None
    asked = question()
    if asked is None:
        return None
    fields = [
        (name, str(value))
        for name, values in request.POST.lists()
        for value in values
        if name not in {"csrfmiddlewaretoken", SURE, BACK}
    ]
    came_from = made_at(request, back)
    context = {
        "question": asked,
        "fields": [*fields, (SURE, "1"), (BACK, came_from)],
        "back": came_from,
    }
    return render(request, "console/question.html", context)


def made_at(request: HttpRequest, default: str, fragment: str = "") -> str:
    """The page that a small form was sent on, or `default`; `fragment`: the place on it."""
    named = request.POST.get(BACK, "") or page_of(request)
    parts = urlsplit(named)
    if not is_own(named) or parts.path in {"/", request.path}:
        return f"{default}{fragment}"
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != DRAFT])
    return parts._replace(query=query, fragment=fragment.removeprefix("#")).geturl()


def is_own(address: str) -> bool:
    """Whether an address that a form named is one of the console."""
    local = address.startswith("/") and not address.startswith(("//", "/\\"))
    return local and not urlsplit(address).netloc


def counted(number: int, what: str, several: str = "") -> str:
    """`1 profile`, `2 profiles`; `several`: where an s does not make it plural."""
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def say_done(request: HttpRequest, text: str, *, undo: tuple[str, str, str] | None = None) -> None:
    """Say what was done. `undo`: the form that undoes it, as address, field and value."""
    messages.success(request, text, extra_tags=" ".join((UNDO, *undo)) if undo else "")
