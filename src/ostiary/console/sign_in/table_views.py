"""The two views of a list that is declared as a table: the list, and many of its rows changed at once."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from ostiary.console.frame import table_changes
from ostiary.console.frame.tables import Table, show
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor

TableView = Callable[[HttpRequest], HttpResponse]


def views(table: Table) -> tuple[TableView, TableView]:
    """The views `listing` and `change` of a table."""

    @page
    @require_http_methods(["GET", "HEAD", "POST"])
    def listing(request: HttpRequest, by: Actor) -> HttpResponse:
        return show(request, by, table)

    @page
    @require_http_methods(["GET", "HEAD", "POST"])
    def change(request: HttpRequest, by: Actor) -> HttpResponse:
        return table_changes.change(request, by, table)

    return listing, change
