"""The first page, and those that say what went wrong."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from ostiary.console.signed_out import signed_in


@signed_in
def home(request: HttpRequest) -> HttpResponse:
    return redirect("clients")


def _problem(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context = {"title": title, "text": text}
    return render(request, "console/problem.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem(request, 400, "That did not work", "The request could not be read.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem(request, 403, "Not allowed", "Your role does not allow this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem(request, 404, "Not found", "There is no such page, or none that you may see.")


def broken(request: HttpRequest) -> HttpResponse:
    return _problem(request, 500, "Something broke", "It is in the log; nothing was saved.")
