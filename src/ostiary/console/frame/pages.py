"""The error pages."""

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ostiary.directory import database


def _problem(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context = {"title": title, "text": text}
    return render(request, "console/problem.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem(request, 400, "Bad request", "The request could not be read.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem(request, 403, "Not allowed", "Your role does not allow this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem(request, 404, "Not found", "This page doesn't exist, or you may not see it.")


def broken(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if error is not None and database.is_trouble(error):
        said = f"Nothing was saved. {database.trouble(error)}"
        response = _problem(request, 503, "The database fails", said)
        response["Retry-After"] = "1"
        return response
    return _problem(request, 500, "Something broke", "The error is logged. Nothing was saved.")
