"""Test this connection: what a consumer's request would meet, step by step, before one comes."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import connection_tests, connections
from ostiary.directory.changes.permission import require


@page
@require_http_methods(["GET", "POST"])
def run(request: HttpRequest, by: Actor, connection_id: int) -> HttpResponse:
    """The page of a test; sent as a form, it tests."""
    connection = connections.find(by, connection_id)
    require(by, Role.EDITOR, connection.project_id)
    tested = connection_tests.of(by, connection_id) if request.method == "POST" else None
    context = {
        "connection": connection,
        "tested": tested,
        "untested": len(connection.base_urls) - connection_tests.MOST_SERVERS,
    }
    return render(request, "console/connection_test.html", context)
